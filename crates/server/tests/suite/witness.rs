//! Witnesses: the program itself as one, and a gate that asks two of them.

use std::{
    fs,
    process::{Child, Command, ExitStatus, Stdio},
    time::Instant,
};

use holdpoint_adapters::step::{Moment, Step};
use holdpoint_ledger::{
    AddCheckpoint, Checkpoint, Cosignature, Ed25519NoteSigner, Hash, SignedCheckpoint, SourceError,
    TileSource, Tree, VerifierKey, cosigners, leaf_hash,
};

use super::{
    crash::drill,
    stage::{BINARY, PATIENCE, Stage, client, port},
};

const LOG: &str = "log.example/one";

/// A witness in a folder of its own.
struct Witness {
    dir: tempfile::TempDir,
    port: u16,
    key: VerifierKey,
    child: Option<Child>,
}

impl Witness {
    /// Makes the files and the key, starts nothing.
    fn new(name: &str, logs: &[&VerifierKey]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = port();
        let logs: Vec<_> = logs.iter().map(|key| format!("  - {key}\n")).collect();
        let config = format!(
            "listen: 127.0.0.1:{port}\ndata_dir: data\nname: {name}\ndevelopment: true\nlogs:\n{}",
            logs.concat()
        );
        fs::write(dir.path().join("witness.yaml"), config).unwrap();
        let mut witness = Self { dir, port, key: log_key(), child: None };
        let made = witness.command("init").output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        witness.key = String::from_utf8(made.stdout).unwrap().trim().parse().unwrap();
        witness
    }

    fn started(name: &str, logs: &[&VerifierKey]) -> Self {
        let mut witness = Self::new(name, logs);
        witness.start(None);
        witness
    }

    fn command(&self, what: &str) -> Command {
        let mut command = Command::new(BINARY);
        command.args(["witness", what, "--config"]).arg(self.dir.path().join("witness.yaml"));
        command.stdin(Stdio::null());
        command
    }

    fn start(&mut self, drill: Option<&str>) {
        let mut command = self.command("serve");
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        command.stdout(Stdio::null()).stderr(log).envs(drill.map(|words| ("HOLDPOINT_DRILL", words)));
        self.child = Some(command.spawn().unwrap());
        let since = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let gone = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(gone.is_none() && since.elapsed() < PATIENCE, "no witness answers: {}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn ended(&mut self) -> ExitStatus {
        self.child.take().unwrap().wait().unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Status, content type and body of an answer; none when the connection broke.
    async fn add(&self, body: impl Into<reqwest::Body>) -> Option<(u16, String, String)> {
        let answer = client().post(format!("{}/add-checkpoint", self.url())).body(body).send().await.ok()?;
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        Some((answer.status().as_u16(), kind, answer.text().await.ok()?))
    }

    async fn status(&self, request: &AddCheckpoint) -> u16 {
        self.add(request.to_string()).await.unwrap().0
    }

    fn files(&self, end: &str) -> usize {
        let files = fs::read_dir(self.dir.path().join("data")).unwrap();
        files.filter(|file| file.as_ref().unwrap().file_name().to_str().unwrap().ends_with(end)).count()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn signer() -> Ed25519NoteSigner {
    Ed25519NoteSigner::from_seed(LOG, &[1; 32]).unwrap()
}

fn log_key() -> VerifierKey {
    VerifierKey::of(&signer()).unwrap()
}

/// No tile of these short logs is full.
struct NoTiles;

impl TileSource for NoTiles {
    fn tile(&self, _: u8, _: u64) -> Result<Option<Vec<Hash>>, SourceError> {
        Ok(None)
    }
}

/// A request to go on from `old` to `new` entries, in the history `history`; histories have their first two entries in common.
fn request(history: u8, old: u64, new: u64) -> AddCheckpoint {
    let leaf = |index: u64| leaf_hash(format!("{} {index}", if index < 2 { 0 } else { history }).as_bytes());
    let leaves: Vec<Hash> = (0..new).map(leaf).collect();
    let mut tree = Tree::new();
    tree.append_all(&leaves).unwrap();
    let proof = if old == 0 { Vec::new() } else { tree.consistency_proof(&NoTiles, old, new).unwrap() };
    let head = Checkpoint::new(LOG, new, tree.root()).unwrap();
    AddCheckpoint { old_size: old, proof, checkpoint: SignedCheckpoint::sign(&head, &[&signer()]).unwrap() }
}

#[tokio::test]
async fn inv11_a_witness_cosigns_one_history_and_remembers_it_after_a_kill() {
    let mut witness = Witness::started("witness.example/w1", &[&log_key()]);
    let first = request(1, 0, 2);
    let (status, _, lines) = witness.add(first.to_string()).await.unwrap();
    assert_eq!(status, 200, "{lines}");
    let found = Cosignature::read(&first.checkpoint, &lines, std::slice::from_ref(&witness.key)).unwrap();
    assert_eq!(found.len(), 1);
    // Whoever does not know its size is told.
    let conflict = witness.add(request(1, 0, 5).to_string()).await.unwrap();
    assert_eq!(conflict, (409, "text/x.tlog.size".to_owned(), "2\n".to_owned()));
    assert_eq!(witness.status(&request(1, 2, 5)).await, 200);
    witness.kill();
    witness.start(None);
    assert_eq!(witness.status(&request(1, 5, 5)).await, 200, "the same head again");
    assert_eq!(witness.status(&request(1, 5, 7)).await, 200);
    // Back, another root at the same size, another history.
    assert_eq!(witness.status(&request(1, 2, 5)).await, 409);
    assert_eq!(witness.status(&request(2, 7, 7)).await, 409);
    assert_eq!(witness.status(&request(2, 7, 9)).await, 422);
    assert_eq!(witness.files(".evidence"), 2, "each of the two forks is kept");
    assert!(witness.log().contains("CONTRADICTS ITSELF"), "{}", witness.log());
    assert_eq!(witness.status(&request(1, 7, 9)).await, 200, "the log that everybody knows goes on");
    // What is no request, no known log, no signature of the log.
    assert_eq!(witness.add("old 9").await.unwrap().0, 400);
    let other = request(1, 9, 9).to_string().replace(LOG, "log.example/two");
    assert_eq!(witness.add(other).await.unwrap().0, 404);
    let forged = request(1, 9, 9).to_string();
    let forged = forged.rsplit_once(' ').unwrap().0.to_owned() + " " + &"A".repeat(91) + "=\n";
    assert!([400, 403].contains(&witness.add(forged).await.unwrap().0));
    assert_eq!(witness.add("x".repeat(1024 * 1024)).await.unwrap().0, 413);
}

#[tokio::test]
async fn inv11_t39_of_two_histories_at_once_a_witness_cosigns_one() {
    let witness = Witness::started("witness.example/w1", &[&log_key()]);
    assert_eq!(witness.status(&request(1, 0, 2)).await, 200);
    for round in 0..10 {
        let (one, other) = (request(1, 2, 4), request(2, 2, 4));
        let ask = |request: &AddCheckpoint| witness.add(request.to_string());
        let (one, other) = tokio::join!(ask(&one), ask(&other));
        let cosigned = [one, other].iter().flatten().filter(|(status, ..)| *status == 200).count();
        // From the second round on both continue a head that is not the last one any more.
        assert_eq!(cosigned, usize::from(round == 0));
    }
}

#[tokio::test]
async fn inv11_a_witness_that_is_killed_at_any_step_signs_no_second_history() {
    for moment in Moment::ALL {
        let mut witness = Witness::started("witness.example/w1", &[&log_key()]);
        assert_eq!(witness.status(&request(1, 0, 2)).await, 200);
        witness.kill();
        witness.start(Some(&drill(Step::CosignHead, moment, 1)));
        // At `after` it dies before the step that comes next.
        let answer = witness.add(request(1, 2, 4).to_string()).await;
        let seen = answer.is_some_and(|(status, ..)| status == 200);
        assert_eq!(seen, moment == Moment::After, "{moment:?}");
        if seen {
            let _ = witness.add(request(2, 4, 4).to_string()).await;
        }
        assert!(!witness.ended().success());
        witness.start(None);
        // Whatever it remembers: of two histories it cosigns the one that somebody may have seen.
        let known = witness.add(request(1, 0, 4).to_string()).await.unwrap().2;
        let known: u64 = known.trim().parse().unwrap();
        assert_eq!(known, if moment == Moment::Before { 2 } else { 4 });
        if seen {
            assert_eq!(witness.status(&request(2, 4, 6)).await, 422);
        }
        assert_eq!(witness.status(&request(1, known, 6)).await, 200);
    }
    for moment in Moment::ALL {
        let mut witness = Witness::started("witness.example/w1", &[&log_key()]);
        assert_eq!(witness.status(&request(1, 0, 4)).await, 200);
        witness.kill();
        witness.start(Some(&drill(Step::CosignEvidence, moment, 1)));
        let _ = witness.add(request(2, 4, 6).to_string()).await;
        if moment == Moment::After {
            let _ = witness.add(request(1, 4, 5).to_string()).await;
        }
        assert!(!witness.ended().success());
        witness.start(None);
        assert_eq!(witness.status(&request(2, 4, 6)).await, 422);
        assert_eq!(witness.files(".evidence"), 1, "{moment:?}");
    }
}

#[test]
fn inv11_a_witness_without_its_memory_or_with_a_spoilt_one_does_not_sign() {
    let mut witness = Witness::started("witness.example/w1", &[&log_key()]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    assert_eq!(runtime.block_on(witness.status(&request(1, 0, 2))), 200);
    // A second one over the same memory.
    let second = witness.command("serve").output().unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("in use"), "{second:?}");
    witness.kill();
    let files = fs::read_dir(witness.dir.path().join("data")).unwrap().map(|file| file.unwrap().path());
    let head = files.into_iter().find(|path| path.extension().is_some_and(|end| end == "head")).unwrap();
    let spoilt = fs::read_to_string(&head).unwrap().replacen("\n2\n", "\n1\n", 1);
    fs::write(&head, spoilt).unwrap();
    let refused = witness.command("serve").output().unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is not a head"), "{refused:?}");
}

/// A stage whose gate asks two witnesses, which know its log.
fn witnessed() -> (Stage, [Witness; 2]) {
    let stage = Stage::new();
    let key: VerifierKey = fs::read_to_string(stage.path("log.vkey")).unwrap().trim().parse().unwrap();
    let witnesses = ["w1", "w2"].map(|name| Witness::started(&format!("witness.example/{name}"), &[&key]));
    let entry = |witness: &Witness| format!("  - {{url: '{}', key: '{}'}}\n", witness.url(), witness.key);
    let config = fs::read_to_string(stage.path("holdpoint.yaml")).unwrap();
    let of: String = witnesses.iter().map(entry).collect();
    let config = format!("{config}\ndevelopment: true\nwitnesses:\n  quorum: 2\n  every_ms: 20\n  of:\n{of}");
    stage.write("holdpoint.yaml", &config);
    (stage, witnesses)
}

/// The newest cosigned head of a gate, once it has at least `size` entries.
async fn cosigned(stage: &Stage, size: u64) -> SignedCheckpoint {
    let since = Instant::now();
    loop {
        let answer = client().get(stage.url("/v1/ledger/cosigned")).send().await;
        let text = match answer {
            Ok(answer) if answer.status() == 200 => answer.text().await.unwrap_or_default(),
            _ => String::new(),
        };
        if let Ok(found) = SignedCheckpoint::parse(text.as_bytes())
            && found.unverified().size() >= size
        {
            return found;
        }
        assert!(since.elapsed() < PATIENCE, "no cosigned head: {text}\n{}", stage.log());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn inv11_a_gate_serves_heads_that_its_witnesses_cosigned() {
    let (mut stage, witnesses) = witnessed();
    stage.start();
    stage.propose("sleeper").await;
    let head = cosigned(&stage, 3).await;
    let keys = witnesses.each_ref().map(|witness| witness.key.clone());
    assert_eq!(cosigners(&head, &keys).unwrap().len(), 2);
    let (config, key, copy) = (stage.path("holdpoint.yaml"), stage.path("log.vkey"), stage.path("copy"));
    stage.must(&["ledger", "export", &copy, "--config", &config, "--as", "ada"]);
    let [one, two] = keys.map(|key| key.to_string());
    let verify = ["ledger", "verify", &copy, "--key", &key, "--cosigner", &one];
    let said = stage.must(&[&verify[..], &["--cosigner", &two]].concat());
    assert!(said.contains("2 of 2 cosigners"), "{said}");
    // A third, whom nobody asked.
    let stranger = Witness::new("witness.example/w3", &[&log_key()]).key.to_string();
    let three = [&verify[..], &["--cosigner", &two, "--cosigner", &stranger]].concat();
    let output = stage.cli(&three);
    assert_eq!(output.status.code(), Some(9), "{}", String::from_utf8_lossy(&output.stderr));
    stage.must(&[&three[..], &["--quorum", "2"]].concat());
    // It is there after a restart, before anybody is asked again.
    stage.kill();
    drop(witnesses);
    stage.start();
    assert_eq!(cosigned(&stage, 1).await.unverified().origin(), "test.example/log");
}

#[tokio::test]
async fn inv11_a_gate_that_is_killed_around_a_cosignature_asks_again() {
    for step in [Step::CosignAsk, Step::CosignKeep] {
        for moment in Moment::ALL {
            let (mut stage, _witnesses) = witnessed();
            stage.set_environment(vec![("HOLDPOINT_DRILL".to_owned(), drill(step, moment, 1))]);
            stage.start_to_die().await;
            stage.set_environment(Vec::new());
            stage.start();
            let size = cosigned(&stage, 1).await.unverified().size();
            stage.propose("sleeper").await;
            cosigned(&stage, size + 1).await;
        }
    }
}
