//! The judge: looks at the targets and at the exported ledger, and never at what the gate says of itself.
//!
//! Everything is compared with what was written down before anybody proposed something. Where the ledger says that a run
//! succeeded, its effect must be there, once; where it says that nothing was changed, nothing may be; and where it says that
//! nobody knows, there may be one effect at most.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use holdpoint_ledger::{
    ExportSource, SignedCheckpoint, SourceError, VerifierKey,
    bundle::read_bundle,
    export::{export_paths, verify_export},
};
use serde_json::{Value, json};

use super::{
    drive::{Case, Scenario, other_policy},
    scene::{OLD_TOKEN, Scene},
};

/// The ledger as it was exported, verified against everything that was ever seen of it.
pub(super) struct Ledger {
    records: Vec<Value>,
    bytes: Vec<u8>,
}

struct Files(BTreeMap<String, Vec<u8>>);

impl ExportSource for Files {
    fn file(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.0.get(path).cloned())
    }
}

/// Whether nothing follows a state or a record of this name by itself.
pub(super) fn is_end(word: &str) -> bool {
    let ends = ["succeeded", "failed", "undone", "undo_failed", "in_doubt", "void", "voided", "expired"];
    ends.contains(&word) || ["rejected", "denied"].contains(&word)
}

impl Ledger {
    /// Exports and verifies the log of a gate that answers: against its public key and every checkpoint that was kept.
    pub(super) async fn exported(scene: &Scene) -> Self {
        let token = scene.person("ada");
        let fetch = async |path: &str| {
            let answer = scene.http.get(scene.url(path)).bearer_auth(&token).send().await.unwrap();
            assert!(answer.status().is_success(), "{path}: {}", answer.status());
            answer.bytes().await.unwrap().to_vec()
        };
        let note = fetch("/v1/ledger/checkpoint").await;
        let head = SignedCheckpoint::parse(&note).unwrap();
        let mut files = BTreeMap::from([("checkpoint".to_owned(), note.clone())]);
        for path in export_paths(head.unverified()).filter(|path| path != "checkpoint") {
            let bytes = fetch(&format!("/v1/ledger/{path}")).await;
            files.insert(path, bytes);
        }
        let key: VerifierKey = scene.read("log.vkey").trim().parse().unwrap();
        let keys = [key];
        let kept = scene.kept.lock().unwrap().clone();
        let open = |note: &String| SignedCheckpoint::parse(note.as_bytes()).unwrap().open(&keys).unwrap();
        let against: Vec<_> = kept.iter().map(open).collect();
        let files = Files(files);
        let report = verify_export(&files, &keys, &against).unwrap();
        assert!(report.is_sound(), "inv11: {report}");
        let bundles = files.0.iter().filter(|(path, _)| path.starts_with("tile/entries/"));
        let bytes: Vec<u8> = bundles.flat_map(|(_, bytes)| bytes.clone()).collect();
        let entries = read_bundle(&bytes).map(|entry| serde_json::from_slice(entry.unwrap()).unwrap());
        Self { records: entries.collect(), bytes }
    }

    fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.records.iter().filter(move |record| record["body"]["kind"] == kind)
    }

    pub(super) fn count(&self, kind: &str) -> usize {
        self.of_kind(kind).count()
    }

    /// The kinds of each plan's records, in order.
    fn plans(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut plans: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for record in &self.records {
            if let Some(plan) = record["plan"].as_str() {
                plans.entry(plan).or_default().push(record["body"]["kind"].as_str().unwrap());
            }
        }
        plans
    }

    /// How the scenario's plan ended; none where it does not exist, or still waits for people.
    pub(super) fn end(&self) -> Option<String> {
        let plans = self.plans();
        assert!(plans.len() <= 1, "one plan was proposed, got {plans:?}");
        let kinds = plans.into_values().next()?;
        kinds.into_iter().find(|kind| is_end(kind)).map(str::to_owned)
    }

    /// Every plan has ended or waits for people, and every lease was proven dead.
    pub(super) fn is_settled(&self) -> bool {
        let rests = |kinds: &Vec<&str>| {
            kinds.iter().any(|kind| is_end(kind)) || kinds.contains(&"held") && !kinds.contains(&"permitted")
        };
        self.plans().values().all(rests) && self.live_leases().is_empty()
    }

    fn live_leases(&self) -> BTreeSet<&str> {
        let issued = self.of_kind("leased").chain(self.of_kind("leased_again"));
        let mut live: BTreeSet<&str> =
            issued.map(|record| record["body"]["lease"]["id"].as_str().unwrap()).collect();
        for record in self.of_kind("revoked") {
            live.remove(record["body"]["lease"].as_str().unwrap());
        }
        live
    }
}

/// All invariants that can be seen from outside.
pub(super) async fn judge(scene: &Scene, case: Case, ledger: &Ledger) {
    let end = ledger.end();
    let at = format!("{case:?}, ended as {end:?}");
    for (plan, kinds) in ledger.plans() {
        let count = |kind: &str| kinds.iter().filter(|known| **known == kind).count();
        assert!(count("claimed") <= 1, "inv02: plan {plan} was claimed twice: {at}");
        assert!(count("permitted") <= 1, "inv02: plan {plan} has two permits: {at}");
        assert!(count("applying") <= 1, "inv03: plan {plan} was tried twice: {at}");
        assert!(
            kinds.iter().filter(|kind| is_end(kind)).count() <= 1,
            "inv03: it ended twice: {kinds:?}, {at}"
        );
    }
    assert!(ledger.live_leases().is_empty(), "inv08: a lease outlived its run: {at}");
    processes(scene, case, ledger, &at).await;
    files(scene, case, ledger, end.as_deref(), &at);
    jobs(scene, case, ledger, end.as_deref(), &at);
    secrets(scene, ledger, &at);
    match case.scenario {
        Scenario::Halt | Scenario::Resume => halted(scene, case, ledger, &at).await,
        Scenario::Change => changed(scene, ledger, &at).await,
        _ => {}
    }
}

/// Whether a process of this number lives, and is no zombie.
fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// The worker: started once by the supervisor, and once more by a run that says so. Never two of them at a time.
async fn processes(scene: &Scene, case: Case, ledger: &Ledger, at: &str) {
    let end = ledger.end();
    let is_restart = matches!(case.scenario, Scenario::Restart | Scenario::Shutdown);
    let expected = match (is_restart, end.as_deref()) {
        (true, Some("succeeded")) => 2..=2,
        (true, Some("in_doubt" | "undone" | "undo_failed")) => 1..=2,
        _ => 1..=1,
    };
    // One that is in doubt may be down, and then a person starts it.
    if !(is_restart && end.as_deref() == Some("in_doubt")) {
        scene
            .until("the worker runs", async || {
                scene.starts().last().is_some_and(|pid| lives(*pid)).then_some(())
            })
            .await;
    }
    let starts = scene.starts();
    assert!(expected.contains(&starts.len()), "inv02: started {} times: {at}", starts.len());
    if starts.len() > 1 {
        assert_eq!(ledger.count("applying"), 1, "inv01: restarted without a record: {at}");
    }
    let living = starts.iter().filter(|pid| lives(**pid)).count();
    assert!(living <= 1, "inv02: {living} workers at a time: {at}");
}

/// Flags, settings, tokens and nginx's file: exactly the bytes before, or exactly those after.
fn files(scene: &Scene, case: Case, ledger: &Ledger, end: Option<&str>, at: &str) {
    let site = scene.site.port;
    let all = [
        (Scenario::Flag, "flags.json", "\"ENABLED\"", "\"DISABLED\"".to_owned()),
        (Scenario::Setting, "setting.env", "POOL=8", "POOL=20".to_owned()),
        (Scenario::Stubborn, "stubborn.env", "POOL=8", "POOL=20".to_owned()),
        (Scenario::Nginx, "servers.conf", &format!("127.0.0.1:{site};"), format!("127.0.0.1:{site} down;")),
    ];
    for (scenario, name, old, new) in all {
        let (now, before) = (scene.read(name), &scene.initial[name]);
        let after = before.replacen(old, &new, 1);
        let is_after = now == after;
        assert!(is_after || now == *before, "{name} is neither as before nor as after: {now}: {at}");
        let may_be = match end {
            _ if scenario != case.scenario => "before",
            Some("succeeded") => "after",
            Some("in_doubt" | "undo_failed") => "either",
            _ => "before",
        };
        let fits = may_be == "either" || is_after == (may_be == "after");
        assert!(fits, "inv03: {name} should be as {may_be}, got {now}: {at}");
        if is_after {
            assert_eq!(ledger.count("applying"), 1, "inv01: {name} was changed without a record: {at}");
        }
    }
    token(scene, case, ledger, end, at);
}

/// The token: one is in use, the verifier takes it, and when the rotation is over it takes no other.
fn token(scene: &Scene, case: Case, ledger: &Ledger, end: Option<&str>, at: &str) {
    let token = scene.read("site.token").trim_end().to_owned();
    let accepted = scene.read("accepted.json");
    assert!(accepted.contains(&super::site::sha256(&token)), "the token in use is not accepted: {at}");
    let number = accepted.matches("\"sha256\"").count();
    let is_old = token == OLD_TOKEN;
    match end {
        Some("succeeded") if case.scenario == Scenario::Secret => {
            assert_eq!((is_old, number), (false, 1), "{at}")
        }
        Some("in_doubt") if case.scenario == Scenario::Secret => assert!(number <= 2, "{at}"),
        _ => assert_eq!((is_old, number), (true, 1), "inv03: rotated, and nobody says so: {at}"),
    }
    if !is_old || number > 1 {
        assert_eq!(ledger.count("applying"), 1, "inv01: rotated without a record: {at}");
    }
}

/// Jobs: what the runner really got.
fn jobs(scene: &Scene, case: Case, ledger: &Ledger, end: Option<&str>, at: &str) {
    let (runs, posts) = (scene.site.runs(), scene.site.posts());
    let own = match case.scenario {
        Scenario::Job => "clear",
        Scenario::Stall => "stall",
        _ => "",
    };
    let of = |job: &str| runs.iter().filter(|run| run.job == job).count();
    assert!(
        runs.iter().all(|run| run.job == own || run.job == "refill"),
        "inv06: another job: {runs:?}: {at}"
    );
    assert!(of(own) <= 1 && of("refill") <= 1, "inv02: the same job twice: {runs:?}: {at}");
    assert!(posts.values().all(|times| *times == 1), "inv03: a start was tried again: {posts:?}: {at}");
    let keys: BTreeSet<_> = runs.iter().map(|run| run.key.as_str()).collect();
    assert_eq!(keys.len(), runs.len(), "{at}");
    assert!(of(own) <= ledger.count("applying"), "inv01: a job without a record: {at}");
    assert!(of("refill") <= ledger.count("undoing"), "inv01: an undo without a record: {at}");
    if own == "clear" && end == Some("succeeded") {
        assert_eq!((of("clear"), of("refill")), (1, 0), "{at}");
    }
    if own == "clear" && matches!(end, None | Some("failed")) {
        assert_eq!(of("clear"), 0, "inv03: a job ran, and nobody says so: {at}");
    }
}

/// No token, old or new, and no private key is in the ledger, in the log, or anywhere in the gate's data.
fn secrets(scene: &Scene, ledger: &Ledger, at: &str) {
    let new = scene.read("site.token").trim_end().to_owned();
    let mut haystacks = vec![("the ledger".to_owned(), ledger.bytes.clone())];
    collect(&scene.path("data"), &mut haystacks);
    collect(&scene.path("gate.log"), &mut haystacks);
    for (name, bytes) in &haystacks {
        for secret in [OLD_TOKEN, &new] {
            assert!(!holds(bytes, secret.as_bytes()), "inv12: a token is in {name}: {at}");
        }
        if !name.contains("/keys/") {
            for key in ["permit", "checkpoint", "evidence", "identity"] {
                let key = scene.read(&format!("data/keys/{key}.key"));
                assert!(!holds(bytes, key.trim().as_bytes()), "inv12: a key is in {name}: {at}");
            }
        }
    }
}

fn collect(path: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            collect(&entry.unwrap().path(), found);
        }
    } else if path.extension().is_none_or(|end| end != "reserve") {
        found.push((path.display().to_string(), fs::read(path).unwrap_or_default()));
    }
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    let Some(first) = needle.first() else { return false };
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        rest = &rest[at..];
        if rest.starts_with(needle) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

/// A halt that was answered is in force after the crash, until a resume was recorded; what is in force is in the ledger.
async fn halted(scene: &Scene, case: Case, ledger: &Ledger, at: &str) {
    let status = scene.get("/v1/status", &scene.person("ada")).await.unwrap();
    let is_halted = !status["halt"].is_null();
    let was_answered = scene.path("halt-answered").exists();
    let resumed = ledger.count("resumed") > 0;
    if was_answered && !resumed {
        assert!(is_halted, "inv15: an answered halt is gone: {at}");
    }
    if case.scenario == Scenario::Halt && was_answered {
        assert_eq!(ledger.count("halted"), 1, "inv15: a halt without its record: {at}");
    }
    assert_eq!(is_halted, scene.path("data/halt").exists(), "inv15: the file and the gate differ: {at}");
    let plan = json!({"action": "process.restart", "target": "worker", "trigger": "process.running"});
    let (answer, _) = scene.post("/v1/plans", &scene.agent(), &plan).await.unwrap();
    assert_eq!(answer == 403, is_halted, "inv15: got {answer}: {at}");
}

/// What the ledger activated is in force and on disk, and nothing else.
async fn changed(scene: &Scene, ledger: &Ledger, at: &str) {
    let status = scene.get("/v1/status", &scene.person("ada")).await.unwrap();
    assert_eq!(status["refused_inputs"], json!([]), "inv13: the disk has something else: {at}");
    let on_disk = scene.read("policy.cedar");
    let is_new = on_disk == other_policy(scene);
    assert_eq!(is_new, ledger.count("changed") == 1, "inv13: {at}");
    assert!(is_new || on_disk == include_str!("files/policy.cedar"), "inv13: neither of the two: {at}");
    if let Some(changed) = ledger.of_kind("changed").next() {
        assert_eq!(status["inputs"]["policy"], changed["body"]["change"]["new"], "inv13: {changed}: {at}");
    }
}
