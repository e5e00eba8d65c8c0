//! Bearer leases for HTTP targets that check them by themselves: a token a task, signed by the issuer.
//!
//! | done | if we stop here |
//! | --- | --- |
//! | the claims are noted | no token left this process; the note is found, and the token it would make is ended and proven like any other |
//! | the executor's book takes it up, and the target takes it | as above |
//! | its end: the executor's book ends it | the sweep goes on |
//! | the target refuses the very token, and takes a fresh control | as above |
//! | the note is removed | nothing is left |
//!
//! A target that checks by the key alone cannot know of a revocation: its bound is the life of the token, and until then the end
//! [lasts](IssueError::Lasts). One that asks the gate's introspection knows at once. The executor's own use ends at once with
//! either.

mod notes;
mod target;

use std::{collections::BTreeMap, fmt, io, path::Path, sync::Arc};

use async_trait::async_trait;
use holdpoint_app::port::{Clock, IssueError};
use holdpoint_domain::{
    Digest, Id, Timestamp,
    bearer::{Claims, Confirmation, Detail, DetailType, Granted, MAX_CONTROL_SECS, MAX_LEASE_TOKEN_LEN, Run},
    id::kind,
    lease::{LeaseSecret, Scope, Terms, Ttl},
    permit::compact,
    signature::PublicKey,
};
use reqwest::Url;

use super::{
    backends::{Backend, Order},
    book::LeaseBook,
};
use crate::{
    executor::http_job::{self, is_here, undo_key},
    system::{Ed25519Key, KeyFileError, Seed, random},
};
use notes::Notes;
pub(crate) use target::hidden;
use target::{Said, Shown, Target};

/// How far the clock of a target may be behind, and how long after its end a token may still be taken.
pub const SKEW_MS: u64 = 5_000;
/// Shortest life: times in tokens are whole seconds.
const SHORTEST_MS: u64 = 2_000;
/// Longest name of an issuer and of an audience.
const MAX_NAME: usize = 256;
/// An audience that no target has.
const NOBODY: &str = "urn:holdpoint:nobody";

/// How a token is brought to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presentation {
    /// Whoever has it may use it (RFC 6750).
    Bearer,
    /// Only whoever has the executor's key as well (RFC 9449).
    Dpop,
}

/// A job of a runner, as its tokens name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenJob {
    /// The runner's name.
    pub name: String,
    /// The job that takes it back.
    pub undo_job: Option<String>,
}

/// What the operator says of targets that take tokens.
#[derive(Debug, Clone)]
pub struct BearerSpec {
    /// The backend's name.
    pub name: Id<kind::Backend>,
    /// The `iss` of its tokens.
    pub issuer: String,
    /// Their one `aud`: the target, by the name that it knows itself by.
    pub audience: String,
    /// An address at the target that answers 2xx to a good token alone, and 401 or 403 to any other.
    pub check: String,
    /// How tokens are brought.
    pub presentation: Presentation,
    /// The longest life.
    pub max: Ttl,
    /// The executor that uses them.
    pub executor: Id<kind::Executor>,
    /// The jobs, by target.
    pub jobs: BTreeMap<Id<kind::Target>, TokenJob>,
}

/// Why tokens cannot be leased. The fault is with whoever configured it.
#[derive(Debug, thiserror::Error)]
pub enum BearerSpecError {
    /// A name that is none.
    #[error("lease backend `{backend}`: expected an `{field}` of 1 to {MAX_NAME} visible ASCII characters")]
    Name {
        /// The backend.
        backend: Id<kind::Backend>,
        /// Which name.
        field: &'static str,
    },
    /// Not a plain address.
    #[error(
        "lease backend `{0}`: expected a `check` that is an `https` URL, or an `http` one of an address of this machine, without user and fragment"
    )]
    Check(Id<kind::Backend>),
    /// Too short a life.
    #[error(
        "lease backend `{0}`: expected a `max_ttl_ms` of at least {SHORTEST_MS}: times in tokens are whole seconds"
    )]
    Life(Id<kind::Backend>),
    /// The folder of its notes.
    #[error("lease backend `{backend}`: its folder cannot be used")]
    Folder {
        /// The backend.
        backend: Id<kind::Backend>,
        /// Why.
        source: io::Error,
    },
    /// The key.
    #[error("the key of bearer leases cannot be used")]
    Key(#[from] KeyFileError),
    /// No HTTP client.
    #[error("the HTTP client cannot be made")]
    Client(#[from] reqwest::Error),
}

/// Where the issuer's own side of tokens is.
pub struct BearerParts<'a> {
    /// The folder of what was minted and is not proven dead.
    pub notes: &'a Path,
    /// The key that signs tokens, and nothing else.
    pub key: &'a Seed,
    /// The executor's book.
    pub book: Arc<dyn LeaseBook>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// Tokens for targets of one audience.
pub struct BearerTokens {
    spec: BearerSpec,
    key: Ed25519Key,
    /// What tokens are bound to that are shown by the issuer itself, where tokens are bound.
    own: Ed25519Key,
    notes: Notes,
    target: Target,
    book: Arc<dyn LeaseBook>,
    clock: Arc<dyn Clock>,
}

impl BearerTokens {
    /// A backend over a target. Asks nobody.
    pub fn open(spec: BearerSpec, parts: BearerParts<'_>) -> Result<Self, BearerSpecError> {
        let name = || spec.name.clone();
        for (field, text) in [("issuer", &spec.issuer), ("audience", &spec.audience)] {
            let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
            if !plain || text.is_empty() || text.len() > MAX_NAME {
                return Err(BearerSpecError::Name { backend: name(), field });
            }
        }
        let url =
            Url::parse(&spec.check).ok().filter(is_fit).ok_or_else(|| BearerSpecError::Check(name()))?;
        if spec.max.span().ms() < SHORTEST_MS {
            return Err(BearerSpecError::Life(name()));
        }
        let notes = Notes::open(parts.notes);
        let notes = notes.map_err(|source| BearerSpecError::Folder { backend: name(), source })?;
        Ok(Self {
            key: public_name(parts.key)?,
            own: public_name(&Seed::fresh())?,
            notes,
            target: Target::new(url, http_job::client("issuer")?),
            book: parts.book,
            clock: parts.clock,
            spec,
        })
    }

    /// The key that its tokens are checked with.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.key.public_key()
    }

    /// What a lease says at its target.
    fn claims(&self, order: Order<'_>) -> Result<Claims, String> {
        let (info, grant) = (order.info, order.permit.grant());
        let seconds = |time: Timestamp| time.ms().div_euclid(1000);
        let (made, end) = (seconds(order.now), seconds(info.expires_at_ms));
        if end <= made {
            return Err(format!(
                "life: expected at least {SHORTEST_MS} ms, for times in tokens are whole seconds"
            ));
        }
        let executor = &self.spec.executor;
        let key = grant.executors.get(executor);
        let key = *key.ok_or_else(|| format!("executor: the permit does not name `{executor}`"))?;
        let mut details = Vec::new();
        for (number, step) in order.plan.steps().iter().enumerate() {
            if !info.scopes.contains(&Scope::of(step)) {
                continue;
            }
            let job = self.spec.jobs.get(&step.target);
            let job = job.ok_or_else(|| format!("scope: no job is known for target `{}`", step.target))?;
            let run_key = http_job::run_key(&grant.nonce, number);
            let undo = job.undo_job.clone().map(|job| Run { job, key: undo_key(&run_key) });
            details.push(Detail {
                r#type: DetailType::Job,
                actions: [step.action.clone()],
                identifier: step.target.clone(),
                parameters: http_job::filled(&step.params)?,
                runs: std::iter::once(Run { job: job.name.clone(), key: run_key }).chain(undo).collect(),
            });
        }
        let granted = Granted { permit: grant.id.clone(), plan: grant.plan, epoch: grant.epoch };
        Ok(Claims {
            jti: info.id.clone(),
            iat: made,
            nbf: made,
            exp: end,
            cnf: self.bound(Confirmation { jkt: key }),
            grant: Some(granted),
            authorization_details: details,
            ..self.control(order.now)?
        })
    }

    /// A token that opens nothing, and is good now.
    fn control(&self, now: Timestamp) -> Result<Claims, String> {
        let now = now.ms().div_euclid(1000);
        Ok(Claims {
            iss: self.spec.issuer.clone(),
            aud: self.spec.audience.clone(),
            sub: self.spec.executor.clone(),
            client_id: self.spec.executor.clone(),
            iat: now,
            nbf: now,
            exp: now.saturating_add(MAX_CONTROL_SECS),
            jti: Id::fresh("control", u128::from_be_bytes(random())).map_err(|err| err.to_string())?,
            cnf: self.bound(Confirmation { jkt: self.own.public_key().thumbprint() }),
            grant: None,
            authorization_details: Vec::new(),
        })
    }

    /// A binding, where tokens are bound.
    fn bound(&self, to: Confirmation) -> Option<Confirmation> {
        match self.spec.presentation {
            Presentation::Bearer => None,
            Presentation::Dpop => Some(to),
        }
    }

    /// The token of these claims, always the same.
    fn token(&self, claims: &Claims) -> Result<LeaseSecret, String> {
        signed(claims, &self.key.public_key(), &self.key)
    }

    /// What the target says to a token of these claims, if the issuer brings it. Where tokens are bound to a key, the token that is
    /// shown is bound to the issuer's own, and the same in all else.
    async fn says(&self, claims: &Claims, now: Timestamp) -> Result<Said, String> {
        let own = self.bound(Confirmation { jkt: self.own.public_key().thumbprint() });
        let token = self.token(&Claims { cnf: own, ..claims.clone() })?;
        Ok(self.target.says(self.shown(token.expose(), now)).await)
    }

    const fn shown<'a>(&'a self, token: &'a str, now: Timestamp) -> Shown<'a> {
        match self.spec.presentation {
            Presentation::Bearer => Shown::Bearer(token),
            Presentation::Dpop => Shown::Proven(token, &self.own, now),
        }
    }

    /// Refuses a target that takes what is no good: there a lease would end nothing, and its end would prove nothing.
    async fn is_careful(&self, now: Timestamp) -> Result<(), IssueError> {
        let good = self.control(now).map_err(IssueError::Refused)?;
        let stale = good.exp.saturating_sub(MAX_CONTROL_SECS).saturating_sub(SKEW_MS.div_euclid(1000));
        let begun = stale.saturating_sub(MAX_CONTROL_SECS);
        let over = Claims { iat: begun, nbf: begun, exp: stale, ..good.clone() };
        let others = Claims { aud: NOBODY.to_owned(), ..good.clone() };
        let token = |claims: &Claims| self.token(claims).map_err(IssueError::Refused);
        let stranger = public_name(&Seed::fresh()).map_err(|err| IssueError::Backend(err.to_string()))?;
        let forged = signed(&good, &self.key.public_key(), &stranger).map_err(IssueError::Refused)?;
        let (over, others, good) = (token(&over)?, token(&others)?, token(&good)?);
        let mut bad = vec![
            ("nothing at all", Shown::Nothing),
            ("a token that another key signed", self.shown(forged.expose(), now)),
            (
                "a token that ended 5 s ago: set its leeway to nothing, or its clock right",
                self.shown(over.expose(), now),
            ),
            ("a token for another audience", self.shown(others.expose(), now)),
        ];
        if self.spec.presentation == Presentation::Dpop {
            bad.push(("a bound token without a proof", Shown::Unproven(good.expose())));
            bad.push(("a bound token as a bearer's", Shown::Bearer(good.expose())));
        }
        for (what, shown) in bad {
            match self.target.says(shown).await {
                Said::Refused => {}
                Said::Taken => {
                    return Err(IssueError::Refused(format!("the target's check takes {what}")));
                }
                Said::Neither(why) => {
                    return Err(IssueError::Backend(format!(
                        "the target's check does not refuse {what}: {why}"
                    )));
                }
            }
        }
        match self.target.says(self.shown(good.expose(), now)).await {
            Said::Taken => Ok(()),
            said @ (Said::Refused | Said::Neither(_)) => Err(IssueError::Backend(format!(
                "the target's check does not take a good token: {said}; look at its issuer, audience, keys and clock"
            ))),
        }
    }
}

#[async_trait]
impl Backend for BearerTokens {
    fn terms(&self) -> Terms {
        let (backend, max) = (Some(self.spec.name.clone()), self.spec.max);
        let min = Ttl::new(SHORTEST_MS).unwrap_or(Ttl::SHORTEST);
        Terms { backend, max, min, ends_early: false }
    }

    fn outlives(&self) -> bool {
        true
    }

    async fn mint(&self, order: Order<'_>) -> Result<LeaseSecret, IssueError> {
        let (id, now) = (&order.info.id, order.now);
        let claims = self.claims(order).map_err(IssueError::Refused)?;
        let token = self.token(&claims).map_err(IssueError::Refused)?;
        self.is_careful(now).await?;
        // If we stop after this, the sweep finds the note, and proves that its token is dead.
        self.notes.write(&claims).await.map_err(|err| noted(&err))?;
        let digest = Digest::of_bytes(token.expose().as_bytes());
        if !self.book.admit(order.info, digest, now).await.map_err(IssueError::Backend)? {
            self.notes.forget(id).await.map_err(|err| noted(&err))?;
            return Err(IssueError::Refused(format!("lease: `{id}` was used before, or too many are live")));
        }
        match self.says(&claims, now).await.map_err(IssueError::Refused)? {
            Said::Taken => Ok(token),
            said @ (Said::Refused | Said::Neither(_)) => {
                Err(IssueError::Backend(format!("the target does not take lease `{id}`: {said}")))
            }
        }
    }

    async fn end(&self, lease: &Id<kind::Lease>) -> Result<(), IssueError> {
        let now = self.clock.now();
        if self.book.end(lease, now).await.map_err(IssueError::Backend)? {
            return Err(IssueError::Backend(format!("the executor still takes lease `{lease}`")));
        }
        // What has no note never left this process, or is proven dead.
        let Some(claims) = self.notes.read(lease).await.map_err(|err| noted(&err))? else { return Ok(()) };
        let unproven =
            |what: &str, said: &Said| IssueError::Backend(format!("the end is not proven: {what}: {said}"));
        match self.says(&claims, now).await.map_err(IssueError::Backend)? {
            Said::Refused => {}
            Said::Taken => {
                let end = claims.exp.saturating_mul(1000);
                let left = end.saturating_add(SKEW_MS).saturating_sub(now.ms());
                return Err(match left {
                    0 => IssueError::Backend(format!("the target takes lease `{lease}` after its end")),
                    _ => IssueError::Lasts(format!(
                        "the target takes lease `{lease}` until its own end, in {left} ms at the latest: it does not ask for introspection"
                    )),
                });
            }
            said @ Said::Neither(_) => return Err(unproven("the lease was shown", &said)),
        }
        // A target that refuses whatever it is shown proves nothing.
        let control = self.control(now).map_err(IssueError::Backend)?;
        match self.says(&control, now).await.map_err(IssueError::Backend)? {
            Said::Taken => {}
            said @ (Said::Refused | Said::Neither(_)) => {
                return Err(unproven("a good token was shown as well", &said));
            }
        }
        self.notes.forget(lease).await.map_err(|err| noted(&err))
    }

    async fn held(&self) -> Result<Vec<Id<kind::Lease>>, IssueError> {
        self.notes.all().await.map_err(|err| noted(&err))
    }
}

impl fmt::Debug for BearerTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerTokens").field("spec", &self.spec).finish_non_exhaustive()
    }
}

/// Whether a token may go to an address.
fn is_fit(url: &Url) -> bool {
    let plain =
        url.has_host() && url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    plain && (url.scheme() == "https" || url.scheme() == "http" && is_here(url))
}

/// A key of bearer leases.
fn public_name(seed: &Seed) -> Result<Ed25519Key, KeyFileError> {
    Ed25519Key::from_seed("bearer", seed)
}

/// The token of these claims that names one key and is signed by one, as a rule the same.
fn signed(claims: &Claims, named: &PublicKey, key: &Ed25519Key) -> Result<LeaseSecret, String> {
    let input = claims.signing_input(named).map_err(|err| err.to_string())?;
    let token = compact(&input, &key.sign(input.as_bytes()));
    if token.len() > MAX_LEASE_TOKEN_LEN {
        return Err(format!(
            "scope: the token would have {} bytes, expected at most {MAX_LEASE_TOKEN_LEN}",
            token.len()
        ));
    }
    Ok(LeaseSecret::new(token))
}

fn noted(err: &io::Error) -> IssueError {
    IssueError::Backend(format!("the note of the lease: {err}"))
}
