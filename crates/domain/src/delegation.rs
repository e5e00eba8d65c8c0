//! Delegation: a person has an agent act for them, and that agent another one.
//!
//! The gate signs who acts for whom, as RFC 8693 writes it: `sub` is the head of the chain, `act` the agent that acts now, the
//! `act` within it the one that it acts for, and so on. The token is no credential: it is worth something only beside the
//! identity of the agent that it names. Every link may act within less, and not longer, than the one before it; what is
//! allowed is what is allowed to every one of them.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::{
    Id, Millis, Timestamp,
    actor::{Identity, Phase, TrustDomain},
    digest::{DigestError, canonical},
    id::kind,
    permit::parts,
    signature::PublicKey,
};

/// The `typ` of the JWS header; no other token of ours has it.
pub const DELEGATION_TYP: &str = "holdpoint-delegation+jwt";
/// Most agents in a chain: more than that, nobody oversees.
pub const MAX_AGENTS: usize = 4;
/// Longest life: a shift.
pub const MAX_DELEGATION: Millis = Millis::secs(8 * 60 * 60);
/// Longest token: more actions and targets than a person reads, and half of what a header may take.
pub const MAX_TOKEN_LEN: usize = 8 * 1024;
/// Most actions, and most targets, that a delegation names.
pub const MAX_NAMED: usize = 32;

/// What a delegation is limited to. Without a list it is not limited by it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Within {
    /// The actions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actions: Option<BTreeSet<Id<kind::Action>>>,
    /// The targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<BTreeSet<Id<kind::Target>>>,
}

/// Who acts for whom, within what, until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegation {
    /// Its id.
    pub id: Id<kind::Delegation>,
    /// The person at the head of the chain; none where an agent began it by itself.
    pub head: Option<Id<kind::Person>>,
    /// The agents between the head and [`Self::to`], the first one first.
    pub via: Vec<Id<kind::Agent>>,
    /// The agent that acts.
    pub to: Id<kind::Agent>,
    /// What it is limited to.
    pub within: Within,
    /// When it was made, in whole seconds.
    pub made_at_ms: Timestamp,
    /// It ends at this, in whole seconds.
    pub until_ms: Timestamp,
}

/// Whoever delegates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delegator<'a> {
    /// A person, for themselves.
    Person(&'a Id<kind::Person>),
    /// An agent, for itself, or for whom it acts.
    Agent(&'a Id<kind::Agent>, Option<&'a Delegation>),
}

/// What the delegator wants.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The id of the new delegation.
    pub id: Id<kind::Delegation>,
    /// To whom.
    pub to: Id<kind::Agent>,
    /// Within what.
    pub within: Within,
    /// For how long, from now.
    pub life: Millis,
}

/// Why there is no delegation, or why it counts for nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DelegationError {
    /// Too long a chain.
    #[error("expected at most {MAX_AGENTS} agents in a chain")]
    TooDeep,
    /// An agent would act for itself.
    #[error("agent `{0}` is in the chain already")]
    Circle(Id<kind::Agent>),
    /// More than the delegator may itself, or lists that name nothing or too much.
    #[error(
        "the {0} are not within those of the delegator: expected at most the same, at least one, and {MAX_NAMED} at most"
    )]
    Wider(&'static str),
    /// No life, too long a one, or one beyond the delegator's.
    #[error(
        "expected a life of at least a second, at most {MAX_DELEGATION}, and not beyond the end of what is passed on"
    )]
    Life,
    /// A token that is none of ours.
    #[error("expected a compact JWS of type `{DELEGATION_TYP}` with `alg` EdDSA in canonical form")]
    Malformed,
    /// Another key made it, or somebody changed it.
    #[error("the delegation's signature does not hold")]
    Signature,
    /// For another gate.
    #[error("the delegation is for another issuer, audience or trust domain")]
    OtherGate,
    /// Over, or from the future.
    #[error("the delegation is over, or not valid yet")]
    NotNow,
    /// Brought by somebody else than it names.
    #[error("the delegation is to agent `{to}`, and agent `{by}` brought it")]
    NotTheirs {
        /// In the token.
        to: Id<kind::Agent>,
        /// By its identity.
        by: Id<kind::Agent>,
    },
    /// No canonical form.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

/// Whose tokens they are: names that stand in every one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming {
    /// The gate: the log's origin.
    pub issuer: String,
    /// The one audience.
    pub audience: String,
    /// The trust domain of agents and people.
    pub domain: TrustDomain,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Act {
    sub: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    act: Option<Box<Self>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    act: Act,
    aud: String,
    #[serde(deserialize_with = "crate::digest::whole")]
    exp: u64,
    #[serde(deserialize_with = "crate::digest::whole")]
    iat: u64,
    iss: String,
    jti: Id<kind::Delegation>,
    sub: String,
    within: Within,
}

impl Within {
    /// Whether an action on a target is within it.
    #[must_use]
    pub fn covers(&self, action: &Id<kind::Action>, target: &Id<kind::Target>) -> bool {
        self.actions.as_ref().is_none_or(|actions| actions.contains(action))
            && self.targets.as_ref().is_none_or(|targets| targets.contains(target))
    }

    /// What is left of these limits when more are asked for: those that are not named stay as they are.
    fn narrowed(&self, wanted: Self) -> Result<Self, DelegationError> {
        Ok(Self {
            actions: less("actions", self.actions.as_ref(), wanted.actions)?,
            targets: less("targets", self.targets.as_ref(), wanted.targets)?,
        })
    }
}

fn less<T: Ord + Clone>(
    what: &'static str,
    has: Option<&BTreeSet<T>>,
    wanted: Option<BTreeSet<T>>,
) -> Result<Option<BTreeSet<T>>, DelegationError> {
    let Some(wanted) = wanted else { return Ok(has.cloned()) };
    let fits = !wanted.is_empty() && wanted.len() <= MAX_NAMED && has.is_none_or(|has| wanted.is_subset(has));
    if fits { Ok(Some(wanted)) } else { Err(DelegationError::Wider(what)) }
}

impl Delegation {
    /// A delegation, if the delegator may do all of it itself. Whether they are who they say is the caller's concern.
    pub fn new(by: Delegator<'_>, wanted: Wanted, now: Timestamp) -> Result<Self, DelegationError> {
        let Wanted { id, to, within, life } = wanted;
        let (head, via, has, end) = match by {
            Delegator::Person(person) => (Some(person.clone()), Vec::new(), Within::default(), None),
            Delegator::Agent(agent, None) => (None, vec![agent.clone()], Within::default(), None),
            Delegator::Agent(agent, Some(held)) => {
                if held.to != *agent {
                    return Err(DelegationError::NotTheirs { to: held.to.clone(), by: agent.clone() });
                }
                let via = held.via.iter().chain([agent]).cloned().collect();
                (held.head.clone(), via, held.within.clone(), Some(held.until_ms))
            }
        };
        if via.len() >= MAX_AGENTS {
            return Err(DelegationError::TooDeep);
        }
        if via.contains(&to) {
            return Err(DelegationError::Circle(to));
        }
        let seconds = |time: Timestamp| time.ms().div_euclid(1000).checked_mul(1000);
        let whole = |time: Timestamp| {
            seconds(time).and_then(|ms| Timestamp::from_ms(ms).ok()).ok_or(DelegationError::Life)
        };
        let until = now.plus(life).map_err(|_| DelegationError::Life).and_then(whole)?;
        let made_at_ms = whole(now)?;
        if life > MAX_DELEGATION || until <= now || end.is_some_and(|end| until > end) {
            return Err(DelegationError::Life);
        }
        Ok(Self { id, head, via, to, within: has.narrowed(within)?, made_at_ms, until_ms: until })
    }

    /// The JWS signing input: header and canonical claims, in base64url.
    pub fn signing_input(&self, key: &PublicKey, naming: &Naming) -> Result<String, DigestError> {
        let header = serde_json::json!({
            "alg": "EdDSA", "kid": key.thumbprint().to_string(), "typ": DELEGATION_TYP,
        });
        let (header, claims) = (canonical(&header)?, canonical(&self.claims(naming))?);
        Ok(format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims)))
    }

    fn claims(&self, naming: &Naming) -> Claims {
        let agent = |agent: &Id<kind::Agent>| {
            Identity::Agent { agent: agent.clone(), phase: Phase::Decide }.spiffe_id(&naming.domain)
        };
        let person =
            |person: &Id<kind::Person>| Identity::Person { person: person.clone() }.spiffe_id(&naming.domain);
        // Whoever began the chain is the subject; without a person that is the first agent.
        let (sub, between) = match &self.head {
            Some(head) => (person(head), self.via.as_slice()),
            None => match self.via.split_first() {
                Some((first, rest)) => (agent(first), rest),
                None => (agent(&self.to), &[][..]),
            },
        };
        let within = |inner, name| Some(Box::new(Act { sub: agent(name), act: inner }));
        Claims {
            act: Act { sub: agent(&self.to), act: between.iter().fold(None, within) },
            aud: naming.audience.clone(),
            exp: self.until_ms.ms().div_euclid(1000),
            iat: self.made_at_ms.ms().div_euclid(1000),
            iss: naming.issuer.clone(),
            jti: self.id.clone(),
            sub,
            within: self.within.clone(),
        }
    }

    /// Opens a token that agent `by` brought: checks signature, form, names and time.
    pub fn open(
        token: &str,
        key: &PublicKey,
        naming: &Naming,
        by: &Id<kind::Agent>,
        now: Timestamp,
    ) -> Result<Self, DelegationError> {
        let malformed = || DelegationError::Malformed;
        if token.len() > MAX_TOKEN_LEN {
            return Err(malformed());
        }
        let (signed, claims, signature) = parts(token).ok_or_else(malformed)?;
        signature.verify_raw(key, signed.as_bytes()).map_err(|_| DelegationError::Signature)?;
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| malformed())?;
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_| malformed())?;
        if claims.iss != naming.issuer || claims.aud != naming.audience {
            return Err(DelegationError::OtherGate);
        }
        let delegation = Self::of(claims, &naming.domain)?;
        // What we would not have written so, we did not write.
        if delegation.signing_input(key, naming)? != signed {
            return Err(malformed());
        }
        if now < delegation.made_at_ms || now >= delegation.until_ms {
            return Err(DelegationError::NotNow);
        }
        if delegation.to != *by {
            return Err(DelegationError::NotTheirs { to: delegation.to, by: by.clone() });
        }
        Ok(delegation)
    }

    fn of(claims: Claims, domain: &TrustDomain) -> Result<Self, DelegationError> {
        let agent = |text: &str| match Identity::parse(text, domain) {
            Ok(Identity::Agent { agent, phase: Phase::Decide }) => Ok(agent),
            Ok(Identity::Agent { .. } | Identity::Person { .. }) | Err(_) => Err(DelegationError::OtherGate),
        };
        let to = agent(&claims.act.sub)?;
        let (mut via, mut next) = (Vec::new(), claims.act.act);
        while let Some(act) = next {
            via.push(agent(&act.sub)?);
            if via.len() >= MAX_AGENTS {
                return Err(DelegationError::TooDeep);
            }
            next = act.act;
        }
        let head = match Identity::parse(&claims.sub, domain) {
            Ok(Identity::Person { person }) => Some(person),
            Ok(Identity::Agent { .. }) => {
                via.push(agent(&claims.sub)?);
                None
            }
            Err(_) => return Err(DelegationError::OtherGate),
        };
        via.reverse();
        let at = |seconds: u64| {
            let ms = seconds.checked_mul(1000).ok_or(DelegationError::Malformed)?;
            Timestamp::from_ms(ms).map_err(|_| DelegationError::Malformed)
        };
        let (made_at_ms, until_ms) = (at(claims.iat)?, at(claims.exp)?);
        Ok(Self { id: claims.jti, head, via, to, within: claims.within, made_at_ms, until_ms })
    }
}
