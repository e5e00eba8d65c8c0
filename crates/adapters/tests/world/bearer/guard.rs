//! A runner's own check of who asks: an ordinary JWT library, a set of public keys, and the words of the token.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use holdpoint_domain::{Digest, signature::PublicKey};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    dangerous::insecure_decode,
    decode, decode_header,
    jwk::{JwkSet, ThumbprintHash},
};
use serde_json::{Value, json};

use crate::world::http_job::runner::Asked;

pub(super) const ISSUER: &str = "https://gate.example";
pub(super) const AUDIENCE: &str = "https://runner.example/api";
/// Of whoever only looks.
pub(super) const STANDING: &str = "Bearer s3cret";

/// How carefully a runner checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    Careful,
    /// Anything is good, also nothing.
    Nothing,
    /// Anything is good that is some token.
    SomeToken,
    NoSignature,
    NoProof,
    NoAudience,
    /// As libraries have it that forgive a minute.
    Leeway,
    NoEnd,
    /// The same answer, whoever asks.
    Always(u16),
    /// What begins with this in `jti` gets this answer; careful otherwise.
    Only(&'static str, u16),
}

/// What a runner believes.
pub(super) struct Trust {
    pub(super) keys: JwkSet,
    pub(super) care: Mutex<Care>,
    /// How far its clock is ahead.
    pub(super) ahead_secs: Mutex<i64>,
    /// Identifiers of proofs that were shown.
    pub(super) proofs: Mutex<BTreeSet<String>>,
    /// Where this file is, introspection says of every lease that it is not active any more.
    pub(super) ended: PathBuf,
}

impl Trust {
    pub(super) fn in_keys(key: &PublicKey, ended: PathBuf) -> Arc<Self> {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "x": key.x(),
            "kid": key.thumbprint().to_string()});
        let keys = serde_json::from_value(json!({"keys": [jwk]})).unwrap();
        Arc::new(Self {
            keys,
            care: Mutex::new(Care::Careful),
            ahead_secs: Mutex::new(0),
            proofs: Mutex::default(),
            ended,
        })
    }

    pub(super) fn is(&self, care: Care) {
        *self.care.lock().unwrap() = care;
    }

    /// What a token says, if it is good for anything here.
    pub(super) fn claims(&self, token: &str) -> Option<Value> {
        let care = *self.care.lock().unwrap();
        let header = decode_header(token).ok()?;
        let jwk = self.keys.find(header.kid.as_deref()?)?;
        if header.typ.as_deref() != Some("holdpoint-lease+jwt") {
            return None;
        }
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "nbf"]);
        (validation.leeway, validation.validate_nbf) = (0, true);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        match care {
            Care::NoSignature => return Some(insecure_decode::<Value>(token).ok()?.claims),
            Care::NoAudience => validation.validate_aud = false,
            Care::Leeway => validation.leeway = 60,
            Care::NoEnd => validation.validate_exp = false,
            Care::Careful
            | Care::Nothing
            | Care::SomeToken
            | Care::NoProof
            | Care::Always(_)
            | Care::Only(..) => {}
        }
        let claims = decode::<Value>(token, &DecodingKey::from_jwk(jwk).ok()?, &validation).ok()?.claims;
        let (ahead, now) = (*self.ahead_secs.lock().unwrap(), jsonwebtoken::get_current_timestamp());
        if ahead != 0 && claims["exp"].as_i64()? <= i64::try_from(now).unwrap() + ahead {
            return None;
        }
        Some(claims)
    }

    /// A proof of possession, by the rules of RFC 9449, section 4.3; each is taken once.
    fn proven(&self, asked: &Asked<'_>, token: &str, jkt: &str) -> Option<()> {
        let proof = asked.header("dpop");
        let header = decode_header(&proof).ok()?;
        let jwk = header.jwk.as_ref().filter(|_| header.typ.as_deref() == Some("dpop+jwt"))?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_required_spec_claims::<&str>(&[]);
        validation.validate_exp = false;
        let claims = decode::<Value>(&proof, &DecodingKey::from_jwk(jwk).ok()?, &validation).ok()?.claims;
        let made = claims["iat"].as_u64()?;
        let ath = URL_SAFE_NO_PAD.encode(Digest::of_bytes(token.as_bytes()).as_bytes());
        let url = asked.url.split('?').next()?;
        let is_right = jwk.thumbprint(ThumbprintHash::SHA256).ok()? == jkt
            && claims["htm"] == asked.method
            && claims["htu"] == url
            && claims["ath"] == ath.as_str()
            && jsonwebtoken::get_current_timestamp().abs_diff(made) <= 10;
        let is_new = is_right && self.proofs.lock().unwrap().insert(claims["jti"].as_str()?.to_owned());
        is_new.then_some(())
    }

    /// Whether somebody may ask for this; the status of the answer if not.
    pub(super) fn check(&self, asked: &Asked<'_>) -> Result<(), u16> {
        let care = *self.care.lock().unwrap();
        let authorization = asked.header("authorization");
        if let Care::Always(status) = care {
            return Err(status);
        }
        let is_some_token = care == Care::SomeToken && authorization.starts_with("Bearer e");
        if care == Care::Nothing || is_some_token {
            return Ok(());
        }
        if authorization == STANDING && asked.method == "GET" && asked.path != "check" {
            return Ok(());
        }
        let (scheme, token) = authorization.split_once(' ').ok_or(401_u16)?;
        let claims = self.claims(token).ok_or(401_u16)?;
        // RFC 9449, section 7: a bound token goes with its proof, and no other way.
        let is_shown_right = match (claims["cnf"]["jkt"].as_str(), scheme) {
            (None, "Bearer") => true,
            (Some(_), "DPoP") if care == Care::NoProof => true,
            (Some(jkt), "DPoP") => self.proven(asked, token, jkt).is_some(),
            _ => false,
        };
        if !is_shown_right {
            return Err(401);
        }
        let details = claims["authorization_details"].as_array().ok_or(401_u16)?;
        if let Care::Only(jti, status) = care
            && claims["jti"].as_str().unwrap().starts_with(jti)
        {
            return Err(status);
        }
        // As introspection would say.
        if !details.is_empty() && self.ended.exists() {
            return Err(401);
        }
        if may(asked, details) { Ok(()) } else { Err(403) }
    }
}

/// Whether the words of a token are about a request.
pub(super) fn may(asked: &Asked<'_>, details: &[Value]) -> bool {
    let runs = || details.iter().flat_map(|detail| detail["runs"].as_array().unwrap());
    let path: Vec<_> = asked.path.split('/').collect();
    match (asked.method, path.as_slice()) {
        ("GET", ["check"]) => true,
        ("GET", ["jobs", job]) => runs().any(|run| run["job"] == *job),
        ("POST", ["jobs", job, "runs"]) => {
            let (key, params) =
                (asked.header("idempotency-key"), serde_json::from_slice(asked.body).unwrap());
            let params: Value = params;
            details.iter().any(|detail| {
                let mut runs = detail["runs"].as_array().unwrap().iter();
                detail["parameters"] == params
                    && runs.any(|run| run["job"] == *job && run["key"] == key.as_str())
            })
        }
        ("GET", [lookup]) => {
            runs().any(|run| Some(run["key"].as_str().unwrap()) == lookup.strip_prefix("runs?key="))
        }
        (_, ["runs", ..]) => !details.is_empty(),
        _ => false,
    }
}
