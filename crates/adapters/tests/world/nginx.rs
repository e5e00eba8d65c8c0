//! The executor for servers behind nginx, against a real nginx and two servers whose requests are counted.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use holdpoint_adapters::executor::nginx::{
    NginxExecutor, NginxObserver, NginxServer, NginxSpec, Servers, ServersError,
};
use holdpoint_app::port::{ActedPhase, ObserveError};
use holdpoint_domain::{Digest, Millis};
use serde_json::json;
use tempfile::TempDir;

use super::{
    files_scene::{Stage, Ticket, last, not_done, refused_by, state, unknown, write_state},
    server::Server,
    support::{id, millis, wait_until},
};

/// The program, by the variable that `cargo xtask test` knows, by the path, or where Debian has it.
fn program() -> PathBuf {
    if let Some(named) = env::var_os("HOLDPOINT_NGINX") {
        return named.into();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = places.map(|dir| dir.join("nginx")).find(|file| file.exists());
    found.expect("nginx is not installed: `cargo xtask setup` installs it")
}

/// A real nginx in a directory of its own, in front of two servers. It ends with this.
struct World {
    dir: Arc<TempDir>,
    address: SocketAddr,
    servers: [Server; 2],
    nginx: Child,
}

impl World {
    fn start() -> Self {
        let dir = Arc::new(TempDir::new().unwrap());
        let servers = ["one", "two"].map(|name| Server::status("200 OK", name));
        let [one, two] = [0, 1].map(|at| servers[at].address);
        let upstream = format!(
            "# server {one} down;\nupstream reports {{\n\tserver {one} weight=1 ; # first\r\n    server {two};\n}}\n\nupstream other {{ server {one}; }}\n"
        );
        let path = dir.path().join("reports.conf");
        fs::write(&path, upstream).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        // The port was free a moment ago; somebody else may have it by now.
        for _ in 0..5 {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            if let Some(nginx) = run_nginx(dir.path(), address) {
                return Self { dir, address, servers, nginx };
            }
        }
        panic!("nginx does not start: {}", fs::read_to_string(dir.path().join("error.log")).unwrap());
    }

    fn include(&self) -> PathBuf {
        self.dir.path().join("reports.conf")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.include()).unwrap()
    }

    /// How many of so many requests through nginx each server gets.
    fn spread(&self, requests: usize) -> [usize; 2] {
        let before = [0, 1].map(|at| self.servers[at].taken());
        for _ in 0..requests {
            let answer = get(self.address).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        [0, 1].map(|at| self.servers[at].taken() - before[at])
    }

    fn spec(&self, target: &str, server: usize) -> NginxSpec {
        let nginx = program().display().to_string();
        let conf = self.dir.path().join("nginx.conf").display().to_string();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        NginxSpec {
            id: id(target),
            include: self.include(),
            upstream: "reports".to_owned(),
            server: self.servers[server].address.to_string(),
            may_empty: false,
            test: words(&[&nginx, "-t", "-q", "-c", &conf]),
            reload: words(&[&nginx, "-s", "reload", "-c", &conf]),
            pid_file: self.dir.path().join("nginx.pid"),
            limit: Millis::secs(10),
        }
    }

    /// A shell script in the place of a command.
    fn script(&self, text: &str) -> Vec<String> {
        let dir = self.dir.path().display();
        ["/bin/sh", "-c", &text.replace("DIR", &dir.to_string())].map(str::to_owned).to_vec()
    }

    fn stage(&self) -> Stage {
        self.stage_of(|_| {})
    }

    /// An executor over both servers, as `change` configures them.
    fn stage_of(&self, change: impl Fn(&mut NginxSpec)) -> Stage {
        let servers = [("reports-1", 0), ("reports-2", 1)].map(|(target, server)| {
            let mut spec = self.spec(target, server);
            change(&mut spec);
            NginxServer::new(spec).unwrap()
        });
        let servers = Arc::new(Servers::open(&self.dir.path().join("state"), servers.to_vec()).unwrap());
        Stage::over(Arc::clone(&self.dir), "nginx", &["reports-1", "reports-2", "ghost"], |parts| {
            let observer = NginxObserver::new(Arc::clone(&servers));
            let executor = NginxExecutor::new(parts.authority, parts.leases, servers, parts.clock);
            (Box::new(executor), Box::new(observer))
        })
    }

    fn stop(&mut self) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.nginx.id()).unwrap()).unwrap();
        // Its workers end with the master only when it is asked.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        self.nginx.wait().unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run_nginx(dir: &Path, address: SocketAddr) -> Option<Child> {
    // As root, workers change to another user, who could not enter the directory.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let own = dir.display();
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temp: String = temp.map(|kind| format!("  {kind}_temp_path {own}/{kind};\n")).concat();
    let conf = format!(
        "{user}\ndaemon off;\nworker_processes 1;\npid {own}/nginx.pid;\nerror_log {own}/error.log;\nevents {{}}\nhttp {{\n  access_log off;\n{temp}  include {own}/reports.conf;\n  server {{ listen {address}; location / {{ proxy_pass http://reports; }} }}\n}}\n"
    );
    let path = dir.join("nginx.conf");
    fs::write(&path, conf).unwrap();
    let mut command = Command::new(program());
    command.arg("-c").arg(&path).arg("-p").arg(dir).arg("-e").arg(dir.join("error.log"));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut ended = false;
    wait_until("nginx answers or ends", || {
        ended = child.try_wait().unwrap().is_some();
        ended || (get(address).is_ok() && dir.join("nginx.pid").exists())
    });
    (!ended).then_some(child)
}

fn get(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

const ISOLATE: &str = "nginx.isolate";

async fn ticket(stage: &Stage, epoch: u64) -> Ticket {
    stage.ticket(ISOLATE, "reports-1", &[], epoch).await
}

async fn phase(stage: &Stage) -> Option<(u64, ActedPhase)> {
    last(&stage.observe(ISOLATE, "reports-1").await)
}

#[tokio::test]
async fn an_isolated_server_gets_no_request_until_the_undo() {
    let world = World::start();
    let stage = world.stage();
    let original = world.text();
    let before = stage.observe(ISOLATE, "reports-1").await;
    assert!(!before.down && before.undo_computed && before.acted.is_none());
    assert_eq!(world.spread(10), [5, 5]);
    let ticket = ticket(&stage, 5).await;
    stage.executor.rehearse(ticket.work()).await.unwrap();
    assert_eq!((stage.observe(ISOLATE, "reports-1").await, world.text()), (before.clone(), original.clone()));

    stage.executor.apply(ticket.work()).await.unwrap();
    assert_eq!(world.spread(10), [0, 10]);
    assert_eq!(world.text(), original.replace("weight=1 ;", "weight=1 down ;"), "one word, and nothing else");
    assert_eq!(fs::metadata(world.include()).unwrap().permissions().mode() & 0o777, 0o640);
    let after = stage.observe(ISOLATE, "reports-1").await;
    assert!(after.down && !after.undo_computed && after.version != before.version);
    assert_eq!(
        (last(&after), after.acted.unwrap().left),
        (Some((5, ActedPhase::Applied)), Some(after.version))
    );
    // The neighbour's version is of the same block.
    assert_ne!(stage.observe(ISOLATE, "reports-2").await.version, before.version);

    // The same permit again does nothing: the workers are the same.
    let workers = workers(&world);
    stage.executor.apply(ticket.work()).await.unwrap();
    assert_eq!((self::workers(&world), world.spread(4)), (workers, [0, 4]));

    for _ in 0..2 {
        stage.executor.undo(ticket.work(), &after.version).await.unwrap();
        assert_eq!(world.text(), original);
    }
    let [one, two] = world.spread(10);
    assert!(one > 0 && two > 0);
    let undone = stage.observe(ISOLATE, "reports-1").await;
    assert_eq!((undone.version, last(&undone)), (before.version, Some((5, ActedPhase::Undone))));
    refused_by(&stage.executor.apply(ticket.work()).await, "phase");
    assert!(!world.dir.path().join(".reports.conf.holdpoint-tmp").exists());
}

/// The numbers of the master's children.
fn workers(world: &World) -> String {
    let master = world.nginx.id();
    let mut found: Vec<_> = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()).collect();
    found.retain(|path| {
        let status = fs::read_to_string(path.join("status")).unwrap_or_default();
        status.contains(&format!("\nPPid:\t{master}\n"))
    });
    found.sort();
    format!("{found:?}")
}

#[tokio::test]
async fn restoring_is_the_inverse() {
    let world = World::start();
    let stage = world.stage();
    let original = world.text();
    // There is nothing to restore, and nothing to remember about it.
    assert!(!stage.observe("nginx.restore", "reports-1").await.undo_computed);
    let early = stage.ticket("nginx.restore", "reports-1", &[], 1).await;
    refused_by(&stage.executor.rehearse(early.work()).await, "operation");
    refused_by(&stage.executor.apply(early.work()).await, "operation");
    let isolate = ticket(&stage, 2).await;
    stage.executor.apply(isolate.work()).await.unwrap();
    let isolated = world.text();
    let twice = ticket(&stage, 3).await;
    refused_by(&stage.executor.apply(twice.work()).await, "operation");

    let restore = stage.ticket("nginx.restore", "reports-1", &[], 4).await;
    stage.executor.apply(restore.work()).await.unwrap();
    let [one, two] = world.spread(10);
    assert!(world.text() == original && one > 0 && two > 0);
    let left = stage.observe(ISOLATE, "reports-1").await.version;
    stage.executor.undo(restore.work(), &left).await.unwrap();
    assert_eq!((world.text(), world.spread(4)), (isolated, [0, 4]));
}

#[tokio::test]
async fn t08_another_version_of_the_block_is_refused_and_kept() {
    let world = World::start();
    let stage = world.stage();
    let ticket = ticket(&stage, 1).await;
    let edited = world.text().replace("weight=1", "weight=2");
    fs::write(world.include(), &edited).unwrap();
    refused_by(&stage.executor.rehearse(ticket.work()).await, "version");
    refused_by(&stage.executor.apply(ticket.work()).await, "version");
    assert_eq!((world.text(), phase(&stage).await), (edited, None));

    // What is around the block is nobody's version, and stays.
    let ticket = self::ticket(&stage, 2).await;
    let around = format!("# by hand\n{}", world.text());
    fs::write(world.include(), &around).unwrap();
    stage.executor.apply(ticket.work()).await.unwrap();
    assert_eq!(world.text(), around.replace("weight=2 ;", "weight=2 down ;"));
}

#[tokio::test]
async fn inv02_undo_never_overwrites_what_somebody_changed_since() {
    let world = World::start();
    let stage = world.stage();
    let ticket = ticket(&stage, 1).await;
    let version = stage.observe(ISOLATE, "reports-1").await.version;
    refused_by(&stage.executor.undo(ticket.work(), &version).await, "phase");
    stage.executor.apply(ticket.work()).await.unwrap();
    let left = stage.observe(ISOLATE, "reports-1").await.version;
    refused_by(&stage.executor.undo(ticket.work(), &Digest::of_bytes(b"another")).await, "version");
    // Somebody's edit of the block, in the line or beside it.
    let ours = world.text();
    for edited in [ours.replace("weight=1 down", "weight=7 down"), ours.replace("# first", "# FIRST")] {
        fs::write(world.include(), &edited).unwrap();
        let theirs = stage.observe(ISOLATE, "reports-1").await.version;
        for from in [&left, &theirs] {
            refused_by(&stage.executor.undo(ticket.work(), from).await, "version");
        }
        assert_eq!(world.text(), edited);
    }
    // Beside the block it does not matter, and stays.
    fs::write(world.include(), format!("{ours}# by hand\n")).unwrap();
    stage.executor.undo(ticket.work(), &left).await.unwrap();
    assert_eq!(world.text(), format!("{}# by hand\n", ours.replace(" down ;", " ;")));
}

#[tokio::test]
async fn t09_an_older_permit_is_fenced_also_after_a_restart() {
    let world = World::start();
    let stage = world.stage();
    let (older, newer) = (ticket(&stage, 7).await, ticket(&stage, 8).await);
    let twin = stage.twin(&newer).await;
    stage.executor.apply(newer.work()).await.unwrap();
    let (left, text) = (stage.observe(ISOLATE, "reports-1").await.version, world.text());
    refused_by(&stage.executor.apply(older.work()).await, "epoch");
    drop(stage);
    let stage = world.stage();
    for ticket in [stage.lease_again(&older).await, stage.lease_again(&twin).await] {
        refused_by(&stage.executor.rehearse(ticket.work()).await, "epoch");
        refused_by(&stage.executor.apply(ticket.work()).await, "epoch");
        refused_by(&stage.executor.undo(ticket.work(), &left).await, "epoch");
    }
    assert_eq!(world.text(), text);
}

#[tokio::test]
async fn the_last_server_stays_unless_the_operator_says_otherwise() {
    let world = World::start();
    let stage = world.stage();
    let first = ticket(&stage, 1).await;
    stage.executor.apply(first.work()).await.unwrap();
    let last = stage.ticket(ISOLATE, "reports-2", &[], 2).await;
    refused_by(&stage.executor.rehearse(last.work()).await, "operation");
    refused_by(&stage.executor.apply(last.work()).await, "operation");
    assert_eq!(world.spread(4), [0, 4]);
    drop(stage);
    let stage = world.stage_of(|spec| spec.may_empty = true);
    let last = stage.lease_again(&last).await;
    stage.executor.apply(last.work()).await.unwrap();
    assert!(get(world.address).unwrap().starts_with("HTTP/1.1 502"));
    let left = stage.observe(ISOLATE, "reports-2").await.version;
    stage.executor.undo(last.work(), &left).await.unwrap();
    assert_eq!(world.spread(4), [0, 4]);
}

#[tokio::test]
async fn an_edit_that_fails_its_test_is_put_back() {
    let world = World::start();
    let test = world.script("! grep -q 'weight=1 down' DIR/reports.conf || { echo no >&2; exit 1; }");
    let stage = world.stage_of(|spec| spec.test = test.clone());
    let (original, workers) = (world.text(), workers(&world));
    let ticket = ticket(&stage, 1).await;
    stage.executor.rehearse(ticket.work()).await.unwrap();
    let why = not_done(&stage.executor.apply(ticket.work()).await);
    assert!(why.contains("`no`"), "{why}");
    assert_eq!((world.text(), phase(&stage).await), (original, None));
    assert_eq!(self::workers(&world), workers, "nginx heard nothing of it");
    // With what was wrong mended, the same permit goes through.
    drop(stage);
    let stage = world.stage();
    let again = stage.lease_again(&ticket).await;
    stage.executor.apply(again.work()).await.unwrap();
    assert_eq!(world.spread(4), [0, 4]);
}

#[tokio::test]
async fn t38_a_reload_that_fails_is_taken_back_and_unknown_unless_proven() {
    let world = World::start();
    let original = world.text();
    let real = world.spec("reports-1", 0).reload.join(" ");
    let conf_is_old = "! grep -q 'weight=1 down' DIR/reports.conf";
    let reloads = [
        // It sends nothing, ever: file and workers prove that all is as it was.
        ("exit 1".to_owned(), true),
        // It fails for the edit alone: the old configuration is taken up again.
        (format!("{conf_is_old} && {real}"), true),
        // It says that it worked, and does nothing: nobody knows what may still come.
        ("exit 0".to_owned(), false),
        ("sleep 100".to_owned(), false),
    ];
    for (epoch, (script, proven)) in (1..).zip(reloads) {
        let script = world.script(&script);
        let stage = world.stage_of(|spec| {
            spec.reload = script.clone();
            spec.limit = if proven { Millis::secs(10) } else { millis(500) };
        });
        let ticket = ticket(&stage, epoch).await;
        let result = stage.executor.apply(ticket.work()).await;
        assert_eq!(world.text(), original, "{script:?}");
        let [one, two] = world.spread(4);
        assert!(one > 0 && two > 0, "{script:?}");
        if proven {
            not_done(&result);
            assert_eq!(phase(&stage).await, None, "{script:?}");
        } else {
            unknown(&result);
            assert_eq!(phase(&stage).await, Some((epoch, ActedPhase::Begun)), "{script:?}");
            assert_eq!(state(world.dir.path(), "reports-1")["acted"]["phase"], "begun");
        }
        assert_eq!(state(world.dir.path(), "reports-1")["highest_epoch"], epoch, "the fence stays");
    }
}

#[tokio::test]
async fn a_configuration_nginx_cannot_load_is_seen_by_the_workers_it_keeps() {
    let world = World::start();
    let original = world.text();
    // The test passes and the signal is sent, and yet the master keeps its old workers: it loads a file that is broken
    // for the moment of the reload only.
    let real = world.spec("reports-1", 0).reload.join(" ");
    let reload = world.script(&format!(
        "grep -q 'weight=1 down' DIR/reports.conf || exec {real}; \
         cp DIR/nginx.conf DIR/good; echo 'nonsense;' >> DIR/nginx.conf; kill -HUP $(cat DIR/nginx.pid); \
         while ! grep -q nonsense DIR/error.log; do sleep 0.02; done; cp DIR/good DIR/nginx.conf"
    ));
    let stage = world.stage_of(|spec| {
        spec.reload = reload.clone();
        spec.limit = Millis::secs(3);
    });
    let ticket = ticket(&stage, 1).await;
    let why = not_done(&stage.executor.apply(ticket.work()).await);
    assert!(why.contains("no new workers"), "{why}");
    assert_eq!((world.text(), phase(&stage).await), (original, None));
    let [one, two] = world.spread(4);
    assert!(one > 0 && two > 0);
}

#[tokio::test]
async fn without_a_running_nginx_nothing_is_touched() {
    let mut world = World::start();
    let stage = world.stage();
    let original = world.text();
    let ticket = ticket(&stage, 1).await;
    world.stop();
    not_done(&stage.executor.rehearse(ticket.work()).await);
    not_done(&stage.executor.apply(ticket.work()).await);
    // A number in the pid file that is somebody else's.
    fs::write(world.dir.path().join("nginx.pid"), std::process::id().to_string()).unwrap();
    not_done(&stage.executor.apply(ticket.work()).await);
    assert_eq!((world.text(), phase(&stage).await), (original, None));
    assert!(!world.dir.path().join("state/reports-1.json").exists());
}

#[tokio::test]
async fn inv01_nothing_is_touched_when_the_memory_cannot_be_written() {
    let world = World::start();
    let stage = world.stage();
    let original = world.text();
    let ticket = ticket(&stage, 1).await;
    // Writing the temporary file fails for any user, root included: a directory is in its place.
    let blocker = stage.path("state/.reports-1.json.tmp");
    fs::create_dir(&blocker).unwrap();
    not_done(&stage.executor.apply(ticket.work()).await);
    assert_eq!(world.text(), original);
    fs::remove_dir(&blocker).unwrap();
    // The same for the include file: the announcement is taken back.
    let blocker = stage.path(".reports.conf.holdpoint-tmp");
    fs::create_dir(&blocker).unwrap();
    not_done(&stage.executor.apply(ticket.work()).await);
    assert_eq!((world.text(), phase(&stage).await), (original, None));
    fs::remove_dir(&blocker).unwrap();
    stage.executor.apply(ticket.work()).await.unwrap();
}

#[tokio::test]
async fn inv03_a_crash_half_way_shows_as_begun_and_can_be_undone() {
    let world = World::start();
    let stage = world.stage();
    let original = world.text();
    let ticket = ticket(&stage, 4).await;
    stage.executor.apply(ticket.work()).await.unwrap();
    // What is on disk after the file was replaced, and before the end was written.
    let mut begun = state(world.dir.path(), "reports-1");
    begun["acted"] = json!({"epoch": 4, "permit": "permit-4", "phase": "begun", "left": null});
    drop(stage);
    write_state(world.dir.path(), "reports-1", &begun);
    let stage = world.stage();
    let seen = stage.observe(ISOLATE, "reports-1").await;
    assert!(seen.down && last(&seen) == Some((4, ActedPhase::Begun)));
    let again = stage.lease_again(&ticket).await;
    refused_by(&stage.executor.apply(again.work()).await, "version");
    stage.executor.undo(again.work(), &seen.version).await.unwrap();
    assert_eq!(world.text(), original);

    // A memory that does not parse is no empty memory, and one that names another line is not put back.
    write_state(world.dir.path(), "reports-1", &json!({"type": "holdpoint/target-memory/v2"}));
    assert!(stage.try_observe(ISOLATE, "reports-1").await.is_err());
    not_done(&stage.executor.undo(again.work(), &seen.version).await);
    begun["note"]["line"] = json!("server 192.0.2.1:80;");
    write_state(world.dir.path(), "reports-1", &begun);
    let version = stage.observe(ISOLATE, "reports-1").await.version;
    refused_by(&stage.executor.undo(again.work(), &version).await, "undo");
    assert_eq!(world.text(), original);
}

#[tokio::test]
async fn inv08_the_lease_is_checked_at_the_use() {
    let world = World::start();
    let stage = world.stage();
    let original = world.text();
    let ticket = ticket(&stage, 1).await;
    let version = stage.observe(ISOLATE, "reports-1").await.version;
    stage.revoke(&ticket).await;
    refused_by(&stage.executor.rehearse(ticket.work()).await, "lease");
    refused_by(&stage.executor.apply(ticket.work()).await, "lease");
    refused_by(&stage.executor.undo(ticket.work(), &version).await, "lease");
    assert_eq!((world.text(), phase(&stage).await), (original, None));
}

#[tokio::test]
async fn what_nobody_here_can_do_is_refused() {
    let world = World::start();
    let stage = world.stage();
    let version = stage.observe(ISOLATE, "reports-1").await.version;
    let ghost = stage.ticket_for(ISOLATE, "ghost", &[], 1, version).await;
    refused_by(&stage.executor.apply(ghost.work()).await, "server");
    let drain = stage.ticket("nginx.drain", "reports-1", &[], 2).await;
    refused_by(&stage.executor.apply(drain.work()).await, "operation");
    assert!(!stage.observe("nginx.drain", "reports-1").await.undo_computed);
    assert_eq!(stage.try_observe(ISOLATE, "ghost").await, Err(ObserveError::Unknown(id("ghost"))));
    // One memory, one writer.
    let second = Servers::open(&world.dir.path().join("state"), Vec::new());
    assert!(matches!(second, Err(ServersError::Directory { .. })));
    // A link is not replaced by a file.
    let real = world.dir.path().join("real.conf");
    fs::rename(world.include(), &real).unwrap();
    std::os::unix::fs::symlink(&real, world.include()).unwrap();
    assert!(stage.try_observe(ISOLATE, "reports-1").await.is_err());
}
