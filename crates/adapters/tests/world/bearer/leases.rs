//! Bearer leases: good during the task, at this target, for this job, and proven dead after it.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use holdpoint_adapters::lease::{Backend as _, BearerParts, BearerTokens, LeaseTable, Presentation};
use holdpoint_app::port::{ExecuteError, Executor as _, IssueError, Issuer as _};
use holdpoint_domain::Id;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    desk::{Desk, Ticket, seed, spec},
    guard::{Care, Trust},
};
use crate::world::{
    files_scene::refused_by,
    http_job::runner::Runner,
    support::{StoppedClock, id},
};

pub(super) struct Scene {
    pub(super) dir: TempDir,
    pub(super) runner: Runner,
    pub(super) trust: Arc<Trust>,
    pub(super) desk: Desk,
}

/// A careful runner, and a desk that leases for it.
pub(super) fn scene() -> Scene {
    scene_of(Presentation::Bearer)
}

/// The same, with leases that are brought like this.
pub(super) fn scene_of(presentation: Presentation) -> Scene {
    let (dir, runner) = (TempDir::new().unwrap(), Runner::start());
    let desk = Desk::new(dir.path(), &runner.base(), presentation);
    let trust = Trust::in_keys(&desk.tokens.public_key(), dir.path().join("ended"));
    let own = Arc::clone(&trust);
    runner.guarded(Box::new(move |asked| own.check(asked)));
    Scene { dir, runner, trust, desk }
}

impl Scene {
    /// Asks the runner with a token, and gives the status of its answer.
    async fn with(&self, method: &str, path: &str, token: &str, key: &str, body: Value) -> u16 {
        let url = format!("{}/{path}", self.runner.base());
        let request = reqwest::Client::new().request(method.parse().unwrap(), url).bearer_auth(token);
        let body = serde_json::to_vec(&body).unwrap();
        let answer = request.header("idempotency-key", key).body(body).send().await.unwrap();
        answer.status().as_u16()
    }

    /// The gate's introspection says from now on that no lease is active.
    pub(super) fn nothing_is_active(&self) {
        fs::write(&self.trust.ended, "").unwrap();
    }
}

pub(super) fn refused(result: Result<Ticket, IssueError>) -> String {
    match result {
        Err(IssueError::Refused(why) | IssueError::Backend(why)) => why,
        Err(err) => panic!("{err}"),
        Ok(_) => panic!("there is a lease"),
    }
}

/// Tries until the end of a lease is proven.
async fn until_dead(desk: &Desk, ticket: &Ticket) {
    let began = Instant::now();
    while let Err(err) = desk.end(ticket).await {
        assert!(matches!(err, IssueError::Lasts(_)), "{err}");
        assert!(began.elapsed() < Duration::from_secs(10), "{err}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

const PARAMS: fn() -> Value = || json!({"keep": 5, "force": true, "scope": "stale"});

#[tokio::test]
async fn inv08_a_lease_is_good_for_its_job_during_the_task_and_dead_after_it() {
    let scene = scene();
    let ticket = scene.desk.ticket(1, 60_000).await;
    // No standing credential: what the executor asks for carries the lease, what the observer asks for does not.
    scene.runner.table.asked.lock().unwrap().clear();
    let executor = scene.desk.executor();
    executor.rehearse(ticket.work()).await.unwrap();
    executor.apply(ticket.work()).await.unwrap();
    let bearer = format!(" Bearer {}", ticket.token());
    assert!(scene.runner.table.asked.lock().unwrap().iter().all(|line| line.ends_with(&bearer)));
    let seen = scene.desk.observe().await;
    assert!(scene.runner.table.asked.lock().unwrap().last().unwrap().ends_with(" Bearer s3cret"));
    executor.undo(ticket.work(), &seen.version).await.unwrap();
    assert_eq!(scene.runner.keys(), ["nonce-1-0", "nonce-1-0-undo"]);

    scene.nothing_is_active();
    scene.desk.end(&ticket).await.unwrap();
    assert_eq!(
        (scene.desk.held().await, scene.with("GET", "check", ticket.token(), "", json!({})).await),
        (0, 401)
    );
    refused_by(&executor.apply(ticket.work()).await, "lease");
    // Again, and for one that never was.
    scene.desk.end(&ticket).await.unwrap();
    scene.desk.issuer.revoke(Some(&id("runner")), &Id::fresh("lease", 99).unwrap()).await.unwrap();
    // One that was ended is never minted afterwards.
    assert!(refused(scene.desk.try_ticket(1, 60_000).await).contains("used before"));
    assert_eq!(scene.desk.held().await, 0);
}

#[tokio::test]
async fn inv06_a_stolen_lease_starts_the_one_run_that_people_approved_and_no_other() {
    let scene = scene();
    let ticket = scene.desk.ticket(1, 60_000).await;
    let token = ticket.token();
    let claims = scene.trust.claims(token).unwrap();
    assert_eq!(
        claims["authorization_details"],
        json!([{
            "type": "holdpoint_job", "actions": ["job.clear-cache"], "identifier": "cache", "parameters": PARAMS(),
            "runs": [{"job": "clear", "key": "nonce-1-0"}, {"job": "refill", "key": "nonce-1-0-undo"}],
        }])
    );
    assert_eq!(
        (claims["sub"].as_str(), claims["jti"].as_str()),
        (Some("job"), Some(ticket.lease.info.id.as_str()))
    );
    assert_eq!((&claims["grant"]["permit"], &claims["grant"]["epoch"]), (&json!("permit-1"), &json!(1)));
    let mut more = PARAMS();
    more["keep"] = json!(6);
    let start = "jobs/clear/runs";
    for (method, path, key, body, status) in [
        ("POST", "jobs/purge/runs", "nonce-1-0", PARAMS(), 403),
        ("POST", start, "nonce-2-0", PARAMS(), 403),
        ("POST", start, "nonce-1-0-undo", PARAMS(), 403),
        ("POST", start, "nonce-1-0", more, 403),
        ("GET", "jobs/purge", "", json!({}), 403),
        ("GET", "runs?key=nonce-2-0", "", json!({}), 403),
        ("POST", start, "nonce-1-0", PARAMS(), 201),
        ("POST", start, "nonce-1-0", PARAMS(), 200),
    ] {
        assert_eq!(scene.with(method, path, token, key, body).await, status, "{method} {path} {key}");
    }
    assert_eq!(scene.runner.keys(), ["nonce-1-0"]);
}

#[tokio::test]
async fn t25_a_target_that_asks_nobody_takes_a_lease_until_its_end_and_the_executor_does_not() {
    let scene = scene();
    let ticket = scene.desk.ticket(1, 3_000).await;
    let Err(IssueError::Lasts(why)) = scene.desk.end(&ticket).await else { panic!("it asks nobody") };
    assert!(why.contains("until its own end") && !why.contains(ticket.token()), "{why}");
    // It lives, it is said to live, and the executor has done with it.
    assert_eq!(
        (scene.desk.held().await, scene.with("GET", "check", ticket.token(), "", json!({})).await),
        (1, 200)
    );
    refused_by(&scene.desk.executor().apply(ticket.work()).await, "lease");
    until_dead(&scene.desk, &ticket).await;
    assert_eq!(
        (scene.desk.held().await, scene.with("GET", "check", ticket.token(), "", json!({})).await),
        (0, 401)
    );
}

#[tokio::test]
async fn t19_t25_a_target_that_checks_badly_gets_no_lease() {
    let scene = scene();
    for (care, why) in [
        (Care::Nothing, "takes nothing at all"),
        (Care::SomeToken, "takes a token that another key signed"),
        (Care::NoSignature, "takes a token that another key signed"),
        (Care::Leeway, "takes a token that ended 5 s ago"),
        (Care::NoEnd, "takes a token that ended 5 s ago"),
        (Care::NoAudience, "takes a token for another audience"),
        (Care::Always(404), "does not refuse nothing at all: it answered 404"),
        (Care::Always(307), "does not refuse nothing at all: it answered 307"),
        (Care::Always(500), "does not refuse nothing at all: it answered 500"),
        (Care::Always(401), "does not take a good token: it refused it"),
    ] {
        scene.trust.is(Care::Careful);
        let version = scene.desk.observe().await;
        scene.trust.is(care);
        let said = refused(scene.desk.ticket_at(version.version, 1, 60_000, |_| {}).await);
        assert!(said.contains(why), "{care:?}: {said}");
        assert_eq!(scene.desk.held().await, 0, "{care:?}: nothing was minted");
    }
    scene.trust.is(Care::Careful);
    // A clock that is an hour ahead takes nothing that is good.
    *scene.trust.ahead_secs.lock().unwrap() = 3600;
    assert!(refused(scene.desk.try_ticket(1, 60_000).await).contains("does not take a good token"));
    *scene.trust.ahead_secs.lock().unwrap() = 0;
    scene.desk.ticket(1, 60_000).await;
}

#[tokio::test]
async fn inv08_the_end_is_proven_by_a_refusal_that_means_something() {
    let scene = scene();
    let ticket = scene.desk.ticket(1, 60_000).await;
    scene.nothing_is_active();
    for (care, why) in [
        (Care::Always(404), "it answered 404"),
        (Care::Always(307), "it answered 307"),
        (Care::Always(500), "it answered 500"),
        // One that refuses whatever it is shown.
        (Care::Always(401), "a good token was shown as well: it refused it"),
        (Care::Only("control", 403), "a good token was shown as well: it refused it"),
    ] {
        scene.trust.is(care);
        let Err(IssueError::Backend(said)) = scene.desk.end(&ticket).await else { panic!("{care:?}") };
        assert!(said.contains("not proven") && said.contains(why), "{care:?}: {said}");
        assert_eq!(scene.desk.held().await, 1, "{care:?}");
    }
    // A lease that is taken after its own end is no lease that lasts, but a fault.
    fs::remove_file(&scene.trust.ended).unwrap();
    scene.trust.is(Care::Careful);
    scene.desk.clock.by_ms(3_600_000);
    let Err(IssueError::Backend(said)) = scene.desk.end(&ticket).await else { panic!("it is taken") };
    assert!(said.contains("after its end"), "{said}");
    scene.desk.clock.by_ms(0);
    scene.nothing_is_active();
    scene.desk.end(&ticket).await.unwrap();
}

#[tokio::test]
async fn t25_lives_of_nothing_and_beyond_the_bounds_are_refused() {
    let scene = scene();
    for life_ms in [0, 1, 310_000, 910_000, u64::from(u32::MAX)] {
        let said = refused(scene.desk.try_ticket(1, life_ms).await);
        assert!(said.contains("life"), "{life_ms}: {said}");
    }
    assert_eq!(scene.desk.held().await, 0);
    // Whole seconds, and never later than the lease.
    let ticket = scene.desk.ticket(2, 2_999).await;
    let claims = scene.trust.claims(ticket.token()).unwrap();
    let (end, life) =
        (claims["exp"].as_u64().unwrap(), claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap());
    assert!(end * 1000 <= ticket.lease.info.expires_at_ms.ms() && (1..=3).contains(&life), "{claims}");
}

#[tokio::test]
async fn inv06_a_permit_of_another_executor_gets_no_token() {
    let scene = scene();
    let other =
        scene.desk.ticket_for(1, 60_000, |grant| grant.executors = crate::world::scene::bound("process"));
    assert!(refused(other.await).contains("does not name `job`"));
}

#[tokio::test]
async fn t26_a_restart_proves_the_end_of_what_was_minted_before_it() {
    let Scene { dir, runner, trust, desk } = scene();
    let ticket = desk.ticket(1, 60_000).await;
    drop(desk);
    let desk = Desk::new(dir.path(), &runner.base(), Presentation::Bearer);
    assert_eq!(desk.issuer.held(&id("runner")).await.unwrap(), std::slice::from_ref(&ticket.lease.info.id));
    // It is the very token that is shown, and its table knows nothing of it any more.
    runner.table.asked.lock().unwrap().clear();
    let Err(IssueError::Lasts(_)) = desk.end(&ticket).await else { panic!("it lives") };
    let bearer = format!(" Bearer {}", ticket.token());
    assert!(runner.table.asked.lock().unwrap()[0].ends_with(&bearer));
    refused_by(&desk.executor().apply(ticket.work()).await, "lease");
    fs::write(&trust.ended, "").unwrap();
    desk.end(&ticket).await.unwrap();
    assert_eq!(desk.held().await, 0);

    // A note that cannot be read keeps its lease on the list.
    fs::write(dir.path().join("notes/lease-7.json"), "{").unwrap();
    let Err(IssueError::Backend(_)) = desk.issuer.revoke(Some(&id("runner")), &id("lease-7")).await else {
        panic!("its token may live")
    };
    // What is not exactly one of ours is left alone.
    for name in ["lease-8.json.new", ".json", "README"] {
        fs::write(dir.path().join("notes").join(name), "").unwrap();
    }
    assert_eq!(desk.held().await, 1);
}

#[tokio::test]
async fn inv12_no_token_is_in_an_error_a_note_or_a_debug() {
    let scene = scene();
    let ticket = scene.desk.ticket(1, 60_000).await;
    let signature = ticket.token().rsplit('.').next().unwrap().to_owned();
    scene.trust.is(Care::Only("lease", 500));
    let failed = scene.desk.executor().apply(ticket.work()).await.unwrap_err();
    assert!(matches!(failed, ExecuteError::NotDone(_)), "{failed:?}");
    let ended = scene.desk.end(&ticket).await.unwrap_err();
    let note = fs::read_dir(scene.dir.path().join("notes")).unwrap().next().unwrap().unwrap();
    let note = fs::read_to_string(note.path()).unwrap();
    let job = format!("{:?} {:?}", scene.desk.jobs, ticket.lease);
    for shown in
        [format!("{failed} {failed:?} {ended} {ended:?}"), note, job, format!("{:?}", scene.desk.tokens)]
    {
        assert!(!shown.contains(&signature), "{shown}");
    }
}

#[test]
fn what_the_operator_wrote_is_checked() {
    let dir = TempDir::new().unwrap();
    let base = "http://127.0.0.1:1/api";
    let open = |change: &dyn Fn(&mut holdpoint_adapters::lease::BearerSpec)| {
        let mut spec = spec(base, Presentation::Bearer);
        change(&mut spec);
        let (book, clock) = (Arc::new(LeaseTable::new()), Arc::new(StoppedClock::new()));
        let notes = dir.path().join("notes");
        let parts = BearerParts { notes: &notes, key: &seed(), book, clock };
        BearerTokens::open(spec, parts).map_err(|err| err.to_string())
    };
    let terms = open(&|_| {}).unwrap().terms();
    assert_eq!((terms.min.span().ms(), terms.ends_early), (2_000, false));
    for check in
        ["", "runner", "http://runner.example/check", "https://a:b@runner.example/", "ftp://127.0.0.1/"]
    {
        let said = open(&|spec| spec.check = check.to_owned()).unwrap_err();
        assert!(said.contains("expected a `check`"), "{check}: {said}");
    }
    open(&|spec| spec.check = "https://runner.example/check".to_owned()).unwrap();
    for name in ["", "a b", "ä", &"a".repeat(257)] {
        assert!(open(&|spec| spec.issuer = name.to_owned()).unwrap_err().contains("`issuer`"), "{name}");
        assert!(open(&|spec| spec.audience = name.to_owned()).unwrap_err().contains("`audience`"), "{name}");
    }
    assert!(
        open(&|spec| spec.max = holdpoint_domain::lease::Ttl::SHORTEST).unwrap_err().contains("max_ttl_ms")
    );
}
