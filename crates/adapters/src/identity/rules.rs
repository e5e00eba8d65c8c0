//! Issuers that are no SPIFFE implementation: Kubernetes' service-account tokens, and any OIDC issuer. Who their tokens name
//! is said by rules alone.

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_domain::{Millis, actor::Identity, text::quoted};
use serde_json::{Map, Value};

use super::{
    jws::Unchecked,
    token::{MAX_LIFETIME, TokenError, subject},
};

/// Longest life of a token that an issuer's rules may allow.
pub const MAX_ISSUER_LIFETIME: Millis = Millis::secs(24 * 60 * 60);
/// Most rules of one issuer.
const MAX_RULES: usize = 1024;
/// Most claims in one rule, and most selectors that it names.
const MAX_PARTS: usize = 32;
/// What selectors that rules name may not begin with: these are taken from tokens.
const OWN_PREFIXES: [&str; 5] = ["spiffe_id:", "trust_domain:", "instance:", "k8s:", "oidc:"];

/// What an issuer's tokens are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssuerKind {
    /// JSON web tokens (RFC 7519, 9068) of an OIDC issuer.
    Oidc,
    /// Bound service-account tokens of a Kubernetes API server.
    Kubernetes,
}

/// Claims that must equal, and whom they name then.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Values by JSON pointer (RFC 6901) into the claims. All must be there, and equal in type and value.
    pub when: BTreeMap<String, Value>,
    /// Whom a token with these claims names.
    pub identity: Identity,
    /// What else is known of it then.
    pub selectors: BTreeSet<String>,
}

/// An issuer whose tokens are believed as far as its rules go.
#[derive(Debug, Clone)]
pub struct Issuer {
    url: String,
    kind: IssuerKind,
    max_life: Millis,
    // INVARIANT: one subject cannot get two identities: either all rules give the same one, or each names its subject, and no
    // subject has two identities.
    rules: Vec<Rule>,
}

/// What is wrong with an issuer's rules. The fault is with whoever wrote them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Not an issuer that a token could name without being taken for another one.
    #[error("expected the issuer to be an https URL of at most 255 visible characters, got {0}")]
    Issuer(String),
    /// None, or too many.
    #[error("expected 1 to {MAX_RULES} rules, got {0}")]
    Rules(usize),
    /// A life that is none, or too long.
    #[error("expected tokens to live for 1 s to {MAX_ISSUER_LIFETIME}, got {0}")]
    Lifetime(Millis),
    /// A rule without claims, or with too many parts.
    #[error("rule {0}: expected 1 to {MAX_PARTS} claims and at most {MAX_PARTS} selectors")]
    Parts(usize),
    /// A claim that is no pointer, or a value that is no text, whole number or truth value.
    #[error("rule {rule}: expected {claim} to be a JSON pointer with a text, a whole number, true or false")]
    Claim {
        /// Which rule.
        rule: usize,
        /// The pointer, made visible.
        claim: String,
    },
    /// A claim that every token of the issuer has, or that is checked anyway.
    #[error("rule {rule}: `{claim}` is checked for every token: it tells nobody apart")]
    Always {
        /// Which rule.
        rule: usize,
        /// The claim.
        claim: String,
    },
    /// A selector that could be taken for one out of a token.
    #[error(
        "rule {rule}: expected a selector of 1 to 255 visible characters that begins with none of the prefixes of tokens, got {selector}"
    )]
    Selector {
        /// Which rule.
        rule: usize,
        /// The selector, made visible.
        selector: String,
    },
    /// Rules that give different identities, one of which does not name its subject.
    #[error(
        "rule {0}: rules give different identities here, so each must name its subject by `/sub`: one subject is one identity in one phase"
    )]
    NoSubject(usize),
    /// A subject with two identities.
    #[error(
        "rule {rule}: subject {subject} has another identity already: one subject is one identity in one phase"
    )]
    TwoIdentities {
        /// Which rule.
        rule: usize,
        /// The subject, made visible.
        subject: String,
    },
}

impl Issuer {
    /// An issuer; all faults are reported together. Rules count from 1.
    pub fn new(
        url: String,
        kind: IssuerKind,
        max_life: Option<Millis>,
        rules: Vec<Rule>,
    ) -> Result<Self, Vec<RuleError>> {
        let mut faults = Vec::new();
        let plain = url.len() <= 255 && url.bytes().all(|c| c.is_ascii_graphic());
        if !plain || url.strip_prefix("https://").is_none_or(str::is_empty) {
            faults.push(RuleError::Issuer(quoted(&url, 80)));
        }
        let max_life = max_life.unwrap_or(MAX_LIFETIME);
        if max_life.ms() < 1000 || max_life > MAX_ISSUER_LIFETIME {
            faults.push(RuleError::Lifetime(max_life));
        }
        if rules.is_empty() || rules.len() > MAX_RULES {
            faults.push(RuleError::Rules(rules.len()));
        }
        for (rule, number) in rules.iter().zip(1..) {
            faults.extend(rule_faults(rule, number));
        }
        faults.extend(two_identities(&rules));
        if faults.is_empty() { Ok(Self { url, kind, max_life, rules }) } else { Err(faults) }
    }

    /// The issuer, as `iss` has it, byte for byte.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    pub(super) const fn max_life(&self) -> Millis {
        self.max_life
    }

    /// Thumbprints of certificates are no more than a second name of the key, and are not looked at.
    pub(super) fn check_header(&self, token: &Unchecked<'_>) -> Result<(), TokenError> {
        match self.kind {
            IssuerKind::Oidc => token.check_header(&["x5t", "x5t#S256"], &["JWT", "at+jwt"]),
            IssuerKind::Kubernetes => token.check_header(&[], &["JWT"]),
        }
    }

    /// Whom these claims name, by the rules; they are believed already.
    pub(super) fn identity(
        &self,
        claims: &Map<String, Value>,
    ) -> Result<(Identity, BTreeSet<String>), TokenError> {
        let subject = subject(claims, "a text that is not empty")?;
        if subject.is_empty() {
            return Err(TokenError::Claim { claim: "sub", expected: "a text that is not empty" });
        }
        let mut selectors = BTreeSet::from([format!("oidc:iss:{}", self.url), format!("oidc:sub:{subject}")]);
        if self.kind == IssuerKind::Kubernetes {
            selectors.extend(kubernetes(claims, subject)?);
        }
        let claims = Value::Object(claims.clone());
        let mut found: Option<&Identity> = None;
        for rule in self.rules.iter().filter(|rule| rule.matches(&claims)) {
            // Ruled out when the rules were read, and looked at again: this is where it counts.
            if found.is_some_and(|found| *found != rule.identity) {
                return Err(TokenError::ManyRules);
            }
            found = Some(&rule.identity);
            selectors.extend(rule.selectors.iter().cloned());
        }
        Ok((found.cloned().ok_or(TokenError::NoRule)?, selectors))
    }
}

impl Rule {
    fn matches(&self, claims: &Value) -> bool {
        self.when.iter().all(|(pointer, value)| claims.pointer(pointer) == Some(value))
    }

    fn subject(&self) -> Option<&str> {
        self.when.get("/sub").and_then(Value::as_str)
    }
}

fn rule_faults(rule: &Rule, number: usize) -> Vec<RuleError> {
    let mut faults = Vec::new();
    if rule.when.is_empty() || rule.when.len() > MAX_PARTS || rule.selectors.len() > MAX_PARTS {
        faults.push(RuleError::Parts(number));
    }
    for (pointer, value) in &rule.when {
        let plain = match value {
            Value::String(_) | Value::Bool(_) => true,
            Value::Number(number) => number.is_u64() || number.is_i64(),
            Value::Null | Value::Array(_) | Value::Object(_) => false,
        };
        if !pointer.starts_with('/') || !plain {
            faults.push(RuleError::Claim { rule: number, claim: quoted(pointer, 80) });
        }
        if ["/iss", "/aud", "/exp", "/iat", "/nbf"].contains(&pointer.as_str()) {
            faults.push(RuleError::Always { rule: number, claim: pointer.clone() });
        }
    }
    for selector in &rule.selectors {
        let plain =
            !selector.is_empty() && selector.len() <= 255 && selector.bytes().all(|c| c.is_ascii_graphic());
        if !plain || OWN_PREFIXES.iter().any(|prefix| selector.starts_with(prefix)) {
            faults.push(RuleError::Selector { rule: number, selector: quoted(selector, 80) });
        }
    }
    faults
}

/// Where one subject could get two identities, in one token or in two.
fn two_identities(rules: &[Rule]) -> Vec<RuleError> {
    let first = rules.first().map(|rule| &rule.identity);
    if rules.iter().all(|rule| Some(&rule.identity) == first) {
        return Vec::new();
    }
    let (mut known, mut faults) = (BTreeMap::<&str, &Identity>::new(), Vec::new());
    for (rule, number) in rules.iter().zip(1..) {
        match rule.subject() {
            None => faults.push(RuleError::NoSubject(number)),
            Some(subject) => {
                if *known.entry(subject).or_insert(&rule.identity) != &rule.identity {
                    faults.push(RuleError::TwoIdentities { rule: number, subject: quoted(subject, 80) });
                }
            }
        }
    }
    faults
}

/// The selectors of a bound service-account token, named as SPIRE's attestor of Kubernetes workloads names them.
fn kubernetes(claims: &Map<String, Value>, subject: &str) -> Result<Vec<String>, TokenError> {
    const EXPECTED: TokenError = TokenError::Claim {
        claim: "kubernetes.io",
        expected: "the namespace and service account that `sub` names, and at most a pod and a node",
    };
    let bound = claims.get("kubernetes.io").filter(|bound| bound.is_object()).ok_or(EXPECTED)?;
    let text = |pointer: &str| match bound.pointer(pointer) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or(EXPECTED),
    };
    let namespace = text("/namespace")?.ok_or(EXPECTED)?;
    let account = text("/serviceaccount/name")?.ok_or(EXPECTED)?;
    if subject != format!("system:serviceaccount:{namespace}:{account}") {
        return Err(EXPECTED);
    }
    let mut selectors = vec![format!("k8s:ns:{namespace}"), format!("k8s:sa:{account}")];
    for (pointer, word) in [
        ("/serviceaccount/uid", "sa-uid"),
        ("/pod/name", "pod-name"),
        ("/pod/uid", "pod-uid"),
        ("/node/name", "node-name"),
    ] {
        selectors.extend(text(pointer)?.map(|value| format!("k8s:{word}:{value}")));
    }
    Ok(selectors)
}
