//! Proofs of possession (RFC 9449): whoever has a token that is bound to a key shows with each request that it has the key, too.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use holdpoint_domain::{Digest, Timestamp, permit::compact};
use reqwest::{Method, Url};
use serde_json::json;

use crate::system::{Ed25519Key, random};

/// The header of a proof.
pub(crate) const DPOP: &str = "dpop";

/// A proof for one request with one token: good for this method, this address and about this moment.
pub(crate) fn proof(key: &Ed25519Key, method: &Method, url: &Url, token: &str, now: Timestamp) -> String {
    let mut target = url.clone();
    target.set_query(None);
    target.set_fragment(None);
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": key.public_key().x()});
    let header = json!({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwk});
    let claims = json!({
        "jti": URL_SAFE_NO_PAD.encode(random::<16>()),
        "htm": method.as_str(),
        "htu": target.as_str(),
        "iat": now.ms().div_euclid(1000),
        "ath": URL_SAFE_NO_PAD.encode(Digest::of_bytes(token.as_bytes()).as_bytes()),
    });
    let encode = |part: serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let input = format!("{}.{}", encode(header), encode(claims));
    compact(&input, &key.sign(input.as_bytes()))
}
