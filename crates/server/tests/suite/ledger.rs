//! The ledger from outside: exported, verified, and a store that was tampered with or rolled back.

use std::fs;

use super::stage::Stage;

#[tokio::test]
async fn inv11_an_export_verifies_and_a_flipped_bit_or_a_cut_is_found() {
    let mut stage = Stage::started();
    let config = stage.path("holdpoint.yaml");
    stage.propose("sleeper").await;
    let early = client_text(&stage, "/v1/ledger/checkpoint").await;
    stage.write("early.checkpoint", &early);
    stage.propose("sleeper").await;
    let late = client_text(&stage, "/v1/ledger/checkpoint").await;
    stage.write("late.checkpoint", &late);

    let copy = stage.path("copy");
    stage.must(&["ledger", "export", &copy, "--config", &config, "--as", "ada"]);
    let key = stage.path("log.vkey");
    let (early, late) = (stage.path("early.checkpoint"), stage.path("late.checkpoint"));
    stage.must(&["ledger", "verify", &copy, "--key", &key, "--against", &early, "--against", &late]);
    let proof = stage.must(&["ledger", "prove", "1", "--config", &config, "--as", "ada", "--key", &key]);
    assert!(proof.contains("c2sp.org/tlog-proof@v1"), "{proof}");

    let bundle =
        fs::read_dir(stage.root().join("copy/tile/entries/000.p")).unwrap().next().unwrap().unwrap().path();
    let good = fs::read(&bundle).unwrap();
    for at in [3, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&bundle, &bad).unwrap();
        let output = stage.cli(&["ledger", "verify", &copy, "--key", &key]);
        assert_eq!(output.status.code(), Some(9), "byte {at}: {}", String::from_utf8_lossy(&output.stdout));
    }
    fs::write(&bundle, &good).unwrap();

    // An older head of the same log: sound by itself, and not what the one who remembers a later head saw.
    stage.kill();
    let old = stage.path("old");
    copy_of_head(&stage, &early, &old);
    let output = stage.cli(&["ledger", "verify", &old, "--key", &key, "--against", &late]);
    assert_eq!(output.status.code(), Some(9), "{}", String::from_utf8_lossy(&output.stdout));
}

/// A log that was cut off at an earlier head, every file as it was then: the strongest roll-back there is.
fn copy_of_head(stage: &Stage, checkpoint: &str, to: &str) {
    use holdpoint_ledger::{SignedCheckpoint, bundle::read_bundle, export::Exporter};
    let signed = SignedCheckpoint::parse(&fs::read(checkpoint).unwrap()).unwrap();
    let bundle =
        fs::read_dir(stage.root().join("copy/tile/entries/000.p")).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(bundle).unwrap();
    let mut exporter = Exporter::new();
    let mut files = Vec::new();
    let size = usize::try_from(signed.unverified().size()).unwrap();
    for entry in read_bundle(&bytes).take(size) {
        files.extend(exporter.push(entry.unwrap()).unwrap());
    }
    files.extend(exporter.finish(&signed).unwrap());
    for file in files {
        let path = std::path::Path::new(to).join(&file.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file.bytes).unwrap();
    }
}

#[tokio::test]
async fn inv11_a_store_restored_from_an_older_copy_is_refused() {
    let mut stage = Stage::started();
    stage.propose("sleeper").await;
    stage.kill();
    // With the gate dead, the write-ahead log belongs to the copy.
    let files = ["", "-wal", "-shm"].map(|end| format!("{}{end}", stage.store().display()));
    let copy: Vec<_> = files.iter().map(|file| fs::read(file).ok()).collect();
    stage.start();
    stage.propose("sleeper").await;
    stage.kill();
    for (file, bytes) in files.iter().zip(copy) {
        match bytes {
            Some(bytes) => fs::write(file, bytes).unwrap(),
            None => drop(fs::remove_file(file)),
        }
    }
    let said = stage.refused();
    assert!(said.contains("remember") || said.contains("older"), "{said}");
}

async fn client_text(stage: &Stage, path: &str) -> String {
    super::stage::client().get(stage.url(path)).send().await.unwrap().text().await.unwrap()
}

/// The log says which registries were in force and what they took out; it does not pretend to know more.
#[tokio::test]
async fn an_audit_of_consents_names_the_registries_that_it_went_by() {
    let stage = Stage::started();
    let config = stage.path("holdpoint.yaml");
    let registry = fs::read_to_string(stage.path("registry.yaml")).unwrap();
    fs::create_dir(stage.path("new")).unwrap();
    stage.write(
        "new/registry.yaml",
        &registry.replacen("ben, teams: [oncall]", "ben, teams: [night, oncall]", 1),
    );
    let by = |who: &str, words: &[&str]| {
        let args: Vec<_> = words.iter().copied().chain(["--config", &config, "--as", who]).collect();
        stage.must(&args)
    };
    let new = stage.path("new/registry.yaml");
    let said = by("ada", &["change", "propose", "registry", &new, "-o", "json"]);
    let terms: serde_json::Value = serde_json::from_str(&said).unwrap();
    let id = terms["terms"]["id"].as_str().unwrap().to_owned();
    by("ben", &["change", "approve", &id, "--yes"]);
    let copy = stage.path("copy");
    by("ada", &["ledger", "export", &copy]);
    let audit = stage.must(&["ledger", "verify", &copy, "--key", &stage.path("log.vkey"), "--consents"]);
    let registries: Vec<_> = audit.lines().filter(|line| line.starts_with("registry ")).collect();
    assert_eq!(registries.len(), 2, "{audit}");
    assert!(registries[0].contains("in force from entry 0 to entry "), "{audit}");
    assert!(registries.iter().all(|line| line.contains("took out no passkey")), "{audit}");
    assert!(audit.contains("the texts of these registries are not in the log"), "{audit}");
    assert!(audit.contains("1 consents: each holds"), "{audit}");
}
