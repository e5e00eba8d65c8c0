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
use crate::{
    config::{Config, ExecutorPins, Inputs, load_inputs},
    wiring::{GateKey, Making},
};

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
    let made = keys_of_gate(&config)?;
    say(format_args!("keys       {}", config.keys_dir().display()));
    if config.roles.is_none() {
        let pins_path = config.path(&config.executor_pins);
        // The pins are the executor's own: who may approve and what may be touched is not widened by running this again.
        write_new(&pins_path, &text_of(&pins(&inputs, made.permit_key, &config.keys_dir())?)?)?;
        say(format_args!(
            "executor   {} (what it trusts and may touch: read it, it is the last line)",
            pins_path.display()
        ));
    }
    say(format_args!("log key    {}", made.log_key));
    Ok(())
}

/// The file of the log's public key, beside the configuration.
pub(crate) const LOG_KEY: &str = "log.vkey";

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
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&keys).map_err(failed)?;
    // With an observer in a process of its own the key of evidence is there, and nowhere else.
    let own = |key: &GateKey| *key != GateKey::Evidence || config.roles.is_none();
    for key in GateKey::ALL.into_iter().filter(own) {
        key.find(config, Making::WhereMissing)?;
    }
    let issuer = DevIssuer::load_or_create(&KeyUse::Identity.path(&keys), config.trust_domain.clone())
        .map_err(failed)?;
    write_new(&config.identities(), &issuer.jwks())?;
    let log_key = GateKey::Checkpoint.find(config, Making::Never)?.verifier_key()?;
    write_new(&config.base.join(LOG_KEY), &format!("{log_key}\n"))?;
    Ok(GateKeys { permit_key: GateKey::Permit.find(config, Making::Never)?.public_key(), log_key })
}

/// What issuer and executor trust and may touch, by the inputs of today. Makes the executors' own keys that are not in `keys` yet.
pub(super) fn pins(inputs: &Inputs, permit_key: PublicKey, keys: &Path) -> Result<ExecutorPins, CliError> {
    let people = inputs.registry.people();
    let mut executors = BTreeMap::<_, BTreeSet<_>>::new();
    for target in inputs.inventory.targets() {
        executors.entry(target.executor.clone()).or_default().insert(target.id.clone());
    }
    let mut executor_keys = BTreeMap::new();
    for executor in executors.keys() {
        let seed = Seed::load_or_create(&KeyUse::Executor(executor.clone()).path(keys)).map_err(failed)?;
        let key = Ed25519Key::from_seed(executor.as_str(), &seed).map_err(failed)?;
        executor_keys.insert(executor.clone(), key.public_key());
    }
    Ok(ExecutorPins {
        permit_key,
        retired_permit_keys: Vec::new(),
        approvers: people.map(|person| (person.id.clone(), person.credentials())).collect(),
        executors,
        executor_keys,
    })
}

/// A value as a YAML text.
pub(super) fn text_of(value: &impl serde::Serialize) -> Result<String, CliError> {
    serde_saphyr::to_string(value).map_err(failed)
}

/// Writes a file that is not there yet, and leaves one that is as it is. Whole or not at all: an empty one would stay.
fn write_new(path: &Path, text: &str) -> Result<(), CliError> {
    let written = durable::create(Step::InitFile, path, text.as_bytes(), 0o644);
    written.map_err(|err| CliError::Failed(format!("{}: {err}", path.display())))
}
