//! `holdpoint notify`: try a channel, and see who is on call.

use std::{path::PathBuf, sync::Arc};

use clap::{Args, Subcommand};
use holdpoint_adapters::{
    notify::Channels,
    system::{SystemClock, SystemIds},
};
use holdpoint_app::{
    notify::{Message, kind},
    port::{Clock as _, Ids as _, Notifier as _},
};
use holdpoint_domain::Id;

use super::{CliError, failed, say};
use crate::config::{Config, NotifyConfig};

/// Commands about telling people.
#[derive(Debug, Subcommand)]
pub(crate) enum NotifyCommand {
    /// Send a test message over a channel
    Test(TestOptions),
    /// Say who is on call
    Who(WhoOptions),
}

#[derive(Debug, Args)]
pub(crate) struct TestOptions {
    /// The gate's configuration
    #[arg(long, env = "HOLDPOINT_CONFIG")]
    config: PathBuf,
    /// The channel
    #[arg(long)]
    channel: String,
    /// Whom to tell, once for each; everybody of the file when left out
    #[arg(long, value_name = "PERSON")]
    to: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct WhoOptions {
    /// The gate's configuration
    #[arg(long, env = "HOLDPOINT_CONFIG")]
    config: PathBuf,
    /// At which time, for instance 2026-08-03T09:00:00Z; now when left out
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

/// Runs a command about telling people.
pub(crate) async fn run(command: NotifyCommand) -> Result<(), CliError> {
    match command {
        NotifyCommand::Test(options) => test(&options).await,
        NotifyCommand::Who(options) => who(&options),
    }
}

fn load(path: &std::path::Path) -> Result<NotifyConfig, CliError> {
    let config = Config::load(path)?;
    let none = || CliError::Failed(format!("{}: `notify` names no file", path.display()));
    let notify = config.notify.as_deref().ok_or_else(none)?;
    Ok(NotifyConfig::load(&config.path(notify), config.console_origin())?)
}

async fn test(options: &TestOptions) -> Result<(), CliError> {
    let notify = load(&options.config)?;
    let usage = |err: holdpoint_domain::id::IdError| CliError::Usage(err.to_string());
    let channel: Id<kind::Channel> = options.channel.parse().map_err(usage)?;
    let to = options.to.iter().map(|person| person.parse().map_err(usage)).collect::<Result<Vec<_>, _>>()?;
    let to = if to.is_empty() { notify.everybody() } else { to };
    let clock = Arc::new(SystemClock::new());
    let id = format!("msg_{:032x}", SystemIds.unique());
    let message = Message::test(id, clock.now(), &notify.rules.link_base, to);
    let channels = Channels::new(notify.channels()?, notify.people, clock);
    channels.send(&channel, &message).await.map_err(|err| CliError::Failed(format!("`{channel}`: {err}")))?;
    say(format_args!("`{channel}` took the message {}", message.id));
    Ok(())
}

fn who(options: &WhoOptions) -> Result<(), CliError> {
    let notify = load(&options.config)?;
    let now = SystemClock::new().now();
    let at = match &options.at {
        Some(text) => text.parse().map_err(|_| {
            CliError::Usage(format!("--at: expected a time such as 2026-08-03T09:00:00Z, got `{text}`"))
        })?,
        None => {
            jiff::Timestamp::from_millisecond(i64::try_from(now.ms()).unwrap_or(i64::MAX)).map_err(failed)?
        }
    };
    for (name, rota) in &notify.rotas.0 {
        match rota.turn(at) {
            Some(turn) => {
                let until = turn.until.to_zoned(rota.zone().clone());
                say(format_args!("{name}\t{}\tuntil {}", turn.person, until.strftime("%Y-%m-%d %H:%M %Z")));
            }
            None => say(format_args!("{name}\tnobody")),
        }
    }
    Ok(())
}
