//! The executor for configuration files: exactly the named settings, every other byte, and the way back.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::PathBuf,
    sync::Arc,
};

use holdpoint_adapters::executor::files::{
    Command, ConfigTarget, FileExecutor, FileObserver, Files, FilesError, Format, Setting,
};
use holdpoint_app::port::ActedPhase;
use holdpoint_domain::{Digest, action::ParamSpec, plan::ParamValue};
use serde_json::json;
use tempfile::TempDir;

use super::{
    files_scene::{Param, Stage, last, mode, not_done, refused_by, state, unknown, write_state},
    support::{id, millis},
};

const JSON: &str = r#"{ "z": 1.50, "db": {"pool_size" :  30, "a/b": {"fast":false}, "password": "canary-hunter2"},
  "log": {"level":"info"} }
"#;
const ENV: &str =
    "# a comment\r\nexport POOL_SIZE=30\r\nPASSWORD='canary-hunter2'\nFAST=\"false\"\n\nLEVEL=info";

fn setting(key: &str, spec: ParamSpec) -> Setting {
    Setting { key: key.to_owned(), spec }
}

fn words(words: &[&str]) -> ParamSpec {
    ParamSpec::Choice { of: words.iter().map(|word| id(word)).collect() }
}

fn target(path: PathBuf, format: Format, reload: Option<Command>) -> ConfigTarget {
    let keys = match format {
        Format::Json => ["db.pool_size", "/db/a~1b/fast", "/log/level"],
        Format::Env => ["POOL_SIZE", "FAST", "LEVEL"],
    };
    let settings = [
        (id("pool_size"), setting(keys[0], ParamSpec::Int { min: 1, max: 500 })),
        (id("fast"), setting(keys[1], ParamSpec::Bool)),
        (id("level"), setting(keys[2], words(&["info", "debug"]))),
    ];
    ConfigTarget::new(id("app"), path, format, settings.into(), reload).unwrap()
}

fn command(words: &[&str], limit_ms: u64) -> Command {
    Command::new(words.iter().map(|word| (*word).to_owned()).collect(), millis(limit_ms)).unwrap()
}

fn stage_over(dir: &Arc<TempDir>, format: Format, reload: Option<Command>) -> Stage {
    Stage::over(Arc::clone(dir), "config", &["app"], |parts| {
        let target = target(dir.path().join("app.conf"), format, reload);
        let files = Arc::new(Files::open(&dir.path().join("state"), vec![target]).unwrap());
        let observer = FileObserver::new(files.reader());
        let executor = FileExecutor::new(parts.authority, parts.leases, files, parts.clock);
        (Box::new(executor), Box::new(observer))
    })
}

/// A stage whose reload is made from the path of the file.
fn stage_with(format: Format, reload: impl FnOnce(&str) -> Option<Command>) -> Stage {
    let dir = Arc::new(TempDir::new().unwrap());
    let (path, text) = (dir.path().join("app.conf"), if format == Format::Json { JSON } else { ENV });
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    stage_over(&dir, format, reload(path.to_str().unwrap()))
}

fn stage(format: Format) -> Stage {
    stage_with(format, |_| None)
}

fn config(stage: &Stage) -> String {
    fs::read_to_string(stage.path("app.conf")).unwrap()
}

fn pool(size: i64) -> Param {
    ("pool_size", ParamValue::Int(size))
}

const SET: &str = "config.set-pool";

#[tokio::test]
async fn people_see_the_named_settings_before_and_after_and_nothing_else_of_the_file() {
    for format in [Format::Json, Format::Env] {
        let stage = stage(format);
        let bytes = config(&stage);
        let seen =
            stage.preview("config.set-all", "app", &[pool(45), ("fast", ParamValue::Bool(true))]).await;
        let observed = stage.observe(SET, "app").await;
        assert_eq!(seen.version, observed.version);
        assert!(observed.parts.iter().any(|part| part.1 == "30"), "{observed:?}");
        assert!(!format!("{observed:?}").contains("canary"), "{observed:?}");
        let fields: Vec<_> =
            seen.fields.iter().map(|field| (field.before.as_str(), field.after.as_str())).collect();
        assert_eq!((fields, seen.refused.clone()), (vec![("false", "true"), ("30", "45")], None));
        assert!(!format!("{seen:?}").contains("canary"), "{seen:?}");
        assert_eq!(config(&stage), bytes, "nothing is written");
        let refused = stage.preview(SET, "app", &[("nothing", ParamValue::Int(1))]).await;
        assert!(refused.fields.is_empty() && refused.refused.is_some(), "{refused:?}");
    }
}

#[tokio::test]
async fn exactly_the_named_settings_are_set_and_every_other_byte_stays() {
    let all = [pool(45), ("fast", ParamValue::Bool(true)), ("level", ParamValue::Choice(id("debug")))];
    let changed = |text: &str| text.replace("30", "45").replace("false", "true").replace("info", "debug");
    for (format, text) in [(Format::Json, JSON), (Format::Env, ENV)] {
        for (action, params, want) in
            [(SET, &all[..1], text.replace("30", "45")), ("config.set-all", &all[..], changed(text))]
        {
            let stage = stage(format);
            let seen = stage.observe(action, "app").await;
            assert!(seen.undo_computed && !seen.down && seen.acted.is_none());
            let ticket = stage.ticket(action, "app", params, 3).await;
            stage.executor.rehearse(ticket.work()).await.unwrap();
            assert_eq!(fs::read_dir(stage.dir.path()).unwrap().count(), 2, "a rehearsal touches nothing");
            stage.executor.apply(ticket.work()).await.unwrap();
            assert_eq!(config(&stage), want);
            let after = stage.observe(action, "app").await;
            assert_eq!(last(&after), Some((3, ActedPhase::Applied)));
            assert_eq!(
                (after.acted.unwrap().left, mode(&stage.path("app.conf"))),
                (Some(after.version), 0o640)
            );

            stage.executor.undo(ticket.work(), &after.version).await.unwrap();
            let undone = stage.observe(action, "app").await;
            assert_eq!((config(&stage), mode(&stage.path("app.conf"))), (text.to_owned(), 0o640));
            assert_eq!((last(&undone), undone.version), (Some((3, ActedPhase::Undone)), seen.version));
            // What was captured is kept no longer than it is needed.
            assert!(state(stage.dir.path(), "app")["before"].is_null());
        }
    }
}

#[tokio::test]
async fn inv12_what_is_captured_is_closed_to_others_and_in_no_error() {
    let stage = stage(Format::Json);
    let ticket = stage.ticket(SET, "app", &[pool(45)], 1).await;
    stage.executor.apply(ticket.work()).await.unwrap();
    assert_eq!(mode(&stage.path("state/app.json")), 0o600);
    assert_eq!(mode(&stage.path("state")), 0o700);
    // Wherever the parser stumbles, it says where and not on what.
    let broken =
        ["canary-hunter2", "{\"db\": \"canary-hunter2\"}", "{\"db\":{\"pool_size\":\"canary-hunter2\"}}"];
    for (epoch, text) in (2..).zip(broken) {
        fs::write(stage.path("app.conf"), text).unwrap();
        assert!(!stage.observe(SET, "app").await.undo_computed);
        let ticket = stage.ticket(SET, "app", &[pool(45)], epoch).await;
        let failed = stage.executor.apply(ticket.work()).await;
        refused_by(&failed, "document");
        assert!(!format!("{failed:?}").contains("canary"), "{failed:?}");
    }
    fs::write(stage.path("state/app.json"), "{\"type\":\"canary-hunter2\"}").unwrap();
    let failed = stage.try_observe(SET, "app").await;
    assert!(failed.is_err() && !format!("{failed:?}").contains("canary"), "{failed:?}");
}

#[tokio::test]
async fn what_the_operators_file_does_not_allow_is_refused_whatever_a_permit_says() {
    let stage = stage(Format::Env);
    let blue = ("variant", ParamValue::Choice(id("blue")));
    let cases: &[(&str, &[Param], &str)] = &[
        // Within the catalogue's bounds, and not within the target's.
        (SET, &[pool(0)], "parameters"),
        (SET, &[pool(501)], "parameters"),
        ("config.touch", &[], "parameters"),
        ("config.set-variant", &[blue], "parameters"),
        (SET, &[pool(30)], "operation"),
    ];
    for (epoch, (action, params, check)) in (1..).zip(cases) {
        let ticket = stage.ticket(action, "app", params, epoch).await;
        refused_by(&stage.executor.rehearse(ticket.work()).await, check);
        refused_by(&stage.executor.apply(ticket.work()).await, check);
    }
    assert_eq!(config(&stage), ENV);
}

#[tokio::test]
async fn t08_the_version_is_the_whole_file_and_its_mode() {
    let stage = stage(Format::Env);
    let ticket = stage.ticket(SET, "app", &[pool(45)], 1).await;
    let path = stage.path("app.conf");
    let theirs = ENV.replace("a comment", "their comment");
    fs::write(&path, &theirs).unwrap();
    refused_by(&stage.executor.apply(ticket.work()).await, "version");
    assert_eq!(config(&stage), theirs);
    fs::write(&path, ENV).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    refused_by(&stage.executor.apply(ticket.work()).await, "version");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    stage.executor.apply(ticket.work()).await.unwrap();
    // inv02: the same permit again does nothing.
    fs::write(&path, &theirs).unwrap();
    stage.executor.apply(ticket.work()).await.unwrap();
    assert_eq!(config(&stage), theirs);
}

#[tokio::test]
async fn inv02_undo_never_overwrites_what_somebody_changed_since() {
    let stage = stage(Format::Json);
    let ticket = stage.ticket(SET, "app", &[pool(45)], 1).await;
    let before = stage.observe(SET, "app").await.version;
    refused_by(&stage.executor.undo(ticket.work(), &before).await, "phase");
    stage.executor.apply(ticket.work()).await.unwrap();
    let left = stage.observe(SET, "app").await.version;
    refused_by(&stage.executor.undo(ticket.work(), &Digest::of_bytes(b"another")).await, "version");
    let theirs = config(&stage).replace("1.50", "1.51");
    fs::write(stage.path("app.conf"), &theirs).unwrap();
    let now = stage.observe(SET, "app").await.version;
    for from in [left, now] {
        refused_by(&stage.executor.undo(ticket.work(), &from).await, "version");
    }
    assert_eq!(config(&stage), theirs);
}

#[tokio::test]
async fn t09_an_older_permit_is_fenced_at_the_write() {
    let stage = stage(Format::Json);
    let older = stage.ticket(SET, "app", &[pool(45)], 7).await;
    let newer = stage.ticket(SET, "app", &[pool(60)], 8).await;
    stage.executor.rehearse(older.work()).await.unwrap();
    stage.executor.apply(newer.work()).await.unwrap();
    let (after, left) = (config(&stage), stage.observe(SET, "app").await.version);
    refused_by(&stage.executor.apply(older.work()).await, "epoch");
    refused_by(&stage.executor.undo(older.work(), &left).await, "epoch");
    let twin = stage.twin(&newer).await;
    refused_by(&stage.executor.apply(twin.work()).await, "epoch");
    assert_eq!(config(&stage), after);
}

#[tokio::test]
async fn a_reload_that_works_is_run_after_the_write_and_after_the_undo() {
    // It works only where the file has one of the two values.
    let stage =
        stage_with(Format::Env, |path| Some(command(&["/bin/grep", "-qE", "POOL_SIZE=(30|45)", path], 5000)));
    let ticket = stage.ticket(SET, "app", &[pool(45)], 1).await;
    stage.executor.rehearse(ticket.work()).await.unwrap();
    stage.executor.apply(ticket.work()).await.unwrap();
    let left = stage.observe(SET, "app").await.version;
    stage.executor.undo(ticket.work(), &left).await.unwrap();
    assert_eq!(config(&stage), ENV);
}

#[tokio::test]
async fn a_reload_that_fails_puts_everything_back_and_says_that_nothing_was_done() {
    // The program that reads the file takes the old value and no other.
    let stage =
        stage_with(Format::Env, |path| Some(command(&["/bin/grep", "-q", "POOL_SIZE=30", path], 5000)));
    let before = stage.observe(SET, "app").await;
    let ticket = stage.ticket(SET, "app", &[pool(45)], 4).await;
    let why = not_done(&stage.executor.apply(ticket.work()).await);
    assert!(why.contains("exit with 0") && why.contains("back"), "{why}");
    // The gate sees a target that no run has touched, and may fail the run without doubt.
    assert_eq!((config(&stage), mode(&stage.path("app.conf"))), (ENV.to_owned(), 0o640));
    assert_eq!(stage.observe(SET, "app").await, before);
    assert!(!stage.path(".app.conf.holdpoint-tmp").exists());
    // t09: the epoch was used all the same.
    let older = stage.ticket(SET, "app", &[pool(45)], 3).await;
    refused_by(&stage.executor.apply(older.work()).await, "epoch");
    let twin = stage.twin(&ticket).await;
    refused_by(&stage.executor.apply(twin.work()).await, "epoch");
    refused_by(&stage.executor.undo(ticket.work(), &before.version).await, "phase");
}

#[tokio::test]
async fn inv03_a_reload_that_fails_on_the_old_content_too_is_doubt() {
    for (argv, limit) in [(&["/bin/false"][..], 5000), (&["/bin/sleep", "100"][..], 100)] {
        let stage = stage_with(Format::Env, |_| Some(command(argv, limit)));
        let ticket = stage.ticket(SET, "app", &[pool(45)], 4).await;
        unknown(&stage.executor.apply(ticket.work()).await);
        assert_eq!(config(&stage), ENV, "the file is back; whether it was read, nobody knows");
        assert_eq!(last(&stage.observe(SET, "app").await), Some((4, ActedPhase::Begun)));
    }
}

#[tokio::test]
async fn inv03_a_reload_that_fails_after_an_undo_is_doubt_and_the_same_undo_goes_on() {
    let dir = Arc::new(TempDir::new().unwrap());
    let switch = dir.path().join("switch");
    fs::write(dir.path().join("app.conf"), ENV).unwrap();
    fs::write(&switch, "").unwrap();
    let reload = command(&["/bin/ls", switch.to_str().unwrap()], 5000);
    let stage = stage_over(&dir, Format::Env, Some(reload));
    let ticket = stage.ticket(SET, "app", &[pool(45)], 4).await;
    stage.executor.apply(ticket.work()).await.unwrap();
    let left = stage.observe(SET, "app").await.version;
    fs::remove_file(&switch).unwrap();
    unknown(&stage.executor.undo(ticket.work(), &left).await);
    assert_eq!(config(&stage), ENV);
    assert_eq!(last(&stage.observe(SET, "app").await), Some((4, ActedPhase::Begun)));
    fs::write(&switch, "").unwrap();
    stage.executor.undo(ticket.work(), &left).await.unwrap();
    assert_eq!(last(&stage.observe(SET, "app").await), Some((4, ActedPhase::Undone)));
}

#[tokio::test]
async fn a_reload_that_cannot_be_started_is_found_by_the_rehearsal() {
    let stage = stage_with(Format::Env, |_| Some(command(&["/no/such/program"], 1000)));
    let ticket = stage.ticket(SET, "app", &[pool(45)], 4).await;
    not_done(&stage.executor.rehearse(ticket.work()).await);
    not_done(&stage.executor.apply(ticket.work()).await);
    assert_eq!((config(&stage), stage.observe(SET, "app").await.acted), (ENV.to_owned(), None));
}

#[tokio::test]
async fn inv01_nothing_is_touched_when_something_cannot_be_written() {
    for blocked in [".app.conf.holdpoint-tmp", ".app.conf.holdpoint-lock", "state/.app.json.tmp"] {
        let stage = stage(Format::Json);
        let before = stage.observe(SET, "app").await;
        let ticket = stage.ticket(SET, "app", &[pool(45)], 1).await;
        fs::create_dir(stage.path(blocked)).unwrap();
        not_done(&stage.executor.apply(ticket.work()).await);
        assert_eq!((config(&stage), stage.observe(SET, "app").await), (JSON.to_owned(), before), "{blocked}");
    }
}

#[tokio::test]
async fn t08_a_file_that_became_a_link_went_away_or_grew_is_not_touched() {
    let stage = stage(Format::Env);
    let ticket = stage.ticket(SET, "app", &[pool(45)], 1).await;
    let (path, real) = (stage.path("app.conf"), stage.path("real"));
    fs::rename(&path, &real).unwrap();
    not_done(&stage.executor.apply(ticket.work()).await);
    symlink(&real, &path).unwrap();
    not_done(&stage.executor.apply(ticket.work()).await);
    assert_eq!(fs::read_to_string(&real).unwrap(), ENV);
    fs::remove_file(&path).unwrap();
    fs::write(&path, vec![b'#'; 256 * 1024 + 1]).unwrap();
    not_done(&stage.executor.apply(ticket.work()).await);
    // The largest file fits into the state with all that is around it.
    let mut text = ENV.to_owned();
    text.push_str(&format!("\n#{}", "x".repeat(256 * 1024 - ENV.len() - 2)));
    fs::write(&path, &text).unwrap();
    let ticket = stage.ticket(SET, "app", &[pool(45)], 2).await;
    stage.executor.apply(ticket.work()).await.unwrap();
    let left = stage.observe(SET, "app").await.version;
    stage.executor.undo(ticket.work(), &left).await.unwrap();
    assert_eq!(config(&stage), text);
}

#[tokio::test]
async fn inv03_a_crash_at_each_point_shows_as_begun_and_the_same_permit_goes_on() {
    let stage = stage(Format::Json);
    let ticket = stage.ticket(SET, "app", &[pool(45)], 4).await;
    let before = stage.observe(SET, "app").await.version;
    stage.executor.apply(ticket.work()).await.unwrap();
    let (left, applied) = (stage.observe(SET, "app").await.version, config(&stage));
    let mut begun = state(stage.dir.path(), "app");
    begun["acted"] = json!({"epoch": 4, "permit": "permit-4", "phase": "begun", "left": null});
    begun["pending"] = json!({"towards": "applied", "leaves": left.to_string(), "prior": null});
    for (text, version) in [(JSON, before), (applied.as_str(), left)] {
        fs::write(stage.path("app.conf"), text).unwrap();
        write_state(stage.dir.path(), "app", &begun);
        let seen = stage.observe(SET, "app").await;
        assert_eq!((last(&seen), seen.version), (Some((4, ActedPhase::Begun)), version));
        stage.executor.apply(ticket.work()).await.unwrap();
        assert_eq!(
            (config(&stage), last(&stage.observe(SET, "app").await)),
            (applied.clone(), Some((4, ActedPhase::Applied)))
        );
    }
    stage.executor.undo(ticket.work(), &left).await.unwrap();
    assert_eq!(config(&stage), JSON);
}

#[test]
fn what_a_target_is_is_checked_when_it_is_configured() {
    let make = |key: &str, format: Format, spec: ParamSpec| {
        let settings = [(id("x"), setting(key, spec))].into();
        ConfigTarget::new(id("app"), PathBuf::from("/etc/app"), format, settings, None)
    };
    for (key, format) in
        [("a..b", Format::Json), ("", Format::Json), ("A B", Format::Env), ("1A", Format::Env)]
    {
        assert!(matches!(make(key, format, ParamSpec::Bool), Err(FilesError::Target { .. })), "{key}");
    }
    assert!(matches!(make("A", Format::Env, ParamSpec::Secret), Err(FilesError::Target { .. })));
    assert!(make("a.b", Format::Json, ParamSpec::Bool).is_ok());
    for argv in [vec![], vec!["reload".to_owned()], vec!["/bin/a\0b".to_owned()]] {
        assert!(matches!(Command::new(argv, millis(1000)), Err(FilesError::Command(_))));
    }
    for limit in [0, 60_001] {
        assert!(Command::new(vec!["/bin/true".to_owned()], millis(limit)).is_err());
    }
}
