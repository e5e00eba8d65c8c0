//! Permits: compact JWS of the gate. What opens is what was signed.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use holdpoint_domain::{
    Commitment, Digest, Tier,
    approval::TreeHead,
    digest::Salt,
    permit::{Grant, PERMIT_TYP, Permit, compact},
    signature::{PublicKey, Signature},
};

use crate::Choices;

/// Bytes open as a permit when the gate signed exactly them; a text that the gate's key signed opens when it is a grant in
/// canonical form under the one header, and is then that grant.
pub(crate) fn holds(bytes: &[u8]) {
    let gate = SigningKey::from_bytes(&[100; 32]);
    let key = PublicKey::from_bytes(gate.verifying_key().to_bytes()).unwrap();
    if let Ok(text) = str::from_utf8(bytes) {
        assert!(Permit::open(text, &key).is_err(), "somebody has the key of this test");
    }
    let choices = &mut Choices::new(bytes);
    match choices.byte() % 2 {
        0 => changed(choices, &gate, &key),
        _ => signed(choices, &gate, &key),
    }
}

fn changed(choices: &mut Choices<'_>, gate: &SigningKey, key: &PublicKey) {
    let grant = grant(choices);
    let input = grant.signing_input("permits-1").unwrap();
    let jws = compact(&input, &Signature::from_bytes(gate.sign(input.as_bytes()).to_bytes()));
    let permit = Permit::open(&jws, key).unwrap();
    assert_eq!((permit.grant(), permit.jws()), (&grant, jws.as_str()));

    let mut bytes = jws.clone().into_bytes();
    choices.edit(&mut bytes);
    let Ok(text) = String::from_utf8(bytes) else { return };
    assert_eq!(Permit::open(&text, key).is_ok(), text == jws, "a changed permit opens: {text}");
}

/// Whatever stands between the dots, signed by the right key: the header and the form are checked as well.
fn signed(choices: &mut Choices<'_>, gate: &SigningKey, key: &PublicKey) {
    let header = match choices.byte() % 4 {
        0 => String::from_utf8_lossy(choices.rest()).into_owned(),
        _ => format!("{{\"alg\":\"EdDSA\",\"kid\":\"k\",\"typ\":\"{PERMIT_TYP}\"}}"),
    };
    let mut payload = match choices.byte() % 2 {
        0 => choices.rest().to_vec(),
        _ => holdpoint_domain::digest::canonical(&grant(choices)).unwrap(),
    };
    choices.edit(&mut payload);
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(&header), URL_SAFE_NO_PAD.encode(&payload));
    let jws = compact(&input, &Signature::from_bytes(gate.sign(input.as_bytes()).to_bytes()));
    let Ok(permit) = Permit::open(&jws, key) else { return };
    let form = holdpoint_domain::digest::canonical(permit.grant()).unwrap();
    assert_eq!(form, payload, "a grant has one spelling");
    let header: serde_json::Value = serde_json::from_str(&header).unwrap();
    assert_eq!((&header["alg"], &header["typ"]), (&"EdDSA".into(), &PERMIT_TYP.into()));
}

/// Any grant, also one that no decision would have led to: `open` is about bytes.
fn grant(choices: &mut Choices<'_>) -> Grant {
    let key = PublicKey::from_bytes(SigningKey::from_bytes(&[101; 32]).verifying_key().to_bytes()).unwrap();
    let at = |ms: u64| holdpoint_domain::Timestamp::from_ms(ms % (1 << 53)).unwrap();
    Grant {
        id: choices.id(),
        plan_id: choices.id(),
        plan: choices.digest(),
        narrative: Commitment::to(&Salt::new([choices.byte(); 32]), b"words"),
        facts: choices.digest(),
        decision: choices.digest(),
        policy: choices.digest(),
        tier: choices.one_of(&Tier::ALL),
        head: TreeHead {
            origin: "gate.example/log".to_owned(),
            size: choices.number() % (1 << 53),
            root: Digest::of_bytes(b"root"),
        },
        terms: None,
        approvals: Vec::new(),
        executors: choices.several(3, Choices::id).into_iter().map(|id| (id, key.thumbprint())).collect(),
        nonce: choices.id(),
        epoch: choices.number() % (1 << 53),
        granted_at_ms: at(choices.number()),
        start_before_ms: at(choices.number()),
        undo_until_ms: at(choices.number()),
    }
}
