//! `holdpoint keys`: keys to rotate to.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use holdpoint_adapters::{
    step::Step,
    store::SqliteStore,
    system::{Ed25519Key, KeyFileError, KeyUse, Seed, SystemClock, durable},
};
use holdpoint_app::port::Clock as _;
use holdpoint_domain::{
    Millis,
    permit::{MAX_RETIRED, RetiredKey},
    signature::PublicKey,
};
use serde::Serialize;

use super::{CliError, LOG_KEY, failed, say};
use crate::{
    config::{Config, load_inputs},
    wiring::{GateKey, Making, make_next_checkpoint, next_checkpoint, next_permit},
};

/// The gate's keys
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key to rotate to, and print what to do with it
    New(NewOptions),
    /// Put the next key of the ledger in the place of the one before it; the gate must be stopped
    Switch(LsOptions),
    /// List the gate's public keys
    Ls(LsOptions),
}

#[derive(Debug, Args)]
pub(crate) struct LsOptions {
    /// The gate's configuration
    #[arg(long, env = "HOLDPOINT_CONFIG")]
    config: PathBuf,
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Purpose {
    /// Signs permits; the executors' pins name it
    Permit,
    /// Signs the heads of the ledger
    Checkpoint,
}

#[derive(Debug, Args)]
pub(crate) struct NewOptions {
    /// The gate's configuration
    #[arg(long, env = "HOLDPOINT_CONFIG")]
    config: PathBuf,
    /// What the key is for
    #[arg(long = "for", value_enum, default_value = "permit")]
    purpose: Purpose,
    /// How long from now on permits of the old key still open. The change must be in force by then; 0 if the key was stolen
    #[arg(long, default_value_t = 48)]
    overlap_hours: u32,
}

/// What changes in the pins.
#[derive(Serialize)]
struct Rotation {
    permit_key: PublicKey,
    retired_permit_keys: Vec<RetiredKey>,
}

/// Runs a keys command.
pub(crate) fn run(command: &KeysCommand) -> Result<(), CliError> {
    match command {
        KeysCommand::New(options) => match options.purpose {
            Purpose::Permit => new(options),
            Purpose::Checkpoint => new_checkpoint(options),
        },
        KeysCommand::Switch(options) => switch(options),
        KeysCommand::Ls(options) => ls(options),
    }
}

fn new(options: &NewOptions) -> Result<(), CliError> {
    let config = Config::load(&options.config)?;
    let pins = load_inputs(&config)?.pins;
    let pins = pins
        .ok_or_else(|| CliError::Failed("there are no executor pins: run `holdpoint init` first".into()))?;
    let (public, place) = fresh(&config)?;
    let overlap = Millis::secs(options.overlap_hours.saturating_mul(60 * 60));
    let granted_before_ms = SystemClock::new().now().plus(overlap).map_err(failed)?;
    let mut retired = vec![RetiredKey { key: pins.permit_key, granted_before_ms }];
    retired.extend(pins.retired_permit_keys);
    // What the oldest one signed has long ended: a permit starts within an hour.
    retired.truncate(MAX_RETIRED);
    let rotation = Rotation { permit_key: public, retired_permit_keys: retired };
    say(format_args!("# the new key is {place}"));
    say(format_args!(
        "# put this into {} in place of the old lines, and propose it: `holdpoint change propose`",
        config.executor_pins.display()
    ));
    say(serde_saphyr::to_string(&rotation).map_err(failed)?.trim_end());
    Ok(())
}

fn new_checkpoint(options: &NewOptions) -> Result<(), CliError> {
    let config = Config::load(&options.config)?;
    if config.tokens.checkpoint.is_some() && config.tokens.next_checkpoint.is_none() {
        let next =
            "the log's key is in a token: name another label in `tokens.next_checkpoint`, and try again";
        return Err(CliError::Usage(next.into()));
    }
    let key = make_next_checkpoint(&config)?.verifier_key()?;
    say("# Start the gate anew: from then on every head has this key's signature beside that of today's.");
    say(
        "# Have witnesses, roles and readers of exports take this key, then stop the gate: `holdpoint keys switch`.",
    );
    say(key);
    Ok(())
}

/// First it is shown that the next key opens the log; a crash in between leaves both keys in force.
fn switch(options: &LsOptions) -> Result<(), CliError> {
    let config = Config::load(&options.config)?;
    let Some(next) = next_checkpoint(&config)? else {
        let none =
            "there is no key of the ledger to switch to: `holdpoint keys new --for checkpoint` makes one";
        return Err(CliError::Usage(none.into()));
    };
    let key = next.verifier_key()?;
    SqliteStore::check_rotation(&config.store_path(), &config.origin, &key).map_err(|err| {
        CliError::Failed(format!(
            "{}; stop the gate with a last head that the next key signed as well: start it, have it record something, stop it",
            failed(err)
        ))
    })?;
    let path = config.base.join(LOG_KEY);
    durable::replace(Step::InitFile, &path, format!("{key}\n").as_bytes(), 0o644)
        .map_err(|err| CliError::Failed(format!("{}: {err}", path.display())))?;
    if let Some(token) = &config.tokens.next_checkpoint {
        say(format_args!(
            "{key} opens the log. Name `{}` under `tokens.checkpoint`, remove `tokens.next_checkpoint`, and start the gate",
            token.label
        ));
        return Ok(());
    }
    let keys = config.keys_dir();
    Seed::supersede(&KeyUse::NextCheckpoint.path(&keys), &KeyUse::Checkpoint.path(&keys)).map_err(failed)?;
    say(format_args!("{key} is the key of the log now, also in {}: start the gate", path.display()));
    Ok(())
}

/// A key to rotate to: a pair in the token that `tokens.next_permit` names, or a file.
fn fresh(config: &Config) -> Result<(PublicKey, String), CliError> {
    if let Some(next) = &config.tokens.next_permit {
        let key = next_permit(config, next)?;
        return Ok((key.public_key(), format!("`{}` in token `{}`", next.label, next.token)));
    }
    if config.tokens.permit.is_some() {
        let next = "the permit key is in a token: name another label in `tokens.next_permit`, restart the gate, and try again";
        return Err(CliError::Usage(next.into()));
    }
    let seed = Seed::fresh();
    let public = Ed25519Key::from_seed("permit", &seed).map_err(failed)?.public_key();
    let path = KeyUse::NextPermit(public.thumbprint()).path(&config.keys_dir());
    seed.create(&path).map_err(failed)?;
    Ok((public, format!("in {}", path.display())))
}

fn ls(options: &LsOptions) -> Result<(), CliError> {
    let config = Config::load(&options.config)?;
    let pins = load_inputs(&config)?.pins;
    for key in GateKey::ALL {
        // The permit key that signs is the one that the executors believe.
        let public = match &pins {
            Some(pins) if key == GateKey::Permit => pins.permit_key.clone(),
            Some(_) | None => match &config.roles {
                Some(roles) if key == GateKey::Evidence => roles.evidence_key.clone(),
                Some(_) | None => key.find(&config, Making::Never)?.public_key(),
            },
        };
        show(key.word(), &public);
    }
    if let Some(public) = lease_key(&config)? {
        show("lease", &public);
    }
    if let Some(next) = next_checkpoint(&config)? {
        show("next head", &next.public_key());
    }
    Ok(())
}

/// The key that bearer leases are signed with: the issuer's, where it is in a process of its own; none where nothing leases any.
fn lease_key(config: &Config) -> Result<Option<PublicKey>, CliError> {
    if let Some(roles) = &config.roles {
        return Ok(roles.lease_key.clone());
    }
    match Seed::load(&KeyUse::Bearer.path(&config.keys_dir())) {
        Ok(seed) => Ed25519Key::from_seed("bearer", &seed).map(|key| Some(key.public_key())).map_err(failed),
        Err(KeyFileError::Missing(_)) => Ok(None),
        Err(err) => Err(failed(err)),
    }
}

fn show(word: &str, public: &PublicKey) {
    say(format_args!("{word:<11} {}  {}", String::from(public.clone()), public.thumbprint()));
}
