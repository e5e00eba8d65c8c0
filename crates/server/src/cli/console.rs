//! `holdpoint console`: a link that signs your browser in.

use clap::Args;

use crate::moment::clock_time;

use super::{CliError, Door, client::Client, output::read, say};
use crate::http::wire::{NewSignInLink, SignInLink};

#[derive(Debug, Args)]
pub(crate) struct ConsoleOptions {
    #[command(flatten)]
    door: Door,
}

/// Prints a link that signs a browser in, once.
pub(crate) async fn run(options: ConsoleOptions) -> Result<(), CliError> {
    let (_, answer) = Client::connect(&options.door)?.post("/v1/sign-in-links", &NewSignInLink {}).await?;
    let SignInLink { link, expires_at_ms } = read(&answer)?;
    say(&link);
    say(format_args!(
        "open it in your browser before {}: it signs you in once, to look; every decision takes a passkey",
        clock_time(expires_at_ms)
    ));
    Ok(())
}
