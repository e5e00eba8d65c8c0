//! Identities: each word of a token wrong, one at a time.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use holdpoint_adapters::identity::{
    CachedVerifier, DevIssuer, DevIssuerError, Jwks, MAX_LIFETIME, TokenError, Verified, Verifier,
};
use holdpoint_domain::{
    actor::{Identity, Phase},
    id::kind,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    forge::{AUDIENCE, Forge, NOW, SUBJECT, claims, domain, header, with, without},
    support::{NOW_MS, at, id, millis},
};

fn verifier(forge: &Forge) -> Verifier {
    Verifier::new(Jwks::parse(&forge.jwks("k1")).unwrap(), domain("example.org"), AUDIENCE.to_owned())
}

fn verify(forge: &Forge, header: &Value, claims: &Value) -> Result<Verified, TokenError> {
    verifier(forge).verify(&forge.sign(&header.to_string(), &claims.to_string()), at(NOW_MS))
}

#[test]
fn a_sound_token_names_one_identity_in_one_phase() {
    let forge = Forge::new();
    let verified = verify(&forge, &header(), &claims()).unwrap();
    assert_eq!(*verified.identity(), Identity::Agent { agent: id("holmes"), phase: Phase::Decide });
    assert_eq!(verified.expires_at(), at((NOW + 300) * 1000));
    for header in [without(header(), "typ"), with(header(), "typ", json!("JOSE"))] {
        assert!(verify(&forge, &header, &claims()).is_ok(), "{header}");
    }
    let allowed = [
        with(claims(), "aud", json!(AUDIENCE)),
        without(claims(), "iat"),
        with(claims(), "iat", json!(NOW + 30)),
        with(claims(), "nbf", json!(NOW + 30)),
        with(claims(), "exp", json!(NOW + 3600)),
        with(claims(), "exp", json!(NOW + 1)),
        with(claims(), "iss", json!("https://issuer.example.org")),
        with(claims(), "jti", json!("any")),
        with(claims(), "custom", json!({"deep": [1, 2]})),
    ];
    for claims in allowed {
        assert!(verify(&forge, &header(), &claims).is_ok(), "{claims}");
    }
}

#[test]
fn t19_each_header_wrong() {
    let forge = Forge::new();
    use TokenError::{Algorithm, Header, Type, UnknownKey};
    let mut cases = vec![
        (without(header(), "alg"), Algorithm),
        (without(header(), "kid"), UnknownKey),
        (json!({}), Algorithm),
    ];
    let algorithms =
        json!(["none", "None", "", "HS256", "RS256", "ES384", "PS256", "EdDSA", "es256", 1, null, ["ES256"]]);
    for alg in algorithms.as_array().unwrap() {
        cases.push((with(header(), "alg", alg.clone()), Algorithm));
    }
    let kids = json!(["", "k2", "K1", "k1 ", "../k1", "' or 1=1", "k1\u{0}", 1, null, ["k1"], {"k1": 1}]);
    for kid in kids.as_array().unwrap() {
        cases.push((with(header(), "kid", kid.clone()), UnknownKey));
    }
    for typ in
        json!(["jwt", "at+jwt", "JWT ", "holdpoint-permit+jwt", "", 1, null, ["JWT"]]).as_array().unwrap()
    {
        cases.push((with(header(), "typ", typ.clone()), Type));
    }
    let jwk = forge.jwk("k1");
    let more = json!({
        "crit": ["exp"], "jku": "https://evil.example/jwks", "jwk": jwk, "x5u": "https://evil.example/x5u",
        "x5c": ["MIIB"], "x5t": "AA", "b64": false, "zip": "DEF", "enc": "A256GCM", "cty": "JWT", "x": null,
    });
    for (name, value) in more.as_object().unwrap() {
        cases.push((with(header(), name, value.clone()), Header));
    }
    for (header, want) in cases {
        assert_eq!(verify(&forge, &header, &claims()), Err(want), "{header}");
    }
}

#[test]
fn t18_t19_each_claim_wrong() {
    let forge = Forge::new();
    let exp = || TokenError::Claim { claim: "exp", expected: "whole seconds since 1970" };
    let claim = |claim: &'static str| TokenError::Claim { claim, expected: "whole seconds since 1970" };
    let sub = || TokenError::Claim { claim: "sub", expected: "a SPIFFE id" };
    let mut cases = vec![
        (without(claims(), "exp"), exp()),
        (without(claims(), "aud"), TokenError::Audience),
        (without(claims(), "sub"), sub()),
        (json!({}), TokenError::Audience),
        (with(claims(), "exp", json!(NOW)), TokenError::Expired),
        (with(claims(), "exp", json!(0)), TokenError::Expired),
        (with(claims(), "exp", json!(NOW + 3601)), TokenError::Lifetime(MAX_LIFETIME)),
        (with(without(claims(), "iat"), "exp", json!(NOW + 3631)), TokenError::Lifetime(MAX_LIFETIME)),
        (
            with(with(claims(), "iat", json!(NOW - 3500)), "exp", json!(NOW + 101)),
            TokenError::Lifetime(MAX_LIFETIME),
        ),
        (with(claims(), "iat", json!(NOW + 31)), TokenError::Future),
        (with(claims(), "nbf", json!(NOW + 31)), TokenError::Future),
        (with(claims(), "iss", json!(1)), TokenError::Claim { claim: "iss", expected: "absent or a text" }),
    ];
    // CVE-2026-25537: a time of another type is not an absent one.
    let wrong = json!([(NOW + 300).to_string(), 1.5, 1e10, -1, true, null, [NOW + 300], {}, u64::MAX]);
    for value in wrong.as_array().unwrap() {
        cases.push((with(claims(), "exp", value.clone()), exp()));
        for time in ["iat", "nbf"] {
            cases.push((with(claims(), time, value.clone()), claim(time)));
        }
    }
    let audiences = json!([
        "", "other.example.org", "HOLDPOINT.example.org", [], ["other.example.org"], [AUDIENCE, AUDIENCE],
        [AUDIENCE, "other.example.org"], [[AUDIENCE]], [null], 1, null, true, {AUDIENCE: 1},
        "holdpoint.example.org ",
    ]);
    for audience in audiences.as_array().unwrap() {
        cases.push((with(claims(), "aud", audience.clone()), TokenError::Audience));
    }
    for subject in json!([1, null, [SUBJECT], {}]).as_array().unwrap() {
        cases.push((with(claims(), "sub", subject.clone()), sub()));
    }
    for (claims, want) in cases {
        assert_eq!(verify(&forge, &header(), &claims), Err(want), "{claims}");
    }
}

#[test]
fn inv07_a_subject_is_one_identity_of_ours_in_one_phase() {
    let forge = Forge::new();
    for phase in Phase::ALL {
        let subject = format!("spiffe://example.org/agent/holmes/{phase}");
        let verified = verify(&forge, &header(), &with(claims(), "sub", json!(subject))).unwrap();
        assert_eq!(*verified.identity(), Identity::Agent { agent: id("holmes"), phase });
    }
    let person =
        verify(&forge, &header(), &with(claims(), "sub", json!("spiffe://example.org/person/ada"))).unwrap();
    assert_eq!(*person.identity(), Identity::Person { person: id::<kind::Person>("ada") });
    let bad = [
        "",
        "holmes",
        "spiffe://other.org/agent/holmes/decide",
        "spiffe://example.org/agent/holmes",
        "spiffe://example.org/agent/holmes/decide/execute",
        "spiffe://example.org/agent/holmes/decide/1/2",
        "spiffe://example.org/agent/holmes/decide/..",
        "spiffe://example.org/agent/holmes/decide,execute",
        "spiffe://example.org/agent/Holmes/decide",
        "spiffe://example.org/agent/holmes/decide?phase=execute",
        "spiffe://example.org/gate",
        "spiffe://example.org//agent/holmes/decide",
    ];
    for subject in bad {
        let refused = verify(&forge, &header(), &with(claims(), "sub", json!(subject)));
        assert!(matches!(refused, Err(TokenError::Subject(_))), "{subject}: {refused:?}");
    }
}

#[test]
fn t19_signatures_of_other_kinds_and_spellings() {
    let (forge, other) = (Forge::new(), Forge::new());
    let (verifier, now) = (verifier(&forge), at(NOW_MS));
    let sound = forge.sign(&header().to_string(), &claims().to_string());
    assert!(verifier.verify(&sound, now).is_ok());
    let (input, signature) = sound.rsplit_once('.').unwrap();
    let refused = |token: &str| verifier.verify(token, now).unwrap_err();

    assert_eq!(refused(&other.sign(&header().to_string(), &claims().to_string())), TokenError::Signature);
    for spelling in ["", "AA", &format!("{signature}="), &format!("{signature}AA"), &"A".repeat(86)] {
        assert_eq!(refused(&format!("{input}.{spelling}")), TokenError::Signature, "{spelling}");
    }
    // Of 86 characters the last carries two bits; the other four must be zero.
    let spare = format!("{}{}", &signature[..85], if signature.ends_with('A') { "B" } else { "_" });
    assert_eq!(refused(&format!("{input}.{spare}")), TokenError::Signature);
    for (from, to) in [(0, 1), (40, 41)] {
        let mut bytes = sound.clone().into_bytes();
        bytes.swap(from, to);
        assert!(verifier.verify(&String::from_utf8(bytes).unwrap(), now).is_err());
    }
    for token in
        ["", ".", "..", "...", "a.b", &format!("{sound}."), &format!(".{sound}"), &format!(" {sound}")]
    {
        assert_eq!(refused(token), TokenError::Malformed, "{token}");
    }
    let long = forge.sign(&header().to_string(), &with(claims(), "pad", json!("x".repeat(8000))).to_string());
    assert_eq!(refused(&long), TokenError::Malformed);

    // alg none, and HS256 with our public key as the secret: made by a JWT library, not by us.
    let encode = |alg: jsonwebtoken::Algorithm, key: &jsonwebtoken::EncodingKey| {
        let header = jsonwebtoken::Header { kid: Some("k1".to_owned()), ..jsonwebtoken::Header::new(alg) };
        jsonwebtoken::encode(&header, &claims(), key).unwrap()
    };
    let secrets = [
        forge.public_bytes(),
        forge.jwk("k1").to_string().into_bytes(),
        URL_SAFE_NO_PAD.decode(forge.jwk("k1")["x"].as_str().unwrap()).unwrap(),
    ];
    for secret in secrets {
        let key = jsonwebtoken::EncodingKey::from_secret(&secret);
        assert_eq!(refused(&encode(jsonwebtoken::Algorithm::HS256, &key)), TokenError::Algorithm);
    }
    let none = URL_SAFE_NO_PAD.encode(json!({"alg": "none", "kid": "k1"}).to_string());
    let body = URL_SAFE_NO_PAD.encode(claims().to_string());
    assert_eq!(refused(&format!("{none}.{body}.")), TokenError::Algorithm);
    assert_eq!(refused(&format!("{none}.{body}.{signature}")), TokenError::Algorithm);
}

#[test]
fn t19_no_name_stands_twice() {
    let forge = Forge::new();
    let (verifier, now) = (verifier(&forge), at(NOW_MS));
    let twice = [
        (header().to_string().replacen('{', "{\"alg\":\"none\",", 1), claims().to_string()),
        (header().to_string().replacen('{', "{\"kid\":\"k1\",", 1), claims().to_string()),
        (header().to_string(), claims().to_string().replacen('{', "{\"aud\":\"other\",", 1)),
        (header().to_string(), claims().to_string().replacen('{', "{\"sub\":\"other\",", 1)),
        (header().to_string(), claims().to_string().replacen('{', "{\"x\":{\"y\":1,\"y\":2},", 1)),
        (header().to_string(), claims().to_string().replacen('{', "{\"e\\u0078p\":1,", 1)),
        (format!("{} ", header()), format!("{}{}", claims(), claims())),
        (header().to_string(), "[]".to_owned()),
        ("null".to_owned(), claims().to_string()),
    ];
    for (header, claims) in twice {
        assert_eq!(
            verifier.verify(&forge.sign(&header, &claims), now),
            Err(TokenError::Malformed),
            "{header} {claims}"
        );
    }
}

#[test]
fn inv12_a_refusal_does_not_repeat_the_token() {
    let forge = Forge::new();
    let canary = "canary-0123456789";
    let mut errors = vec![verify(&forge, &with(header(), "kid", json!(canary)), &claims()).unwrap_err()];
    for claim in ["aud", "exp", "iss", "nbf"] {
        errors.push(verify(&forge, &header(), &with(claims(), claim, json!([canary]))).unwrap_err());
    }
    for err in errors {
        assert!(!format!("{err} {err:?}").contains(canary), "{err:?}");
    }
}

#[test]
fn key_sets_are_read_strictly() {
    let forge = Forge::new();
    let parse = |keys: Value| Jwks::parse(&json!({ "keys": keys }).to_string());
    let jwk = forge.jwk("k1");
    assert!(parse(json!([jwk])).is_ok());
    assert!(parse(json!([without(jwk.clone(), "use")])).is_ok());
    assert!(parse(json!([with(jwk.clone(), "alg", json!("ES256"))])).is_ok());
    // The keys of a SPIFFE bundle that are for certificates are none of ours.
    let x509 = json!({"kty": "RSA", "use": "x509-svid", "x5c": ["MIIB"]});
    assert!(parse(json!([x509, jwk])).is_ok());
    let bad = [
        json!([]),
        json!([x509]),
        json!({}),
        json!("k1"),
        json!([1]),
        json!([without(jwk.clone(), "kid")]),
        json!([with(jwk.clone(), "kid", json!(""))]),
        json!([with(jwk.clone(), "kid", json!("k".repeat(129)))]),
        json!([with(jwk.clone(), "kty", json!("RSA"))]),
        json!([with(jwk.clone(), "kty", json!("oct"))]),
        json!([with(jwk.clone(), "crv", json!("P-384"))]),
        json!([with(jwk.clone(), "alg", json!("HS256"))]),
        json!([with(jwk.clone(), "x", json!("AA"))]),
        json!([without(jwk.clone(), "y")]),
        json!([with(jwk.clone(), "d", json!("AA"))]),
        json!([jwk, jwk]),
        json!(vec![x509.clone(); 65]),
    ];
    for keys in bad {
        assert!(parse(keys.clone()).is_err(), "{keys}");
    }
    for text in ["", "{}", "[]", "{\"keys\":[],\"keys\":[]}", &" ".repeat(300_000)] {
        assert!(Jwks::parse(text).is_err());
    }
}

#[test]
fn the_development_issuer_is_one_of_many() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("identity.key");
    let issuer = DevIssuer::load_or_create(&path, domain("example.org")).unwrap();
    let file = dir.path().join("jwks.json");
    std::fs::write(&file, issuer.jwks()).unwrap();
    assert!(!issuer.jwks().contains("\"d\""));
    let verifier = Verifier::new(Jwks::load(&file).unwrap(), domain("example.org"), AUDIENCE.to_owned());
    let holmes = Identity::Agent { agent: id("holmes"), phase: Phase::Observe };
    let token = issuer.issue(&holmes, AUDIENCE, millis(60_000), at(NOW_MS + 999)).unwrap();
    let verified = verifier.verify(&token, at(NOW_MS)).unwrap();
    assert_eq!((verified.identity(), verified.expires_at()), (&holmes, at(NOW_MS + 60_000)));
    assert_eq!(verifier.verify(&token, at(NOW_MS + 60_000)), Err(TokenError::Expired));

    // The same key after a restart; a JWT library takes the token as well.
    let again = DevIssuer::load_or_create(&path, domain("example.org")).unwrap();
    assert_eq!(again.jwks(), issuer.jwks());
    let set: jsonwebtoken::jwk::JwkSet = serde_json::from_str(&issuer.jwks()).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.set_audience(&[AUDIENCE]);
    validation.validate_exp = false;
    let key = jsonwebtoken::DecodingKey::from_jwk(&set.keys[0]).unwrap();
    let decoded = jsonwebtoken::decode::<Value>(&token, &key, &validation).unwrap();
    assert_eq!(decoded.claims["sub"], json!("spiffe://example.org/agent/holmes/observe"));
    // The key id is the thumbprint of RFC 7638, as another implementation computes it.
    assert_eq!(
        set.keys[0].thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).unwrap(),
        decoded.header.kid.unwrap()
    );

    let issue = |ttl: u64, audience: &str| issuer.issue(&holmes, audience, millis(ttl), at(NOW_MS));
    assert!(issue(1000, AUDIENCE).is_ok() && issue(3_600_000, AUDIENCE).is_ok());
    for ttl in [0, 999, 3_600_001] {
        assert!(matches!(issue(ttl, AUDIENCE), Err(DevIssuerError::Lifetime(_))), "{ttl}");
    }
    assert!(matches!(issue(1000, ""), Err(DevIssuerError::Audience)));
    // Another deployment's issuer is a stranger.
    let stranger = DevIssuer::load_or_create(&dir.path().join("other.key"), domain("example.org")).unwrap();
    let foreign = stranger.issue(&holmes, AUDIENCE, millis(60_000), at(NOW_MS)).unwrap();
    assert_eq!(verifier.verify(&foreign, at(NOW_MS)), Err(TokenError::UnknownKey));
}

/// What is remembered of a good token changes no answer, at any time, and nothing of a bad one is remembered.
#[test]
fn t04_a_remembered_token_is_answered_as_if_it_were_checked_again() {
    let forge = Forge::new();
    let (verifier, cached) = (verifier(&forge), CachedVerifier::new(verifier(&forge)));
    let stranger = Forge::new();
    let tokens: Vec<_> = [
        (&forge, claims()),
        (&forge, with(claims(), "sub", json!("spiffe://example.org/agent/other/observe"))),
        (&forge, with(claims(), "iat", json!(NOW + 20))),
        (&forge, with(claims(), "exp", json!(NOW + 3_000))),
        (&stranger, claims()),
    ]
    .into_iter()
    .map(|(forge, claims)| forge.sign(&header().to_string(), &claims.to_string()))
    .collect();
    // Also with a clock that is set back, and twice at each time.
    for seconds in [0_i64, 0, 100, 299, 300, 301, 5, -29, -31, -11, 299, 2_999, 3_001] {
        let now = at(NOW_MS.checked_add_signed(seconds * 1000).unwrap());
        for (number, token) in tokens.iter().enumerate() {
            for _ in 0..2 {
                assert_eq!(cached.verify(token, now), verifier.verify(token, now), "{number} at {seconds} s");
            }
        }
    }
    // One byte more or less is another token.
    let good = &tokens[0];
    for changed in [&good[..good.len() - 1], &format!("{good}A"), &good.replacen('.', "..", 1)] {
        assert!(cached.verify(changed, at(NOW_MS)).is_err());
    }
}
