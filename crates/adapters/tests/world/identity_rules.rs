//! Identities: issuers with rules, and several trust domains. Nobody vouches for somebody else's workloads.

use std::{collections::BTreeMap, sync::Arc};

use holdpoint_adapters::identity::{
    CachedVerifier, Domain, DomainError, Issuer, IssuerKind, Jwks, Keyring, Rule, RuleError, TokenError,
    Verified, Verifier,
};
use holdpoint_domain::{
    actor::{Identity, Phase, SpiffeId},
    id::kind,
};
use serde_json::{Value, json};

use super::{
    forge::{AUDIENCE, Forge, NOW, SUBJECT, claims, domain, header, with, without},
    support::{NOW_MS, at, id, millis},
};

const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";
const OIDC: &str = "https://ci.example.com";
const PARTNER: &str = "partner.example";

fn agent(name: &str, phase: Phase) -> Identity {
    Identity::Agent { agent: id(name), phase }
}

fn ring(forge: &Forge) -> Arc<Keyring> {
    Arc::new(Keyring::fixed("test", Jwks::parse(&forge.jwks("k1")).unwrap()))
}

fn rule(when: &Value, identity: Identity) -> Rule {
    let when = when.as_object().unwrap().iter().map(|(name, value)| (name.clone(), value.clone()));
    Rule { when: when.collect(), identity, selectors: [].into() }
}

fn service_account(name: &str) -> String {
    format!("system:serviceaccount:ops:{name}")
}

/// A token as a Kubernetes API server makes it for an audience of ours.
fn bound(name: &str) -> Value {
    json!({
        "iss": CLUSTER, "sub": service_account(name), "aud": [AUDIENCE],
        "exp": NOW + 600, "iat": NOW, "nbf": NOW, "jti": "2f0c4a1b",
        "kubernetes.io": {
            "namespace": "ops",
            "node": {"name": "node-1", "uid": "n1"},
            "pod": {"name": "holmes-7f", "uid": "p1"},
            "serviceaccount": {"name": name, "uid": "s1"},
        },
    })
}

fn job(reference: &str) -> Value {
    json!({
        "iss": OIDC, "sub": "repo:acme/app", "aud": AUDIENCE, "exp": NOW + 300, "iat": NOW,
        "ref": reference, "protected": true, "run": 7,
    })
}

/// Every source at once, each with a key of its own under the same id.
struct World {
    own: Forge,
    partner: Forge,
    cluster: Forge,
    oidc: Forge,
    verifier: Verifier,
}

impl World {
    fn new() -> Self {
        let [own, partner, cluster, oidc] = [0; 4].map(|_| Forge::new());
        let name = domain("example.org");
        let own_ids = vec![(spiffe("spiffe://example.org/ns/ops/sa/spire"), agent("spire", Phase::Observe))];
        let partner_ids = vec![(spiffe("spiffe://partner.example/ns/a/sa/b"), agent("guest", Phase::Decide))];
        let cluster_rules = vec![
            rule(&json!({"/sub": service_account("holmes")}), agent("holmes", Phase::Decide)),
            rule(&json!({"/sub": service_account("watcher")}), agent("holmes", Phase::Observe)),
        ];
        let mut from_main = rule(
            &json!({"/ref": "main", "/protected": true, "/run": 7, "/sub": "repo:acme/app"}),
            agent("ci", Phase::Decide),
        );
        from_main.selectors = ["team:build".to_owned()].into();
        let verifier = Verifier::empty(name.clone(), AUDIENCE.to_owned())
            .with_domain(name.clone(), Domain::new(&name, &name, ring(&own), own_ids).unwrap())
            .with_domain(
                domain(PARTNER),
                Domain::new(&name, &domain(PARTNER), ring(&partner), partner_ids).unwrap(),
            )
            .with_issuer(
                Issuer::new(CLUSTER.to_owned(), IssuerKind::Kubernetes, None, cluster_rules).unwrap(),
                ring(&cluster),
            )
            .with_issuer(
                Issuer::new(OIDC.to_owned(), IssuerKind::Oidc, None, vec![from_main]).unwrap(),
                ring(&oidc),
            );
        Self { own, partner, cluster, oidc, verifier }
    }

    fn verify(&self, forge: &Forge, claims: &Value) -> Result<Verified, TokenError> {
        self.verifier.verify(&forge.sign(&header().to_string(), &claims.to_string()), at(NOW_MS))
    }
}

fn spiffe(text: &str) -> SpiffeId {
    SpiffeId::parse(text).unwrap()
}

#[test]
fn service_accounts_and_jobs_are_who_the_rules_say() {
    let world = World::new();
    let holmes = world.verify(&world.cluster, &bound("holmes")).unwrap();
    assert_eq!(*holmes.identity(), agent("holmes", Phase::Decide));
    let selectors: Vec<_> = holmes.selectors().iter().map(String::as_str).collect();
    let want = [
        "k8s:node-name:node-1",
        "k8s:ns:ops",
        "k8s:pod-name:holmes-7f",
        "k8s:pod-uid:p1",
        "k8s:sa-uid:s1",
        "k8s:sa:holmes",
        "oidc:iss:https://kubernetes.default.svc.cluster.local",
        "oidc:sub:system:serviceaccount:ops:holmes",
    ];
    assert_eq!(selectors, want);
    let watcher = world.verify(&world.cluster, &bound("watcher")).unwrap();
    assert_eq!(*watcher.identity(), agent("holmes", Phase::Observe));
    let ci = world.verify(&world.oidc, &job("main")).unwrap();
    assert_eq!(*ci.identity(), agent("ci", Phase::Decide));
    assert!(ci.selectors().contains("team:build"));
}

#[test]
fn no_rule_is_no_identity() {
    let world = World::new();
    assert_eq!(world.verify(&world.cluster, &bound("default")), Err(TokenError::NoRule));
    let others = [
        with(job("main"), "protected", json!("true")),
        with(job("main"), "protected", json!(false)),
        with(job("main"), "run", json!("7")),
        with(job("main"), "run", json!(7.0)),
        with(job("main"), "sub", json!("repo:acme/other")),
        with(job("main"), "ref", json!(["main"])),
        without(job("main"), "ref"),
        job("main "),
        job("Main"),
    ];
    for claims in others {
        assert_eq!(world.verify(&world.oidc, &claims), Err(TokenError::NoRule), "{claims}");
    }
}

/// Each source signs the others' tokens: a key vouches for its own source alone, whatever the token says.
#[test]
fn t19_t22_keys_of_one_source_never_vouch_for_another() {
    let world = World::new();
    let guest = with(claims(), "sub", json!("spiffe://partner.example/ns/a/sa/b"));
    let sources = [
        (&world.own, claims(), agent("holmes", Phase::Decide)),
        (
            &world.own,
            with(claims(), "sub", json!("spiffe://example.org/ns/ops/sa/spire")),
            agent("spire", Phase::Observe),
        ),
        (&world.partner, guest, agent("guest", Phase::Decide)),
        (&world.cluster, bound("holmes"), agent("holmes", Phase::Decide)),
        (&world.oidc, job("main"), agent("ci", Phase::Decide)),
    ];
    for (owner, claims, identity) in &sources {
        for forge in [&world.own, &world.partner, &world.cluster, &world.oidc] {
            let answer = world.verify(forge, claims);
            if std::ptr::eq(*owner, forge) {
                assert_eq!(answer.unwrap().identity(), identity);
            } else {
                assert_eq!(answer, Err(TokenError::Signature), "{claims}");
            }
        }
    }
    // Another issuer's name over one's own key and subject, and no issuer at all.
    let renamed = [
        (&world.cluster, with(bound("holmes"), "iss", json!(OIDC)), TokenError::Signature),
        (&world.oidc, with(bound("holmes"), "iss", json!(OIDC)), TokenError::NoRule),
        (&world.cluster, without(bound("holmes"), "iss"), TokenError::Signature),
        (&world.cluster, with(bound("holmes"), "iss", json!(format!("{CLUSTER}/"))), TokenError::Signature),
        (&world.cluster, with(bound("holmes"), "iss", json!([CLUSTER])), TokenError::Signature),
        // A JWT-SVID's subject in an issuer's token is a text like any other.
        (&world.cluster, with(claims(), "iss", json!(CLUSTER)), kubernetes_claim()),
        (&world.oidc, with(claims(), "iss", json!(OIDC)), TokenError::NoRule),
        (&world.own, with(claims(), "iss", json!(OIDC)), TokenError::Signature),
    ];
    for (forge, claims, want) in renamed {
        assert_eq!(world.verify(forge, &claims), Err(want), "{claims}");
    }
}

fn kubernetes_claim() -> TokenError {
    TokenError::Claim {
        claim: "kubernetes.io",
        expected: "the namespace and service account that `sub` names, and at most a pod and a node",
    }
}

#[test]
fn a_foreign_domain_has_exactly_the_agents_that_are_mapped() {
    let world = World::new();
    let shown = |forge, subject: &str| {
        world
            .verify(forge, &with(claims(), "sub", json!(subject)))
            .map(|verified| verified.identity().clone())
    };
    for subject in ["agent/holmes/decide", "person/ada", "ns/a/sa/c", "ns/a/sa/b/c", "ns/a/sa/B"] {
        let subject = format!("spiffe://{PARTNER}/{subject}");
        assert_eq!(shown(&world.partner, &subject), Err(TokenError::NoRule), "{subject}");
    }
    for subject in [
        "spiffe://partner.example/ns/a/sa/b/",
        "spiffe://partner.example//ns/a/sa/b",
        "spiffe://partner.example",
    ] {
        assert!(shown(&world.partner, subject).is_err(), "{subject}");
    }
    // A domain that nobody configured: not even our own key helps.
    assert!(matches!(
        shown(&world.own, "spiffe://third.example/agent/a/decide"),
        Err(TokenError::Subject(_))
    ));
    assert!(matches!(shown(&world.own, "spiffe://PARTNER.example/ns/a/sa/b"), Err(TokenError::Subject(_))));
}

#[test]
fn t18_t19_each_word_of_an_issuers_token_wrong() {
    let world = World::new();
    let claim = |claim, expected| TokenError::Claim { claim, expected };
    let seconds = |name| claim(name, "whole seconds since 1970");
    let account = |value: Value| with(bound("holmes"), "kubernetes.io", value);
    let mut cases = vec![
        (without(bound("holmes"), "aud"), TokenError::Audience),
        (with(bound("holmes"), "aud", json!([AUDIENCE, CLUSTER])), TokenError::Audience),
        (with(bound("holmes"), "aud", json!([CLUSTER])), TokenError::Audience),
        (without(bound("holmes"), "exp"), seconds("exp")),
        (with(bound("holmes"), "exp", json!("soon")), seconds("exp")),
        (with(bound("holmes"), "nbf", json!("0")), seconds("nbf")),
        (with(bound("holmes"), "iat", json!(null)), seconds("iat")),
        (with(bound("holmes"), "exp", json!(NOW)), TokenError::Expired),
        (with(bound("holmes"), "nbf", json!(NOW + 31)), TokenError::Future),
        (with(bound("holmes"), "exp", json!(NOW + 3_601)), TokenError::Lifetime(millis(3_600_000))),
        (without(bound("holmes"), "sub"), claim("sub", "a text that is not empty")),
        (with(bound("holmes"), "sub", json!("")), claim("sub", "a text that is not empty")),
        (
            with(bound("holmes"), "sub", json!([service_account("holmes")])),
            claim("sub", "a text that is not empty"),
        ),
    ];
    // What is bound must be there, of the right types, and say what the subject says.
    let sound = bound("holmes")["kubernetes.io"].clone();
    let mut bad = vec![json!(null), json!([]), json!("ops"), json!({}), without(sound.clone(), "namespace")];
    bad.push(without(sound.clone(), "serviceaccount"));
    bad.push(with(sound.clone(), "namespace", json!("other")));
    bad.push(with(sound.clone(), "namespace", json!(["ops"])));
    bad.push(with(sound.clone(), "serviceaccount", json!({"name": "watcher"})));
    bad.push(with(sound.clone(), "pod", json!({"name": 1})));
    bad.push(with(sound, "node", json!({"name": ["node-1"]})));
    cases.extend(bad.into_iter().map(|value| (account(value), kubernetes_claim())));
    cases.push((without(bound("holmes"), "kubernetes.io"), kubernetes_claim()));
    for (claims, want) in cases {
        assert_eq!(world.verify(&world.cluster, &claims), Err(want), "{claims}");
    }
    let header_cases = [
        (with(header(), "x5t", json!("AA")), Err(TokenError::Header), true),
        (with(header(), "x5t", json!(1)), Err(TokenError::Header), false),
        (with(header(), "typ", json!("at+jwt")), Err(TokenError::Type), true),
        (with(header(), "typ", json!("JOSE")), Err(TokenError::Type), false),
        (with(header(), "typ", json!("logout+jwt")), Err(TokenError::Type), false),
        (with(header(), "jku", json!("https://evil.example")), Err(TokenError::Header), false),
        (with(header(), "crit", json!([])), Err(TokenError::Header), false),
    ];
    for (header, cluster, oidc) in header_cases {
        let sign = |forge: &Forge, claims: Value| forge.sign(&header.to_string(), &claims.to_string());
        let token = sign(&world.cluster, bound("holmes"));
        assert_eq!(world.verifier.verify(&token, at(NOW_MS)).map(|_| ()), cluster, "{header}");
        let token = sign(&world.oidc, job("main"));
        assert_eq!(world.verifier.verify(&token, at(NOW_MS)).is_ok(), oidc, "{header}");
    }
}

#[test]
fn inv07_rules_that_could_give_one_subject_two_phases_are_refused() {
    let make = |rules| Issuer::new(OIDC.to_owned(), IssuerKind::Oidc, None, rules).map(|_| ()).unwrap_err();
    let (decide, execute) = (agent("a", Phase::Decide), agent("a", Phase::Execute));
    let rules =
        vec![rule(&json!({"/env": "x"}), decide.clone()), rule(&json!({"/env": "y"}), execute.clone())];
    assert_eq!(make(rules), [RuleError::NoSubject(1), RuleError::NoSubject(2)]);
    let rules =
        vec![rule(&json!({"/sub": "s"}), decide.clone()), rule(&json!({"/env": "y"}), execute.clone())];
    assert_eq!(make(rules), [RuleError::NoSubject(2)]);
    let rules = vec![
        rule(&json!({"/sub": "s", "/env": "x"}), decide.clone()),
        rule(&json!({"/sub": "s", "/env": "y"}), execute.clone()),
    ];
    assert_eq!(make(rules), [RuleError::TwoIdentities { rule: 2, subject: "`s`".to_owned() }]);
    // A subject that a pointer reaches, and that is no text, is none.
    assert!(
        !make(vec![rule(&json!({"/sub": 1}), decide.clone()), rule(&json!({"/sub": "t"}), execute.clone())])
            .is_empty()
    );

    let fine = [
        vec![rule(&json!({"/env": "x"}), decide.clone()), rule(&json!({"/env": "y"}), decide.clone())],
        vec![rule(&json!({"/sub": "s"}), decide.clone()), rule(&json!({"/sub": "t"}), execute)],
        vec![rule(&json!({"/sub": "s"}), decide.clone()), rule(&json!({"/sub": "s", "/env": "x"}), decide)],
    ];
    for rules in fine {
        assert!(Issuer::new(OIDC.to_owned(), IssuerKind::Oidc, None, rules).is_ok());
    }
}

#[test]
fn faults_of_rules_are_reported_together() {
    let identity = agent("a", Phase::Decide);
    let selector = |text: &str| Rule {
        selectors: [text.to_owned()].into(),
        ..rule(&json!({"/a": "b"}), identity.clone())
    };
    let rules = vec![
        rule(&json!({}), identity.clone()),
        rule(&json!({"sub": "x"}), identity.clone()),
        rule(&json!({"/a": null, "/b": [], "/c": 1.5}), identity.clone()),
        rule(&json!({"/iss": OIDC}), identity.clone()),
        selector("k8s:ns:ops"),
        selector("a b"),
        selector(""),
    ];
    let faults = Issuer::new("http://x".to_owned(), IssuerKind::Oidc, Some(millis(1)), rules).unwrap_err();
    assert_eq!(faults.len(), 11, "{faults:#?}");
    for fault in faults {
        assert!(!fault.to_string().contains('\n') && fault.to_string().is_ascii(), "{fault}");
    }
    for url in [
        "",
        "https://",
        "ci.example.com",
        "https://a b",
        "HTTPS://a",
        &format!("https://{}", "a".repeat(300)),
    ] {
        let rules = vec![rule(&json!({"/a": "b"}), identity.clone())];
        assert!(Issuer::new(url.to_owned(), IssuerKind::Oidc, None, rules).is_err(), "{url}");
    }
    assert_eq!(
        Issuer::new(OIDC.to_owned(), IssuerKind::Oidc, None, vec![]).unwrap_err(),
        [RuleError::Rules(0)]
    );

    let own = domain("example.org");
    let make = |name: &str, ids: &[&str]| {
        let ids = ids.iter().map(|text| (spiffe(text), identity.clone())).collect();
        Domain::new(&own, &domain(name), ring(&Forge::new()), ids).map(|_| ()).unwrap_err()
    };
    let twice = ["spiffe://b/x", "spiffe://b/x", "spiffe://c/x"];
    assert!(matches!(make("b", &twice)[..], [DomainError::Twice(_), DomainError::Foreign { .. }]));
    let native = [SUBJECT, "spiffe://example.org/person/ada", "spiffe://example.org/agent/x"];
    assert_eq!(make("example.org", &native).len(), 3);
}

/// 64 principals of four sources ask in every order, also of a verifier that remembers: each is told about itself.
#[test]
fn t22_sixty_four_principals_interleaved() {
    let sources: [Forge; 4] = [0; 4].map(|_| Forge::new());
    let name = domain("example.org");
    let phase = |number: usize| Phase::ALL[number % 3];
    let of = |number: usize| agent(&format!("agent-{number}"), phase(number));
    let numbers = |source: usize| (0..64).filter(move |number| number % 4 == source);
    let subject = |number: usize| match number % 4 {
        0 => format!("spiffe://example.org/agent/agent-{number}/{}/i{number}", phase(number)),
        1 => format!("spiffe://partner.example/w/{number}"),
        2 => service_account(&format!("agent-{number}")),
        _ => format!("job:{number}"),
    };
    let ids = numbers(1).map(|number| (spiffe(&subject(number)), of(number))).collect();
    let rules = |source: usize| {
        numbers(source).map(|number| rule(&json!({"/sub": subject(number)}), of(number))).collect()
    };
    let verifier = Verifier::empty(name.clone(), AUDIENCE.to_owned())
        .with_domain(name.clone(), Domain::new(&name, &name, ring(&sources[0]), Vec::new()).unwrap())
        .with_domain(domain(PARTNER), Domain::new(&name, &domain(PARTNER), ring(&sources[1]), ids).unwrap())
        .with_issuer(
            Issuer::new(CLUSTER.to_owned(), IssuerKind::Kubernetes, None, rules(2)).unwrap(),
            ring(&sources[2]),
        )
        .with_issuer(
            Issuer::new(OIDC.to_owned(), IssuerKind::Oidc, None, rules(3)).unwrap(),
            ring(&sources[3]),
        );
    let tokens: BTreeMap<usize, String> = (0..64)
        .map(|number| {
            let claims = match number % 4 {
                2 => bound(&format!("agent-{number}")),
                3 => with(job("main"), "sub", json!(subject(number))),
                _ => with(claims(), "sub", json!(subject(number))),
            };
            (number, sources[number % 4].sign(&header().to_string(), &claims.to_string()))
        })
        .collect();
    let cached = CachedVerifier::new(verifier);
    let cached = &cached;
    std::thread::scope(|scope| {
        for stride in [1, 3, 5, 7, 11, 13] {
            let tokens = &tokens;
            scope.spawn(move || {
                for step in 0..256 {
                    let number = step * stride % 64;
                    let verified = cached.verify(&tokens[&number], at(NOW_MS)).unwrap();
                    assert_eq!(*verified.identity(), of(number));
                    let own = verified
                        .selectors()
                        .iter()
                        .filter(|it| it.starts_with("oidc:sub:") || it.starts_with("spiffe_id:"));
                    assert!(own.clone().count() == 1 && own.clone().all(|it| it.ends_with(&subject(number))));
                }
            });
        }
    });
}

#[test]
fn a_person_of_an_issuer_is_that_person() {
    let forge = Forge::new();
    let ada = Identity::Person { person: id::<kind::Person>("ada") };
    let rules = vec![rule(&json!({"/sub": "u-1", "/email_verified": true}), ada.clone())];
    let issuer = Issuer::new(OIDC.to_owned(), IssuerKind::Oidc, Some(millis(7_200_000)), rules).unwrap();
    let verifier =
        Verifier::empty(domain("example.org"), AUDIENCE.to_owned()).with_issuer(issuer, ring(&forge));
    let claims = json!({
        "iss": OIDC, "sub": "u-1", "email_verified": true, "aud": AUDIENCE, "exp": NOW + 7_200, "iat": NOW,
    });
    let verify =
        |claims: &Value| verifier.verify(&forge.sign(&header().to_string(), &claims.to_string()), at(NOW_MS));
    assert_eq!(*verify(&claims).unwrap().identity(), ada);
    assert_eq!(
        verify(&with(claims, "exp", json!(NOW + 7_201))),
        Err(TokenError::Lifetime(millis(7_200_000)))
    );
    // No source of our own domain: no JWT-SVID is believed.
    assert_eq!(verify(&self::claims()), Err(TokenError::NoKeys));
}
