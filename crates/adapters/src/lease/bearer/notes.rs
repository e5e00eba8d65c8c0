//! What was minted and is not proven dead yet: the claims of each token, without its signature.
//!
//! A note is written before its token leaves this process, and removed after a use of the token failed. With it a restart can
//! make the very token again, for signatures of Ed25519 are always the same, and show that it is refused.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use holdpoint_domain::{Id, bearer::Claims, id::kind};

use crate::{executor, lease::MAX_LEASES, step::Step, system::durable};

/// Largest note: the claims of the longest token.
const MAX_NOTE: u64 = 16 * 1024;
/// How the names of notes end.
const END: &str = ".json";

/// A folder of notes.
#[derive(Debug, Clone)]
pub(super) struct Notes {
    dir: PathBuf,
}

impl Notes {
    /// The notes in `dir`, which is made where there is none.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Writes a note; durable when it returns.
    pub(super) async fn write(&self, claims: &Claims) -> io::Result<()> {
        let (notes, claims) = (self.clone(), claims.clone());
        blocking(move || {
            if notes.leases()?.len() >= MAX_LEASES {
                return Err(io::Error::other(format!("{MAX_LEASES} leases are not proven dead yet")));
            }
            let bytes = serde_json::to_vec(&claims).map_err(io::Error::other)?;
            durable::replace(Step::BearerNote, &notes.path(&claims.jti), &bytes, 0o600)
        })
        .await
    }

    /// The note of a lease; none where nothing was minted, or where its end was proven. One that does not parse is an error: its
    /// token may live.
    pub(super) async fn read(&self, lease: &Id<kind::Lease>) -> io::Result<Option<Claims>> {
        let (dir, lease) = (self.dir.clone(), lease.clone());
        blocking(move || {
            let Some(bytes) = executor::load(&dir, &format!("{lease}{END}"), MAX_NOTE)? else {
                return Ok(None);
            };
            let claims: Claims = serde_json::from_slice(&bytes).map_err(io::Error::other)?;
            if claims.jti == lease {
                Ok(Some(claims))
            } else {
                Err(io::Error::other("the note of another lease"))
            }
        })
        .await
    }

    /// Removes a note; durable when it returns.
    pub(super) async fn forget(&self, lease: &Id<kind::Lease>) -> io::Result<()> {
        let path = self.path(lease);
        blocking(move || durable::remove(Step::BearerForget, &path)).await
    }

    /// The leases that have a note.
    pub(super) async fn all(&self) -> io::Result<Vec<Id<kind::Lease>>> {
        let notes = self.clone();
        blocking(move || notes.leases()).await
    }

    fn leases(&self) -> io::Result<Vec<Id<kind::Lease>>> {
        let mut leases = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            // What is not exactly one of our names is not ours; one that a crash left half-made ends differently.
            let lease =
                name.to_str().and_then(|name| name.strip_suffix(END)).and_then(|id| Id::parse(id).ok());
            leases.extend(lease);
        }
        Ok(leases)
    }

    /// The grammar of ids has no slash, and none begins with a dot.
    fn path(&self, lease: &Id<kind::Lease>) -> PathBuf {
        self.dir.join(format!("{lease}{END}"))
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
