//! Lease secrets on their way through the gate.

use holdpoint_adapters::remote::{SealError, SealTo, SealingKey};
use holdpoint_domain::lease::{LeaseInfo, LeaseSecret, Scope};

use super::support::{NOW_MS, at, id};

fn info() -> LeaseInfo {
    LeaseInfo {
        backend: None,
        id: id("lease-1"),
        permit: id("permit-1"),
        scopes: vec![Scope { action: id("process.restart"), target: id("web-1") }],
        expires_at_ms: at(NOW_MS),
    }
}

#[test]
fn inv12_a_sealed_secret_opens_for_its_lease_and_key_alone() {
    let dir = tempfile::tempdir().unwrap();
    let key = SealingKey::load_or_create(&dir.path().join("sealing.key")).unwrap();
    let again = SealingKey::load(&dir.path().join("sealing.key")).unwrap();
    let other = SealingKey::load_or_create(&dir.path().join("other.key")).unwrap();
    let to: SealTo = key.public().to_string().parse().unwrap();
    let secret = LeaseSecret::new("canary-of-a-lease".to_owned());
    let sealed = to.seal(&info(), &secret).unwrap();
    assert!(!sealed.contains("canary"));
    assert_ne!(sealed, to.seal(&info(), &secret).unwrap(), "each seal is another one");
    assert_eq!(again.open(&info(), &sealed).unwrap(), secret);
    assert!(matches!(other.open(&info(), &sealed), Err(SealError::Closed)));
    let changes: [fn(&mut LeaseInfo); 5] = [
        |info| info.id = id("lease-2"),
        |info| info.permit = id("permit-2"),
        |info| info.scopes[0].target = id("web-2"),
        |info| info.scopes.clear(),
        |info| info.expires_at_ms = at(NOW_MS + 1),
    ];
    for change in changes {
        let mut other = info();
        change(&mut other);
        assert!(matches!(key.open(&other, &sealed), Err(SealError::Closed)), "{other:?}");
    }
    for at in [0, sealed.len() / 2, sealed.len() - 1] {
        let mut bytes = sealed.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert!(key.open(&info(), &String::from_utf8(bytes).unwrap()).is_err(), "byte {at}");
    }
    for bad in ["", ".", "AAAA", "AAAA.AAAA", &sealed[1..], &sealed.replace('.', "")] {
        assert!(key.open(&info(), bad).is_err(), "{bad}");
    }
    for bad in ["", "x25519:", "x25519:AAAA", &key.public().to_string()[7..]] {
        assert!(bad.parse::<SealTo>().is_err(), "{bad}");
    }
    assert_eq!(format!("{secret:?} {key:?}"), format!("*** SealingKey({})", key.public()));
}
