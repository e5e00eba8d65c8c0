//! `holdpoint change`: control inputs are replaced by people.
//!
//! As with holds, nothing is trusted that the gate merely says: the files that are shown must be those that the terms commit
//! to, or nothing is signed.

use std::{collections::BTreeMap, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use clap::{Args, Subcommand, builder::PossibleValuesParser};
use holdpoint_app::port::Document;
use holdpoint_domain::{
    Id,
    approval::Choice,
    change::{ChangeStatement, ChangeStatementType, Control},
    digest::Salt,
    id::kind,
};
use similar::TextDiff;

use crate::moment::clock_time;

use super::{
    CliError, Door,
    client::Client,
    describe::line,
    failed,
    output::{Cell, Paint, Print, Table, Tone, list, plain, read},
    say,
    sign::{self, SignOptions},
};
use crate::{
    config::{self, Config},
    http::wire::{ChangeDecided, ChangeDetail, ChangeState, Changes, NewChange, ProposedChange},
};

/// Lines around each difference.
const CONTEXT: usize = 3;

/// Commands on changes of control inputs.
#[derive(Debug, Subcommand)]
pub(crate) enum ChangeCommand {
    /// Propose other files for a control input
    Propose(ProposeOptions),
    /// List changes
    Ls(LsOptions),
    /// Show what a change would change
    Show(ShowOptions),
    /// Show what would change, and sign an approval of exactly that
    Approve(DecideOptions),
    /// Show what would change, and sign a rejection
    Reject(DecideOptions),
}

#[derive(Debug, Args)]
pub(crate) struct ProposeOptions {
    #[command(flatten)]
    door: Door,
    /// The control input
    #[arg(value_parser = PossibleValuesParser::new(Control::ALL.map(Control::as_str)))]
    control: String,
    /// Files that change; NAME is what the configuration calls a file, when it is not called like FILE. With --config and
    /// without any, those that the configuration names, as they are on disk
    #[arg(value_name = "[NAME=]FILE")]
    files: Vec<String>,
    #[command(flatten)]
    print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct LsOptions {
    #[command(flatten)]
    door: Door,
    /// At most so many
    #[arg(long)]
    limit: Option<u32>,
    #[command(flatten)]
    print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct ShowOptions {
    #[command(flatten)]
    door: Door,
    /// The change
    id: String,
    #[command(flatten)]
    print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct DecideOptions {
    #[command(flatten)]
    door: Door,
    /// The change
    id: String,
    #[command(flatten)]
    sign: SignOptions,
    #[command(flatten)]
    print: Print,
}

/// Runs a command on changes.
pub(crate) async fn run(command: ChangeCommand) -> Result<(), CliError> {
    match command {
        ChangeCommand::Propose(options) => propose(options).await,
        ChangeCommand::Ls(options) => ls(options).await,
        ChangeCommand::Show(options) => show(options).await,
        ChangeCommand::Approve(options) => decide(options, Choice::Approve).await,
        ChangeCommand::Reject(options) => decide(options, Choice::Reject).await,
    }
}

async fn propose(options: ProposeOptions) -> Result<(), CliError> {
    let client = Client::connect(&options.door)?;
    let control = Control::parse(&options.control);
    let control = control.ok_or_else(|| CliError::Usage("expected a control input".into()))?;
    let new = NewChange { control, files: files(client.config(), control, &options.files)? };
    let (_, answer) = client.post("/v1/changes", &new).await?;
    if !options.print.data(&answer)? {
        let ProposedChange { terms } = read(&answer)?;
        let until = clock_time(terms.expires_at_ms);
        say(format_args!(
            "change  {}  {}  needs {} approvals until {until}",
            terms.id, terms.control, terms.needed
        ));
    }
    Ok(())
}

/// The texts to send, by the names that the configuration has.
fn files(
    config: Option<&Config>,
    control: Control,
    given: &[String],
) -> Result<BTreeMap<String, String>, CliError> {
    let on_disk = config.and_then(|config| config::document(config, control).ok());
    if given.is_empty() {
        let missing = || CliError::Usage("expected files, or --config with files that can be read".into());
        return Ok(on_disk.ok_or_else(missing)?.files);
    }
    let names: Vec<String> = on_disk.map(|document| document.files.into_keys().collect()).unwrap_or_default();
    let mut files = BTreeMap::new();
    for one in given {
        let (name, path) = match one.split_once('=') {
            Some((name, path)) => (name.to_owned(), path),
            None => (named(&names, one), one.as_str()),
        };
        let text = config::read(Path::new(path))?;
        if files.insert(name.clone(), text).is_some() {
            return Err(CliError::Usage(format!("`{}` is given twice", plain(&name))));
        }
    }
    Ok(files)
}

/// The name of a file: that of the one file that there is, or of the one that ends like it, or else its own.
fn named(names: &[String], path: &str) -> String {
    if let [only] = names {
        return only.clone();
    }
    let last = Path::new(path).file_name();
    let mut fits = names.iter().filter(|name| Path::new(name).file_name() == last);
    match (fits.next(), fits.next()) {
        (Some(name), None) => name.clone(),
        _ => path.to_owned(),
    }
}

async fn ls(options: LsOptions) -> Result<(), CliError> {
    let client = Client::connect(&options.door)?;
    let query = options.limit.map(|limit| format!("?limit={limit}")).unwrap_or_default();
    let answer = client.get(&format!("/v1/changes{query}")).await?;
    if options.print.data(&answer)? {
        return Ok(());
    }
    let Changes { changes } = read(&answer)?;
    let mut table = Table::new(["CHANGE", "CONTROL", "STATE", "AUTHOR", "APPROVED BY", "NEEDS", "UNTIL"]);
    for change in changes {
        table.row(vec![
            Cell::new(&change.id),
            Cell::new(change.control),
            Cell::new(state(change.state)),
            Cell::new(&change.author),
            Cell::new(list(&change.approvals)),
            Cell::new(change.needed),
            Cell::new(clock_time(change.expires_at_ms)),
        ]);
    }
    table.print(options.print.paint(), "no changes");
    Ok(())
}

const fn state(state: ChangeState) -> &'static str {
    match state {
        ChangeState::Open => "open",
        ChangeState::Activated => "activated",
        ChangeState::Rejected => "rejected",
        ChangeState::Expired => "expired",
    }
}

async fn show(options: ShowOptions) -> Result<(), CliError> {
    let client = Client::connect(&options.door)?;
    let id: Id<kind::Change> = options.id.parse().map_err(failed)?;
    let answer = client.get(&format!("/v1/changes/{id}")).await?;
    if !options.print.data(&answer)? {
        lines(&read(&answer)?, options.print.paint()).into_iter().for_each(say);
    }
    Ok(())
}

async fn decide(options: DecideOptions, choice: Choice) -> Result<(), CliError> {
    let client = Client::connect(&options.door)?;
    let id: Id<kind::Change> = options.id.parse().map_err(failed)?;
    let (person, key) = options.sign.signer(&options.door, &client)?;
    let change: ChangeDetail = read(&client.get(&format!("/v1/changes/{id}")).await?)?;
    if change.terms.id != id {
        return Err(CliError::NotVerified(format!(
            "the gate answered with change `{}`: expected `{id}`",
            change.terms.id
        )));
    }
    sign::same_log(&client, &change.terms.head)?;
    belongs(&change)?;
    lines(&change, options.print.paint()).into_iter().for_each(say);
    options.sign.confirm(sign::word(choice))?;
    let r#type = ChangeStatementType::V1;
    let statement = ChangeStatement { r#type, terms: change.terms, approver: person, choice };
    let signed = sign::sign(&key, statement)?;
    let (_, answer) = client.post(&format!("/v1/changes/{id}/decisions"), &signed).await?;
    if !options.print.data(&answer)? {
        let done: ChangeDecided = read(&answer)?;
        say(format_args!(
            "signed and recorded: change {id} is {} ({} of {} approvals)",
            state(done.state),
            done.approvals,
            done.needed
        ));
        if done.state == ChangeState::Activated {
            say(format_args!("in force now: {} {}", done.control, done.digest));
        }
    }
    Ok(())
}

/// Whether the files that are shown are those that the terms commit to.
fn belongs(change: &ChangeDetail) -> Result<(), CliError> {
    let broken = |why: &str| {
        CliError::NotVerified(format!(
            "what is shown is not what would be signed: {why}. Sign nothing, and have somebody look at the gate"
        ))
    };
    let (Some(files), Some(salt)) = (&change.proposed, &change.salt) else {
        return Err(CliError::Failed("the files of the change were erased: nothing can be signed".into()));
    };
    let salt = STANDARD_NO_PAD.decode(salt).ok().and_then(|salt| <[u8; 32]>::try_from(salt).ok());
    let salt = Salt::new(salt.ok_or_else(|| broken("the salt does not parse"))?);
    let text = Document { files: files.clone() }.text().map_err(failed)?;
    if change.terms.content.opens_to(&salt, text.as_bytes()) {
        Ok(())
    } else {
        Err(broken("the files are not those that the terms commit to"))
    }
}

/// What a change would change, and last what is signed.
fn lines(change: &ChangeDetail, paint: Paint) -> Vec<String> {
    let terms = &change.terms;
    let mut lines = Vec::new();
    match &change.proposed {
        Some(proposed) => lines.extend(difference(&change.active, proposed, paint)),
        None => lines.push("its files were erased".to_owned()),
    }
    lines.push(line("change", &terms.id));
    lines.push(line("control", terms.control));
    lines.push(line("state", state(change.state)));
    lines.push(line("author", &terms.author));
    lines.push(line("approved", format_args!("by {}; needs {}", list(&change.approvals), terms.needed)));
    lines.push(line("log", plain(&terms.head.origin)));
    lines.push(line("replaces", terms.old));
    lines.push(line("by", terms.new));
    lines.push(line("until", clock_time(terms.expires_at_ms)));
    lines
}

/// The unified diff of all files, with hidden characters as escapes. Lines end at line feeds only: whatever else might look like
/// an end is shown as an escape.
/// Widest part of a row: what fits on the narrowest terminal beside its mark.
const WIDTH: usize = 76;
/// Longest run of blanks that is shown as it is; what indents a rule is shorter.
const MAX_BLANKS: usize = 24;

fn difference(
    active: &BTreeMap<String, String>,
    proposed: &BTreeMap<String, String>,
    paint: Paint,
) -> Vec<String> {
    let mut lines = Vec::new();
    let empty = String::new();
    for (name, new) in proposed {
        let old = active.get(name).unwrap_or(&empty);
        if old == new {
            continue;
        }
        let name = plain(name);
        let (old, new): (Vec<_>, Vec<_>) =
            (old.split_inclusive('\n').collect(), new.split_inclusive('\n').collect());
        let diff = TextDiff::configure().newline_terminated(true).diff_slices(&old, &new);
        let (before, after) = (format!("{name} (in force)"), format!("{name} (proposed)"));
        let text = diff.unified_diff().context_radius(CONTEXT).header(&before, &after).to_string();
        for line in text.split('\n').filter(|line| !line.is_empty()) {
            let tone = match line.chars().next() {
                Some('+') => Tone::Good,
                Some('-') => Tone::Bad,
                Some('@') => Tone::Quiet,
                _ => Tone::Plain,
            };
            lines.extend(folded(&plain(line)).iter().map(|row| paint.text(tone, row)));
        }
    }
    if lines.is_empty() {
        lines.push("the files are those in force".to_owned());
    }
    lines
}

/// A row of a difference, cut where a terminal would wrap it: each further part is marked, so that none passes for a row of its
/// own, and a run of blanks within the text is counted, so that none hides what comes behind it.
fn folded(line: &str) -> Vec<String> {
    let mut text = String::new();
    let mut blanks: usize = 0;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        blanks = if c == ' ' { blanks.saturating_add(1) } else { 0 };
        text.push(c);
        if blanks > MAX_BLANKS && chars.peek().is_none_or(|next| *next != ' ') {
            let kept = text.trim_end_matches(' ').len();
            text.truncate(kept);
            text.push_str(&format!(" ·×{blanks} "));
        }
    }
    let chars: Vec<char> = text.chars().collect();
    let parts = chars.chunks(WIDTH).enumerate();
    parts
        .map(|(at, part)| {
            let part: String = part.iter().collect();
            if at == 0 { part } else { format!("  ↪ {part}") }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t13_a_row_that_is_too_long_passes_for_no_other() {
        let row = format!("+{}permit (principal, action, resource);", " ".repeat(200));
        let parts = folded(&row);
        assert!(parts[0].contains("·×200") && parts[0].contains("permit"), "{parts:?}");
        let long = folded(&format!("+{}", "x".repeat(200)));
        assert!(long.iter().skip(1).all(|part| part.starts_with("  ↪ ")) && long.len() == 3, "{long:?}");
        assert_eq!(folded("+    a short one"), ["+    a short one"]);
    }

    #[test]
    fn t14_a_difference_hides_nothing() {
        let files = |text: &str| BTreeMap::from([("policy.cedar".to_owned(), text.to_owned())]);
        let (old, new) = (files("a\nb\nc\n"), files("a\nb \u{202e}evil\r// fine\u{2028}x\nc\n"));
        let lines = difference(&old, &new, Paint::NONE);
        let wanted =
            ["--- policy.cedar (in force)", "+++ policy.cedar (proposed)", "@@ -1,3 +1,3 @@", " a", "-b"];
        assert_eq!(lines[..5], wanted);
        let text = lines.join("\n");
        assert!(
            text.contains("\\u{202E}evil") && text.contains("\\u{000D}") && text.contains("\\u{2028}"),
            "{text}"
        );
        assert_eq!(difference(&old, &old, Paint::NONE), ["the files are those in force"]);
    }

    #[test]
    fn a_file_is_called_as_the_configuration_calls_it() {
        let names = ["policies/site.cedar".to_owned(), "policies/more.cedar".to_owned()];
        assert_eq!(named(&names, "/tmp/new/site.cedar"), "policies/site.cedar");
        assert_eq!(named(&names, "other.cedar"), "other.cedar");
        assert_eq!(named(&names[..1], "/tmp/new.cedar"), "policies/site.cedar");
    }
}
