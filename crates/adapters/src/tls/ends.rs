//! The two ends of a connection.

use std::{sync::Arc, time::Duration};

use holdpoint_domain::Timestamp;
use reqwest::{Client, redirect, retry};
use rustls::{
    ClientConfig, ServerConfig, client::Resumption, pki_types::CertificateDer,
    server::NoServerSessionStorage, version::TLS13,
};
use spiffe::SpiffeId;

use super::{
    live::LiveSvid,
    svid,
    verify::{PeerVerifier, Peers},
};

/// How long a connection to a role may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Why an end cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// No TLS 1.3 to be had.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// No HTTP client to be had.
    #[error("the HTTP client cannot be set up")]
    Http(#[from] reqwest::Error),
}

/// A server that only these clients get through to, each with an X.509-SVID.
///
/// # Errors
/// No TLS 1.3 to be had.
pub fn server_config(own: &Arc<LiveSvid>, clients: Peers) -> Result<Arc<ServerConfig>, EndError> {
    let verifier = Arc::new(PeerVerifier::new(Arc::clone(own), clients));
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(own.provider())).with_protocol_versions(&[&TLS13])?;
    let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(Arc::clone(own) as _);
    // A session that is resumed shows no certificate: one that has ended, or whose bundle was replaced, would go on.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A client that only talks to this server, whatever its address is called.
///
/// # Errors
/// No TLS 1.3 to be had.
pub fn client_config(own: &Arc<LiveSvid>, server: SpiffeId) -> Result<ClientConfig, EndError> {
    let verifier = Arc::new(PeerVerifier::new(Arc::clone(own), Peers::These(vec![server])));
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(own.provider())).with_protocol_versions(&[&TLS13])?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = builder.with_client_cert_resolver(Arc::clone(own) as _);
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// An HTTP client of [`client_config`]: no redirects, no proxies, no second try. A connection of its own for each request: one
/// that had gone stale would break a request that the server never saw.
///
/// # Errors
/// No TLS 1.3, or no HTTP client to be had.
pub fn client(own: &Arc<LiveSvid>, server: SpiffeId) -> Result<Client, EndError> {
    let tls = client_config(own, server)?;
    let builder = Client::builder().tls_backend_preconfigured(tls).https_only(true).http1_only();
    let builder = builder.redirect(redirect::Policy::none()).retry(retry::never()).no_proxy().referer(false);
    let agent = concat!("holdpoint/", env!("CARGO_PKG_VERSION"));
    Ok(builder.pool_max_idle_per_host(0).connect_timeout(CONNECT).user_agent(agent).build()?)
}

/// The other end of an established connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Who it is.
    pub id: SpiffeId,
    /// When its certificate ends, and with it what the connection proves.
    pub until: Timestamp,
}

/// Who the other end of an established connection is. Its certificate was verified when it was made.
#[must_use]
pub fn peer_of(certificates: Option<&[CertificateDer<'_>]>) -> Option<Peer> {
    let leaf = certificates?.first()?;
    Some(Peer { id: svid::leaf_id(leaf).ok()?, until: svid::ends_at(leaf).ok()? })
}
