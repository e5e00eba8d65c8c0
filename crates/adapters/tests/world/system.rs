//! Clocks, randomness, keys and their files.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    sync::Arc,
};

use holdpoint_adapters::system::{Ed25519Key, KeyFileError, KeyUse, Seed, SystemClock, SystemIds};
use holdpoint_app::port::{Clock as _, Ids as _, Signer};
use holdpoint_domain::signature::PublicKey;
use holdpoint_ledger::{
    checkpoint::{Checkpoint, SignedCheckpoint},
    hash::leaf_hash,
    key::{Ed25519NoteSigner, NoteSigner},
};
use tempfile::TempDir;

use super::support::{id, millis};

#[tokio::test]
async fn the_clock_goes_forward() {
    let clock = SystemClock::new();
    let (now, elapsed) = (clock.now(), clock.elapsed());
    // After this was written, and before anybody who wrote it is alive.
    assert!((1_700_000_000_000..5_000_000_000_000).contains(&now.ms()));
    clock.sleep(millis(20)).await;
    assert!(clock.elapsed().ms() >= elapsed.ms() + 20);
}

#[test]
fn ids_and_salts_never_come_twice() {
    let ids: BTreeSet<u128> = (0..1000).map(|_| SystemIds.unique()).collect();
    assert_eq!(ids.len(), 1000);
    assert_ne!(SystemIds.salt(), SystemIds.salt());
}

#[test]
fn keys_sign_as_rfc_8032_says() {
    // RFC 8032 section 7.1, test 1: the empty message.
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    };
    let seed = hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    let public = hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    let signature = hex(
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24\
         655141438e7a100b",
    );
    let key = Ed25519Key::from_seed("gate.example/log", &Seed::from_bytes(seed.clone().try_into().unwrap()))
        .unwrap();
    assert_eq!(key.public_key().as_bytes().as_slice(), public);
    assert_eq!(key.sign(b"").as_bytes().as_slice(), signature);

    // The same key through each port, and the same bytes as another implementation.
    let signer: &dyn Signer = &key;
    assert!(signer.sign(b"x").verify_raw(&signer.public_key(), b"x").is_ok());
    let other = Ed25519NoteSigner::from_seed("gate.example/log", &seed.try_into().unwrap()).unwrap();
    assert_eq!(NoteSigner::sign(&key, b"x"), NoteSigner::sign(&other, b"x"));
    let checkpoint = Checkpoint::new("gate.example/log", 1, leaf_hash(b"x")).unwrap();
    let signed = SignedCheckpoint::sign(&checkpoint, &[&key]).unwrap();
    assert!(signed.open(&[key.verifier_key().unwrap()]).is_ok());
    assert!(Ed25519Key::from_seed("a name with spaces", &Seed::fresh()).is_err());
    // inv12
    assert!(!format!("{key:?} {:?}", Seed::from_bytes([65; 32])).contains("AAAA"));
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn public(seed: &Seed) -> PublicKey {
    Ed25519Key::from_seed("k", seed).unwrap().public_key()
}

#[test]
fn a_key_file_is_made_once_and_read_again() {
    let dir = TempDir::new().unwrap();
    let path = KeyUse::Permit.path(dir.path());
    assert!(matches!(Seed::load(&path), Err(KeyFileError::Missing(_))));
    let made = Seed::load_or_create(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(public(&Seed::load(&path).unwrap()), public(&made));
    assert_eq!(public(&Seed::load_or_create(&path).unwrap()), public(&made));
    assert!(matches!(Seed::fresh().create(&path), Err(KeyFileError::Exists(_))));
    assert_eq!(public(&Seed::load(&path).unwrap()), public(&made));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left lying about");
    // One line of base64.
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.len() == 45 && text.ends_with("=\n"), "{}", text.len());
}

#[test]
fn each_purpose_has_a_file_of_its_own() {
    let uses = [
        KeyUse::Permit,
        KeyUse::NextPermit(public(&Seed::fresh()).thumbprint()),
        KeyUse::Checkpoint,
        KeyUse::Delegation,
        KeyUse::Evidence,
        KeyUse::Identity,
        KeyUse::Cosign,
        KeyUse::Sealing,
        KeyUse::Executor(id("process")),
        KeyUse::Lease,
        KeyUse::Bearer,
        KeyUse::Authority,
        KeyUse::Approval(id("ada")),
        KeyUse::Approval(id("ben")),
    ];
    let paths: BTreeSet<_> = uses.iter().map(|purpose| purpose.path(Path::new("/keys"))).collect();
    assert_eq!(paths.len(), uses.len());
    assert!(paths.iter().all(|path| path.parent() == Some(Path::new("/keys"))));
    // And a file tells what it is for, or that it is no key at all.
    for purpose in &uses {
        assert_eq!(KeyUse::of_file(&purpose.path(Path::new("/keys"))).as_ref(), Some(purpose));
    }
    for stranger in
        ["permit", "permit.pem", "other.key", "permit-x.key", "executor-.key", ".key", "a/permit.key/.."]
    {
        assert_eq!(KeyUse::of_file(Path::new(stranger)), None, "{stranger}");
    }
}

#[test]
fn inv12_a_key_file_that_others_can_reach_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("permit.key");
    Seed::fresh().create(&path).unwrap();
    for bits in [0o640, 0o604, 0o660, 0o620, 0o602, 0o610, 0o777] {
        fs::set_permissions(&path, fs::Permissions::from_mode(bits)).unwrap();
        let err = Seed::load(&path).unwrap_err();
        assert!(matches!(&err, KeyFileError::Permissions { mode, .. } if *mode == bits), "{err}");
        assert!(err.to_string().contains("expected 0600"), "{err}");
        // And it is not replaced by another one behind the operator's back.
        assert!(Seed::load_or_create(&path).is_err());
    }
    for bits in [0o600, 0o400] {
        fs::set_permissions(&path, fs::Permissions::from_mode(bits)).unwrap();
        assert!(Seed::load(&path).is_ok());
    }
    let link = dir.path().join("link.key");
    symlink(&path, &link).unwrap();
    assert!(matches!(Seed::load(&link), Err(KeyFileError::NotAFile(_))));
    assert!(matches!(Seed::load(dir.path()), Err(KeyFileError::NotAFile(_))));
    assert!(matches!(Seed::load(Path::new("/dev/null")), Err(KeyFileError::NotAFile(_))));
}

#[test]
fn a_damaged_key_file_is_refused_and_not_shown() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("permit.key");
    let whole = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";
    let bad = [
        String::new(),
        "\n".to_owned(),
        whole[..20].to_owned(),
        format!("{whole}\n{whole}\n"),
        format!(" {whole}"),
        format!("{whole}\r\n"),
        whole.replace('=', ""),
        whole.replace("QU", "Q!"),
        "QUFB\n".to_owned(),
        "A".repeat(5000),
    ];
    for text in bad {
        fs::write(&path, &text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let err = Seed::load(&path).unwrap_err();
        assert!(matches!(err, KeyFileError::Malformed(_) | KeyFileError::NotAFile(_)), "{text:?}: {err:?}");
        assert!(!format!("{err} {err:?}").contains("QUF"), "{err:?}");
    }
    fs::write(&path, format!("{whole}\n")).unwrap();
    assert!(Seed::load(&path).is_ok());
}

#[test]
fn whoever_comes_first_makes_the_key_for_all() {
    let dir = Arc::new(TempDir::new().unwrap());
    let threads: Vec<_> = (0..16)
        .map(|_| {
            let dir = Arc::clone(&dir);
            std::thread::spawn(move || public(&Seed::load_or_create(&dir.path().join("k.key")).unwrap()))
        })
        .collect();
    let keys: BTreeSet<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(keys.len(), 1);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}
