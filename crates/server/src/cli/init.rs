//! `holdpoint init`: the gate's keys and the executor's pins for a configuration.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::DirBuilderExt as _,
    path::PathBuf,
};

use clap::Args;
use holdpoint_adapters::{
    identity::DevIssuer,
    step::Step,
    system::{Ed25519Key, KeyUse, Seed, durable},
};

use super::{CliError, failed, say};
use crate::{
    config::{Config, ExecutorPins, load_inputs},
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
    let keys = config.keys_dir();
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&keys).map_err(failed)?;
    for key in GateKey::ALL {
        key.find(&config, Making::WhereMissing)?;
    }
    let issuer = DevIssuer::load_or_create(&KeyUse::Identity.path(&keys), config.trust_domain.clone())
        .map_err(failed)?;
    write_new(&config.identities(), &issuer.jwks())?;

    let pins_path = config.path(&config.executor_pins);
    let people = inputs.registry.people();
    let mut executors = BTreeMap::<_, BTreeSet<_>>::new();
    for target in inputs.inventory.targets() {
        executors.entry(target.executor.clone()).or_default().insert(target.id.clone());
    }
    let mut executor_keys = BTreeMap::new();
    for executor in executors.keys() {
        let seed = Seed::load_or_create(&KeyUse::Executor(executor.clone()).path(&keys)).map_err(failed)?;
        let key = Ed25519Key::from_seed(executor.as_str(), &seed).map_err(failed)?;
        executor_keys.insert(executor.clone(), key.public_key());
    }
    let pins = ExecutorPins {
        permit_key: GateKey::Permit.find(&config, Making::Never)?.public_key(),
        retired_permit_keys: Vec::new(),
        approvers: people.map(|person| (person.id.clone(), person.approval_key.clone())).collect(),
        executors,
        executor_keys,
    };
    // The pins are the executor's own: who may approve and what may be touched is not widened by running this again.
    write_new(&pins_path, &serde_saphyr::to_string(&pins).map_err(failed)?)?;
    let log_key = GateKey::Checkpoint.find(&config, Making::Never)?.verifier_key()?;
    write_new(&config.base.join("log.vkey"), &format!("{log_key}\n"))?;
    say(format_args!("keys       {}", keys.display()));
    say(format_args!(
        "executor   {} (what it trusts and may touch: read it, it is the last line)",
        pins_path.display()
    ));
    say(format_args!("log key    {log_key}"));
    Ok(())
}

/// Writes a file that is not there yet, and leaves one that is as it is. Whole or not at all: an empty one would stay.
fn write_new(path: &std::path::Path, text: &str) -> Result<(), CliError> {
    let written = durable::create(Step::InitFile, path, text.as_bytes(), 0o644);
    written.map_err(|err| CliError::Failed(format!("{}: {err}", path.display())))
}
