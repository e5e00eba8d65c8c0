//! `holdpoint halt`, `resume` and `status`: the brake, and what holds the gate back.

use std::time::Duration;

use clap::Args;
use holdpoint_adapters::system::{FileLatch, SystemClock};
use holdpoint_app::port::{Clock as _, Latch as _};
use holdpoint_domain::{
    Id,
    change::Control,
    halt::{Halt, Reach, ResumeStatement},
};

use crate::moment::clock_time;

use super::{
    CliError, Door,
    client::Client,
    describe::line,
    failed,
    output::{Print, list, read},
    say,
    sign::{self, SignOptions},
};
use crate::{
    config::Config,
    http::wire::{HaltInForce, Halted, NewHalt, Status},
};

/// How long the gate may take to answer before its latch file is written in its place.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(crate) struct HaltOptions {
    #[command(flatten)]
    door: Door,
    /// Undos as well: runs under way become in doubt
    #[arg(long)]
    hard: bool,
    #[command(flatten)]
    print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct ResumeOptions {
    #[command(flatten)]
    door: Door,
    #[command(flatten)]
    sign: SignOptions,
    #[command(flatten)]
    print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct StatusOptions {
    #[command(flatten)]
    door: Door,
    #[command(flatten)]
    print: Print,
}

/// Halts everything.
pub(crate) async fn halt(options: HaltOptions) -> Result<(), CliError> {
    let client = Client::connect(&options.door)?;
    let reach = if options.hard { Reach::Hard } else { Reach::Soft };
    let new = NewHalt { reach };
    let late = || CliError::Unreachable(format!("the gate did not answer within {} s", PATIENCE.as_secs()));
    let asked = tokio::time::timeout(PATIENCE, client.post("/v1/halt", &new)).await;
    match asked.unwrap_or_else(|_| Err(late())) {
        Ok((_, answer)) => {
            if !options.print.data(&answer)? {
                let done: Halted = read(&answer)?;
                say(format_args!("halted ({}): in force", done.halt.reach));
                if !done.latched {
                    say("NOT on disk: a restart of the gate would end it");
                }
                if !done.recorded {
                    say("not in the ledger yet: the gate goes on trying");
                }
            }
            Ok(())
        }
        Err(err @ CliError::Unreachable(_)) => match client.config() {
            Some(config) => by_hand(config, reach, &options, &err),
            None => Err(err),
        },
        Err(err) => Err(err),
    }
}

/// Writes the latch file: whoever can write it may halt, and a gate that lives sees it.
fn by_hand(config: &Config, reach: Reach, options: &HaltOptions, err: &CliError) -> Result<(), CliError> {
    let by = options.door.person.as_deref().map(Id::parse).transpose().map_err(failed)?;
    let halt = Halt { reach, by, at_ms: SystemClock::new().now() };
    let path = config.latch();
    let written = FileLatch::new(path.clone()).set(&halt);
    written.map_err(|why| CliError::Failed(format!("{err}; {} cannot be written: {why}", path.display())))?;
    say(format_args!("{err}"));
    say(format_args!(
        "halted ({reach}) by the latch file {}: a gate that lives obeys it, and so does the next start",
        path.display()
    ));
    Ok(())
}

/// Ends the halt.
pub(crate) async fn resume(options: ResumeOptions) -> Result<(), CliError> {
    let client = Client::connect(&options.door)?;
    let (person, key) = options.sign.signer(&options.door, &client)?;
    let HaltInForce { halt, origin } = read(&client.get("/v1/halt").await?)?;
    let halt = halt.ok_or_else(|| CliError::Denied("no halt is in force".to_owned()))?;
    sign::same_origin(&client, &origin)?;
    say(line("halted", in_words(&halt)));
    options.sign.confirm("resume")?;
    let signed = sign::sign(&key, ResumeStatement::new(origin, halt, person))?;
    let (_, answer) = client.post("/v1/resume", &signed).await?;
    if !options.print.data(&answer)? {
        let HaltInForce { halt, .. } = read(&answer)?;
        match halt {
            None => say("resumed: it goes on"),
            Some(halt) => say(format_args!("still halted ({}): somebody halted again", halt.reach)),
        }
    }
    Ok(())
}

fn in_words(Halt { reach, by, at_ms }: &Halt) -> String {
    let by = by.as_ref().map_or_else(|| "whoever wrote the latch file".to_owned(), ToString::to_string);
    format!("{reach}, by {by}, {}", clock_time(*at_ms))
}

/// Shows what holds the gate back.
pub(crate) async fn status(options: StatusOptions) -> Result<(), CliError> {
    let answer = Client::connect(&options.door)?.get("/v1/status").await?;
    if options.print.data(&answer)? {
        return Ok(());
    }
    let status: Status = read(&answer)?;
    match &status.halt {
        None => say(line("halted", "no")),
        Some(halt) => say(line("halted", in_words(halt))),
    }
    let refused = &status.refused_inputs;
    if refused.is_empty() {
        say(line("inputs", "those on disk are those in force"));
    } else {
        say(line("inputs", format_args!("on disk is another {}: T1 and T2 are suspended", list(refused))));
    }
    say(line("store", if status.store_closed { "CLOSED: nothing starts" } else { "open" }));
    say(line("log", format_args!("{} entries", status.size)));
    for control in Control::ALL {
        say(line(control.as_str(), control.of(&status.inputs)));
    }
    Ok(())
}
