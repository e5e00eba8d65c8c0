//! The executor for secrets: two are valid while the consumer moves, and one afterwards, whatever happens in between.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use holdpoint_adapters::executor::files::{
    Command, Consumer, Files, FilesError, SecretExecutor, SecretObserver, SecretTarget,
};
use holdpoint_app::port::ActedPhase;
use holdpoint_domain::Digest;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    files_scene::{Stage, last, mode, not_done, refused_by, state, unknown, write_state},
    server::Server,
    support::{id, millis},
};

const ROTATE: &str = "secret.rotate";
/// The old token: found nowhere but in its file.
const OLD: &str = "canary-old-hunter2";

fn hex(token: &str) -> String {
    Digest::of_bytes(token.as_bytes()).to_string().replace("sha256:", "")
}

/// The verifier's list before: the token in use, and one of somebody else.
fn list() -> String {
    format!(
        "{{\"z\": 1, \"accepted\": [{{\"id\": \"old\", \"sha256\": \"{}\"}}, {{\"sha256\":\"{}\", \"id\":\"batch\", \"since\": 7}}], \"a\": {{}}}}\n",
        hex(OLD),
        hex("another")
    )
}

/// A consumer that shows the id of the token in its file, as long as it moves; the id of the old one when it does not.
fn consumer(token: PathBuf, moves: Arc<AtomicBool>) -> Server {
    Server::start(move |mut stream: TcpStream| {
        let mut head = [0; 4096];
        let _ = stream.read(&mut head);
        let text = fs::read_to_string(&token).unwrap_or_default();
        let used = if moves.load(Ordering::SeqCst) { text.trim_end() } else { OLD };
        let shown = hex(used).chars().take(16).collect::<String>();
        let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{shown}").as_bytes());
    })
}

struct Scene {
    stage: Stage,
    moves: Arc<AtomicBool>,
    _server: Option<Server>,
}

fn scene_over(dir: &Arc<TempDir>, moves: Arc<AtomicBool>, with: Option<Consumer>) -> Scene {
    let server = with.is_none().then(|| consumer(dir.path().join("token"), Arc::clone(&moves)));
    let shown = |server: &Server| Consumer::new(None, Some(&server.url())).unwrap();
    let with = with.or_else(|| server.as_ref().map(shown)).unwrap();
    let stage = Stage::over(Arc::clone(dir), "secret", &["api-token"], |parts| {
        let (token, list) = (dir.path().join("token"), dir.path().join("verifier/accepted.json"));
        let target = SecretTarget::new(id("api-token"), token, list, with, millis(400)).unwrap();
        let files = Arc::new(Files::open(&dir.path().join("state"), vec![target]).unwrap());
        let observer = SecretObserver::new(files.reader());
        let executor = SecretExecutor::new(parts.authority, parts.leases, files, parts.clock);
        (Box::new(executor), Box::new(observer))
    });
    Scene { stage, moves, _server: server }
}

/// A stage with a consumer of one's own, or with one that moves when it is told to.
fn scene_with(with: Option<Consumer>) -> Scene {
    let dir = Arc::new(TempDir::new().unwrap());
    fs::write(dir.path().join("token"), format!("{OLD}\n")).unwrap();
    fs::set_permissions(dir.path().join("token"), fs::Permissions::from_mode(0o400)).unwrap();
    fs::create_dir(dir.path().join("verifier")).unwrap();
    fs::write(dir.path().join("verifier/accepted.json"), list()).unwrap();
    scene_over(&dir, Arc::new(AtomicBool::new(true)), with)
}

fn scene() -> Scene {
    scene_with(None)
}

impl Scene {
    fn token(&self) -> String {
        fs::read_to_string(self.stage.path("token")).unwrap().trim_end().to_owned()
    }

    fn list(&self) -> String {
        fs::read_to_string(self.stage.path("verifier/accepted.json")).unwrap()
    }

    fn accepts(&self, token: &str) -> bool {
        let list: Value = serde_json::from_str(&self.list()).unwrap();
        list["accepted"].as_array().unwrap().iter().any(|entry| entry["sha256"] == hex(token))
    }

    /// Everything is as it was, and nothing is left behind.
    fn is_untouched(&self) {
        assert_eq!((self.token(), self.list()), (OLD.to_owned(), list()));
        assert!(!self.stage.path(".token.holdpoint-tmp").exists());
    }
}

/// Every file under a directory that contains a text.
fn holding(dir: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(holding(&path, text));
        } else if String::from_utf8_lossy(&fs::read(&path).unwrap()).contains(text) {
            found.push(path);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_leaves_one_new_token_that_nobody_saw() {
    let scene = scene();
    let stage = &scene.stage;
    let seen = stage.observe(ROTATE, "api-token").await;
    assert!(!seen.down && !seen.undo_computed && seen.acted.is_none());
    let ticket = stage.ticket(ROTATE, "api-token", &[], 5).await;
    stage.executor.rehearse(ticket.work()).await.unwrap();
    assert_eq!(stage.observe(ROTATE, "api-token").await, seen, "a rehearsal touches nothing");
    scene.is_untouched();

    stage.executor.apply(ticket.work()).await.unwrap();
    let new = scene.token();
    assert!(new != OLD && new.len() == 43 && mode(&stage.path("token")) == 0o400);
    assert!(scene.accepts(&new) && !scene.accepts(OLD) && scene.accepts("another"));
    assert!(scene.list().contains("\"since\": 7") && scene.list().ends_with("\"a\": {}}\n"));
    let after = stage.observe(ROTATE, "api-token").await;
    assert_eq!(
        (last(&after), after.acted.unwrap().left),
        (Some((5, ActedPhase::Applied)), Some(after.version))
    );

    // inv12: the new token is in its file only, and the old one nowhere.
    assert_eq!(holding(stage.dir.path(), &new), [stage.path("token")]);
    assert!(holding(stage.dir.path(), OLD).is_empty());
    assert_eq!(mode(&stage.path("state/api-token.json")), 0o600);
    assert!(!format!("{after:?}").contains(&new));

    // inv02: once.
    stage.executor.apply(ticket.work()).await.unwrap();
    assert_eq!(scene.token(), new);
    refused_by(&stage.executor.undo(ticket.work(), &after.version).await, "operation");
    assert_eq!((scene.token(), scene.accepts(OLD)), (new, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_does_not_move_gets_the_old_token_back() {
    let scene = scene();
    scene.moves.store(false, Ordering::SeqCst);
    let stage = &scene.stage;
    let before = stage.observe(ROTATE, "api-token").await;
    let ticket = stage.ticket(ROTATE, "api-token", &[], 5).await;
    let failed = stage.executor.apply(ticket.work()).await;
    assert!(not_done(&failed).contains("did not move within"), "{failed:?}");
    assert!(!format!("{failed:?}").contains("canary"));
    scene.is_untouched();
    assert_eq!(stage.observe(ROTATE, "api-token").await, before);
    // t09: the epoch was used all the same; the same permit may try again.
    let older = stage.ticket(ROTATE, "api-token", &[], 4).await;
    refused_by(&stage.executor.apply(older.work()).await, "epoch");
    refused_by(&stage.executor.apply(stage.twin(&ticket).await.work()).await, "epoch");
    scene.moves.store(true, Ordering::SeqCst);
    stage.executor.apply(ticket.work()).await.unwrap();
    assert!(!scene.accepts(OLD) && scene.accepts(&scene.token()));
}

#[tokio::test(flavor = "multi_thread")]
async fn inv03_a_consumer_that_says_nothing_is_doubt_and_both_tokens_stay_valid() {
    let server = Server::status("503 Service Unavailable", "");
    let scene = scene_with(Some(Consumer::new(None, Some(&server.url())).unwrap()));
    let stage = &scene.stage;
    let ticket = stage.ticket(ROTATE, "api-token", &[], 5).await;
    assert!(not_done(&stage.executor.rehearse(ticket.work()).await).contains("does not show"));
    let failed = stage.executor.apply(ticket.work()).await;
    assert!(!unknown(&failed).contains("canary"));
    assert_eq!(scene.token(), OLD);
    assert!(scene.accepts(OLD), "whatever the consumer uses is valid");
    let rotation = state(stage.dir.path(), "api-token")["rotation"].clone();
    assert!(scene.list().contains(rotation["new"].as_str().unwrap().trim_start_matches("sha256:")));
    assert_eq!(last(&stage.observe(ROTATE, "api-token").await), Some((5, ActedPhase::Begun)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_alone_moves_the_consumer_or_does_not() {
    let command = |program: &str| Command::new(vec![program.to_owned()], millis(5000)).unwrap();
    let scene = scene_with(Some(Consumer::new(Some(command("/bin/true")), None).unwrap()));
    let ticket = scene.stage.ticket(ROTATE, "api-token", &[], 5).await;
    scene.stage.executor.rehearse(ticket.work()).await.unwrap();
    scene.stage.executor.apply(ticket.work()).await.unwrap();
    assert!(!scene.accepts(OLD));

    let scene = scene_with(Some(Consumer::new(Some(command("/bin/false")), None).unwrap()));
    let ticket = scene.stage.ticket(ROTATE, "api-token", &[], 5).await;
    unknown(&scene.stage.executor.apply(ticket.work()).await);
    assert!(scene.accepts(OLD) && scene.token() == OLD);
}

#[tokio::test(flavor = "multi_thread")]
async fn t08_the_version_is_what_is_accepted_and_what_is_used() {
    let scene = scene();
    let stage = &scene.stage;
    let ticket = stage.ticket(ROTATE, "api-token", &[], 5).await;
    fs::write(stage.path("verifier/accepted.json"), list().replace("batch", "other")).unwrap();
    refused_by(&stage.executor.apply(ticket.work()).await, "version");
    fs::write(stage.path("verifier/accepted.json"), list()).unwrap();
    fs::remove_file(stage.path("token")).unwrap();
    fs::write(stage.path("token"), "another").unwrap();
    refused_by(&stage.executor.rehearse(ticket.work()).await, "version");
    refused_by(&stage.executor.apply(ticket.work()).await, "version");
    assert_eq!((scene.token(), scene.list()), ("another".to_owned(), list()));
    // A token that the verifier does not accept has nothing to overlap with.
    fs::write(stage.path("token"), "nobody takes this").unwrap();
    refused_by(&stage.executor.apply(ticket.work()).await, "document");
    fs::write(stage.path("token"), "nobody-takes-this").unwrap();
    let ticket = stage.ticket(ROTATE, "api-token", &[], 6).await;
    refused_by(&stage.executor.apply(ticket.work()).await, "operation");
    assert_eq!(scene.list(), list());
}

#[tokio::test(flavor = "multi_thread")]
async fn t09_an_older_permit_is_fenced_at_the_write() {
    let scene = scene();
    let stage = &scene.stage;
    let (older, newer) =
        (stage.ticket(ROTATE, "api-token", &[], 7).await, stage.ticket(ROTATE, "api-token", &[], 8).await);
    stage.executor.apply(newer.work()).await.unwrap();
    let new = scene.token();
    refused_by(&stage.executor.apply(older.work()).await, "epoch");
    refused_by(&stage.executor.rehearse(older.work()).await, "epoch");
    stage.revoke(&newer).await;
    refused_by(&stage.executor.apply(newer.work()).await, "lease");
    assert_eq!(scene.token(), new);
}

#[tokio::test(flavor = "multi_thread")]
async fn inv01_nothing_is_left_changed_when_something_cannot_be_written() {
    let blocks = [
        ".token.holdpoint-tmp",
        ".token.holdpoint-lock",
        "state/.api-token.json.tmp",
        // This one fails after the announcement, and is taken back.
        "verifier/.accepted.json.holdpoint-lock",
    ];
    for blocked in blocks {
        let scene = scene();
        let before = scene.stage.observe(ROTATE, "api-token").await;
        let ticket = scene.stage.ticket(ROTATE, "api-token", &[], 5).await;
        fs::create_dir(scene.stage.path(blocked)).unwrap();
        let failed = scene.stage.executor.apply(ticket.work()).await;
        assert!(failed.is_err() && !format!("{failed:?}").contains("canary"));
        assert_eq!((scene.token(), scene.list()), (OLD.to_owned(), list()), "{blocked}");
        if !blocked.starts_with("verifier") {
            not_done(&failed);
            assert_eq!(scene.stage.observe(ROTATE, "api-token").await, before, "{blocked}");
        }
        fs::remove_dir(scene.stage.path(blocked)).unwrap();
        // Whoever could not take it back says so; the next call does.
        while not_done_or_done(&scene.stage.executor.apply(ticket.work()).await) {}
        assert!(!scene.accepts(OLD), "{blocked}");
    }
}

/// Whether nothing was done, so that it can be tried again.
fn not_done_or_done(result: &Result<(), holdpoint_app::port::ExecuteError>) -> bool {
    if result.is_ok() {
        return false;
    }
    not_done(result).contains("crash")
}

#[tokio::test(flavor = "multi_thread")]
async fn t08_files_that_became_links_or_went_away_are_not_followed() {
    for file in ["token", "verifier/accepted.json"] {
        let scene = scene();
        let ticket = scene.stage.ticket(ROTATE, "api-token", &[], 5).await;
        let (path, real) = (scene.stage.path(file), scene.stage.path("real"));
        fs::rename(&path, &real).unwrap();
        not_done(&scene.stage.executor.apply(ticket.work()).await);
        symlink(&real, &path).unwrap();
        let failed = scene.stage.executor.apply(ticket.work()).await;
        assert!(not_done(&failed).contains("symbolic link"), "{failed:?}");
        assert!(scene.stage.try_observe(ROTATE, "api-token").await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inv03_a_crash_at_each_point_shows_as_begun_and_is_taken_back_or_brought_to_its_end() {
    const NEW: &str = "canary-new-hunter3";
    let both = list().replacen(
        "\"accepted\": [",
        &format!("\"accepted\": [{{\"id\":\"n\",\"sha256\":\"{}\"}}, ", hex(NEW)),
        1,
    );
    let without = both.replacen(&format!("{{\"id\": \"old\", \"sha256\": \"{}\"}}, ", hex(OLD)), "", 1);
    // Where it stopped; the list, the token file, what lies aside, and whether the consumer had moved.
    let points: &[(&str, &str, &str, Option<&str>, bool)] = &[
        ("before the new one was valid", &list(), OLD, Some(NEW), false),
        ("before the exchange", &both, OLD, Some(NEW), false),
        ("after the exchange", &both, NEW, Some(OLD), false),
        ("while taking back", &both, OLD, Some(NEW), false),
        ("after taking back", &list(), OLD, None, false),
        ("after the move", &both, NEW, Some(OLD), true),
        ("after the end of the old one", &without, NEW, Some(OLD), true),
        ("before the last note", &without, NEW, None, true),
    ];
    for (point, text, token, aside, moved) in points {
        let scene = scene();
        let stage = &scene.stage;
        let ticket = stage.ticket(ROTATE, "api-token", &[], 5).await;
        let put = |name: &str, text: &str| {
            let _ = fs::remove_file(stage.path(name));
            fs::write(stage.path(name), text).unwrap();
        };
        put("token", &format!("{token}\n"));
        put("verifier/accepted.json", text);
        if let Some(aside) = aside {
            put(".token.holdpoint-tmp", &format!("{aside}\n"));
        }
        let digest = |token: &str| Digest::of_bytes(token.as_bytes()).to_string();
        write_state(
            stage.dir.path(),
            "api-token",
            &json!({
                "type": "holdpoint/file-state/v1", "highest_epoch": 5, "holder": "permit-5",
                "acted": {"epoch": 5, "permit": "permit-5", "phase": "begun", "left": null},
                "before": null, "pending": null,
                "rotation": {"old": digest(OLD), "new": digest(NEW), "moved": moved, "prior": null},
            }),
        );
        assert_eq!(last(&stage.observe(ROTATE, "api-token").await), Some((5, ActedPhase::Begun)), "{point}");
        let came = stage.executor.apply(ticket.work()).await;
        assert!(!format!("{came:?}").contains("canary"), "{point}");
        let seen = stage.observe(ROTATE, "api-token").await;
        if *moved {
            came.unwrap();
            assert_eq!(last(&seen), Some((5, ActedPhase::Applied)), "{point}");
            assert!(scene.token() == NEW && scene.accepts(NEW) && !scene.accepts(OLD), "{point}");
            assert!(holding(stage.dir.path(), OLD).is_empty(), "{point}");
        } else {
            not_done(&came);
            assert_eq!((last(&seen), scene.token().as_str()), (None, OLD), "{point}");
            assert!(scene.accepts(OLD) && !scene.accepts(NEW), "{point}");
            assert!(holding(stage.dir.path(), NEW).is_empty(), "{point}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inv03_what_somebody_changed_within_a_rotation_is_never_overwritten() {
    let scene = scene();
    let stage = &scene.stage;
    let ticket = stage.ticket(ROTATE, "api-token", &[], 5).await;
    fs::remove_file(stage.path("token")).unwrap();
    fs::write(stage.path("token"), "theirs\n").unwrap();
    for moved in [false, true] {
        let digest = |token: &str| Digest::of_bytes(token.as_bytes()).to_string();
        write_state(
            stage.dir.path(),
            "api-token",
            &json!({
                "type": "holdpoint/file-state/v1", "highest_epoch": 5, "holder": "permit-5",
                "acted": {"epoch": 5, "permit": "permit-5", "phase": "begun", "left": null},
                "before": null, "pending": null,
                "rotation": {"old": digest(OLD), "new": digest("new"), "moved": moved, "prior": null},
            }),
        );
        unknown(&stage.executor.apply(ticket.work()).await);
        assert_eq!((scene.token(), scene.list()), ("theirs".to_owned(), list()));
    }
}

#[test]
fn what_a_target_is_is_checked_when_it_is_configured() {
    assert!(matches!(Consumer::new(None, None), Err(FilesError::Command(_))));
    for address in ["file:///etc/passwd", "localhost:80", ""] {
        assert!(matches!(Consumer::new(None, Some(address)), Err(FilesError::Command(_))), "{address}");
    }
    let consumer = || Consumer::new(None, Some("http://127.0.0.1:1/token")).unwrap();
    let make = |token: &str, list: &str, limit: u64| {
        SecretTarget::new(id("s"), PathBuf::from(token), PathBuf::from(list), consumer(), millis(limit))
    };
    assert!(make("/a/token", "/b/list", 1000).is_ok());
    for (token, list, limit) in
        [("a", "/b", 1), ("/a", "b", 1), ("/a", "/a", 1), ("/a", "/b", 0), ("/a", "/b", 120_001)]
    {
        assert!(make(token, list, limit).is_err(), "{token} {list} {limit}");
    }
}
