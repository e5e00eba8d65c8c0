//! `cargo xtask fuzz`: every fuzz target for a short time, with the pinned toolchain.
//!
//! The properties are in `fuzz/properties`, the inputs that are kept in `fuzz/corpus`; both are part of the ordinary tests. Here
//! new inputs are looked for. What is found goes below `fuzz/target`, and into the corpus only with `--keep`.
//!
//! There are two builds of the same targets. `cargo fuzz` builds everything anew, libraries included, and libFuzzer is steered by
//! the code of all of them. `--quick` takes the libraries that the tests have built, which is a quarter of the work: what `.ci/run`
//! does.

mod corpus;

use crate::{
    Failure, repo,
    testing::{self, FOR_FUZZING},
};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// The version that the targets were written for.
const VERSION: &str = "0.13.2";
/// Enough for each target to go through its corpus and some ten thousand inputs more.
const SECONDS: u32 = 10;
/// Longest input: larger than any document of the corpus, small enough to be tried often.
const MOST_BYTES: u32 = 8 * 1024;
/// One input that takes so long is a finding, for every reader has limits; far more than a loaded machine makes of milliseconds.
const SLOWEST_SECONDS: u32 = 60;
/// As much of the output of a target that failed as shows where.
const LAST_LINES: usize = 40;

#[derive(Debug, PartialEq, Eq)]
struct Wish {
    seconds: u32,
    /// Of libFuzzer's choices; without one it takes another every time.
    seed: Option<u32>,
    build: Build,
    keep: bool,
    targets: Vec<String>,
}

/// What libFuzzer sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Build {
    /// The branches and comparisons of every crate.
    Everything,
    /// Those of our own crates; the others are as the tests have built them.
    Ours,
}

/// The targets as programs, and where they work.
struct Programs {
    fuzz: PathBuf,
    folder: PathBuf,
}

/// What a target did.
struct Done {
    target: String,
    summary: Result<String, String>,
}

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let root = repo::root()?;
    let fuzz = root.join("fuzz");
    let known = targets(&fuzz)?;
    let wish = wish(arguments, &known)?;
    let path = tools_first(&root);
    let missing = testing::missing_from(FOR_FUZZING, testing::starts);
    if !missing.is_empty() {
        return Err(format!("missing on this machine:\n{}", missing.join("\n")));
    }
    let folder = match wish.build {
        Build::Everything => build_everything(&fuzz, &path)?,
        Build::Ours => build_ours(&root, &wish.targets)?,
    };
    let programs = Programs { fuzz, folder };
    if wish.seconds > 0 {
        search(&programs, &wish)?;
    }
    if wish.keep {
        for target in &wish.targets {
            keep(&programs, target)?;
        }
    }
    Ok(())
}

fn wish(arguments: &[String], known: &[String]) -> Result<Wish, Failure> {
    let mut wish =
        Wish { seconds: SECONDS, seed: None, build: Build::Everything, keep: false, targets: Vec::new() };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--seconds" => {
                let number = rest.next().and_then(|text| text.parse().ok());
                wish.seconds = number.ok_or("expected `--seconds N` with a whole number")?;
            }
            "--seed" => {
                let number = rest.next().and_then(|text| text.parse().ok());
                wish.seed = Some(number.ok_or("expected `--seed N` with a whole number")?);
            }
            "--quick" => wish.build = Build::Ours,
            "--keep" => wish.keep = true,
            target if known.iter().any(|name| name == target) => wish.targets.push(target.to_owned()),
            other => return Err(format!("expected one of {}, got `{other}`", known.join(", "))),
        }
    }
    if wish.targets.is_empty() {
        wish.targets = known.to_vec();
    }
    Ok(wish)
}

/// The names of the files in `fuzz/fuzz_targets`.
fn targets(fuzz: &Path) -> Result<Vec<String>, Failure> {
    let folder = fuzz.join("fuzz_targets");
    let entries =
        fs::read_dir(&folder).map_err(|err| format!("cannot read `{}`: {err}", folder.display()))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter_map(|name| Some(name.strip_suffix(".rs")?.to_owned())).collect();
    names.sort();
    Ok(names)
}

/// Tools of the project before those of the machine.
fn tools_first(root: &Path) -> String {
    let tools = root.join(".cache/tools/bin");
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{}:{path}", tools.display())
}

fn starts(program: &str, arguments: &[&str], path: &str) -> bool {
    let call = Command::new(program).args(arguments).env("PATH", path).output();
    call.is_ok_and(|output| output.status.success())
}

/// Builds all with `cargo fuzz` and without a sanitizer: the tree forbids unsafe code, so what one would find is in libraries, and
/// it doubles the build. Coverage is an unstable option of `cargo fuzz`, which the pinned compiler accepts when it is told to.
fn build_everything(fuzz: &Path, path: &str) -> Result<PathBuf, Failure> {
    if !starts("cargo", &["fuzz", "--version"], path) {
        return Err(format!(
            "`cargo fuzz` is not there; `cargo install cargo-fuzz --locked --version {VERSION} --root .cache/tools` gets it, \
             and `--quick` does without"
        ));
    }
    let version = repo::output(fuzz, "rustc", &["-vV"])?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.ok_or("expected `rustc -vV` to say `host: …`")?;
    let mut call = Command::new("cargo");
    call.args(["fuzz", "build", "--sanitizer", "none", "--target", host, "--target-dir", "target"]);
    call.current_dir(fuzz).env("PATH", path).env("RUSTC_BOOTSTRAP", "1");
    built(&mut call)?;
    Ok(fuzz.join("target").join(host).join("release"))
}

/// Builds the targets where the tests are built, with the profile of the tests: their libraries are used as they are. Our own
/// crates are others there, for they are seen from another workspace, and the wrapper adds coverage to these.
fn build_ours(root: &Path, targets: &[String]) -> Result<PathBuf, Failure> {
    let folder = root.join("target");
    let mut call = Command::new("cargo");
    call.args(["build", "--locked", "--manifest-path", "fuzz/Cargo.toml", "--config", "Cargo.toml"]);
    call.args(targets.iter().flat_map(|target| ["--bin", target]));
    call.arg("--target-dir").arg(&folder);
    call.current_dir(root).env("RUSTC_WRAPPER", root.join("fuzz/with-coverage"));
    built(&mut call)?;
    Ok(folder.join("debug"))
}

fn built(call: &mut Command) -> Result<(), Failure> {
    println!("$ {call:?}");
    let status = call.status().map_err(|err| format!("cannot start cargo: {err}"))?;
    if status.success() { Ok(()) } else { Err(format!("the fuzz targets do not build ({status})")) }
}

/// Runs the targets side by side, one a core; a line for each, and the end of the output of each that failed.
fn search(programs: &Programs, wish: &Wish) -> Result<(), Failure> {
    let waiting = Mutex::new(wish.targets.iter());
    let done = Mutex::new(Vec::new());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().map_or(None, |mut waiting| waiting.next());
                    let Some(target) = next else { break };
                    let summary = one(programs, target, wish);
                    if let Ok(mut done) = done.lock() {
                        done.push(Done { target: target.clone(), summary });
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().map_err(|_| "a target's thread ended early")?;
    done.sort_by(|one, other| one.target.cmp(&other.target));
    let mut failed = Vec::new();
    for Done { target, summary } in &done {
        match summary {
            Ok(line) => println!("fuzz {target:<12} {line}"),
            Err(output) => {
                println!("fuzz {target:<12} FAILED\n{output}");
                failed.push(target.as_str());
            }
        }
    }
    if failed.is_empty() && done.len() == wish.targets.len() {
        return Ok(());
    }
    Err(format!("{}: a property does not hold; the input is below `fuzz/artifacts`", failed.join(", ")))
}

/// One target for the seconds that are wished: its last line when every input held, else the end of what it printed.
fn one(programs: &Programs, target: &str, wish: &Wish) -> Result<String, String> {
    let found = programs.found(target);
    let artifacts = programs.fuzz.join("artifacts").join(target);
    for folder in [&found, &artifacts] {
        fs::create_dir_all(folder).map_err(|err| format!("cannot make `{}`: {err}", folder.display()))?;
    }
    let mut call = programs.call(target);
    // New inputs go to the first folder.
    call.arg(&found).arg(programs.corpus(target));
    call.arg(format!("-artifact_prefix={}/", artifacts.display()));
    call.arg(format!("-max_total_time={}", wish.seconds));
    call.args(wish.seed.map(|seed| format!("-seed={seed}")));
    call.arg(format!("-timeout={SLOWEST_SECONDS}"));
    let mut child = call
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|err| format!("cannot start `{target}`: {err}"))?;
    let mut lines: Vec<String> = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        lines.extend(BufReader::new(stderr).lines().map_while(Result::ok));
    }
    let status = child.wait().map_err(|err| format!("`{target}` cannot be waited for: {err}"))?;
    summary(&lines, status.success())
}

/// What the lines of a target say. A search without coverage is refused: it is blind, and finds nothing for as long as one likes.
fn summary(lines: &[String], held: bool) -> Result<String, String> {
    let seen = lines.iter().any(|line| line.contains("inline 8-bit counters"));
    let last = lines.iter().rev().find(|line| line.contains("DONE"));
    match last {
        Some(line) if held && seen => Ok(line.clone()),
        Some(_) if held => Err("it was built without coverage: libFuzzer sees nothing of it".to_owned()),
        _ => {
            let end = lines.len().saturating_sub(LAST_LINES);
            Err(lines.get(end..).unwrap_or_default().join("\n"))
        }
    }
}

impl Programs {
    fn call(&self, target: &str) -> Command {
        let mut call = Command::new(self.folder.join(target));
        call.current_dir(&self.fuzz).arg(format!("-max_len={MOST_BYTES}"));
        call
    }

    fn corpus(&self, target: &str) -> PathBuf {
        self.fuzz.join("corpus").join(target)
    }

    /// Where new inputs are until they are kept.
    fn found(&self, target: &str) -> PathBuf {
        self.fuzz.join("target/found").join(target)
    }
}

/// Adds to the corpus of a target what was found and reaches code that the corpus does not, as far as there is room.
fn keep(programs: &Programs, target: &str) -> Result<(), Failure> {
    let merged = programs.fuzz.join("target/merged").join(target);
    let (found, corpus) = (programs.found(target), programs.corpus(target));
    let fault = |err: std::io::Error| format!("cannot keep what `{target}` found: {err}");
    let _ = fs::remove_dir_all(&merged);
    fs::create_dir_all(&found).map_err(fault)?;
    // libFuzzer adds to the first folder whatever reaches more than what is there. It gets a copy: the corpus stays as it is.
    let kept = corpus::copy(&corpus, &merged).map_err(fault)?;
    let mut call = programs.call(target);
    let status =
        call.arg("-merge=1").arg(&merged).arg(&found).stderr(Stdio::null()).status().map_err(fault)?;
    if !status.success() {
        return Err(format!("the inputs of `{target}` cannot be merged ({status})"));
    }
    let choice = corpus::choose(&kept, &corpus::inputs(&merged).map_err(fault)?);
    for name in &choice.added {
        // If we stop between two, the next `--keep` adds the others.
        fs::copy(merged.join(name), corpus.join(name)).map_err(fault)?;
    }
    let (added, left) = (choice.added.len(), choice.left);
    println!("kept {target:<12} {} inputs, {added} new ones; no room for {left}", kept.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Wish, Failure> {
        let arguments: Vec<_> = arguments.iter().map(|word| (*word).to_owned()).collect();
        wish(&arguments, &["notes".to_owned(), "plans".to_owned()])
    }

    #[test]
    fn without_a_name_all_targets_run() {
        let all = vec!["notes".to_owned(), "plans".to_owned()];
        assert_eq!(
            parse(&[]),
            Ok(Wish {
                seconds: SECONDS,
                seed: None,
                build: Build::Everything,
                keep: false,
                targets: all.clone()
            })
        );
        let keep = Wish {
            seconds: 3,
            seed: Some(7),
            build: Build::Ours,
            keep: true,
            targets: vec!["plans".to_owned()],
        };
        assert_eq!(parse(&["--seconds", "3", "plans", "--seed", "7", "--quick", "--keep"]), Ok(keep));
    }

    #[test]
    fn a_target_that_is_not_there_is_not_passed_over() {
        for bad in
            [&["plan"][..], &["--seconds"], &["--seconds", "soon"], &["--second", "3"], &["--seed", "-1"]]
        {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
    #[test]
    fn a_search_counts_only_when_it_saw_the_code_and_ended_well() {
        let lines = |all: &[&str]| all.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let seeing = "INFO: Loaded 1 modules   (9 inline 8-bit counters): 9 [0x1, 0x9),";
        let good = lines(&[seeing, "#2\tINITED cov: 3", "#50\tDONE   cov: 4", "Done 50 runs in 5 second(s)"]);
        assert_eq!(summary(&good, true), Ok("#50\tDONE   cov: 4".to_owned()));
        assert!(summary(&good[1..], true).is_err_and(|why| why.contains("without coverage")));
        assert_eq!(summary(&good, false), Err(good.join("\n")));
        assert!(summary(&good[..2], true).is_err());
    }
}
