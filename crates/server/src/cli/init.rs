//! `holdpoint init`: the gate's keys and the executor's pins for a configuration.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use clap::Args;
use holdpoint_adapters::{
    identity::DevIssuer,
    step::Step,
    system::{Ed25519Key, KeyUse, Seed, durable},
};

use holdpoint_domain::signature::PublicKey;
use holdpoint_ledger::VerifierKey;

use super::{CliError, failed, say};
use crate::config::{Config, ExecutorPins, Inputs, load_inputs};

#[derive(Debug, Args)]
pub(crate) struct InitOptions {
    /// The gate's configuration
    #[arg(long, env = "HOLDPOINT_CONFIG")]
    config: PathBuf,
    #[command(flatten)]
    drill: super::DrillOptions,
}

/// Makes what is not there yet; overwrites nothing.
pub(crate) fn init(options: &InitOptions) -> Result<(), CliError> {
    let config = Config::load(&options.config)?;
    options.drill.install(config.development)?;
    let inputs = load_inputs(&config)?;
    let keys = config.keys_dir();
    if config.roles.is_none() {
        folder(&keys)?;
        Seed::load_or_create(&KeyUse::Evidence.path(&keys)).map_err(failed)?;
    }
    let made = keys_of_gate(&config)?;
    let pins_path = config.path(&config.executor_pins);
    if config.roles.is_none() {
        // The pins are the executor's own: who may approve and what may be touched is not widened by running this again.
        write_new(&pins_path, &serde_saphyr::to_string(&pins(&inputs, made.permit_key)).map_err(failed)?)?;
    }
    say(format_args!("keys       {}", keys.display()));
    if config.roles.is_none() {
        say(format_args!(
            "executor   {} (what it trusts and may touch: read it, it is the last line)",
            pins_path.display()
        ));
    }
    say(format_args!("log key    {}", made.log_key));
    Ok(())
}

/// The public halves of a gate's keys.
pub(super) struct GateKeys {
    /// Of permits.
    pub(super) permit_key: PublicKey,
    /// Of the ledger.
    pub(super) log_key: VerifierKey,
}

/// Makes the keys of a gate that are not there yet, and tells their public halves.
pub(super) fn keys_of_gate(config: &Config) -> Result<GateKeys, CliError> {
    let keys = config.keys_dir();
    folder(&keys)?;
    let checkpoint = Seed::load_or_create(&KeyUse::Checkpoint.path(&keys)).map_err(failed)?;
    let permit = Seed::load_or_create(&KeyUse::Permit.path(&keys)).map_err(failed)?;
    let issuer = DevIssuer::load_or_create(&KeyUse::Identity.path(&keys), config.trust_domain.clone())
        .map_err(failed)?;
    write_new(&config.identities(), &issuer.jwks())?;
    let log_key = Ed25519Key::from_seed(&config.origin, &checkpoint)
        .and_then(|key| key.verifier_key())
        .map_err(failed)?;
    write_new(&config.base.join("log.vkey"), &format!("{log_key}\n"))?;
    Ok(GateKeys {
        permit_key: Ed25519Key::from_seed("permit", &permit).map_err(failed)?.public_key(),
        log_key,
    })
}

/// What issuer and executor trust and may touch, by the inputs of today.
pub(super) fn pins(inputs: &Inputs, permit_key: PublicKey) -> ExecutorPins {
    let people = inputs.registry.people();
    let mut executors = BTreeMap::<_, BTreeSet<_>>::new();
    for target in inputs.inventory.targets() {
        executors.entry(target.executor.clone()).or_default().insert(target.id.clone());
    }
    ExecutorPins {
        permit_key,
        approvers: people.map(|person| (person.id.clone(), person.approval_key.clone())).collect(),
        executors,
    }
}

fn folder(path: &Path) -> Result<(), CliError> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)
}

/// Writes a file that is not there yet, and leaves one that is as it is. Whole or not at all: an empty one would stay.
fn write_new(path: &Path, text: &str) -> Result<(), CliError> {
    let written = durable::create(Step::InitFile, path, text.as_bytes(), 0o644);
    written.map_err(|err| CliError::Failed(format!("{}: {err}", path.display())))
}
