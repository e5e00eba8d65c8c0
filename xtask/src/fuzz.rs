//! `cargo xtask fuzz`: every fuzz target for a short time, with the pinned toolchain.
//!
//! The properties are in `fuzz/properties`, the inputs that are kept in `fuzz/corpus`; both are part of the ordinary tests. Here
//! new inputs are looked for. What is found goes below `fuzz/target`, and into the corpus only with `--keep`.

use crate::{Failure, repo};
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
/// One input that takes so long is a finding: every reader has limits.
const SLOWEST_SECONDS: u32 = 20;
/// As much of the output of a target that failed as shows where.
const LAST_LINES: usize = 40;

#[derive(Debug, PartialEq, Eq)]
struct Wish {
    seconds: u32,
    keep: bool,
    targets: Vec<String>,
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
    if !starts("cargo", &["fuzz", "--version"], &path) {
        return Err(format!(
            "`cargo fuzz` is not there; `cargo install cargo-fuzz --locked --version {VERSION} --root .cache/tools` gets it"
        ));
    }
    if !starts("c++", &["--version"], &path) {
        return Err(
            "libFuzzer is C++ and needs a compiler (`c++`); Debian, Ubuntu: `apt-get install g++`".to_owned()
        );
    }

    println!("$ cargo fuzz build --sanitizer none");
    let built = cargo_fuzz(&fuzz, &path, "build", &[]).status().map_err(|err| not_started(&err))?;
    if !built.success() {
        return Err(format!("the fuzz targets do not build ({built})"));
    }
    if wish.seconds > 0 {
        search(&fuzz, &path, &wish)?;
    }
    if wish.keep {
        for target in &wish.targets {
            keep(&fuzz, &path, target)?;
        }
    }
    Ok(())
}

fn wish(arguments: &[String], known: &[String]) -> Result<Wish, Failure> {
    let mut wish = Wish { seconds: SECONDS, keep: false, targets: Vec::new() };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--seconds" => {
                let number = rest.next().and_then(|text| text.parse().ok());
                wish.seconds = number.ok_or("expected `--seconds N` with a whole number")?;
            }
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

/// A call of `cargo fuzz` without a sanitizer: the tree forbids unsafe code, so what one would find is in libraries, and it
/// doubles the build. Coverage is an unstable option of the compiler, which the pinned one accepts when it is told to.
fn cargo_fuzz(fuzz: &Path, path: &str, command: &str, arguments: &[&str]) -> Command {
    let mut call = Command::new("cargo");
    call.args(["fuzz", command, "--sanitizer", "none"]).args(arguments);
    call.current_dir(fuzz).env("PATH", path).env("RUSTC_BOOTSTRAP", "1");
    call
}

/// Runs the targets side by side, one a core; a line for each, and the end of the output of each that failed.
fn search(fuzz: &Path, path: &str, wish: &Wish) -> Result<(), Failure> {
    let waiting = Mutex::new(wish.targets.iter());
    let done = Mutex::new(Vec::new());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().map_or(None, |mut waiting| waiting.next());
                    let Some(target) = next else { break };
                    let summary = one(fuzz, path, target, wish.seconds);
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

/// One target for so many seconds: its last line when every input held, else the end of what it printed.
fn one(fuzz: &Path, path: &str, target: &str, seconds: u32) -> Result<String, String> {
    let found = found(fuzz, target);
    fs::create_dir_all(&found).map_err(|err| format!("cannot make `{}`: {err}", found.display()))?;
    // New inputs go to the first folder.
    let (found, kept) = (found.display().to_string(), format!("corpus/{target}"));
    let options = [
        format!("-max_total_time={seconds}"),
        format!("-max_len={MOST_BYTES}"),
        format!("-timeout={SLOWEST_SECONDS}"),
        "-print_final_stats=0".to_owned(),
    ];
    let mut arguments = vec![target, &found, &kept, "--"];
    arguments.extend(options.iter().map(String::as_str));
    let mut call = cargo_fuzz(fuzz, path, "run", &arguments);
    let mut child =
        call.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(|err| not_started(&err))?;
    let mut lines: Vec<String> = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        lines.extend(BufReader::new(stderr).lines().map_while(Result::ok));
    }
    let status = child.wait().map_err(|err| format!("`{target}` cannot be waited for: {err}"))?;
    let last = lines.iter().rev().find(|line| line.contains("DONE"));
    match last {
        Some(line) if status.success() => Ok(line.clone()),
        _ => {
            let end = lines.len().saturating_sub(LAST_LINES);
            Err(lines.get(end..).unwrap_or_default().join("\n"))
        }
    }
}

/// Where new inputs of a target are until they are kept.
fn found(fuzz: &Path, target: &str) -> PathBuf {
    fuzz.join("target/found").join(target)
}

/// Replaces the corpus of a target by the fewest and smallest inputs that reach as much as it and what was found.
fn keep(fuzz: &Path, path: &str, target: &str) -> Result<(), Failure> {
    let merged = fuzz.join("target/merged").join(target);
    let (found, corpus) = (found(fuzz, target), fuzz.join("corpus").join(target));
    let fault = |err: std::io::Error| format!("cannot keep what `{target}` found: {err}");
    let _ = fs::remove_dir_all(&merged);
    for folder in [&merged, &found] {
        fs::create_dir_all(folder).map_err(fault)?;
    }
    let folders = [&merged, &found, &corpus].map(|folder| folder.display().to_string());
    let [merged_text, found_text, corpus_text] = &folders;
    let length = format!("-max_len={MOST_BYTES}");
    let arguments = [target, merged_text, found_text, corpus_text, "--", "-merge=1", &length];
    let mut call = cargo_fuzz(fuzz, path, "run", &arguments);
    let status = call.stderr(Stdio::null()).status().map_err(|err| not_started(&err))?;
    if !status.success() {
        return Err(format!("the inputs of `{target}` cannot be merged ({status})"));
    }
    // If we stop between the two, `git checkout fuzz/corpus` brings the old inputs back.
    fs::remove_dir_all(&corpus).map_err(fault)?;
    fs::create_dir_all(&corpus).map_err(fault)?;
    let mut count: usize = 0;
    for entry in fs::read_dir(&merged).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        fs::copy(entry.path(), corpus.join(entry.file_name())).map_err(fault)?;
        count = count.saturating_add(1);
    }
    println!("kept {target:<12} {count} inputs");
    Ok(())
}

fn not_started(err: &std::io::Error) -> Failure {
    format!("cannot start `cargo fuzz`: {err}")
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
        assert_eq!(parse(&[]), Ok(Wish { seconds: SECONDS, keep: false, targets: all.clone() }));
        let keep = Wish { seconds: 3, keep: true, targets: vec!["plans".to_owned()] };
        assert_eq!(parse(&["--seconds", "3", "plans", "--keep"]), Ok(keep));
    }

    #[test]
    fn a_target_that_is_not_there_is_not_passed_over() {
        for bad in [&["plan"][..], &["--seconds"], &["--seconds", "soon"], &["--second", "3"]] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
