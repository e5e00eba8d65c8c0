//! Roles in processes of their own: `holdpoint serve --role observer|issuer|executor`.
//!
//! Each role is a small door behind mutual TLS. [`door`] is what they share: whose certificate gets through to what, bodies,
//! answers. [`issuer`] and [`executor`] check for themselves whatever the gate says; [`observer`] looks and signs. [`telling`] runs in
//! the gate and tells them of a halt.
//!
//! Never here: a decision, a second try, or anything that a peer other than the configured one may ask for.

mod door;
mod executor;
mod issuer;
mod observer;
mod telling;
#[cfg(test)]
mod tests;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use axum::Router;
use holdpoint_adapters::{
    cosign::Cosigner,
    executor::Pins,
    remote::Witnessed,
    system::{Ed25519Key, FileLatch, KeyUse, Seed, SystemClock},
    tls::{self, Peers, SpiffeId},
};
use holdpoint_app::port::{Clock, Latch as _};
use holdpoint_domain::{
    Timestamp, action::Catalogue, halt::Reach, narrow::Chain, permit::PermitKeys, plan::Plan,
};
use holdpoint_ledger::VerifierKey;

use crate::{
    cli::{CliError, failed, say},
    config::{ExecutorPins, Role, RoleConfig, log_key, parse, read_catalogue, spiffe},
    http, serve, wiring,
};

pub(crate) use telling::{Roles, telling};

/// Runs a role other than the gate.
pub(crate) async fn serve_role(config: &RoleConfig, attached: bool) -> Result<(), CliError> {
    wiring::secrets::check(config)?;
    let svid = Arc::new(config.tls.live(&config.base).await?);
    tracing::info!("this is {}", svid.id());
    if config.development {
        tracing::warn!("DEVELOPMENT: permits that count consent from the command line as strong are taken");
    }
    let gate = spiffe(&config.gate)?;
    let (router, clients) = match config.role {
        Role::Observer => (observer::router(config, &gate)?, vec![gate]),
        Role::Issuer => (issuer::router(config, &svid, &gate)?, vec![gate]),
        Role::Executor => {
            let issuer = spiffe(config.issuer.as_deref().unwrap_or_default())?;
            (executor::router(config, &gate, &issuer).await?, vec![gate, issuer])
        }
        Role::Gate => return Err(CliError::Usage("the gate has a configuration of its own".to_owned())),
    };
    let tls = tls::server_config(&svid, Peers::These(clients)).map_err(failed)?;
    let listener = serve::listen(config.listen).await?;
    say(format_args!("holdpoint {} serves on https://{}", config.role, config.listen));
    let stop = async move {
        tokio::select! {
            () = serve::stop_asked() => {}
            () = serve::starter_gone(attached) => {}
        }
    };
    http::serve_role(listener, router, tls, stop).await;
    Ok(())
}

/// What issuer and executor share: their pins, what they know of the ledger, and the halts that they honour.
struct Apart {
    pins: Pins,
    witnessed: Witnessed,
    pinned: ExecutorPins,
    clock: Arc<dyn Clock>,
    halts: Halts,
}

impl Apart {
    fn open(config: &RoleConfig) -> Result<Self, CliError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let log: VerifierKey =
            log_key(config.log_key.as_deref().unwrap_or_default()).map_err(CliError::Failed)?;
        let seed = Seed::load(&KeyUse::Cosign.path(&config.keys_dir())).map_err(failed)?;
        // Named by its role in the log: a witness that it is not should not be taken for it.
        let name = format!("{}/{}", log.name(), config.role);
        let key = Ed25519Key::from_seed(&name, &seed).map_err(failed)?;
        let folder = config.data().join("ledger");
        let cosigner =
            Cosigner::open(&folder, key, std::slice::from_ref(&log), Arc::clone(&clock)).map_err(failed)?;
        let pinned: ExecutorPins = parse(&config.base.join(config.pins.as_deref().unwrap_or(Path::new(""))))?;
        let pins = Pins {
            gate: PermitKeys::new(pinned.permit_key.clone(), pinned.retired_permit_keys.clone()),
            approvers: pinned.approvers.clone(),
            catalogue: catalogue(config)?,
        };
        let witnessed = Witnessed::new(Arc::new(cosigner), log);
        Ok(Self { pins, witnessed, pinned, clock, halts: Halts::open(config) })
    }
}

fn catalogue(config: &RoleConfig) -> Result<Arc<Catalogue>, CliError> {
    Ok(Arc::new(read_catalogue(&config.base, &config.catalogue)?))
}

/// The halts that a role honours: the gate's, which only the gate lifts, and one of its own, which the gate cannot lift.
struct Halts {
    gate: FileLatch,
    own: FileLatch,
    /// When the gate said what is in force, and held while its word is taken: two words never pass each other.
    heard_at: Mutex<Option<Timestamp>>,
}

impl Halts {
    fn open(config: &RoleConfig) -> Self {
        let at = |name: &str| FileLatch::new(config.data().join(name));
        Self { gate: at("halt-of-gate"), own: at("halt"), heard_at: Mutex::default() }
    }

    /// How far the halt of this role's own reaches.
    fn own(&self) -> Option<Reach> {
        self.own.halt().map(|halt| halt.reach)
    }

    /// How far the halt reaches that is in force for one permit: the further of the two. What people asked for beyond policy is
    /// stopped by a halt of the gate that came after they were granted it, and by any of this role's own.
    fn reach_for(&self, chain: &Chain, plan: &Plan) -> Option<Reach> {
        let granted = chain.permit().grant().granted_at_ms;
        let emergency = plan.requester().is_emergency();
        let of_gate = self.gate.halt().filter(|halt| !emergency || halt.stops_emergency(granted));
        [of_gate, self.own.halt()].into_iter().flatten().map(|halt| halt.reach).max()
    }

    /// Takes over what is in force at the gate. Whoever is asked to halt halts in memory even if the disk fails.
    fn told(&self, halt: Option<&holdpoint_domain::halt::Halt>, at: Timestamp) -> Result<(), String> {
        let mut heard_at = self.heard_at.lock().unwrap_or_else(PoisonError::into_inner);
        // A word that was held up on its way lifts nothing that came after it. A halt is heard whenever it comes.
        if heard_at.is_some_and(|heard_at| at < heard_at) && halt.is_none() {
            return Err("the gate said something else since then".to_owned());
        }
        *heard_at = Some(at).max(*heard_at);
        match (halt, self.gate.halt()) {
            (Some(halt), _) => self.gate.set(halt),
            (None, Some(_)) => self.gate.clear(),
            (None, None) => Ok(()),
        }
    }
}

/// A router whose every path is for one peer.
fn only(router: Router, peer: &SpiffeId) -> Router {
    let allowed = door::Allowed { peer: peer.clone(), clock: Arc::new(SystemClock::new()) };
    router.layer(axum::middleware::from_fn_with_state(allowed, door::admit))
}
