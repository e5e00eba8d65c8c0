//! Mutual TLS between processes, by X.509-SVIDs (SPIFFE): TLS 1.3 only, both ends prove who they are, and no host name counts.
//!
//! [`LiveSvid`] is an end's own certificate, key and trust bundle, read again when their files change. [`server_config`] and
//! [`client_config`] take whom the other end may be; what a certificate must look like stands in [`svid`]. [`DevCa`] makes
//! certificates for a first try; in production SPIRE brings them.
//!
//! Never here: a resumed session, which would skip the look at the certificate; a peer that is merely of the trust domain.

mod ca;
mod ends;
mod live;
mod pinned;
pub mod svid;
mod verify;

pub use ca::{CaError, DevCa, Made};
pub use ends::{EndError, client, client_config, peer_of, server_config};
pub use live::{LiveSvid, LoadError, SvidFiles};
pub(crate) use pinned::pinned;
pub use spiffe::SpiffeId;
pub use svid::SvidError;
