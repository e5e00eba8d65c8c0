//! `holdpoint reconcile`: what people did outside of Holdpoint while the gate was down, put on record afterwards.

use std::{collections::BTreeSet, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use clap::{Args, ValueEnum};
use holdpoint_adapters::system::SystemIds;
use holdpoint_app::port::Ids as _;
use holdpoint_domain::{
    Digest, Id, Timestamp,
    digest::{Salt, base64},
    id::kind,
    reconcile::{Account, Part, ReconcileStatement, Words},
};
use serde::Deserialize;

use crate::moment::clock_time;

use super::{
    CliError, Door,
    client::Client,
    describe::line,
    failed,
    output::{Cell, Print, Table, list, plain, read},
    say,
    sign::{self, SignOptions},
};
use crate::http::wire::{NewReconciliation, Reconciled, Reconciliation, Reconciliations};

/// Widest row of people's words: what fits beside their mark on the narrowest terminal.
const WIDTH: usize = 62;
/// Largest file: four texts of the longest, and what stands around them.
const MAX_FILE: u64 = 128 * 1024;

/// What somebody who was not there found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Verdict {
    /// It is as it was told
    AsTold,
    /// It is otherwise
    Otherwise,
}

#[derive(Debug, Args)]
pub(crate) struct ReconcileOptions {
    #[command(flatten)]
    door: Door,
    /// A file that says what was done, or the digest of an account that is recorded; without it all of them are listed
    #[arg(value_name = "FILE|DIGEST")]
    what: Option<String>,
    /// You were not there, and looked at it: what you found
    #[arg(long, value_enum, requires = "what")]
    review: Option<Verdict>,
    #[command(flatten)]
    sign: SignOptions,
    #[command(flatten)]
    print: Print,
}

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The action of the catalogue that was done by hand, if it has one like it.
    #[serde(default)]
    action: Option<Id<kind::Action>>,
    /// What it was done to.
    target: Id<kind::Target>,
    /// When it began, for instance `2026-08-21T10:00:00Z`.
    from: String,
    /// When it was over.
    until: String,
    /// Who did it: two at least.
    people: BTreeSet<Id<kind::Person>>,
    /// The incident.
    #[serde(default)]
    incident: Option<Id<kind::Incident>>,
    /// What was done.
    did: String,
    /// Why it could not wait.
    reason: String,
    /// The state that they found.
    before: String,
    /// The state that they left.
    after: String,
}

/// An account, whether it is recorded, and the words and the salt that open it.
struct Found {
    account: Account,
    words: Words,
    salt: Salt,
    is_recorded: bool,
}

/// Reports what was done, or confirms or reviews what another one reported; without a file, lists what is recorded.
pub(crate) async fn reconcile(options: ReconcileOptions) -> Result<(), CliError> {
    let client = Client::connect(&options.door)?;
    let answer = client.get("/v1/reconciliations").await?;
    let recorded: Reconciliations = read(&answer)?;
    let Some(what) = &options.what else {
        if !options.print.data(&answer)? {
            table(&options.print, recorded.accounts);
        }
        return Ok(());
    };
    let (by, key) = options.sign.signer(&options.door, &client)?;
    sign::same_origin(&client, &recorded.origin)?;
    let found = match what.parse::<Digest>() {
        Ok(digest) => {
            let row = recorded.accounts.iter().find(|row| row.digest == digest);
            let none = || CliError::Failed(format!("no account {digest} is recorded"));
            belongs(row.ok_or_else(none)?, &recorded.origin)?
        }
        Err(_) => from_file(Path::new(what), &recorded)?,
    };
    let part = match (options.review, found.is_recorded) {
        (None, false) => Part::Reported,
        (None, true) => Part::Confirmed,
        (Some(Verdict::AsTold), true) => Part::Reviewed,
        (Some(Verdict::Otherwise), true) => Part::Disputed,
        (Some(_), false) => {
            let why =
                "nobody reported this yet: one of those who did it must, before somebody else looks at it";
            return Err(CliError::Failed(why.to_owned()));
        }
    };
    let Found { account, words, salt, .. } = found;
    lines(&account, &words)?.into_iter().for_each(say);
    let word = match part {
        Part::Reported => "report",
        Part::Confirmed => "confirm",
        Part::Reviewed => "review",
        Part::Disputed => "dispute",
    };
    say(line("you", format_args!("{word} this as {by}")));
    options.sign.confirm(word)?;
    let statement = sign::sign(&key, ReconcileStatement::new(account, part, by))?;
    let opened = (part == Part::Reported).then(|| (words, base64(salt.as_bytes())));
    let (words, salt) = opened.unzip();
    let (_, answer) =
        client.post("/v1/reconciliations", &NewReconciliation { statement, words, salt }).await?;
    if !options.print.data(&answer)? {
        let done: Reconciled = read(&answer)?;
        say(format_args!("signed and recorded: {} is {}", done.digest, done.state.as_str()));
        if part == Part::Reported {
            say(format_args!(
                "another one of those who did it confirms it: holdpoint reconcile {}",
                done.digest
            ));
        }
    }
    Ok(())
}

fn table(print: &Print, accounts: Vec<Reconciliation>) {
    let mut table = Table::new(["ACCOUNT", "STATE", "TARGET", "WHEN", "PEOPLE", "REPORTED BY", "LOOK DUE"]);
    for row in accounts {
        table.row(vec![
            Cell::new(row.digest),
            Cell::new(row.state.as_str()),
            Cell::new(&row.account.target),
            Cell::new(clock_time(row.account.from_ms)),
            Cell::new(list(&row.account.people)),
            Cell::new(&row.reported_by),
            Cell::maybe((!row.state.is_a_look()).then(|| clock_time(row.due_at_ms))),
        ]);
    }
    table.print(print.paint(), "nothing was done outside, as far as anybody said");
}

/// A recorded account, checked against its digest and its commitment: what is shown is what is signed.
fn belongs(row: &Reconciliation, origin: &str) -> Result<Found, CliError> {
    let broken = |why: &str| {
        CliError::NotVerified(format!(
            "what is shown is not what would be signed: {why}. Sign nothing, and have somebody look at the gate"
        ))
    };
    let (Some(words), Some(salt)) = (&row.words, &row.salt) else {
        return Err(CliError::Failed("the words of the account were erased: nothing can be signed".into()));
    };
    if row.account.digest().map_err(failed)? != row.digest {
        return Err(broken("the account has another digest"));
    }
    if row.account.origin != origin {
        return Err(broken("the account is for another log"));
    }
    let salt = STANDARD_NO_PAD.decode(salt).ok().and_then(|salt| <[u8; 32]>::try_from(salt).ok());
    let salt = Salt::new(salt.ok_or_else(|| broken("the salt does not parse"))?);
    if words.commit(&salt).map_err(failed)? != row.account.words {
        return Err(broken("the words are not those that the account commits to"));
    }
    Ok(Found { account: row.account.clone(), words: words.clone(), salt, is_recorded: true })
}

/// The account of a file: the recorded one that says the same, or a new one.
fn from_file(path: &Path, recorded: &Reconciliations) -> Result<Found, CliError> {
    let wrong = |err: &dyn std::fmt::Display| CliError::Usage(format!("{}: {err}", path.display()));
    let size = std::fs::metadata(path).map_err(|err| wrong(&err))?.len();
    if size > MAX_FILE {
        return Err(wrong(&format_args!("expected at most {MAX_FILE} bytes, got {size}")));
    }
    let text = std::fs::read_to_string(path).map_err(|err| wrong(&err))?;
    let file: File = serde_saphyr::from_str(&text).map_err(|err| wrong(&err))?;
    let time = |field: &str, text: &str| {
        let expected = || wrong(&format_args!("`{field}`: expected a time such as 2026-08-21T10:00:00Z"));
        let at: jiff::Timestamp = text.parse().map_err(|_| expected())?;
        let ms = u64::try_from(at.as_millisecond()).map_err(|_| expected())?;
        Timestamp::from_ms(ms).map_err(|_| expected())
    };
    let File { action, target, from, until, people, incident, did, reason, before, after } = file;
    let (from_ms, until_ms) = (time("from", &from)?, time("until", &until)?);
    let words = Words { did, reason, before, after };
    let salt = SystemIds.salt();
    let commitment = words.commit(&salt).map_err(failed)?;
    let origin = recorded.origin.clone();
    let account = Account { origin, action, target, from_ms, until_ms, people, incident, words: commitment };
    for row in recorded.accounts.iter().filter(|row| row.account.target == account.target) {
        // Each commitment has a salt of its own: what says the same is told by everything else, and by its words.
        let same = Account { words: row.account.words, ..account.clone() };
        if same == row.account && row.words.as_ref() == Some(&words) {
            return belongs(row, &recorded.origin);
        }
        if row.state == Part::Reported {
            say(line(
                "note",
                format_args!("{} reported another account of this target: {}", row.reported_by, row.digest),
            ));
        }
    }
    Ok(Found { account, words, salt, is_recorded: false })
}

/// What is signed, in words; hidden characters are shown as escapes.
fn lines(account: &Account, words: &Words) -> Result<Vec<String>, CliError> {
    let action =
        account.action.as_ref().map_or_else(|| "none of the catalogue".to_owned(), ToString::to_string);
    let texts =
        [("did", &words.did), ("reason", &words.reason), ("before", &words.before), ("after", &words.after)];
    let mut lines = Vec::new();
    for (what, text) in texts {
        // Marked and cut at the width, so that no row of somebody's words passes for one of what is signed.
        let rows: Vec<Vec<char>> = text.lines().map(|row| plain(row).chars().collect()).collect();
        let parts = rows.iter().flat_map(|row| row.chunks(WIDTH));
        for (at, part) in parts.enumerate() {
            let part: String = part.iter().collect();
            lines.push(line(if at == 0 { what } else { "" }, format_args!("| {part}")));
        }
    }
    lines.extend([
        line("action", action),
        line("target", &account.target),
        line("from", clock_time(account.from_ms)),
        line("until", clock_time(account.until_ms)),
        line("people", list(&account.people)),
        line("incident", account.incident.as_ref().map_or("none", |incident| incident.as_str())),
        line("log", plain(&account.origin)),
        line("account", account.digest().map_err(failed)?),
    ]);
    Ok(lines)
}
