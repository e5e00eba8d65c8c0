//! Mutual TLS between processes, by X.509-SVIDs (SPIFFE): TLS 1.3 only, both ends prove who they are, and no host name counts.
//!
//! [`LiveSvid`] is an end's own certificate, key and trust bundle: files that are read again when they change, or a Workload API. [`server_config`] and
//! [`client_config`] take whom the other end may be; what a certificate must look like stands in [`svid`]. [`DevCa`] makes
//! certificates for a first try; in production SPIRE brings them.
//!
//! Roles take exactly the configured peers. The door for workloads takes everybody of its trust domain, and the id that they prove
//! counts as an identity token's would.
//!
//! Never here: a resumed session, which would skip the look at the certificate; a decision about who may do what.

mod ca;
mod ends;
mod feed;
mod live;
mod pinned;
pub mod svid;
mod verify;

pub use ca::{CaError, DevCa, Made};
pub use ends::{EndError, Peer, client, client_config, peer_of, server_config};
pub use feed::FeedError;
pub use live::{LiveSvid, LoadError, SvidFiles};
pub(crate) use pinned::{by_key, pinned};
pub use spiffe::SpiffeId;
pub use svid::SvidError;
pub use verify::Peers;
pub(crate) use verify::svid_of;
