//! Whose token it is, by whose keys it is checked, and whom it names.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use holdpoint_domain::{
    Timestamp,
    actor::{Identity, SpiffeId, TrustDomain},
};
use serde_json::{Map, Value};

use super::{
    jwks::Jwks,
    jws::Unchecked,
    keyring::{Keyring, SourceStatus},
    rules::Issuer,
    token::{MAX_LIFETIME, TokenError, Verified, check_claims, subject},
};

/// Checks tokens for one audience.
///
/// A token is of one kind before any key is chosen: of a configured issuer, when its `iss` is that issuer's; else a JWT-SVID, of
/// the trust domain that its `sub` names. Only the keys of that issuer or that domain are asked, so that nobody vouches for
/// somebody else's workloads.
#[derive(Debug, Clone)]
pub struct Verifier {
    audience: String,
    own: TrustDomain,
    domains: BTreeMap<TrustDomain, Domain>,
    issuers: BTreeMap<String, (Issuer, Arc<Keyring>)>,
}

/// A trust domain whose workloads may be known here.
#[derive(Debug, Clone)]
pub struct Domain {
    keys: Arc<Keyring>,
    // INVARIANT: ids of this domain; none of our own domain's `/agent/…` and `/person/…`.
    named: BTreeMap<SpiffeId, Identity>,
}

/// Why a domain's identities cannot be told apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DomainError {
    /// An id of another domain.
    #[error("`{id}` is not of trust domain `{domain}`")]
    Foreign {
        /// The id.
        id: String,
        /// The domain.
        domain: String,
    },
    /// An id that says by itself whom it names.
    #[error("`{0}` says by itself whom it names: give the workload another id, or leave the mapping out")]
    Own(String),
    /// An id that is given an identity twice.
    #[error("`{0}` is given an identity twice: an identity belongs to one phase")]
    Twice(String),
}

impl Domain {
    /// A domain of which exactly these ids name somebody here; of our own, `/agent/…` and `/person/…` do as well.
    pub fn new(
        own: &TrustDomain,
        domain: &TrustDomain,
        keys: Arc<Keyring>,
        ids: Vec<(SpiffeId, Identity)>,
    ) -> Result<Self, Vec<DomainError>> {
        let (mut named, mut faults) = (BTreeMap::new(), Vec::new());
        for (id, identity) in ids {
            let text = id.as_str().to_owned();
            if id.trust_domain() != domain {
                faults.push(DomainError::Foreign { id: text, domain: domain.as_str().to_owned() });
            } else if domain == own && is_native(&id) {
                faults.push(DomainError::Own(text));
            } else if named.insert(id, identity).is_some() {
                faults.push(DomainError::Twice(text));
            }
        }
        if faults.is_empty() { Ok(Self { keys, named }) } else { Err(faults) }
    }
}

/// Whether an id is of the shapes that name agents and people by themselves.
fn is_native(id: &SpiffeId) -> bool {
    let path = id.as_str().splitn(4, '/').nth(3).unwrap_or_default();
    path.starts_with("agent/") || path.starts_with("person/")
}

impl Verifier {
    /// A verifier of JWT-SVIDs that `keys` signed for `audience`.
    #[must_use]
    pub fn new(keys: Jwks, domain: TrustDomain, audience: String) -> Self {
        let fixed = Arc::new(Keyring::fixed(domain.as_str(), keys));
        let own = Domain { keys: fixed, named: BTreeMap::new() };
        Self::empty(domain.clone(), audience).with_domain(domain, own)
    }

    /// A verifier that believes nobody yet.
    #[must_use]
    pub const fn empty(own: TrustDomain, audience: String) -> Self {
        Self { audience, own, domains: BTreeMap::new(), issuers: BTreeMap::new() }
    }

    /// Believes a trust domain's keys of its own workloads.
    #[must_use]
    pub fn with_domain(mut self, name: TrustDomain, domain: Domain) -> Self {
        self.domains.insert(name, domain);
        self
    }

    /// Believes an issuer's keys, as far as its rules go.
    #[must_use]
    pub fn with_issuer(mut self, issuer: Issuer, keys: Arc<Keyring>) -> Self {
        self.issuers.insert(issuer.url().to_owned(), (issuer, keys));
        self
    }

    /// Checks a token and returns whom it names.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Verified, TokenError> {
        self.check(token, now).map(|(verified, _)| verified)
    }

    /// Whom a workload of our own trust domain is that proved its SPIFFE id by an X.509-SVID, and what is known of it: the same
    /// as of its JWT-SVID.
    pub fn workload(&self, id: &str) -> Result<(Identity, BTreeSet<String>), TokenError> {
        let domain = domain_of(id).filter(|domain| *domain == self.own).ok_or(TokenError::NoRule)?;
        let named = self.domains.get(&domain).map(|domain| &domain.named);
        self.named(&domain, named, id)
    }

    /// What is known of the sources of keys.
    #[must_use]
    pub fn sources(&self) -> Vec<SourceStatus> {
        self.keyrings().map(|keys| keys.status()).collect()
    }

    /// A number that is another one after any source's keys became others.
    pub(super) fn generation(&self) -> u64 {
        // Each one only grows, so no sum stands for two states.
        self.keyrings().fold(0, |sum, keys| sum.wrapping_add(keys.generation()))
    }

    fn keyrings(&self) -> impl Iterator<Item = &Arc<Keyring>> {
        let domains = self.domains.values().map(|domain| &domain.keys);
        domains.chain(self.issuers.values().map(|(_, keys)| keys))
    }

    /// As [`Self::verify`], with the time until which the answer may be remembered.
    pub(super) fn check(&self, token: &str, now: Timestamp) -> Result<(Verified, Timestamp), TokenError> {
        let token = Unchecked::read(token)?;
        let issuer = token.unbelieved("iss").and_then(|iss| self.issuers.get(iss));
        let (verified, believed_until) = match issuer {
            Some((issuer, keys)) => {
                issuer.check_header(&token)?;
                let (claims, until) = signed(&token, keys, now)?;
                let expires_at = check_claims(claims, &self.audience, issuer.max_life(), now)?;
                let (identity, selectors) = issuer.identity(claims)?;
                (Verified::new(identity, expires_at, selectors), until)
            }
            None => {
                token.check_header(&[], &["JWT", "JOSE"])?;
                // A subject of no domain that is known here is refused below, whoever signed it.
                let named = token.unbelieved("sub").and_then(domain_of);
                let named = named.and_then(|name| self.domains.get_key_value(&name));
                let (name, domain) =
                    named.or_else(|| self.domains.get_key_value(&self.own)).ok_or(TokenError::NoKeys)?;
                let (claims, until) = signed(&token, &domain.keys, now)?;
                let expires_at = check_claims(claims, &self.audience, MAX_LIFETIME, now)?;
                let (identity, selectors) = self.spiffe_identity(name, domain, claims)?;
                (Verified::new(identity, expires_at, selectors), until)
            }
        };
        let until = believed_until.map_or(verified.expires_at(), |until| until.min(verified.expires_at()));
        Ok((verified, until))
    }

    fn spiffe_identity(
        &self,
        name: &TrustDomain,
        domain: &Domain,
        claims: &Map<String, Value>,
    ) -> Result<(Identity, BTreeSet<String>), TokenError> {
        self.named(name, Some(&domain.named), subject(claims, "a SPIFFE id")?)
    }

    /// Whom a SPIFFE id of a domain is, by what is `named` there or by itself.
    fn named(
        &self,
        name: &TrustDomain,
        named: Option<&BTreeMap<SpiffeId, Identity>>,
        subject: &str,
    ) -> Result<(Identity, BTreeSet<String>), TokenError> {
        let mut selectors =
            BTreeSet::from([format!("spiffe_id:{subject}"), format!("trust_domain:{}", name.as_str())]);
        let known = SpiffeId::parse(subject).ok().and_then(|id| named?.get(&id));
        if let Some(identity) = known {
            return Ok((identity.clone(), selectors));
        }
        if *name != self.own {
            return Err(TokenError::NoRule);
        }
        let (identity, instance) = Identity::parse_instance(subject, name)?;
        selectors.extend(instance.map(|instance| format!("instance:{instance}")));
        Ok((identity, selectors))
    }
}

/// The trust domain of what may be a SPIFFE id.
fn domain_of(subject: &str) -> Option<TrustDomain> {
    let (domain, _) = subject.strip_prefix("spiffe://")?.split_once('/')?;
    TrustDomain::parse(domain).ok()
}

/// The claims, when one of these keys signed them, and until when these keys are believed.
pub(super) fn signed<'t>(
    token: &'t Unchecked<'_>,
    keys: &Keyring,
    now: Timestamp,
) -> Result<(&'t Map<String, Value>, Option<Timestamp>), TokenError> {
    let (keys, until) = keys.keys(now).ok_or(TokenError::NoKeys)?;
    let key = keys.key(&token.kid).ok_or(TokenError::UnknownKey)?;
    Ok((token.signed_by(key)?, until))
}
