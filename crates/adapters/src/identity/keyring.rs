//! The keys of one source: replaced behind whoever holds them, with what is known of the source.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use holdpoint_domain::{Millis, Timestamp};

use super::jwks::{Bundle, Jwks};

/// The keys of one source, as they were published last.
#[derive(Debug)]
pub struct Keyring {
    name: String,
    max_age: Option<Millis>,
    generation: AtomicU64,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    keys: Option<Arc<Jwks>>,
    x509_authorities: Option<Arc<[Vec<u8>]>>,
    sequence: Option<u64>,
    refreshed_at: Option<Timestamp>,
    fault: Option<String>,
}

/// What is known of a source, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStatus {
    /// Which source it is.
    pub name: String,
    /// How many keys are believed.
    pub keys: usize,
    /// When the source was heard last; none for one that never was, or that is not asked again.
    pub refreshed_at: Option<Timestamp>,
    /// The sequence number that it said last.
    pub sequence: Option<u64>,
    /// Why the last attempt brought nothing; none where it did.
    pub fault: Option<String>,
}

/// A bundle that is older than the one that is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bundle went back: expected `spiffe_sequence` of at least {known}, got {}", shown(*.got))]
pub struct WentBack {
    known: u64,
    got: Option<u64>,
}

fn shown(sequence: Option<u64>) -> String {
    sequence.map_or_else(|| "none".to_owned(), |sequence| sequence.to_string())
}

impl Keyring {
    /// Keys that stay as they are.
    #[must_use]
    pub fn fixed(name: impl Into<String>, keys: Jwks) -> Self {
        let state = State { keys: Some(Arc::new(keys)), ..State::default() };
        Self { name: name.into(), max_age: None, generation: AtomicU64::new(0), state: RwLock::new(state) }
    }

    /// Keys that a source will bring. Until then nobody is believed by it, nor when it was not heard for `max_age`.
    #[must_use]
    pub fn awaited(name: impl Into<String>, max_age: Option<Millis>) -> Self {
        Self { name: name.into(), max_age, generation: AtomicU64::new(0), state: RwLock::default() }
    }

    /// The keys that are believed now, and until when without hearing more; none where there are none or they are too old.
    pub(super) fn keys(&self, now: Timestamp) -> Option<(Arc<Jwks>, Option<Timestamp>)> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let keys = state.keys.clone()?;
        let end = match (self.max_age, state.refreshed_at) {
            (None, _) => None,
            (Some(max_age), Some(at)) => Some(at.plus(max_age).ok()?),
            (Some(_), None) => return None,
        };
        if end.is_some_and(|end| now >= end) { None } else { Some((keys, end)) }
    }

    /// How often the keys became others. What was checked under another number has to be checked again.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// The certificates of the source's X.509 authorities, DER; none before the source was heard.
    pub(super) fn x509_authorities(&self) -> Option<Arc<[Vec<u8>]>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).x509_authorities.clone()
    }

    /// Believes what a source published, instead of what it published before. A sequence number that went back, or away,
    /// changes nothing: whoever can show an old bundle would bring a withdrawn key back. Returns whether the keys are others.
    pub fn replace(&self, bundle: Bundle, now: Timestamp) -> Result<bool, WentBack> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = state.sequence
            && bundle.sequence.is_none_or(|got| got < known)
        {
            return Err(WentBack { known, got: bundle.sequence });
        }
        let others = state.keys.as_ref().is_none_or(|keys| keys.digest() != bundle.keys.digest());
        *state = State {
            keys: Some(Arc::new(bundle.keys)),
            x509_authorities: Some(bundle.x509_authorities.into()),
            sequence: bundle.sequence,
            refreshed_at: Some(now),
            fault: None,
        };
        if others {
            self.generation.fetch_add(1, Ordering::SeqCst);
        }
        Ok(others)
    }

    /// Notes why nothing new came; what is believed stays.
    pub fn missed(&self, fault: String) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).fault = Some(fault);
    }

    /// What is known of the source.
    #[must_use]
    pub fn status(&self) -> SourceStatus {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        SourceStatus {
            name: self.name.clone(),
            keys: state.keys.as_ref().map_or(0, |keys| keys.len()),
            refreshed_at: state.refreshed_at,
            sequence: state.sequence,
            fault: state.fault.clone(),
        }
    }
}
