//! `holdpoint witness`: a standalone cosigner of ledgers, per C2SP `tlog-witness`.

use std::{path::PathBuf, sync::Arc};

use clap::{Args, Subcommand};
use holdpoint_adapters::{
    cosign::Cosigner,
    system::{Ed25519Key, KeyUse, Seed, SystemClock},
};
use holdpoint_ledger::VerifierKey;

use super::{CliError, DrillOptions, failed, say};
use crate::{config::WitnessConfig, http, serve, witness};

/// Commands of a witness.
#[derive(Debug, Subcommand)]
pub(crate) enum WitnessCommand {
    /// Make the witness's key and print its verifier key
    Init(WitnessOptions),
    /// Cosign what continues the heads that were cosigned before
    Serve(WitnessOptions),
}

#[derive(Debug, Args)]
pub(crate) struct WitnessOptions {
    /// The witness's configuration
    #[arg(long)]
    config: PathBuf,
    #[command(flatten)]
    drill: DrillOptions,
}

/// Runs a command of a witness.
pub(crate) async fn run(command: WitnessCommand) -> Result<(), CliError> {
    match command {
        WitnessCommand::Init(options) => init(&options),
        WitnessCommand::Serve(options) => serve_witness(&options).await,
    }
}

fn init(options: &WitnessOptions) -> Result<(), CliError> {
    let config = WitnessConfig::load(&options.config)?;
    options.drill.install(config.development)?;
    std::fs::create_dir_all(config.data()).map_err(failed)?;
    Seed::load_or_create(&KeyUse::Cosign.path(&config.data())).map_err(failed)?;
    say(VerifierKey::of_cosigner(&key(&config)?).map_err(failed)?);
    Ok(())
}

fn key(config: &WitnessConfig) -> Result<Ed25519Key, CliError> {
    let seed = Seed::load(&KeyUse::Cosign.path(&config.data()))
        .map_err(|err| CliError::Failed(format!("{err}; run `holdpoint witness init` first")))?;
    Ed25519Key::from_seed(&config.name, &seed).map_err(failed)
}

async fn serve_witness(options: &WitnessOptions) -> Result<(), CliError> {
    serve::logging();
    let config = WitnessConfig::load(&options.config)?;
    options.drill.install(config.development)?;
    let clock = Arc::new(SystemClock::new());
    let keys = config.log_keys()?;
    let cosigner = Cosigner::open(&config.data(), key(&config)?, &keys, clock).map_err(failed)?;
    if !config.listen.ip().is_loopback() {
        tracing::warn!(
            "the door is open beyond this machine and has no TLS: put a proxy with TLS in front of it"
        );
    }
    let listener = serve::listen(config.listen).await?;
    say(format_args!("holdpoint witness serves on http://{}", config.listen));
    http::serve(listener, witness::router(Arc::new(cosigner)), serve::stop_asked()).await.map_err(failed)
}
