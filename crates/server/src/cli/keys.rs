//! `holdpoint keys`: keys to rotate to.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use holdpoint_adapters::system::{Ed25519Key, KeyUse, Seed, SystemClock};
use holdpoint_app::port::Clock as _;
use holdpoint_domain::{Millis, permit::RetiredKey};
use serde::Serialize;

use super::{CliError, failed, say};
use crate::{
    config::{Config, load_inputs},
    wiring::{GateKey, Making},
};

/// How long after now permits of the old key still open: the change of the pins must be in force by then.
const OVERLAP: Millis = Millis::secs(24 * 60 * 60);

/// The gate's keys
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a permit key to rotate to, and print what to change in the executors' pins
    New(NewOptions),
    /// List the gate's public keys
    Ls(NewOptions),
}

#[derive(Debug, Args)]
pub(crate) struct NewOptions {
    /// The gate's configuration
    #[arg(long, env = "HOLDPOINT_CONFIG")]
    config: PathBuf,
}

/// What changes in the pins.
#[derive(Serialize)]
struct Rotation {
    permit_key: holdpoint_domain::signature::PublicKey,
    retired_permit_keys: Vec<RetiredKey>,
}

/// Runs a keys command.
pub(crate) fn run(command: &KeysCommand) -> Result<(), CliError> {
    match command {
        KeysCommand::New(options) => new(options),
        KeysCommand::Ls(options) => ls(options),
    }
}

fn new(options: &NewOptions) -> Result<(), CliError> {
    let config = Config::load(&options.config)?;
    if config.tokens.permit.is_some() {
        let next = "the permit key is in a token: make a pair with another label there, and name it in `tokens.permit`";
        return Err(CliError::Usage(next.into()));
    }
    let pins = load_inputs(&config)?.pins;
    let pins = pins
        .ok_or_else(|| CliError::Failed("there are no executor pins: run `holdpoint init` first".into()))?;
    let seed = Seed::fresh();
    let public = Ed25519Key::from_seed("permit", &seed).map_err(failed)?.public_key();
    let path = KeyUse::NextPermit(public.thumbprint()).path(&config.keys_dir());
    seed.create(&path).map_err(failed)?;
    let granted_before_ms = SystemClock::new().now().plus(OVERLAP).map_err(failed)?;
    let mut retired = vec![RetiredKey { key: pins.permit_key, granted_before_ms }];
    retired.extend(pins.retired_permit_keys);
    let rotation = Rotation { permit_key: public, retired_permit_keys: retired };
    say(format_args!("# made {}", path.display()));
    say(format_args!(
        "# put this into {} in place of the old lines, and propose it: `holdpoint change propose`",
        config.executor_pins.display()
    ));
    say(serde_saphyr::to_string(&rotation).map_err(failed)?.trim_end());
    Ok(())
}

fn ls(options: &NewOptions) -> Result<(), CliError> {
    let config = Config::load(&options.config)?;
    for key in GateKey::ALL {
        let public = key.find(&config, Making::Never)?.public_key();
        say(format_args!("{:<11} {}  {}", key.word(), String::from(public.clone()), public.thumbprint()));
    }
    Ok(())
}
