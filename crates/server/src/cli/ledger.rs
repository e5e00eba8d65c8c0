//! `holdpoint ledger`: verify, prove, show, export.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use holdpoint_domain::{
    Id,
    consents::{Audit, InForce},
    id::kind,
    passkey::CredentialId,
    proof::Credentials,
    record::Record,
};
use holdpoint_ledger::{
    Checkpoint, ExportSource, LogProof, SignedCheckpoint, SourceError, VerifierKey, bundle::read_bundle,
    cosigners, export::export_paths, hash::leaf_hash, tile::bundle_paths, verify_export,
};

use super::{CliError, Door, client::Client, failed, say};
use crate::config::cosigner_key;

/// The file of an export that has the cosigned head.
const COSIGNED: &str = "cosigned";

/// Ledger commands.
#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// Verify an exported log offline: needs no gate
    Verify(VerifyOptions),
    /// Prove that an entry is in the log, and check the proof
    Prove(ProveOptions),
    /// Show entries, from the gate or from an export
    Show(ShowOptions),
    /// Write the whole log to a folder (C2SP tlog-tiles layout)
    Export(ExportOptions),
}

#[derive(Debug, Args)]
pub(crate) struct VerifyOptions {
    /// The folder of the export
    dir: PathBuf,
    /// The log's verifier key (`name+hash+key`), or a file with it. Take it from a place that the log cannot change
    #[arg(long)]
    key: String,
    /// A signed checkpoint that you kept (from a receipt, a permit, an approval, an earlier head): finds truncation,
    /// roll-back and forks. Can be given several times
    #[arg(long)]
    against: Vec<PathBuf>,
    /// The verifier key of a witness, or a file with it. Can be given several times
    #[arg(long, value_name = "KEY")]
    cosigner: Vec<String>,
    /// How many of these must have cosigned one head that the log continues; all of them when left out
    #[arg(long, value_name = "NUMBER", requires = "cosigner")]
    quorum: Option<usize>,
    /// Check every consent as well: who signed which bytes, and whether permits and changes had the approvals that they needed
    #[arg(long)]
    consents: bool,
    /// Credentials that the ledger does not have: the `approvers` of an executor's pins. For people who sign with a key that came
    /// into the registry by its text
    #[arg(long, value_name = "FILE", requires = "consents")]
    people: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ProveOptions {
    #[command(flatten)]
    door: Door,
    /// The entry's index
    index: u64,
    /// The log's verifier key, or a file with it; the gate's own word when left out
    #[arg(long)]
    key: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ShowOptions {
    #[command(flatten)]
    door: Door,
    /// The first entry's index
    #[arg(default_value_t = 0)]
    first: u64,
    /// How many
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// Read an export instead of asking the gate
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ExportOptions {
    #[command(flatten)]
    door: Door,
    /// The folder to write; must not exist or be empty
    dir: PathBuf,
}

/// Runs a ledger command.
pub(crate) async fn run(command: LedgerCommand) -> Result<(), CliError> {
    match command {
        LedgerCommand::Verify(options) => verify(&options),
        LedgerCommand::Prove(options) => prove(options).await,
        LedgerCommand::Show(options) => show(options).await,
        LedgerCommand::Export(options) => export(options).await,
    }
}

/// Files of an export on disk.
struct Dir(PathBuf);

impl ExportSource for Dir {
    fn file(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        match std::fs::read(self.0.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(SourceError::new(err)),
        }
    }
}

/// A verifier key given as itself, or as the file that has it.
fn verifier_key(given: &str) -> Result<VerifierKey, CliError> {
    key_text(given)?.trim().parse().map_err(failed)
}

fn key_text(given: &str) -> Result<String, CliError> {
    if Path::new(given).is_file() {
        std::fs::read_to_string(given).map_err(failed)
    } else {
        Ok(given.to_owned())
    }
}

fn verify(options: &VerifyOptions) -> Result<(), CliError> {
    let keys = [verifier_key(&options.key)?];
    let mut heads: Vec<(SignedCheckpoint, Checkpoint)> = Vec::new();
    // Beside the heads that somebody remembered, the one that witnesses cosigned: an export brings it along.
    let beside = options.dir.join(COSIGNED);
    let beside = (!options.cosigner.is_empty() && beside.is_file()).then_some(beside);
    for path in options.against.iter().chain(beside.as_ref()) {
        let bytes =
            std::fs::read(path).map_err(|err| CliError::Failed(format!("{}: {err}", path.display())))?;
        let signed = SignedCheckpoint::parse(&bytes).map_err(failed)?;
        let head = signed.open(&keys).map_err(failed)?;
        heads.push((signed, head));
    }
    let against: Vec<_> = heads.iter().map(|(_, head)| head.clone()).collect();
    let report = verify_export(&Dir(options.dir.clone()), &keys, &against).map_err(failed)?;
    say(&report);
    if !report.is_sound() {
        return Err(CliError::NotVerified(format!("the log in {} does not stand", options.dir.display())));
    }
    check_cosigners(options, &heads)?;
    if options.consents { check_consents(options, report.entries()) } else { Ok(()) }
}

/// What is read of an executor's pins.
#[derive(serde::Deserialize)]
struct Pinned {
    approvers: BTreeMap<Id<kind::Person>, Credentials>,
}

/// Checks who consented to which bytes, in a log that was found sound.
fn check_consents(options: &VerifyOptions, size: u64) -> Result<(), CliError> {
    let people = match &options.people {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(failed)?;
            serde_saphyr::from_str::<Pinned>(&text).map_err(failed)?.approvers
        }
        None => BTreeMap::new(),
    };
    let mut audit = Audit::new(people);
    each_entry(&Dir(options.dir.clone()), size, |index, entry| {
        let record = Record::parse(entry)
            .map_err(|err| CliError::NotVerified(format!("entry {index} is no record: {err}")))?;
        audit.take(index, &record);
        Ok(())
    })?;
    for found in audit.found() {
        let with = found.passkey.as_ref().map_or("a key".to_owned(), |id| format!("passkey {}", short(id)));
        say(format_args!(
            "entry {:<6} {} {} ({}), with {with}",
            found.index,
            found.person,
            found.said,
            found.about.short()
        ));
    }
    for fault in audit.faults() {
        say(format_args!("entry {:<6} NOT SOUND: {}", fault.index, fault.what));
    }
    audit.registries().iter().map(registry_line).for_each(say);
    say(if options.people.is_some() {
        "keys and passkeys of --people are taken as good under each of these registries: their texts are not in the log"
    } else {
        "the texts of these registries are not in the log: keys that came with them are unknown here"
    });
    if audit.faults().is_empty() {
        say(format_args!(
            "{} consents: each holds, over exactly the bytes that it names",
            audit.found().len()
        ));
        return Ok(());
    }
    Err(CliError::NotVerified(format!("{} consents do not stand", audit.faults().len())))
}

/// A registry, when it was in force, and what the log says of the passkeys that it took out.
fn registry_line(registry: &InForce) -> String {
    let InForce { digest, from, until, retired } = registry;
    let until = until.map_or_else(|| "to the end".to_owned(), |until| format!("to entry {until}"));
    let took = match retired {
        None => "which passkeys it took out, the log does not say".to_owned(),
        Some(gone) if gone.is_empty() => "took out no passkey".to_owned(),
        Some(gone) => format!("took out passkey {}", gone.iter().map(short).collect::<Vec<_>>().join(", ")),
    };
    format!("registry {} in force from entry {from} {until}: {took}", digest.short())
}

fn short(id: &CredentialId) -> String {
    id.to_string().chars().take(10).collect()
}

/// Whether enough of the witnesses that were asked for cosigned one of the heads that the log was found to continue.
fn check_cosigners(
    options: &VerifyOptions,
    heads: &[(SignedCheckpoint, Checkpoint)],
) -> Result<(), CliError> {
    if options.cosigner.is_empty() {
        return Ok(());
    }
    let read = |given: &String| cosigner_key(&key_text(given)?).map_err(CliError::Usage);
    let keys = options.cosigner.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let quorum = options.quorum.unwrap_or(keys.len());
    if quorum == 0 || quorum > keys.len() {
        return Err(CliError::Usage(format!("--quorum: expected 1 to {}, got {quorum}", keys.len())));
    }
    let (mut best, mut size) = (0, 0);
    for (signed, head) in heads {
        let found = cosigners(signed, &keys).map_err(|err| CliError::NotVerified(err.to_string()))?.len();
        if found > best || (found == best && head.size() > size) {
            (best, size) = (found, head.size());
        }
    }
    if best < quorum {
        return Err(CliError::NotVerified(format!("expected {quorum} cosigners of one head, got {best}")));
    }
    say(format_args!(
        "{best} of {} cosigners have seen the first {size} entries as they are here",
        keys.len()
    ));
    Ok(())
}

async fn prove(options: ProveOptions) -> Result<(), CliError> {
    let client = Client::connect(&options.door)?;
    let key = match &options.key {
        Some(given) => verifier_key(given)?,
        None => client.keys().await?.log_key.parse().map_err(failed)?,
    };
    let text = client.text(&format!("/v1/ledger/proof/{}", options.index)).await?;
    let proof: LogProof = text.parse().map_err(failed)?;
    let entry = client.entry(options.index).await?;
    if proof.index() != options.index {
        let got = proof.index();
        return Err(CliError::NotVerified(format!(
            "expected a proof of entry {}, got one of {got}",
            options.index
        )));
    }
    let head = proof.verify(leaf_hash(&entry), &[key]).map_err(|err| {
        CliError::NotVerified(format!("the proof of entry {} does not stand: {err}", options.index))
    })?;
    say(String::from_utf8_lossy(&entry));
    say(format_args!(
        "is entry {} of the log `{}` with {} entries:\n",
        options.index,
        head.origin(),
        head.size()
    ));
    say(text);
    Ok(())
}

async fn show(options: ShowOptions) -> Result<(), CliError> {
    let entries = match &options.dir {
        Some(dir) => from_export(&Dir(dir.clone()), options.first, options.limit)?,
        None => Client::connect(&options.door)?.entries(options.first, options.limit).await?,
    };
    for (index, bytes) in entries {
        let record = Record::parse(&bytes).map_err(failed)?;
        let plan = record.plan.as_ref().map_or("-", |plan| plan.as_str());
        let at = crate::moment::clock_time(record.at_ms);
        say(format_args!(
            "{index:>6}  {at}  {:<12} {:<24} {plan}",
            record.body.word(),
            record.actor.to_string()
        ));
    }
    Ok(())
}

fn from_export(dir: &Dir, first: u64, limit: u32) -> Result<Vec<(u64, Vec<u8>)>, CliError> {
    let missing = |path: &str| CliError::Failed(format!("{} has no file `{path}`", dir.0.display()));
    let note = dir.file("checkpoint").map_err(failed)?.ok_or_else(|| missing("checkpoint"))?;
    let head = SignedCheckpoint::parse(&note).map_err(failed)?;
    let last = first.saturating_add(u64::from(limit));
    let mut entries = Vec::new();
    each_entry(dir, head.unverified().size(), |index, entry| {
        if (first..last).contains(&index) {
            entries.push((index, entry.to_vec()));
        }
        Ok(())
    })?;
    Ok(entries)
}

/// Calls `take` with each entry of an export, in order.
fn each_entry(
    dir: &Dir,
    size: u64,
    mut take: impl FnMut(u64, &[u8]) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut index = 0_u64;
    for path in bundle_paths(size) {
        let path = path.to_string();
        let missing = || CliError::Failed(format!("`{path}` is missing"));
        let bundle = dir.file(&path).map_err(failed)?.ok_or_else(missing)?;
        for entry in read_bundle(&bundle) {
            take(index, entry.map_err(failed)?)?;
            index = index.saturating_add(1);
        }
    }
    Ok(())
}

async fn export(options: ExportOptions) -> Result<(), CliError> {
    let client = Client::connect(&options.door)?;
    let taken = std::fs::read_dir(&options.dir).is_ok_and(|mut files| files.next().is_some());
    if taken {
        return Err(CliError::Usage(format!(
            "{} is not empty: expected a new folder",
            options.dir.display()
        )));
    }
    let note = client.text("/v1/ledger/checkpoint").await?;
    let head = SignedCheckpoint::parse(note.as_bytes()).map_err(failed)?;
    for path in export_paths(head.unverified()) {
        // The checkpoint moves on while we copy; the one that we began with is the one that the files must fit.
        let bytes =
            if path == "checkpoint" { note.clone().into_bytes() } else { client.log_file(&path).await? };
        let file = options.dir.join(&path);
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        std::fs::write(&file, bytes).map_err(|err| CliError::Failed(format!("{}: {err}", file.display())))?;
    }
    // What witnesses cosigned may be an older head of the same log, or not be there.
    if let Ok(cosigned) = client.text("/v1/ledger/cosigned").await {
        std::fs::write(options.dir.join(COSIGNED), cosigned).map_err(failed)?;
    }
    let keys = client.keys().await?;
    say(format_args!("{} entries in {}", head.unverified().size(), options.dir.display()));
    say(format_args!(
        "verify it with: holdpoint ledger verify {} --key '{}'",
        options.dir.display(),
        keys.log_key
    ));
    Ok(())
}
