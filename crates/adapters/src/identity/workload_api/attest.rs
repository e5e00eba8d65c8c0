//! Who is at the other end of a Unix socket: the user, as the kernel noted it when the connection was made, and the digest of
//! the program that this process runs.
//!
//! What it is worth: the user is the boundary. A process of the same user can trace the attested one, load code into it, or hand
//! it the connection of its own; the digest tells apart programs that are what they are, not attackers that have become
//! that user. A script is its interpreter, whose digest says nothing of the phase: such an agent needs a socket for each.

use std::{
    fs::File,
    io::{self, Read},
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    sync::Arc,
};

use aws_lc_rs::digest::{Context, SHA256};
use holdpoint_domain::Digest;
use rustix::fs::{CWD, Mode, OFlags, openat};
use tokio::net::UnixStream;

/// Largest program whose digest is taken.
const MAX_PROGRAM: u64 = 1024 * 1024 * 1024;

/// A process at the other end of a connection.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) uid: u32,
    // Of that very process: its number may be given to another one, this folder never is.
    process: Arc<OwnedFd>,
}

/// Why nothing can be said of a process.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttestError {
    /// It ended, or we may not look at it.
    #[error("the process cannot be looked at")]
    Io(#[from] io::Error),
    /// The kernel noted no process, or the one with its number is another user's by now.
    #[error("the process is gone")]
    Gone,
    /// It became another program while it was looked at, or its program is too large.
    #[error("the program cannot be told")]
    Program,
}

impl Peer {
    /// Notes who made a connection. Call it at once: the number of a process that ended is given away again.
    pub(super) fn of(stream: &UnixStream) -> Result<Self, AttestError> {
        let noted = stream.peer_cred()?;
        let pid = noted.pid().ok_or(AttestError::Gone)?;
        let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let process = openat(CWD, format!("/proc/{pid}"), folder, Mode::empty()).map_err(io::Error::from)?;
        let peer = Self { uid: noted.uid(), process: Arc::new(process) };
        // If the number was given away already, then to a process of this user or to one that is refused here.
        if peer.owner()? == peer.uid { Ok(peer) } else { Err(AttestError::Gone) }
    }

    /// The digest of the program that the process runs now. Reads the whole program.
    pub(super) fn program(&self) -> Result<Digest, AttestError> {
        let opened = self.open("exe")?;
        let before = opened.metadata()?;
        if before.len() > MAX_PROGRAM {
            return Err(AttestError::Program);
        }
        let digest = digest(opened.take(MAX_PROGRAM))?;
        // Still there, still of that user, and still that program.
        let after = self.open("exe")?.metadata()?;
        let same = (before.dev(), before.ino(), before.mtime(), before.mtime_nsec(), before.len())
            == (after.dev(), after.ino(), after.mtime(), after.mtime_nsec(), after.len());
        if same && self.owner()? == self.uid { Ok(digest) } else { Err(AttestError::Program) }
    }

    fn open(&self, name: &str) -> Result<File, AttestError> {
        let opened = openat(&*self.process, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        Ok(File::from(opened.map_err(io::Error::from)?))
    }

    /// The effective user of the process, out of the second number of `Uid:`.
    fn owner(&self) -> Result<u32, AttestError> {
        let mut status = String::new();
        self.open("status")?.read_to_string(&mut status)?;
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).ok_or(AttestError::Gone)
    }
}

/// The digest of all bytes of a file.
pub(super) fn digest(mut file: impl Read) -> Result<Digest, AttestError> {
    // Programs are large, and are read at each call: the fastest implementation at hand.
    let (mut hash, mut block) = (Context::new(&SHA256), vec![0; 256 * 1024]);
    loop {
        let len = file.read(&mut block)?;
        let Some(read) = block.get(..len).filter(|read| !read.is_empty()) else { break };
        hash.update(read);
    }
    let digest = hash.finish();
    let digest = <[u8; 32]>::try_from(digest.as_ref()).map_err(io::Error::other)?;
    Ok(Digest::from_bytes(digest))
}
