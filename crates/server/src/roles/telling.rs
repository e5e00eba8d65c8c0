//! The gate tells issuer and executor of a halt, at once and until they know.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use holdpoint_adapters::remote::{RoleClient, wire};
use holdpoint_domain::halt::Halt;
use tokio::sync::Notify;

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
    /// Rings when a halt began or ended here.
    pub(crate) changed: Arc<Notify>,
}

/// Tells them, for ever.
pub(crate) async fn telling(cell: Arc<GateCell>, roles: Roles) {
    let mut told: Vec<Option<Option<Halt>>> = vec![None; roles.roles.len()];
    loop {
        let halt = cell.get().halted();
        let tell = roles.roles.iter().zip(&told).map(|((name, role), told)| {
            let halt = halt.clone();
            let known = told.as_ref() == Some(&halt);
            async move {
                if known {
                    return Some(halt);
                }
                let body = wire::Tell { halt: halt.clone() };
                match role.call::<wire::Done>("/v1/halt", &body, LIMIT).await {
                    Ok(_) => Some(halt),
                    Err(err) => {
                        tracing::warn!("the {name} does not know whether there is a halt: {err}");
                        None
                    }
                }
            }
        });
        told = join_all(tell).await;
        let wait = if told.iter().all(Option::is_some) { REMIND } else { AGAIN };
        if tokio::time::timeout(wait, roles.changed.notified()).await.is_err() && wait == REMIND {
            told.iter_mut().for_each(|told| *told = None);
        }
    }
}
