//! The rotation itself: forward step by step, and back.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use holdpoint_app::port::ExecuteError;
use holdpoint_domain::Digest;
use reqwest::{Client, StatusCode, Url, redirect};

use super::{
    SecretTarget,
    accepted::{List, Token, id_of},
};
use crate::{
    executor::{
        chain,
        files::{
            Command, Held,
            place::{Content, Place, PlaceLock, SwapError, room},
            state::{FileState, Rotation},
        },
        memory::{Mandate, PhaseWord, expects, invalid, not_done, refused, unknown},
    },
    step::Step,
};

/// Largest token file.
const MAX_TOKEN_FILE: u64 = 8 * 1024;
/// Largest list of accepted tokens.
const MAX_LIST_FILE: u64 = 256 * 1024;
/// Largest answer of a consumer: an id and little else.
const MAX_ANSWER: usize = 1024;
/// How long one answer of a consumer may take.
const ASK_LIMIT: Duration = Duration::from_secs(2);
/// How often a consumer is asked.
const ASK_PAUSE: Duration = Duration::from_millis(50);
/// How often the list is read again behind somebody else's edit.
const LIST_TRIES: u32 = 5;
/// Room for the state file and one more token.
const STATE_ROOM: usize = 16 * 1024;

/// Token and list as they are.
pub(super) struct Pair {
    pub(super) token: Token,
    file: Content,
    pub(super) list: List,
}

/// One rotation under its lock.
pub(super) struct Bench<'a> {
    mandate: &'a Mandate,
    held: &'a Held<'a, SecretTarget>,
    state: FileState,
}

impl Pair {
    /// Reads both files.
    pub(super) fn read(target: &SecretTarget) -> Result<Self, ExecuteError> {
        let file = open(&target.token)?.read(MAX_TOKEN_FILE);
        let file = file.map_err(|err| not_done("the token file cannot be read", &err))?;
        let token = Token::of(&file);
        let token = token.ok_or_else(|| refused("document", "expected a token on one line of its file"))?;
        let list = open(&target.accepted)?.read(MAX_LIST_FILE);
        let list = list.map_err(|err| not_done("the list of accepted tokens cannot be read", &err))?;
        Ok(Self { token, file, list: listed(&list)? })
    }
}

fn open(path: &Path) -> Result<Place, ExecuteError> {
    Place::open(path).map_err(|err| not_done("a directory cannot be opened", &err))
}

fn lock(place: &Place) -> Result<PlaceLock, ExecuteError> {
    place.lock().map_err(|err| not_done("the lock of a file cannot be taken", &err))
}

fn listed(file: &Content) -> Result<List, ExecuteError> {
    List::of(file).map_err(|err| refused("document", err))
}

impl<'a> Bench<'a> {
    pub(super) const fn new(
        mandate: &'a Mandate,
        held: &'a Held<'a, SecretTarget>,
        state: FileState,
    ) -> Self {
        Self { mandate, held, state }
    }

    const fn target(&self) -> &SecretTarget {
        self.held.target
    }

    /// Everything but the effect.
    pub(super) fn rehearse(&self) -> Result<(), ExecuteError> {
        if self.rotation().is_some() {
            return Ok(());
        }
        let pair = Pair::read(self.target())?;
        self.fits(&pair)?;
        self.possible()?;
        if self.target().consumer.shows.is_some() && self.asked()? != Some(id_of(&pair.token.digest())) {
            let why = "the consumer does not show that it uses the token of its file";
            return Err(ExecuteError::NotDone(why.to_owned()));
        }
        Ok(())
    }

    /// The rotation, or the end of one that a crash cut short.
    pub(super) fn apply(mut self) -> Result<(), ExecuteError> {
        let place = open(&self.target().token)?;
        let _lock = lock(&place)?;
        match self.rotation() {
            Some(rotation) if rotation.moved => return self.retire(&place, &rotation),
            Some(rotation) => return self.back(&place, &rotation, "a crash cut the rotation short"),
            None => {}
        }
        let pair = Pair::read(self.target())?;
        self.fits(&pair)?;
        self.possible()?;
        let fresh = Token::fresh();
        let next = fresh.in_manner_of(&pair.file);
        // If we stop here, a token that nobody accepts lies beside the file, and the next write drops it.
        place.stage(&next).map_err(|err| not_done("the new token was not staged", &err))?;
        let prior = self.state.prior(self.mandate);
        let rotation = Rotation { old: pair.token.digest(), new: fresh.digest(), moved: false, prior };
        if let Err(err) = self.mandate.current().and_then(|()| self.begin(&rotation)) {
            // Nobody accepts it; if it stays, the next write drops it.
            let _ = place.clear_aside();
            return Err(err);
        }
        // If we stop from here on, the state says `begun`, and the same permit takes it back.
        if let Err(err) = self.list_edit(|list| (!list.has(&rotation.new)).then(|| list.with(&rotation.new)))
        {
            return self.back(&place, &rotation, &format!("the new token was not made valid: {err}"));
        }
        match place.exchange(&pair.file, &next) {
            Ok(()) => {}
            Err(err @ (SwapError::NotDone(_) | SwapError::Changed)) => {
                return self.back(&place, &rotation, &chain(&err));
            }
            Err(err @ SwapError::Unknown(_)) => {
                return Err(unknown("the token may have been replaced", &err));
            }
        }
        if let Err(why) = self.move_to(&rotation.new) {
            return self.back(&place, &rotation, &why);
        }
        let moved = Rotation { moved: true, ..rotation };
        self.begin(&moved)?;
        self.retire(&place, &moved)
    }

    /// The last step, from which nothing leads back: the old token is no longer accepted.
    fn retire(mut self, place: &Place, rotation: &Rotation) -> Result<(), ExecuteError> {
        let pair = Pair::read(self.target())?;
        if pair.token.digest() != rotation.new || !pair.list.has(&rotation.new) {
            let why = "somebody changed the token or the list since the consumer moved";
            return Err(ExecuteError::Unknown(why.to_owned()));
        }
        // If we stop here, both are valid and the state says `moved`: the same permit goes on.
        self.list_edit(|list| list.has(&rotation.old).then(|| list.without(&rotation.old)))
            .map_err(|err| ExecuteError::Unknown(format!("the old token may still be accepted: {err}")))?;
        // The old token itself. It opens nothing any more, but it stays nowhere either.
        place.clear_aside().map_err(|err| unknown("the old token's file was not removed", &err))?;
        let left = self.target().version(&Pair::read(self.target())?)?;
        let mut state = self.state.by(self.mandate, Some(self.mandate.acted(PhaseWord::Applied, Some(left))));
        state.rotation = None;
        self.write(Step::MemoryFinish, state)
            .map_err(|err| unknown("the rotation is complete and not written down", &err))
    }

    /// Takes everything back: the token file, the consumer, the list. Both tokens stay valid until the consumer has shown
    /// that it uses the old one.
    fn back(mut self, place: &Place, rotation: &Rotation, why: &str) -> Result<(), ExecuteError> {
        let unsure = |what: &str| ExecuteError::Unknown(format!("{why}; {what}"));
        let now = place.read(MAX_TOKEN_FILE).map_err(|err| unsure(&format!("the token file: {err}")))?;
        let current = Token::of(&now).map(|token| token.digest());
        if current == Some(rotation.new) {
            let old =
                place.read_aside(MAX_TOKEN_FILE).map_err(|err| unsure(&format!("the old token: {err}")))?;
            if Token::of(&old).map(|token| token.digest()) != Some(rotation.old) {
                return Err(unsure("what lies aside is not the old token"));
            }
            place.exchange(&now, &old).map_err(|err| unsure(&chain(&err)))?;
        } else if current != Some(rotation.old) {
            return Err(unsure("somebody changed the token since"));
        }
        self.move_to(&rotation.old).map_err(|err| unsure(&format!("the old token is back: {err}")))?;
        self.list_edit(|list| list.has(&rotation.new).then(|| list.without(&rotation.new)))
            .map_err(|err| unsure(&format!("the new token may still be accepted: {err}")))?;
        place.clear_aside().map_err(|err| unsure(&format!("the new token's file: {err}")))?;
        let pair = Pair::read(self.target()).map_err(|err| unsure(&err.to_string()))?;
        let is_back = pair.token.digest() == rotation.old
            && pair.list.has(&rotation.old)
            && !pair.list.has(&rotation.new);
        if !is_back {
            return Err(unsure("it is not as it was"));
        }
        let mut state = self.state.by(self.mandate, rotation.prior.clone());
        state.rotation = None;
        self.write(Step::MemoryRetract, state)
            .map_err(|err| unsure(&format!("all is back, and not written down: {err}")))?;
        Err(ExecuteError::NotDone(format!("{why}; the old token is back, and the new one is valid nowhere")))
    }

    /// Whether the token can be rotated as it is.
    fn fits(&self, pair: &Pair) -> Result<(), ExecuteError> {
        let version = self.target().version(pair)?;
        expects(&self.mandate.warrant.step().expected_version, &version)?;
        if pair.list.has(&pair.token.digest()) {
            return Ok(());
        }
        Err(refused("operation", "the verifier does not accept the token that is in use"))
    }

    fn possible(&self) -> Result<(), ExecuteError> {
        let target = self.target();
        let list = open(&target.accepted)?;
        let could = || -> std::io::Result<()> {
            // Twice: there and back.
            list.could_write(list.read(MAX_LIST_FILE)?.bytes.len().saturating_mul(2).saturating_add(1024))?;
            room(&std::fs::File::open(self.held.dir)?, STATE_ROOM)?;
            target.consumer.reload.as_ref().map_or(Ok(()), Command::could_run)
        };
        open(&target.token)?
            .could_write(STATE_ROOM)
            .and_then(|()| could())
            .map_err(|err| not_done("the token could not be rotated", &err))
    }

    /// A rotation that this permit began.
    fn rotation(&self) -> Option<Rotation> {
        let begun = self.mandate.phase(self.state.memory()) == Some(PhaseWord::Begun);
        self.state.rotation.clone().filter(|_| begun)
    }

    /// The durable word of how far the rotation got.
    fn begin(&mut self, rotation: &Rotation) -> Result<(), ExecuteError> {
        let mut state = self.state.by(self.mandate, Some(self.mandate.acted(PhaseWord::Begun, None)));
        state.rotation = Some(rotation.clone());
        let step = if rotation.moved { Step::MemoryMoved } else { Step::MemoryBegin };
        self.write(step, state).map_err(|err| {
            let what = "the state was not written";
            if rotation.moved { unknown(what, &err) } else { not_done(what, &err) }
        })
    }

    fn write(&mut self, step: Step, state: FileState) -> std::io::Result<()> {
        state.store(step, self.held.dir, &self.held.target.id)?;
        self.state = state;
        Ok(())
    }

    /// Edits the list, behind whoever else edits it, and makes sure of it. `edit` says what the document becomes, or
    /// nothing when it is so already.
    fn list_edit(
        &self,
        edit: impl Fn(&List) -> Option<Result<Vec<u8>, crate::executor::files::json::Missing>>,
    ) -> Result<(), ExecuteError> {
        let place = open(&self.target().accepted)?;
        let _lock = lock(&place)?;
        for _ in 0..LIST_TRIES {
            let now = place.read(MAX_LIST_FILE).map_err(|err| not_done("the list cannot be read", &err))?;
            let Some(bytes) = edit(&listed(&now)?) else { return Ok(()) };
            let bytes = bytes.map_err(|err| refused("document", err))?;
            let next = Content { bytes, ..now.clone() };
            place.stage(&next).map_err(|err| not_done("the list was not staged", &err))?;
            match place.exchange(&now, &next) {
                Ok(()) => {
                    // What lies aside is a list of digests; if it stays, the next write drops it.
                    let _ = place.clear_aside();
                }
                Err(SwapError::Changed) => {}
                Err(err @ SwapError::NotDone(_)) => return Err(not_done("the list is as it was", &err)),
                Err(err @ SwapError::Unknown(_)) => return Err(unknown("the list may be replaced", &err)),
            }
        }
        Err(ExecuteError::NotDone(format!("somebody changed the list {LIST_TRIES} times meanwhile")))
    }

    /// Tells the consumer, and waits until it shows that it uses this token.
    fn move_to(&self, token: &Digest) -> Result<(), String> {
        let begun = Instant::now();
        if let Some(reload) = &self.target().consumer.reload {
            reload.run().map_err(|err| chain(&err))?;
        }
        if self.target().consumer.shows.is_none() {
            return Ok(());
        }
        let limit = Duration::from_millis(self.target().move_limit.ms());
        let wanted = id_of(token);
        loop {
            if self.asked().map_err(|err| err.to_string())?.is_some_and(|id| id == wanted) {
                return Ok(());
            }
            if begun.elapsed() >= limit {
                return Err(format!("the consumer did not move within {}", self.target().move_limit));
            }
            thread::sleep(ASK_PAUSE);
        }
    }

    /// The id of the token that the consumer says it uses; none when it does not answer with one.
    fn asked(&self) -> Result<Option<String>, ExecuteError> {
        let Some(url) = &self.target().consumer.shows else { return Ok(None) };
        let runtime = tokio::runtime::Handle::try_current();
        let runtime = runtime.map_err(|err| not_done("the consumer cannot be asked", &err))?;
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(0)
            .timeout(ASK_LIMIT)
            .build()
            .map_err(|_| not_done("the consumer cannot be asked", &invalid("no HTTP client")))?;
        Ok(runtime.block_on(ask(&client, url.clone())))
    }
}

async fn ask(client: &Client, url: Url) -> Option<String> {
    let mut response = client.get(url).send().await.ok()?;
    if response.status() != StatusCode::OK {
        return None;
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if chunk.len() > MAX_ANSWER.saturating_sub(body.len()) {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    // Compared with an id of ours and dropped: no text of the consumer goes any further.
    Some(String::from_utf8(body).ok()?.trim().to_owned())
}
