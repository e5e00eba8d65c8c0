//! The executor for flags: one flag of one file, in its version, and every other byte stays.

use std::{fs, os::unix::fs::symlink, path::PathBuf, sync::Arc};

use holdpoint_adapters::executor::files::{
    FileExecutor, FileObserver, FileReader, Files, FilesError, FlagTarget,
};
use holdpoint_app::port::ActedPhase;
use holdpoint_domain::{Digest, lease::LeaseSecret, plan::ParamValue};
use tempfile::TempDir;

use super::{
    files_scene::{Param, Stage, last, mode, not_done, refused_by, state, write_state},
    support::id,
};

/// Keys in no order, odd spaces, and a flag with a targeting rule: all of it must stay.
const FLAGS: &str = r#"{
  "$schema": "https://flagd.dev/schema/v0/flags.json",
  "metadata": { "z": 1, "a": 12345678901234567890 },
  "flags": {
    "new-checkout": {
      "state" : "ENABLED", "variants": {"on": true, "off":  false, "Blue": 1e2},
      "defaultVariant":"on",
      "targeting": {"if": [{"==": [{"var": "tier"}, "gold"]}, "on", null]}
    },
    "other": { "state": "ENABLED", "variants": { "on": true, "off": false }, "defaultVariant": "off" }
  }
}
"#;

fn target(dir: &TempDir, name: &str, flag: &str) -> FlagTarget {
    FlagTarget::new(id(name), dir.path().join("flags.json"), flag.to_owned()).unwrap()
}

fn stage_over(dir: &Arc<TempDir>) -> Stage {
    Stage::over(Arc::clone(dir), "flags", &["checkout", "other", "ghost"], |parts| {
        let targets = vec![target(dir, "checkout", "new-checkout"), target(dir, "other", "other")];
        let files = Arc::new(Files::open(&dir.path().join("state"), targets).unwrap());
        let observer = FileObserver::new(files.reader());
        let executor = FileExecutor::new(parts.authority, parts.leases, files, parts.clock);
        (Box::new(executor), Box::new(observer))
    })
}

fn stage() -> Stage {
    let dir = Arc::new(TempDir::new().unwrap());
    fs::write(dir.path().join("flags.json"), FLAGS).unwrap();
    stage_over(&dir)
}

/// The gate dies and comes back.
fn restart(stage: Stage) -> Stage {
    let dir = Arc::clone(&stage.dir);
    drop(stage);
    stage_over(&dir)
}

impl Stage {
    fn flags(&self) -> String {
        fs::read_to_string(self.path("flags.json")).unwrap()
    }

    fn replace(&self, from: &str, to: &str) {
        let text = self.flags();
        assert!(text.contains(from), "{text}");
        fs::write(self.path("flags.json"), text.replacen(from, to, 1)).unwrap();
    }
}

fn variant(word: &str) -> Param {
    ("variant", ParamValue::Choice(id(word)))
}

const OFF: &str = r#""state" : "DISABLED""#;
const ON: &str = r#""state" : "ENABLED""#;
/// An edit of another flag by somebody else, and the text that it replaces.
const THEIRS: (&str, &str) = (r#""defaultVariant": "off""#, r#""defaultVariant": "on""#);

#[tokio::test]
async fn people_see_a_flag_before_and_after() {
    let stage = stage();
    let seen = stage.preview("flags.disable", "checkout", &[]).await;
    let fields: Vec<_> =
        seen.fields.iter().map(|it| (it.name.as_str(), it.before.as_str(), it.after.as_str())).collect();
    let expected = [("state", "\"ENABLED\"", "\"DISABLED\""), ("defaultVariant", "\"on\"", "\"on\"")];
    assert_eq!((fields.as_slice(), seen.refused), (expected.as_slice(), None));
    assert_eq!(seen.version, stage.observe("flags.disable", "checkout").await.version);
    let refused = stage.preview("flags.enable", "checkout", &[]).await.refused;
    assert!(refused.is_some_and(|why| why.contains("already")));
}

#[tokio::test]
async fn each_action_changes_one_word_and_no_other_byte() {
    let cases: &[(&str, &[Param], &str, &str)] = &[
        ("flags.disable", &[], ON, OFF),
        ("flags.enable", &[], OFF, ON),
        ("flags.set-variant", &[variant("off")], r#""defaultVariant":"on""#, r#""defaultVariant":"off""#),
    ];
    for (action, params, from, to) in cases {
        let stage = stage();
        let before = if *action == "flags.enable" { FLAGS.replacen(ON, OFF, 1) } else { FLAGS.to_owned() };
        fs::write(stage.path("flags.json"), &before).unwrap();
        let ticket = stage.ticket(action, "checkout", params, 5).await;
        let seen = stage.observe(action, "checkout").await;
        assert!(!seen.down && seen.undo_computed && seen.acted.is_none());

        stage.executor.rehearse(ticket.work()).await.unwrap();
        assert_eq!(stage.observe(action, "checkout").await, seen, "a rehearsal touches nothing");
        assert_eq!(fs::read_dir(stage.dir.path()).unwrap().count(), 2, "not even a lock file");

        stage.executor.apply(ticket.work()).await.unwrap();
        let after = stage.observe(action, "checkout").await;
        assert_eq!(stage.flags(), before.replacen(from, to, 1));
        assert_eq!(
            (last(&after), after.acted.unwrap().left),
            (Some((5, ActedPhase::Applied)), Some(after.version))
        );
        assert_ne!(after.version, seen.version);

        stage.executor.undo(ticket.work(), &after.version).await.unwrap();
        let undone = stage.observe(action, "checkout").await;
        assert_eq!(stage.flags(), before);
        assert_eq!((last(&undone), undone.version), (Some((5, ActedPhase::Undone)), seen.version));
        // Again, and nothing happens; nor does an undone run begin again.
        stage.executor.undo(ticket.work(), &after.version).await.unwrap();
        refused_by(&stage.executor.apply(ticket.work()).await, "phase");
        assert_eq!(stage.flags(), before);
    }
}

#[tokio::test]
async fn inv02_the_same_permit_again_does_nothing_whatever_somebody_changed_since() {
    let stage = stage();
    let ticket = stage.ticket("flags.disable", "checkout", &[], 1).await;
    stage.executor.apply(ticket.work()).await.unwrap();
    stage.replace(OFF, ON);
    stage.executor.apply(ticket.work()).await.unwrap();
    stage.executor.rehearse(ticket.work()).await.unwrap();
    assert_eq!(stage.flags(), FLAGS);
}

#[tokio::test]
async fn another_flag_may_change_meanwhile_and_its_change_survives() {
    let stage = stage();
    let ticket = stage.ticket("flags.disable", "checkout", &[], 1).await;
    stage.replace(THEIRS.0, THEIRS.1);
    let theirs = stage.flags();
    stage.executor.apply(ticket.work()).await.unwrap();
    assert_eq!(stage.flags(), theirs.replacen(ON, OFF, 1));
    // And once more before the undo.
    stage.replace(THEIRS.1, THEIRS.0);
    let left = stage.observe("flags.disable", "checkout").await.version;
    stage.executor.undo(ticket.work(), &left).await.unwrap();
    assert_eq!(stage.flags(), FLAGS);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_on_two_flags_of_one_file_at_once_both_stay() {
    let stage = Arc::new(stage());
    let first = stage.ticket("flags.disable", "checkout", &[], 1).await;
    let second = stage.ticket("flags.disable", "other", &[], 2).await;
    let apply = |ticket: super::files_scene::Ticket| {
        let stage = Arc::clone(&stage);
        tokio::spawn(async move { stage.executor.apply(ticket.work()).await })
    };
    let (first, second) = (apply(first), apply(second));
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    assert_eq!(stage.flags().matches("DISABLED").count(), 2);
}

#[tokio::test]
async fn t08_the_version_is_checked_at_the_write() {
    let stage = stage();
    let ticket = stage.ticket("flags.disable", "checkout", &[], 1).await;
    stage.replace(r#""defaultVariant":"on""#, r#""defaultVariant":"off""#);
    let theirs = stage.flags();
    refused_by(&stage.executor.rehearse(ticket.work()).await, "version");
    refused_by(&stage.executor.apply(ticket.work()).await, "version");
    assert_eq!(stage.flags(), theirs);
    assert_eq!(stage.observe("flags.disable", "checkout").await.acted, None);
}

#[tokio::test]
async fn inv02_undo_never_overwrites_what_somebody_changed_since() {
    let stage = stage();
    let ticket = stage.ticket("flags.disable", "checkout", &[], 1).await;
    let before = stage.observe("flags.disable", "checkout").await.version;
    refused_by(&stage.executor.undo(ticket.work(), &before).await, "phase");
    stage.executor.apply(ticket.work()).await.unwrap();
    let left = stage.observe("flags.disable", "checkout").await.version;
    refused_by(&stage.executor.undo(ticket.work(), &Digest::of_bytes(b"another")).await, "version");
    stage.replace(r#""off":  false"#, r#""off":  true"#);
    let theirs = (stage.flags(), stage.observe("flags.disable", "checkout").await.version);
    refused_by(&stage.executor.undo(ticket.work(), &left).await, "version");
    // Not even where the gate takes their version for ours.
    refused_by(&stage.executor.undo(ticket.work(), &theirs.1).await, "version");
    assert_eq!(stage.flags(), theirs.0);
}

#[tokio::test]
async fn t09_an_older_permit_is_fenced_at_the_write() {
    let stage = stage();
    let older = stage.ticket("flags.set-variant", "checkout", &[variant("off")], 7).await;
    let newer = stage.ticket("flags.disable", "checkout", &[], 8).await;
    stage.executor.rehearse(older.work()).await.unwrap();
    stage.executor.apply(newer.work()).await.unwrap();
    let (after, left) = (stage.flags(), stage.observe("flags.disable", "checkout").await.version);
    refused_by(&stage.executor.apply(older.work()).await, "epoch");
    refused_by(&stage.executor.rehearse(older.work()).await, "epoch");
    refused_by(&stage.executor.undo(older.work(), &left).await, "epoch");
    // The fence is the target's own memory: it outlives the gate.
    let stage = restart(stage);
    let older = stage.lease_again(&older).await;
    refused_by(&stage.executor.apply(older.work()).await, "epoch");
    // The same epoch under another permit is a gate that was restored from a copy.
    let twin = stage.twin(&newer).await;
    refused_by(&stage.executor.apply(twin.work()).await, "epoch");
    refused_by(&stage.executor.undo(twin.work(), &left).await, "epoch");
    assert_eq!(stage.flags(), after);
    // Each flag has a fence of its own.
    let other = stage.ticket("flags.disable", "other", &[], 3).await;
    stage.executor.apply(other.work()).await.unwrap();
    // The undo is still possible.
    let newer = stage.lease_again(&newer).await;
    stage.executor.undo(newer.work(), &left).await.unwrap();
    assert!(stage.flags().contains(ON));
}

#[tokio::test]
async fn inv08_the_lease_is_checked_at_the_use() {
    let stage = stage();
    let ticket = stage.ticket("flags.disable", "checkout", &[], 1).await;
    let mut guessed = ticket.clone();
    guessed.lease.secret = LeaseSecret::new("guessed".to_owned());
    refused_by(&stage.executor.apply(guessed.work()).await, "lease");
    stage.clock.set_ms(ticket.grant.start_before_ms.ms());
    let late = stage.lease_again(&ticket).await;
    refused_by(&stage.executor.apply(late.work()).await, "time");
    stage.clock.set_ms(super::support::NOW_MS);
    stage.revoke(&ticket).await;
    for result in [stage.executor.rehearse(ticket.work()).await, stage.executor.apply(ticket.work()).await] {
        refused_by(&result, "lease");
    }
    assert_eq!(stage.flags(), FLAGS);
}

#[tokio::test]
async fn what_does_not_fit_the_flag_is_refused() {
    let stage = stage();
    let cases: &[(&str, &str, &[Param], &str)] = &[
        ("flags.enable", "checkout", &[], "operation"),
        ("flags.set-variant", "checkout", &[variant("on")], "operation"),
        // In the catalogue's list, and not one of the flag's own.
        ("flags.set-variant", "checkout", &[variant("nowhere")], "parameters"),
        ("flags.set-variant", "other", &[variant("blue")], "parameters"),
        ("flags.disable-all", "checkout", &[], "operation"),
    ];
    for (epoch, (action, target, params, check)) in (1..).zip(cases) {
        let ticket = stage.ticket(action, target, params, epoch).await;
        refused_by(&stage.executor.rehearse(ticket.work()).await, check);
        refused_by(&stage.executor.apply(ticket.work()).await, check);
    }
    let version = stage.observe("flags.disable", "checkout").await.version;
    let ghost = stage.ticket_for("flags.disable", "ghost", &[], 9, version).await;
    refused_by(&stage.executor.apply(ghost.work()).await, "target");
    assert!(stage.try_observe("flags.disable", "ghost").await.is_err());
    assert!(!stage.observe("flags.disable-all", "checkout").await.undo_computed);
    // An action that sets files of another kind is another executor's.
    let other = stage.ticket_for("config.touch", "checkout", &[], 10, version).await;
    refused_by(&stage.executor.apply(other.work()).await, "executor");
    assert_eq!(stage.flags(), FLAGS);
}

#[tokio::test]
async fn a_document_that_is_not_a_flag_file_is_neither_seen_nor_touched() {
    let stage = stage();
    let version = stage.observe("flags.disable", "checkout").await.version;
    let twice = FLAGS.replacen("\"other\"", "\"new-checkout\"", 1);
    let two_states = FLAGS.replacen(ON, "\"state\":\"ENABLED\", \"st\\u0061te\":\"DISABLED\"", 1);
    let cases =
        ["", "{}", "{\"flags\": []}", "{\"flags\": {\"new-checkout\": 1}}", "\u{0}", &twice, &two_states];
    for (epoch, text) in (1..).zip(cases) {
        fs::write(stage.path("flags.json"), text).unwrap();
        assert!(stage.try_observe("flags.disable", "checkout").await.is_err(), "{text}");
        let ticket = stage.ticket_for("flags.disable", "checkout", &[], epoch, version).await;
        refused_by(&stage.executor.apply(ticket.work()).await, "document");
        assert_eq!(stage.flags(), text);
    }
    fs::write(stage.path("flags.json"), [0xff_u8, 0xfe]).unwrap();
    let ticket = stage.ticket_for("flags.disable", "checkout", &[], 50, version).await;
    refused_by(&stage.executor.apply(ticket.work()).await, "document");
}

#[tokio::test]
async fn t08_a_file_that_became_a_link_or_went_away_is_not_followed() {
    let stage = stage();
    let ticket = stage.ticket("flags.disable", "checkout", &[], 1).await;
    let (real, path) = (stage.path("elsewhere.json"), stage.path("flags.json"));
    fs::rename(&path, &real).unwrap();
    not_done(&stage.executor.apply(ticket.work()).await);
    symlink(&real, &path).unwrap();
    let why = not_done(&stage.executor.apply(ticket.work()).await);
    assert!(why.contains("symbolic link"), "{why}");
    not_done(&stage.executor.rehearse(ticket.work()).await);
    assert!(stage.try_observe("flags.disable", "checkout").await.is_err());
    assert_eq!(fs::read_to_string(&real).unwrap(), FLAGS);
    // Nor is a second name of the file: the other one would keep the old content.
    fs::remove_file(&path).unwrap();
    fs::hard_link(&real, &path).unwrap();
    not_done(&stage.executor.apply(ticket.work()).await);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    not_done(&stage.executor.apply(ticket.work()).await);
}

#[tokio::test]
async fn t08_a_directory_that_became_a_link_is_not_followed() {
    let dir = Arc::new(TempDir::new().unwrap());
    let inner = dir.path().join("inner");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("flags.json"), FLAGS).unwrap();
    let make = Arc::clone(&dir);
    let stage = Stage::over(Arc::clone(&dir), "flags", &["checkout"], |parts| {
        let path = make.path().join("inner/flags.json");
        let target = FlagTarget::new(id("checkout"), path, "new-checkout".to_owned()).unwrap();
        let files = Arc::new(Files::open(&make.path().join("state"), vec![target]).unwrap());
        let observer = FileObserver::new(files.reader());
        (Box::new(FileExecutor::new(parts.authority, parts.leases, files, parts.clock)), Box::new(observer))
    });
    let ticket = stage.ticket("flags.disable", "checkout", &[], 1).await;
    fs::rename(&inner, stage.path("moved")).unwrap();
    symlink(stage.path("moved"), &inner).unwrap();
    let why = not_done(&stage.executor.apply(ticket.work()).await);
    assert!(why.contains("symbolic link"), "{why}");
    assert_eq!(fs::read_to_string(stage.path("moved/flags.json")).unwrap(), FLAGS);
}

#[tokio::test]
async fn inv01_nothing_is_touched_when_something_cannot_be_written() {
    // Each fails for any user, root included: a directory is where the file would be written.
    for blocked in [".flags.json.holdpoint-tmp", ".flags.json.holdpoint-lock", "state/.checkout.json.tmp"] {
        let stage = stage();
        let before = stage.observe("flags.disable", "checkout").await;
        let ticket = stage.ticket("flags.disable", "checkout", &[], 1).await;
        fs::create_dir(stage.path(blocked)).unwrap();
        not_done(&stage.executor.apply(ticket.work()).await);
        assert_eq!(stage.flags(), FLAGS, "{blocked}");
        assert_eq!(stage.observe("flags.disable", "checkout").await, before, "{blocked}");
        fs::remove_dir(stage.path(blocked)).unwrap();
        // What was left behind is in nobody's way.
        fs::write(stage.path(".flags.json.holdpoint-tmp"), "left behind").unwrap();
        stage.executor.apply(ticket.work()).await.unwrap();
        assert!(!stage.path(".flags.json.holdpoint-tmp").exists());
    }
}

#[tokio::test]
async fn a_damaged_state_closes_the_target() {
    let stage = stage();
    let ticket = stage.ticket("flags.disable", "checkout", &[], 1).await;
    fs::write(stage.path("state/checkout.json"), "{}").unwrap();
    not_done(&stage.executor.apply(ticket.work()).await);
    assert!(stage.try_observe("flags.disable", "checkout").await.is_err());
    assert_eq!(stage.flags(), FLAGS);
}

#[tokio::test]
async fn inv03_a_crash_at_each_point_shows_as_begun_and_the_same_permit_goes_on() {
    let stage = stage();
    let ticket = stage.ticket("flags.disable", "checkout", &[], 4).await;
    let before = stage.observe("flags.disable", "checkout").await.version;
    stage.executor.apply(ticket.work()).await.unwrap();
    let (left, disabled) = (stage.observe("flags.disable", "checkout").await.version, stage.flags());
    // The state after the announcement: what `apply` had written just before the exchange.
    let mut begun = state(stage.dir.path(), "checkout");
    begun["acted"] = serde_json::json!({"epoch": 4, "permit": "permit-4", "phase": "begun", "left": null});
    begun["pending"] = serde_json::json!({"towards": "applied", "leaves": left.to_string(), "prior": null});

    // Before the exchange, and after it.
    for (text, version) in [(FLAGS, before), (disabled.as_str(), left)] {
        fs::write(stage.path("flags.json"), text).unwrap();
        write_state(stage.dir.path(), "checkout", &begun);
        let seen = stage.observe("flags.disable", "checkout").await;
        assert_eq!((last(&seen), seen.version), (Some((4, ActedPhase::Begun)), version));
        assert_eq!(seen.acted.unwrap().left, None);
        stage.executor.rehearse(ticket.work()).await.unwrap();
        stage.executor.apply(ticket.work()).await.unwrap();
        let seen = stage.observe("flags.disable", "checkout").await;
        assert_eq!((last(&seen), seen.version), (Some((4, ActedPhase::Applied)), left));
        assert_eq!(stage.flags(), disabled);
    }
    // Somebody else was there: neither before nor after is nobody's to go on from.
    write_state(stage.dir.path(), "checkout", &begun);
    stage.replace(r#""off":  false"#, r#""off":  true"#);
    refused_by(&stage.executor.apply(ticket.work()).await, "version");
    assert_eq!(last(&stage.observe("flags.disable", "checkout").await), Some((4, ActedPhase::Begun)));
    stage.replace(r#""off":  true"#, r#""off":  false"#);

    // And the undo of a begun run: made, and not made.
    for (text, from) in [(disabled.as_str(), left), (FLAGS, before)] {
        fs::write(stage.path("flags.json"), text).unwrap();
        write_state(stage.dir.path(), "checkout", &begun);
        stage.executor.undo(ticket.work(), &from).await.unwrap();
        let seen = stage.observe("flags.disable", "checkout").await;
        assert_eq!((stage.flags(), last(&seen)), (FLAGS.to_owned(), Some((4, ActedPhase::Undone))));
    }
}

#[tokio::test]
async fn inv03_a_crash_within_the_undo_shows_as_begun_and_the_same_undo_goes_on() {
    let stage = stage();
    let ticket = stage.ticket("flags.disable", "checkout", &[], 4).await;
    stage.executor.apply(ticket.work()).await.unwrap();
    let (applied, disabled) = (state(stage.dir.path(), "checkout"), stage.flags());
    let left = stage.observe("flags.disable", "checkout").await.version;
    let mut begun = applied.clone();
    begun["acted"] = serde_json::json!({"epoch": 4, "permit": "permit-4", "phase": "begun", "left": null});
    begun["pending"] = serde_json::json!({
        "towards": "undone", "leaves": applied["before"]["version"], "prior": applied["acted"],
    });
    for text in [disabled.as_str(), FLAGS] {
        fs::write(stage.path("flags.json"), text).unwrap();
        write_state(stage.dir.path(), "checkout", &begun);
        assert_eq!(last(&stage.observe("flags.disable", "checkout").await), Some((4, ActedPhase::Begun)));
        stage.executor.undo(ticket.work(), &left).await.unwrap();
        let seen = stage.observe("flags.disable", "checkout").await;
        assert_eq!((stage.flags(), last(&seen)), (FLAGS.to_owned(), Some((4, ActedPhase::Undone))));
    }
    // A run whose undo began is not applied again over what somebody made of it.
    write_state(stage.dir.path(), "checkout", &begun);
    stage.replace(r#""off":  false"#, r#""off":  true"#);
    refused_by(&stage.executor.undo(ticket.work(), &left).await, "version");
    refused_by(&stage.executor.apply(ticket.work()).await, "version");
}

#[tokio::test]
async fn owner_and_mode_stay_and_the_state_is_closed_to_others() {
    let stage = stage();
    fs::set_permissions(stage.path("flags.json"), std::os::unix::fs::PermissionsExt::from_mode(0o640))
        .unwrap();
    let ticket = stage.ticket("flags.disable", "checkout", &[], 1).await;
    stage.executor.apply(ticket.work()).await.unwrap();
    assert_eq!(mode(&stage.path("flags.json")), 0o640);
    assert_eq!(mode(&stage.path("state")), 0o700);
    assert_eq!(mode(&stage.path("state/checkout.json")), 0o600);
}

#[test]
fn what_a_target_is_is_checked_when_it_is_configured() {
    for path in ["flags.json", "/", "/a/../flags.json", "/a/./flags.json", "/a//flags.json", "/a/"] {
        let made = FlagTarget::new(id("checkout"), PathBuf::from(path), "x".to_owned());
        assert!(matches!(made, Err(FilesError::Path { .. })), "{path}");
    }
    let made = FlagTarget::new(id("checkout"), PathBuf::from("/a/flags.json"), String::new());
    assert!(matches!(made, Err(FilesError::Target { .. })));
    let dir = TempDir::new().unwrap();
    let open = |targets| Files::open(&dir.path().join("state"), targets).map(drop);
    let same = open(vec![target(&dir, "one", "x"), target(&dir, "two", "x")]);
    assert!(matches!(same, Err(FilesError::SameThing(_))));
    let twice = open(vec![target(&dir, "one", "x"), target(&dir, "one", "y")]);
    assert!(matches!(twice, Err(FilesError::Duplicate(_))));
    let first = Files::open(&dir.path().join("state"), vec![target(&dir, "one", "x")]).unwrap();
    assert!(matches!(open(vec![target(&dir, "one", "x")]), Err(FilesError::Locked(_))));
    // Reading needs no lock.
    FileReader::new(dir.path().join("state"), vec![target(&dir, "one", "x")]).unwrap();
    drop(first);
    open(vec![target(&dir, "one", "x")]).unwrap();
}
