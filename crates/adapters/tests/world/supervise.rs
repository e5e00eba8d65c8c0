//! The supervisor and real processes: started, re-adopted, reaped, and never mistaken for one another.

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use holdpoint_adapters::executor::process::{
    SPAWN_VARIABLE, Supervisor, SupervisorError, Unit, UnitReader, UnitView,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::{id, millis, wait_until};

/// The variable that turns this test binary into a helper program.
const HELPER: &str = "WORLD_HELPER";

/// Not a test of its own: what this binary does when it is started again as a helper.
#[tokio::test]
async fn helper() {
    let Ok(role) = std::env::var(HELPER) else { return };
    match role.as_str() {
        // Takes no hint to stop, and says in the log that it heard it. It has a child in its group.
        "stubborn" => {
            use tokio::signal::unix::{SignalKind, signal};
            let mut terminate = signal(SignalKind::terminate()).unwrap();
            let mut child = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
            println!("child {} ready", child.id());
            while terminate.recv().await.is_some() {
                println!("heard");
            }
            child.wait().unwrap();
        }
        // A gate that is killed: it supervises, and never comes back.
        "gate" => {
            let dir = std::env::var("WORLD_DIR").unwrap();
            let supervisor = Supervisor::open(Path::new(&dir), vec![sleeper("web-1")]).unwrap();
            supervisor.ensure_started().unwrap();
            std::future::pending::<()>().await;
        }
        other => panic!("no helper `{other}`"),
    }
}

fn helper_argv() -> Vec<String> {
    let program = std::env::current_exe().unwrap().display().to_string();
    [&program, "--exact", "world::supervise::helper", "--nocapture"].map(str::to_owned).to_vec()
}

pub(crate) fn unit(name: &str, argv: &[&str], env: &[(&str, &str)]) -> Unit {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let argv = argv.iter().map(|word| (*word).to_owned()).collect();
    Unit::new(id(name), argv, env, PathBuf::from("/"), millis(300)).unwrap()
}

pub(crate) fn sleeper(name: &str) -> Unit {
    unit(name, &["/bin/sleep", "1000"], &[])
}

/// A unit that does not stop before it is killed.
pub(crate) fn stubborn(name: &str) -> Unit {
    let argv = helper_argv();
    unit(name, &argv.iter().map(String::as_str).collect::<Vec<_>>(), &[(HELPER, "stubborn")])
}

/// The state file of a unit.
pub(crate) fn state(dir: &Path, unit: &str) -> Value {
    serde_json::from_slice(&fs::read(dir.join(format!("{unit}.json"))).unwrap()).unwrap()
}

pub(crate) fn pid(dir: &Path, unit: &str) -> u64 {
    state(dir, unit)["process"]["pid"].as_u64().unwrap()
}

/// Whether there is a process of this number, zombies included.
pub(crate) fn exists(pid: u64) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

fn proc_file(pid: u64, name: &str) -> String {
    String::from_utf8(fs::read(format!("/proc/{pid}/{name}")).unwrap()).unwrap()
}

/// State letter, group and start time of a process.
fn stat(pid: u64) -> (String, u64, u64) {
    try_stat(pid).unwrap()
}

fn try_stat(pid: u64) -> Option<(String, u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some((fields[0].to_owned(), fields[2].parse().ok()?, fields[19].parse().ok()?))
}

fn raw(pid: u64) -> rustix::process::Pid {
    rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

pub(crate) fn kill(pid: u64) {
    rustix::process::kill_process(raw(pid), rustix::process::Signal::KILL).unwrap();
}

pub(crate) fn pause(pid: u64) {
    rustix::process::kill_process(raw(pid), rustix::process::Signal::STOP).unwrap();
}

/// A directory whose units are killed when the test is over, whatever came of it.
pub(crate) struct Yard {
    dir: TempDir,
}

impl Yard {
    pub(crate) fn new() -> Self {
        Self { dir: TempDir::new().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        for file in fs::read_dir(self.dir.path()).unwrap().flatten() {
            let bytes = fs::read(file.path()).unwrap_or_default();
            let Ok(state) = serde_json::from_slice::<Value>(&bytes) else { continue };
            let recorded = state["process"]["pid"].as_u64().zip(state["process"]["start_ticks"].as_u64());
            let Some((pid, start)) = recorded else { continue };
            if try_stat(pid).is_some_and(|stat| stat.2 == start) {
                let _ = rustix::process::kill_process_group(raw(pid), rustix::process::Signal::KILL);
            }
        }
    }
}

/// A process that belongs to the test and not to any supervisor; killed and reaped when dropped.
struct Bystander(Child);

impl Bystander {
    fn start(program: &str, arguments: &[&str], env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).envs(env.iter().copied()).stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.process_group(0).spawn().unwrap())
    }

    fn pid(&self) -> u64 {
        u64::from(self.0.id())
    }

    fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn look(reader: &UnitReader, unit: &str) -> UnitView {
    reader.look(&id(unit)).unwrap().unwrap()
}

#[test]
fn a_unit_starts_once_and_is_seen() {
    let yard = Yard::new();
    let supervisor = Supervisor::open(yard.path(), vec![sleeper("web-1"), sleeper("web-2")]).unwrap();
    let reader = supervisor.reader();
    let before = look(&reader, "web-1");
    assert!(!before.runs && before.rss_bytes.is_none() && before.acted.is_none());
    assert_eq!(supervisor.ensure_started().unwrap(), [id("web-1"), id("web-2")]);
    assert_eq!(supervisor.ensure_started().unwrap(), []);
    let after = look(&reader, "web-1");
    assert!(after.runs && after.rss_bytes.unwrap() > 0);
    assert_ne!(after.version, before.version);
    assert_ne!(after.version, look(&reader, "web-2").version);
    // Nothing that happens by itself moves the version of a process that goes on.
    assert_eq!(after.version, look(&reader, "web-1").version);
    assert_eq!(reader.look(&id("web-3")).unwrap(), None);
    // A group of its own, and files for nobody else.
    let leader = pid(yard.path(), "web-1");
    assert_eq!(stat(leader).1, leader);
    use std::os::unix::fs::PermissionsExt as _;
    for file in ["web-1.json", "web-1.log", ".lock"] {
        let mode = fs::metadata(yard.path().join(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{file}");
    }
}

#[test]
fn t33_arguments_are_bytes_and_never_a_shell() {
    let yard = Yard::new();
    let touched = yard.path().join("touched");
    let words = [
        format!("$(touch {})", touched.display()),
        format!("; touch {} &", touched.display()),
        "`id`".to_owned(),
        "*".to_owned(),
        "a b\n\"'\\".to_owned(),
        String::new(),
        "$HOME".to_owned(),
    ];
    let mut argv = helper_argv();
    argv.extend(words.iter().cloned());
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    let supervisor =
        Supervisor::open(yard.path(), vec![unit("web-1", &argv, &[(HELPER, "stubborn"), ("B", "$A")])])
            .unwrap();
    supervisor.ensure_started().unwrap();
    let pid = pid(yard.path(), "web-1");
    let cmdline = proc_file(pid, "cmdline");
    let seen: Vec<&str> = cmdline.strip_suffix('\0').unwrap().split('\0').collect();
    assert_eq!(seen, argv);
    // Nothing of our own environment, which has at least a PATH.
    let environ = proc_file(pid, "environ");
    let names: Vec<&str> =
        environ.split_terminator('\0').map(|pair| pair.split_once('=').unwrap().0).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!([HELPER, "B", SPAWN_VARIABLE].iter().all(|name| names.contains(name)), "{names:?}");
    assert!(environ.contains("B=$A\0"));
    wait_until("the helper is ready", || {
        fs::read_to_string(yard.path().join("web-1.log")).unwrap().contains("ready")
    });
    assert!(!touched.exists());
}

#[test]
fn t33_units_that_a_shell_or_a_search_path_would_have_to_read_are_refused() {
    let make = |argv: &[&str], env: &[(&str, &str)], cwd: &str, grace: u64| {
        let env: BTreeMap<_, _> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let argv = argv.iter().map(|word| (*word).to_owned()).collect();
        Unit::new(id("web-1"), argv, env, PathBuf::from(cwd), millis(grace))
    };
    assert!(make(&["/bin/sleep", "1"], &[("A", "b=c")], "/", 0).is_ok());
    let long = "x".repeat(8 * 1024 + 1);
    let many = vec!["/bin/sleep"; 257];
    let bad = [
        make(&[], &[], "/", 0),
        make(&["sleep", "1"], &[], "/", 0),
        make(&["./sleep"], &[], "/", 0),
        make(&["/bin/sleep", "1\0"], &[], "/", 0),
        make(&["/bin/sleep", &long], &[], "/", 0),
        make(&many, &[], "/", 0),
        make(&["/bin/sleep"], &[("", "x")], "/", 0),
        make(&["/bin/sleep"], &[("A=B", "x")], "/", 0),
        make(&["/bin/sleep"], &[("A", "x\0")], "/", 0),
        make(&["/bin/sleep"], &[(SPAWN_VARIABLE, "x")], "/", 0),
        make(&["/bin/sleep"], &[], "tmp", 0),
        make(&["/bin/sleep"], &[], "/", 60_001),
    ];
    for (number, made) in bad.into_iter().enumerate() {
        assert!(made.is_err(), "unit {number} was accepted");
    }
    let yard = Yard::new();
    let twice = Supervisor::open(yard.path(), vec![sleeper("web-1"), sleeper("web-1")]);
    assert!(matches!(twice, Err(SupervisorError::Units(_))));
}

#[test]
fn a_dead_unit_is_reaped_and_down() {
    let yard = Yard::new();
    let supervisor =
        Supervisor::open(yard.path(), vec![sleeper("web-1"), unit("once", &["/bin/true"], &[])]).unwrap();
    let reader = supervisor.reader();
    let down = look(&reader, "web-1").version;
    supervisor.ensure_started().unwrap();
    let (web, once) = (pid(yard.path(), "web-1"), pid(yard.path(), "once"));
    wait_until("the one that ends by itself is reaped", || !exists(once));
    assert!(!look(&reader, "once").runs);
    kill(web);
    wait_until("the killed one is reaped", || !exists(web));
    assert_eq!(look(&reader, "web-1").version, down);
    assert_eq!(supervisor.ensure_started().unwrap(), [id("once"), id("web-1")]);
}

#[test]
fn one_unit_that_cannot_start_keeps_no_other_down() {
    let yard = Yard::new();
    let units = vec![unit("absent", &["/nowhere/at/all"], &[]), sleeper("web-1")];
    let supervisor = Supervisor::open(yard.path(), units).unwrap();
    let failed = supervisor.ensure_started().unwrap_err();
    assert!(matches!(&failed, SupervisorError::Start { unit, .. } if *unit == id("absent")), "{failed}");
    assert!(look(&supervisor.reader(), "web-1").runs && !look(&supervisor.reader(), "absent").runs);
}

#[test]
fn a_zombie_does_not_run() {
    let yard = Yard::new();
    let supervisor = Supervisor::open(yard.path(), vec![sleeper("web-1")]).unwrap();
    supervisor.ensure_started().unwrap();
    // Ours, and not reaped as long as we do not ask for it.
    let zombie = Bystander::start("/bin/true", &[], &[]);
    wait_until("it is a zombie", || stat(zombie.pid()).0 == "Z");
    let real = pid(yard.path(), "web-1");
    let mut state = state(yard.path(), "web-1");
    state["process"]["pid"] = json!(zombie.pid());
    state["process"]["start_ticks"] = json!(stat(zombie.pid()).2);
    fs::write(yard.path().join("web-1.json"), state.to_string()).unwrap();
    assert!(!look(&supervisor.reader(), "web-1").runs);
    kill(real);
}

#[test]
fn units_outlive_their_supervisor_and_are_taken_up_again() {
    let yard = Yard::new();
    let first = Supervisor::open(yard.path(), vec![sleeper("web-1")]).unwrap();
    first.ensure_started().unwrap();
    let seen = look(&first.reader(), "web-1");
    // One supervisor at a time.
    let second = Supervisor::open(yard.path(), vec![sleeper("web-1")]);
    assert!(matches!(second, Err(SupervisorError::Locked(_))));
    drop(first);
    let second = Supervisor::open(yard.path(), vec![sleeper("web-1")]).unwrap();
    assert_eq!(second.ensure_started().unwrap(), []);
    assert_eq!(look(&second.reader(), "web-1").version, seen.version);
}

#[test]
fn units_outlive_a_gate_that_was_killed() {
    let yard = Yard::new();
    let argv = helper_argv();
    let arguments: Vec<&str> = argv.iter().skip(1).map(String::as_str).collect();
    let dir = yard.path().display().to_string();
    let reader = UnitReader::new(yard.path().to_owned(), vec![sleeper("web-1")]).unwrap();
    let mut gate = Bystander::start(&argv[0], &arguments, &[(HELPER, "gate"), ("WORLD_DIR", &dir)]);
    wait_until("the gate has started the unit", || look(&reader, "web-1").runs);
    let seen = look(&reader, "web-1");
    // `kill` is SIGKILL: nothing of it runs any more.
    gate.0.kill().unwrap();
    gate.0.wait().unwrap();
    let supervisor = Supervisor::open(yard.path(), vec![sleeper("web-1")]).unwrap();
    assert!(seen.runs);
    assert_eq!(look(&supervisor.reader(), "web-1").version, seen.version);
    assert_eq!(supervisor.ensure_started().unwrap(), []);
}

#[test]
fn a_process_started_just_before_the_crash_is_found_by_its_mark() {
    let yard = Yard::new();
    let new = json!({
        "type": "holdpoint/unit-state/v1", "process": null, "starting": "the-mark", "stopped": false,
        "highest_epoch": 3, "acted": null,
    });
    fs::write(yard.path().join("web-1.json"), new.to_string()).unwrap();
    fs::write(yard.path().join("web-2.json"), new.to_string().replace("the-mark", "another-mark")).unwrap();
    let orphan = Bystander::start("/bin/sleep", &["1000"], &[(SPAWN_VARIABLE, "the-mark")]);
    wait_until("it runs its program", || proc_file(orphan.pid(), "environ").contains("the-mark"));
    let supervisor = Supervisor::open(yard.path(), vec![sleeper("web-1"), sleeper("web-2")]).unwrap();
    assert_eq!(pid(yard.path(), "web-1"), orphan.pid());
    let reader = supervisor.reader();
    assert!(look(&reader, "web-1").runs && !look(&reader, "web-2").runs);
    // The search is done once, and what it found is on disk.
    assert_eq!(state(yard.path(), "web-1")["starting"], Value::Null);
    assert_eq!(state(yard.path(), "web-2")["starting"], Value::Null);
    assert_eq!(state(yard.path(), "web-1")["highest_epoch"], json!(3));
    assert_eq!(supervisor.ensure_started().unwrap(), [id("web-2")]);
}

#[test]
fn a_reused_pid_is_another_process() {
    let yard = Yard::new();
    Supervisor::open(yard.path(), vec![sleeper("web-1")]).unwrap().ensure_started().unwrap();
    let mut bystander = Bystander::start("/bin/sleep", &["1000"], &[]);
    let real = pid(yard.path(), "web-1");
    let mut state = state(yard.path(), "web-1");
    state["process"]["pid"] = json!(bystander.pid());
    fs::write(yard.path().join("web-1.json"), state.to_string()).unwrap();
    kill(real);
    let supervisor = Supervisor::open(yard.path(), vec![sleeper("web-1")]).unwrap();
    // Same number, another start time: down.
    if stat(bystander.pid()).2 != state["process"]["start_ticks"].as_u64().unwrap() {
        assert!(!look(&supervisor.reader(), "web-1").runs);
    }
    // Same number and start time after another boot, or in another container: down as well.
    state["process"]["start_ticks"] = json!(stat(bystander.pid()).2);
    fs::write(yard.path().join("web-1.json"), state.to_string()).unwrap();
    assert!(look(&supervisor.reader(), "web-1").runs, "the test is void: it is not taken for ours at all");
    state["process"]["boot"] = json!("00000000-0000-0000-0000-000000000000 pid:[1]");
    fs::write(yard.path().join("web-1.json"), state.to_string()).unwrap();
    assert!(!look(&supervisor.reader(), "web-1").runs);
    assert!(bystander.is_alive());
}

#[test]
fn a_state_that_does_not_parse_is_no_new_beginning() {
    let yard = Yard::new();
    // Forgetting the highest epoch would let an old permit through.
    for bad in ["", "{", "{}", "null", "{\"type\":\"holdpoint/unit-state/v2\"}"] {
        fs::write(yard.path().join("web-1.json"), bad).unwrap();
        let opened = Supervisor::open(yard.path(), vec![sleeper("web-1")]);
        assert!(matches!(opened, Err(SupervisorError::State { .. })), "{bad:?} was read");
        let reader = UnitReader::new(yard.path().to_owned(), vec![sleeper("web-1")]).unwrap();
        assert!(reader.look(&id("web-1")).is_err());
    }
}

#[test]
fn a_large_log_is_put_aside() {
    let yard = Yard::new();
    let log = yard.path().join("web-1.log");
    fs::File::create(&log).unwrap().set_len(17 * 1024 * 1024).unwrap();
    let supervisor =
        Supervisor::open(yard.path(), vec![unit("web-1", &["/bin/echo", "hello"], &[])]).unwrap();
    supervisor.ensure_started().unwrap();
    let mut text = String::new();
    wait_until("it has written", || {
        text.clear();
        fs::File::open(&log).unwrap().read_to_string(&mut text).unwrap() > 0
    });
    assert_eq!(text, "hello\n");
    assert_eq!(fs::metadata(yard.path().join("web-1.log.1")).unwrap().len(), 17 * 1024 * 1024);
}
