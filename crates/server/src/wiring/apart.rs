//! The other roles in processes of their own, from the gate's side.

use std::sync::Arc;

use holdpoint_adapters::{
    cosign::Witness,
    remote::{RemoteExecutor, RemoteIssuer, RemoteObserver, RoleClient},
    tls,
};
use holdpoint_app::port::Store;
use holdpoint_domain::{permit::PermitKeys, signature::PublicKey};
use tokio::sync::watch;

use super::Others;
use crate::{
    cli::{CliError, failed},
    config::{Config, GateRoles, PeerEntry, cosigner_key},
    roles,
};

/// Where the other roles are, each behind a connection that only it can answer.
pub(crate) struct Neighbours {
    observer: RoleClient,
    issuer: RoleClient,
    executor: RoleClient,
    evidence_key: PublicKey,
    cosigners: Vec<(reqwest::Client, String, holdpoint_ledger::VerifierKey)>,
    /// Rings when a halt begins or ends.
    pub(super) changed: watch::Sender<()>,
}

/// The ports of roles in processes of their own.
pub(super) struct Apart {
    pub(super) observer: Arc<RemoteObserver>,
    issuer: Arc<RemoteIssuer>,
    executor: RoleClient,
    store: Arc<dyn Store>,
}

impl Apart {
    /// The ports, for permits of these keys.
    pub(super) fn others(&self, permit_keys: PermitKeys) -> Others {
        let executor = RemoteExecutor::new(self.executor.clone(), Arc::clone(&self.store), permit_keys);
        Others {
            observer: Arc::clone(&self.observer) as _,
            issuer: Arc::clone(&self.issuer) as _,
            executor: Arc::new(executor),
        }
    }
}

/// The neighbours that a configuration names.
pub(crate) async fn neighbours(config: &Config, roles: &GateRoles) -> Result<Neighbours, CliError> {
    let svid = Arc::new(roles.tls.live(&config.base).await?);
    tracing::info!("this is {}", svid.id());
    let http = |peer: &PeerEntry| -> Result<reqwest::Client, CliError> {
        tls::client(&svid, peer.spiffe()?).map_err(failed)
    };
    let (issuer, executor) = (http(&roles.issuer)?, http(&roles.executor)?);
    let mut cosigners = Vec::new();
    let known =
        [(&roles.issuer, &issuer, &roles.issuer_key), (&roles.executor, &executor, &roles.executor_key)];
    for (peer, http, key) in known {
        if let Some(key) = key {
            cosigners.push((http.clone(), peer.url.clone(), cosigner_key(key).map_err(CliError::Failed)?));
        }
    }
    Ok(Neighbours {
        observer: RoleClient::new(http(&roles.observer)?, &roles.observer.url),
        issuer: RoleClient::new(issuer, &roles.issuer.url),
        executor: RoleClient::new(executor, &roles.executor.url),
        evidence_key: roles.evidence_key.clone(),
        cosigners,
        changed: watch::Sender::new(()),
    })
}

impl Neighbours {
    /// The ports that they answer, over this store.
    pub(super) fn apart(&self, store: &Arc<dyn Store>) -> Apart {
        let store = || Arc::clone(store);
        Apart {
            observer: Arc::new(RemoteObserver::new(self.observer.clone(), self.evidence_key.clone())),
            issuer: Arc::new(RemoteIssuer::new(self.issuer.clone(), store())),
            executor: self.executor.clone(),
            store: store(),
        }
    }

    /// Those that cosign the ledger and want to be asked.
    pub(crate) fn witnesses(&self) -> Vec<Witness> {
        let witness = |(http, url, key): &(reqwest::Client, String, holdpoint_ledger::VerifierKey)| {
            Witness::new(http.clone(), url, key.clone())
        };
        self.cosigners.iter().map(witness).collect()
    }

    /// Those that must know of a halt.
    pub(crate) fn told(&self) -> roles::Roles {
        roles::Roles {
            roles: vec![("issuer", self.issuer.clone()), ("executor", self.executor.clone())],
            changed: self.changed.subscribe(),
        }
    }
}
