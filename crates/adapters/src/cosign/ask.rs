//! Asking somebody for a cosignature: `add-checkpoint` of C2SP `tlog-witness`, from the log's side.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use holdpoint_app::port::{Head, Store, StoreError};
use holdpoint_domain::text::quoted;
use holdpoint_ledger::{
    AddCheckpoint, Cosignature, SignedCheckpoint, VerifierKey, checkpoint::CheckpointError,
    note::MAX_NOTE_BYTES,
};
use reqwest::{Client, StatusCode, header, redirect, retry};

use crate::{executor::chain, step::Step};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How often the size that a witness names is believed in one go: others may submit for the same log.
const TRIES: u32 = 3;
/// Most of an answer's text that is shown.
const SHOWN: usize = 200;

/// Somebody who cosigns our heads.
#[derive(Debug)]
pub struct Witness {
    http: Client,
    url: String,
    key: VerifierKey,
    /// The size of the head that it cosigned last, as far as we know.
    known: AtomicU64,
}

/// A cosigned head.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What was asked, and granted.
    pub request: AddCheckpoint,
    /// The cosignature.
    pub cosignature: Cosignature,
}

/// Why there is no cosignature.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It did not answer.
    #[error("cosigner `{name}` did not answer: {why}")]
    Unreachable {
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
    /// It has seen more of this log than there is: this log is an older copy, or somebody else signs with its key.
    #[error(
        "cosigner `{name}` has cosigned a head of {seen} entries, and this log has {size}: it was rolled back, or forked"
    )]
    Ahead {
        /// Its name.
        name: String,
        /// What it saw.
        seen: u64,
        /// What there is.
        size: u64,
    },
    /// It refused.
    #[error("cosigner `{name}` refused the head: {status} {text}")]
    Refused {
        /// Its name.
        name: String,
        /// Its answer.
        status: u16,
        /// What it said, made visible.
        text: String,
    },
    /// Its answer is none of its key.
    #[error("cosigner `{name}` answered without a cosignature of its key")]
    NotCosigned {
        /// Its name.
        name: String,
    },
    /// Our own head does not parse.
    #[error("the head does not stand")]
    Head(#[from] CheckpointError),
    /// Our store has no proof.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Witness {
    /// The witness at a submission prefix, for instance `https://witness.example`, by the key that its cosignatures have.
    /// `http` brings the certificates where the witness wants some.
    #[must_use]
    pub fn new(http: Client, url: &str, key: VerifierKey) -> Self {
        let url = format!("{}/add-checkpoint", url.trim_end_matches('/'));
        Self { http, url, key, known: AtomicU64::new(0) }
    }

    /// A client for witnesses that ask for no certificate: no redirects, no proxies, no second try of its own.
    ///
    /// # Errors
    /// No TLS to be had.
    pub fn plain_client() -> reqwest::Result<Client> {
        let agent = concat!("holdpoint-gate/", env!("CARGO_PKG_VERSION"));
        let builder = Client::builder().redirect(redirect::Policy::none()).retry(retry::never());
        builder.no_proxy().referer(false).user_agent(agent).timeout(LIMIT).build()
    }

    /// Its key.
    #[must_use]
    pub const fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Asks for a cosignature of `head`, which is one of `store`'s.
    ///
    /// # Errors
    /// No answer, no cosignature, or a head that the witness cannot follow.
    pub async fn cosign(&self, store: &dyn Store, head: &Head) -> Result<Asked, AskError> {
        for _ in 0..TRIES {
            let old_size = self.known.load(Ordering::Relaxed);
            let name = || self.key.name().to_owned();
            if old_size > head.size {
                return Err(AskError::Ahead { name: name(), seen: old_size, size: head.size });
            }
            let proof =
                if old_size == 0 { Vec::new() } else { store.consistency(old_size, head.size).await? };
            let checkpoint = SignedCheckpoint::parse(head.checkpoint.as_bytes())?;
            let request = AddCheckpoint { old_size, proof, checkpoint };
            match self.ask(&request).await? {
                Answer::Lines(lines) => {
                    let keys = std::slice::from_ref(&self.key);
                    let found = Cosignature::read(&request.checkpoint, &lines, keys).unwrap_or_default();
                    let cosignature = found.into_iter().next();
                    let cosignature = cosignature.ok_or_else(|| AskError::NotCosigned { name: name() })?;
                    self.known.store(head.size, Ordering::Relaxed);
                    return Ok(Asked { request, cosignature });
                }
                Answer::Size(size) if size != old_size => self.known.store(size, Ordering::Relaxed),
                Answer::Size(_) => {
                    let text = "it has another root at this size".to_owned();
                    return Err(AskError::Refused { name: name(), status: 409, text });
                }
            }
        }
        let why = "others submit heads of this log at the same time".to_owned();
        Err(AskError::Unreachable { name: self.key.name().to_owned(), why })
    }

    async fn ask(&self, request: &AddCheckpoint) -> Result<Answer, AskError> {
        let unreachable = |err: reqwest::Error| {
            let why = chain(&err.without_url());
            AskError::Unreachable { name: self.key.name().to_owned(), why }
        };
        let sent = self.http.post(&self.url).timeout(LIMIT).body(request.to_string());
        // If we stop around this, the witness may know the head; the next one continues it, by the size that it names.
        let mut response = Step::CosignAsk.take_async(|_| sent.send()).await.map_err(unreachable)?;
        let status = response.status();
        let is_size =
            response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/x.tlog.size");
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if chunk.len() > MAX_NOTE_BYTES.saturating_sub(body.len()) {
                break;
            }
            body.extend_from_slice(&chunk);
        }
        let text = String::from_utf8_lossy(&body);
        match status {
            StatusCode::OK => Ok(Answer::Lines(text.into_owned())),
            StatusCode::CONFLICT if is_size => {
                let size = text.strip_suffix('\n').and_then(|size| size.parse().ok());
                size.map(Answer::Size).ok_or_else(|| self.refused(status, &text))
            }
            other => Err(self.refused(other, &text)),
        }
    }

    fn refused(&self, status: StatusCode, text: &str) -> AskError {
        let (name, status) = (self.key.name().to_owned(), status.as_u16());
        AskError::Refused { name, status, text: quoted(text, SHOWN) }
    }
}

enum Answer {
    Lines(String),
    Size(u64),
}
