//! The gate tells issuer and executor of a halt, at once and until they know.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use holdpoint_adapters::remote::{RoleClient, wire};
use tokio::sync::watch;

use crate::service::GateCell;

/// How long a role may take to answer.
const LIMIT: Duration = Duration::from_secs(5);
/// The pause before those are told again who did not answer.
const AGAIN: Duration = Duration::from_millis(500);
/// How often all are told again what is in force: one may have been started anew from an older copy of its folder.
const REMIND: Duration = Duration::from_secs(30);

/// The roles that honour a halt for themselves.
pub(crate) struct Roles {
    /// Issuer and executor, with their names.
    pub(crate) roles: Vec<(&'static str, RoleClient)>,
    /// Changes when a halt began or ended here.
    pub(crate) changed: watch::Receiver<()>,
}

/// Tells them, for ever: each for itself, so that one that does not answer delays no other.
pub(crate) async fn telling(cell: Arc<GateCell>, roles: Roles) {
    let Roles { roles, changed } = roles;
    let each = roles.into_iter().map(|(name, role)| tell(Arc::clone(&cell), name, role, changed.clone()));
    join_all(each).await;
}

async fn tell(cell: Arc<GateCell>, name: &'static str, role: RoleClient, mut changed: watch::Receiver<()>) {
    loop {
        changed.mark_unchanged();
        let gate = cell.get();
        let body = wire::Tell { halt: gate.halted(), at_ms: gate.ports.clock.now() };
        drop(gate);
        let wait = match role.call::<wire::Done>("/v1/halt", &body, LIMIT).await {
            Ok(_) => REMIND,
            Err(err) => {
                tracing::warn!("the {name} does not know whether there is a halt: {err}");
                AGAIN
            }
        };
        // Nobody halts or resumes any more when the other end is gone; the reminder goes on.
        if let Ok(Err(_)) = tokio::time::timeout(wait, changed.changed()).await {
            tokio::time::sleep(wait).await;
        }
    }
}
