//! The commands themselves: whole, documented, and complete in completions and manual pages.

use std::collections::BTreeSet;

use clap::CommandFactory as _;

use super::{Cli, error::EXIT_CODES};

const DOCUMENTED: &str = include_str!("../../../../docs/cli.md");

/// Every visible command that does something, with its path.
fn commands() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![(String::new(), Cli::command())];
    while let Some((path, command)) = open.pop() {
        let subcommands: Vec<_> =
            command.get_subcommands().filter(|sub| !sub.is_hide_set()).cloned().collect();
        if subcommands.is_empty() {
            found.insert(path.trim().to_owned());
        }
        open.extend(subcommands.into_iter().map(|sub| (format!("{path} {}", sub.get_name()), sub)));
    }
    found
}

#[test]
fn the_commands_are_well_formed() {
    Cli::command().debug_assert();
    let help = Cli::command().render_long_help().to_string();
    for (code, what) in EXIT_CODES {
        assert!(help.contains(&format!("{code}  {what}")), "{what}: {help}");
    }
}

#[test]
fn the_documentation_has_every_command_and_no_other() {
    let documented =
        DOCUMENTED.lines().filter_map(|line| line.strip_prefix("### `holdpoint ")?.strip_suffix('`'));
    let documented: BTreeSet<_> = documented.map(str::to_owned).collect();
    assert_eq!(documented, commands());
}

#[test]
fn the_documentation_has_every_exit_code() {
    for (code, what) in EXIT_CODES {
        assert!(DOCUMENTED.contains(&format!("| {code} | {what} |")), "{code}: {what}");
    }
}

#[test]
fn completions_and_manual_know_every_command() {
    use clap_complete::Shell;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell] {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "holdpoint", &mut text);
        let text = String::from_utf8(text).unwrap();
        for command in commands() {
            let last = command.rsplit(' ').next().unwrap();
            assert!(text.contains(last), "{shell}: {command}");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    clap_mangen::generate_to(Cli::command(), dir.path()).unwrap();
    for command in commands() {
        let page = dir.path().join(format!("holdpoint-{}.1", command.replace(' ', "-")));
        assert!(page.exists(), "{}", page.display());
    }
}
