//! Every effect is a step: what writes, starts, signals or orders stands inside `Step::take`, or in a function that asks for
//! the `Taken` that only a step hands out.
//!
//! It reads layout, not grammar, which is enough for text that rustfmt laid out. What is excused stands in [`EXCUSED`], with
//! the function and the reason; an excuse that excuses nothing any more is a finding of its own.

use super::Finding;
use super::source::{first_mentioned, is_test_file, shipped_lines};
use crate::repo::File;

/// Where gates are made.
const GATE: &[&str] = &["crates/adapters/src/", "crates/server/src/"];

/// Words that make an effect: on files, on processes, at a job runner, in the store.
const WORDS: &[&str] = &[
    "fs::write(",
    "File::create",
    "File::create_new",
    ".write(true)",
    ".append(true)",
    "OFlags::WRONLY",
    "OFlags::RDWR",
    "rename(",
    "renameat(",
    "renameat_with(",
    "set_len(",
    "set_permissions(",
    "fchown(",
    "write_all_at(",
    "sync_all(",
    "sync_data(",
    "remove_file(",
    "remove_dir",
    "unlinkat(",
    "create_dir",
    "create_dir_all",
    "DirBuilder::new(",
    "Command::new(",
    ".spawn()",
    "kill_process(",
    "kill_process_group(",
    "pidfd_send_signal(",
    "Method::POST",
    "Method::PUT",
    "Method::DELETE",
    "client.post(",
    "http.post(",
    "\"COMMIT\"",
    ".commit()",
    "wal_checkpoint",
    "REINDEX",
];

/// What is excused: a file and a function in it, or a folder.
struct Excuse {
    path: &'static str,
    function: Option<&'static str>,
    /// Why nothing is lost when the gate stops there.
    why: &'static str,
}

const fn in_folder(path: &'static str, why: &'static str) -> Excuse {
    Excuse { path, function: None, why }
}

const fn in_function(path: &'static str, function: &'static str, why: &'static str) -> Excuse {
    Excuse { path, function: Some(function), why }
}

const EXCUSED: &[Excuse] = &[
    in_folder("crates/server/src/demo", "the demo plays a shop and its people around a gate"),
    in_folder(
        "crates/server/src/cli/",
        "commands of people, who see how they end; what `init` makes are steps",
    ),
    in_function("crates/adapters/src/step/drill.rs", "die", "the drill itself"),
    in_function(
        "crates/adapters/src/store/open.rs",
        "take",
        "the lock file: it is empty, and the lock ends with us",
    ),
    in_function(
        "crates/adapters/src/cosign/cosigner.rs",
        "lock",
        "an empty folder, made again where it is missing, and a lock file, as above",
    ),
    in_function(
        "crates/adapters/src/cosign/ask.rs",
        "ask",
        "a request is put together; it is sent in a step",
    ),
    in_function(
        "crates/adapters/src/lease/openbao/api.rs",
        "question",
        "a look that OpenBao takes by PUT, since a name stands in the body: nothing is changed by it",
    ),
    in_function(
        "crates/adapters/src/identity/oidc/question.rs",
        "redeem",
        "a person's code is spent at their provider: they sign in again",
    ),
    in_function("crates/adapters/src/executor/memory.rs", "take", "a lock file, as above"),
    in_function("crates/adapters/src/executor/files/place.rs", "lock", "a lock file, as above"),
    in_function(
        "crates/adapters/src/executor/files/mod.rs",
        "open",
        "an empty folder, made again where it is missing",
    ),
    in_function("crates/adapters/src/executor/notebook.rs", "open", "an empty folder, as above"),
    in_function("crates/adapters/src/lease/bearer/notes.rs", "open", "an empty folder, as above"),
    in_function("crates/adapters/src/executor/process/supervisor.rs", "open", "an empty folder, as above"),
    in_function("crates/server/src/wiring/executors.rs", "open", "an empty folder, as above"),
    in_function(
        "crates/adapters/src/identity/workload_api/mod.rs",
        "bind",
        "a socket: nobody serves it after us, and the next start makes it anew",
    ),
];

/// Effects that are no step, and excuses that excuse nothing.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let gate = |file: &&File| file.is_rust() && GATE.iter().any(|folder| file.path.starts_with(folder));
    for file in files.iter().filter(gate).filter(|file| !is_test_file(&file.path)) {
        let mut used = Vec::new();
        for effect in effects(file) {
            let excuse = EXCUSED.iter().find(|excuse| excuse.fits(&file.path, &effect.function));
            match excuse {
                Some(excuse) => used.push(excuse.function),
                None => {
                    let found = format!("`{}` in `{}`", effect.word, effect.function);
                    findings.push(Finding::new(&file.path, effect.line, found));
                }
            }
        }
        let here = EXCUSED.iter().filter(|excuse| excuse.path == file.path);
        for excuse in here.filter(|excuse| excuse.function.is_some() && !used.contains(&excuse.function)) {
            let found = format!("nothing is left to excuse: {}", excuse.why);
            findings.push(Finding::new(&file.path, 1, found));
        }
    }
    findings
}

impl Excuse {
    fn fits(&self, path: &str, function: &str) -> bool {
        match self.function {
            None => path.starts_with(self.path),
            Some(own) => path == self.path && function == own,
        }
    }
}

/// An effect outside of a step.
struct Effect {
    line: usize,
    function: String,
    word: &'static str,
}

/// A function that is open at a line.
struct Open {
    name: String,
    end: String,
    has_proof: bool,
}

fn effects(file: &File) -> Vec<Effect> {
    let (mut found, mut open, mut header): (Vec<Effect>, Vec<Open>, Option<Open>) = Default::default();
    let mut depth = 0;
    for (number, line) in shipped_lines(file) {
        let rest = outside_of_steps(line, &mut depth);
        if header.is_none() {
            header = opened(line);
        }
        if let Some(mut function) = header.take() {
            function.has_proof |= line.contains("Taken");
            let code = line.trim_end();
            if code.ends_with(['{', ';', '}']) {
                // One that ends in its own line, or has no body, is judged like a line of nobody's.
                if code.ends_with('{') {
                    open.push(function);
                    continue;
                }
                if function.has_proof {
                    continue;
                }
            } else {
                header = Some(function);
                continue;
            }
        }
        if open.last().is_some_and(|function| line.trim_end() == function.end) {
            open.pop();
        }
        let has_proof = open.last().is_some_and(|function| function.has_proof);
        if let Some(word) = first_mentioned(&rest, WORDS).filter(|_| !has_proof) {
            let function = open.last().map_or_else(String::new, |function| function.name.clone());
            found.push(Effect { line: number, function, word });
        }
    }
    found
}

/// The function that a line opens.
fn opened(line: &str) -> Option<Open> {
    let item = line.trim_start();
    let (before, after) = item.split_once("fn ")?;
    let words = ["pub", "pub(crate)", "pub(super)", "const", "async"];
    if !before.split_whitespace().all(|word| words.contains(&word)) {
        return None;
    }
    let name: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let indent: String = line.chars().take_while(|c| *c == ' ').collect();
    Some(Open { name, end: format!("{indent}}}"), has_proof: false })
}

/// A line without what stands between the parentheses of a step. `depth` is how many are open at its beginning.
fn outside_of_steps(line: &str, depth: &mut usize) -> String {
    let (mut rest, mut in_text, mut escaped) = (String::new(), false, false);
    for (at, character) in line.char_indices() {
        if *depth == 0 {
            rest.push(character);
            if character == '(' && line.get(..at).is_some_and(takes_a_step) {
                *depth = 1;
            }
            continue;
        }
        match character {
            '"' if !escaped => in_text = !in_text,
            '(' if !in_text => *depth = depth.saturating_add(1),
            ')' if !in_text => *depth = depth.saturating_sub(1),
            _ => {}
        }
        escaped = character == '\\' && !escaped;
    }
    rest
}

/// Whether the text ends in `Step::X.take`, `step.take`, or their twins for what is waited for.
fn takes_a_step(text: &str) -> bool {
    let Some(receiver) = text.strip_suffix(".take").or_else(|| text.strip_suffix(".take_async")) else {
        return false;
    };
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let before = receiver.trim_end_matches(is_word);
    let last = receiver.strip_prefix(before).unwrap_or_default();
    before.ends_with("Step::") || last == "step" && !before.ends_with(['.', ':'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let file = File::new("crates/adapters/src/lease/a.rs", text);
        check(&[file]).into_iter().map(|finding| format!("{}: {}", finding.line, finding.found)).collect()
    }

    #[test]
    fn what_stands_in_a_step_or_asks_for_its_proof_is_fine() {
        for text in [
            "fn a() {\n    Step::X.take(|_| fs::rename(a, b))?;\n}",
            "fn a(step: Step) {\n    step.take(|_| {\n        file.write(\")\");\n        file.sync_all()\n    })\n}",
            "fn a(\n    path: &Path,\n    _: &Taken,\n) -> X {\n    fs::remove_file(path)\n}",
            "fn a() {\n    Step::X.take_async(|taken| async move { Method::POST });\n}",
            "use x::{Command, kill_process};\nfn a() {\n    // File::create(x)\n    file.take(9);\n}",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn what_stands_beside_it_is_not() {
        let cases = [
            ("fn a() {\n    Step::X.take(|_| b()); file.sync_all();\n}", "2: `sync_all(` in `a`"),
            ("fn a(_: &Taken) {\n}\n\nfn b() {\n    file.sync_all();\n}", "5: `sync_all(` in `b`"),
            ("fn a() {\n    file.take(fs::rename(a, b));\n}", "2: `rename(` in `a`"),
            ("fn a() {\n    other.step.take(fs::rename(a, b));\n}", "2: `rename(` in `a`"),
            ("fn a() -> X { fs::rename(a, b) }", "1: `rename(` in ``"),
        ];
        for (text, finding) in cases {
            assert_eq!(found(text), [finding], "{text}");
        }
    }

    #[test]
    fn an_excuse_is_for_its_function_and_not_longer_than_it_is_needed() {
        let file = |text: &str| File::new("crates/adapters/src/executor/notebook.rs", text);
        assert!(check(&[file("fn open() {\n    DirBuilder::new()\n}")]).is_empty());
        assert_eq!(check(&[file("fn open() {\n}")]).len(), 1);
        assert_eq!(
            check(&[file("fn open() {\n    DirBuilder::new()\n}\nfn b() {\n    x.sync_all();\n}")]).len(),
            1
        );
    }
}
