//! Identities: every algorithm with every key, published vectors, and what a document of keys may say.

use aws_lc_rs::rsa::KeySize;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use holdpoint_adapters::identity::{
    Algorithm, Bundle, Jwks, KeyError, PublicKey, TokenError, Uses, Verified, Verifier,
};
use holdpoint_domain::actor::{Identity, Phase};
use serde_json::{Value, json};

use super::{
    forge::{AUDIENCE, Forge, SUBJECT, claims, domain, header, with, without},
    support::{NOW_MS, at, id},
};

/// JWS of RFC 7515 with the public halves of their keys.
const JOSE: &str = include_str!("vectors/jose.json");
/// Bundles of the shapes that the SPIFFE project publishes.
const SPIFFE: &str = include_str!("vectors/spiffe.json");

fn verify(jwks: &Value, token: &str) -> Result<Verified, TokenError> {
    let keys = Jwks::parse(&jwks.to_string()).unwrap();
    Verifier::new(keys, domain("example.org"), AUDIENCE.to_owned()).verify(token, at(NOW_MS))
}

fn all_forges() -> Vec<Forge> {
    let mut forges: Vec<_> =
        [Algorithm::Es256, Algorithm::Es384, Algorithm::Es512].into_iter().map(Forge::ec).collect();
    forges.push(Forge::rsa(KeySize::Rsa2048));
    forges.push(Forge::rsa(KeySize::Rsa3072));
    forges
}

#[test]
fn t19_every_algorithm_of_the_standard_with_a_key_that_fits() {
    for forge in all_forges() {
        let jwks = json!({ "keys": [forge.jwk("k1")] });
        for alg in Algorithm::ALL {
            let header = with(header(), "alg", json!(alg.as_str())).to_string();
            let fits = Jwks::parse(&jwks.to_string()).is_ok()
                && PublicKey::parse(jwks["keys"][0].as_object().unwrap()).unwrap().fits(alg);
            let of_rsa = !alg.as_str().starts_with("ES");
            assert_eq!(fits, matches!(&forge, Forge::Rsa { .. }) && of_rsa || same_curve(&forge, alg));
            if !fits {
                // Signed with what the key can do, and named as something else: never tried.
                let token = forge.sign(&header, &claims().to_string());
                assert_eq!(verify(&jwks, &token), Err(TokenError::Algorithm), "{header}");
                continue;
            }
            let token = forge.sign_as(alg, &header, &claims().to_string());
            let verified = verify(&jwks, &token).unwrap();
            assert_eq!(*verified.identity(), Identity::Agent { agent: id("holmes"), phase: Phase::Decide });
            // The same bytes under the name of each other algorithm of the same key.
            for other in Algorithm::ALL.into_iter().filter(|other| *other != alg) {
                let renamed = with(self::header(), "alg", json!(other.as_str())).to_string();
                let swapped =
                    token.replacen(&URL_SAFE_NO_PAD.encode(&header), &URL_SAFE_NO_PAD.encode(renamed), 1);
                assert!(verify(&jwks, &swapped).is_err(), "{alg:?} as {other:?}");
            }
            t19_no_other_spelling_of_a_signature(&jwks, &token);
        }
    }
}

fn same_curve(forge: &Forge, alg: Algorithm) -> bool {
    matches!(forge, Forge::Ec { alg: own, .. } if *own == alg)
}

fn t19_no_other_spelling_of_a_signature(jwks: &Value, token: &str) {
    let (input, signature) = token.rsplit_once('.').unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut changed = bytes.clone();
    changed[7] ^= 1;
    let longer = [bytes.clone(), vec![0]].concat();
    let zero_first = [vec![0], bytes.clone()].concat();
    for wrong in [&changed, &longer, &zero_first, &bytes[1..].to_vec(), &vec![0; bytes.len()], &Vec::new()] {
        let token = format!("{input}.{}", URL_SAFE_NO_PAD.encode(wrong));
        assert_eq!(verify(jwks, &token), Err(TokenError::Signature));
    }
    assert_eq!(verify(jwks, &format!("{input}.{signature}=")), Err(TokenError::Signature));
}

/// A key that says which algorithm it is for is used with that one alone.
#[test]
fn t19_a_key_for_one_algorithm_is_not_used_with_another() {
    let forge = Forge::rsa(KeySize::Rsa2048);
    for only in Algorithm::ALL.into_iter().filter(|alg| !alg.as_str().starts_with("ES")) {
        let jwks = json!({ "keys": [with(forge.jwk("k1"), "alg", json!(only.as_str()))] });
        for alg in Algorithm::ALL.into_iter().filter(|alg| !alg.as_str().starts_with("ES")) {
            let header = with(header(), "alg", json!(alg.as_str())).to_string();
            let verified = verify(&jwks, &forge.sign_as(alg, &header, &claims().to_string()));
            assert_eq!(verified.is_ok(), alg == only, "{alg:?} with a key for {only:?}");
        }
    }
}

#[test]
fn published_vectors_of_jose_hold_and_do_not_hold_after_a_change() {
    let vectors: Vec<Value> = serde_json::from_str(JOSE).unwrap();
    for vector in &vectors {
        let source = vector["source"].as_str().unwrap();
        let alg = Algorithm::parse(vector["alg"].as_str().unwrap()).unwrap();
        let key = PublicKey::parse(vector["key"].as_object().unwrap()).unwrap();
        let (signed, signature) = vector["token"].as_str().unwrap().rsplit_once('.').unwrap();
        assert!(key.holds(alg, signed.as_bytes(), signature), "{source}");
        for other in Algorithm::ALL.into_iter().filter(|other| *other != alg) {
            assert!(!key.holds(other, signed.as_bytes(), signature), "{source} as {other:?}");
        }
        for at in 0..signed.len() {
            let mut changed = signed.as_bytes().to_vec();
            changed[at] ^= 1;
            assert!(!key.holds(alg, &changed, signature), "{source}, byte {at}");
        }
        for (number, other) in vectors.iter().enumerate() {
            let (_, foreign) = other["token"].as_str().unwrap().rsplit_once('.').unwrap();
            assert_eq!(
                key.holds(alg, signed.as_bytes(), foreign),
                foreign == signature,
                "{source}, {number}"
            );
        }
    }
    assert_eq!(vectors.len(), 3);
}

#[test]
fn published_shapes_of_spiffe_bundles_are_read_as_their_standard_says() {
    let vectors: Vec<Value> = serde_json::from_str(SPIFFE).unwrap();
    for vector in &vectors {
        let (what, text) = (&vector["what"], vector["document"].to_string());
        let wanted = |uses: &str| vector[uses].as_array().cloned();
        for (uses, name) in [(Uses::Spiffe, "spiffe"), (Uses::Any, "any")] {
            let read = Bundle::parse(&text, uses);
            let Some(kids) = wanted(name) else {
                assert!(read.is_err(), "{what} as {name}");
                continue;
            };
            let bundle = read.unwrap();
            assert_eq!(bundle.keys.len(), kids.len(), "{what} as {name}: {bundle:?}");
            for kid in kids {
                assert!(format!("{:?}", bundle.keys).contains(kid.as_str().unwrap()), "{what} as {name}");
            }
            assert_eq!(json!(bundle.sequence), vector["sequence"], "{what}");
            assert_eq!(json!(bundle.refresh_hint_secs), vector["hint"], "{what}");
            assert_eq!(json!(bundle.x509_authorities.len()), vector["x509"], "{what}");
        }
    }
}

#[test]
fn t19_each_member_of_a_key_wrong() {
    let (ec, rsa) = (Forge::new().jwk("k1"), Forge::rsa(KeySize::Rsa2048).jwk("k1"));
    let parse = |jwk: &Value| PublicKey::parse(jwk.as_object().unwrap()).map(|_| ());
    assert_eq!((parse(&ec), parse(&rsa)), (Ok(()), Ok(())));
    let member = |name| Err(KeyError::Member(name));
    let mut cases = vec![];
    for (jwk, names) in [(&ec, &["kty", "crv", "x", "y"][..]), (&rsa, &["kty", "n", "e"][..])] {
        for name in names {
            cases.push((without(jwk.clone(), name), member(name)));
            for wrong in [json!(1), json!(null), json!([jwk[*name]]), json!({})] {
                cases.push((with(jwk.clone(), name, wrong), member(name)));
            }
        }
        for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            cases.push((with(jwk.clone(), private, json!("AA")), Err(KeyError::Private)));
        }
        for kty in ["oct", "OKP", "ec", "rsa", "", "EC "] {
            cases.push((with(jwk.clone(), "kty", json!(kty)), Err(KeyError::Unknown)));
        }
        for alg in [
            json!("none"),
            json!("HS256"),
            json!("EdDSA"),
            json!("RSA-OAEP"),
            json!(""),
            json!(null),
            json!(1),
        ] {
            cases.push((with(jwk.clone(), "alg", alg), member("alg")));
        }
        for ops in [json!([]), json!(["sign"]), json!("verify"), json!(null), json!(["encrypt", "Verify"])] {
            cases.push((with(jwk.clone(), "key_ops", ops), member("key_ops")));
        }
    }
    cases.push((with(ec.clone(), "alg", json!("RS256")), member("alg")));
    cases.push((with(ec.clone(), "alg", json!("ES384")), member("alg")));
    cases.push((with(rsa.clone(), "alg", json!("ES256")), member("alg")));
    cases.push((with(ec.clone(), "kty", json!("RSA")), member("n")));
    cases.push((with(rsa.clone(), "kty", json!("EC")), member("crv")));
    for crv in ["secp256k1", "Ed25519", "P-192", "p-256", "brainpoolP256r1"] {
        cases.push((with(ec.clone(), "crv", json!(crv)), Err(KeyError::Unknown)));
    }
    for crv in ["P-384", "P-521"] {
        cases.push((with(ec.clone(), "crv", json!(crv)), member("x")));
    }
    // Not on the curve; of another length; with padding.
    cases.push((with(ec.clone(), "x", ec["y"].clone()), Err(KeyError::Numbers)));
    cases.push((with(ec.clone(), "y", json!(URL_SAFE_NO_PAD.encode([0; 32]))), Err(KeyError::Numbers)));
    cases.push((with(ec.clone(), "x", json!(URL_SAFE_NO_PAD.encode([0; 33]))), member("x")));
    cases.push((with(ec.clone(), "x", json!(format!("{}=", ec["x"].as_str().unwrap()))), member("x")));
    let n = URL_SAFE_NO_PAD.decode(rsa["n"].as_str().unwrap()).unwrap();
    let modulus = |bytes: &[u8]| with(rsa.clone(), "n", json!(URL_SAFE_NO_PAD.encode(bytes)));
    cases.push((modulus(&n[1..]), Err(KeyError::Size)));
    cases.push((modulus(&n[..128]), Err(KeyError::Size)));
    cases.push((modulus(&[n.clone(), vec![1; 1024]].concat()), Err(KeyError::Size)));
    cases.push((modulus(&[vec![0], n].concat()), member("n")));
    cases.push((modulus(&[]), member("n")));
    for e in [vec![], vec![0], vec![1], vec![2], vec![1, 0], vec![0, 1, 0, 1], vec![1, 0, 0, 0, 1]] {
        cases.push((with(rsa.clone(), "e", json!(URL_SAFE_NO_PAD.encode(&e))), member("e")));
    }
    for (jwk, want) in cases {
        assert_eq!(parse(&jwk), want, "{jwk}");
    }
    let sound = [
        with(ec.clone(), "alg", json!("ES256")),
        with(ec, "key_ops", json!(["sign", "verify"])),
        with(rsa.clone(), "alg", json!("PS512")),
        with(rsa, "x5t", json!("AA")),
    ];
    for jwk in sound {
        assert_eq!(parse(&jwk), Ok(()), "{jwk}");
    }
}

/// A published document loses the keys that cannot be used, and no other; one that somebody vouches for is refused.
#[test]
fn t19_a_key_that_cannot_be_used_keeps_no_other_one_from_being_replaced() {
    let good = Forge::new().jwk("good");
    let bad = [
        with(Forge::new().jwk("bad"), "d", json!("AA")),
        with(Forge::new().jwk("bad"), "crv", json!("P-999")),
        without(Forge::new().jwk("bad"), "kid"),
        with(Forge::new().jwk("bad"), "kid", json!("")),
        with(Forge::new().jwk("bad"), "kid", json!(1)),
        with(Forge::new().jwk("bad"), "kid", json!("k".repeat(129))),
    ];
    for bad in bad {
        let text = json!({"keys": [bad, good]}).to_string();
        let bundle = Bundle::parse(&text, Uses::Spiffe).unwrap();
        assert_eq!((bundle.keys.len(), bundle.passed_over.len()), (1, 1), "{bad}");
        assert!(Jwks::parse(&text).is_err(), "{bad}");
    }
    let twice = json!({"keys": [good, good]}).to_string();
    assert!(Bundle::parse(&twice, Uses::Spiffe).is_err());
    // All withdrawn is a statement, and it is obeyed.
    assert!(Bundle::parse("{\"keys\":[]}", Uses::Spiffe).unwrap().keys.is_empty());
    for number in [json!("1"), json!(-1), json!(1.5), json!(null), json!(true)] {
        for name in ["spiffe_sequence", "spiffe_refresh_hint"] {
            let text = with(json!({ "keys": [good] }), name, number.clone()).to_string();
            assert!(Bundle::parse(&text, Uses::Spiffe).is_err(), "{text}");
        }
    }
}

#[test]
fn selectors_of_a_jwt_svid_are_its_id_its_domain_and_its_instance() {
    let forge = Forge::new();
    let jwks = json!({ "keys": [forge.jwk("k1")] });
    let selectors = |subject: &str| {
        let token = forge.sign(&header().to_string(), &with(claims(), "sub", json!(subject)).to_string());
        let verified = verify(&jwks, &token).unwrap();
        assert_eq!(*verified.identity(), Identity::Agent { agent: id("holmes"), phase: Phase::Decide });
        verified.selectors().iter().cloned().collect::<Vec<_>>()
    };
    let mut want = vec![format!("spiffe_id:{SUBJECT}"), "trust_domain:example.org".to_owned()];
    assert_eq!(selectors(SUBJECT), want);
    want[0] = format!("spiffe_id:{SUBJECT}/pod-7");
    want.insert(0, "instance:pod-7".to_owned());
    assert_eq!(selectors(&format!("{SUBJECT}/pod-7")), want);
}
