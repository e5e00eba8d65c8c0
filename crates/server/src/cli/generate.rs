//! `holdpoint completions`, `holdpoint man` and `holdpoint api`: what is made from the program itself.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, CliError, failed, output::Print, say};
use crate::http::openapi;

#[derive(Debug, Args)]
pub(crate) struct CompletionsOptions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManOptions {
    /// Write a page for every command into this folder, instead of printing the first one
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ApiOptions {
    #[command(flatten)]
    print: Print,
}

/// Prints completions for a shell.
pub(crate) fn completions(options: &CompletionsOptions) -> Result<(), CliError> {
    let mut text = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "holdpoint", &mut text);
    print(text)
}

/// Prints the manual, or writes all of it.
pub(crate) fn man(options: &ManOptions) -> Result<(), CliError> {
    if let Some(dir) = &options.dir {
        std::fs::create_dir_all(dir).map_err(failed)?;
        return clap_mangen::generate_to(Cli::command(), dir).map_err(failed);
    }
    let mut text = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut text).map_err(failed)?;
    print(text)
}

fn print(text: Vec<u8>) -> Result<(), CliError> {
    say(String::from_utf8(text).map_err(failed)?.trim_end());
    Ok(())
}

/// Prints the documentation of the API.
pub(crate) fn api(options: &ApiOptions) -> Result<(), CliError> {
    let document = openapi::document();
    if !options.print.data(&document)? {
        say(serde_json::to_string_pretty(&document).map_err(failed)?);
    }
    Ok(())
}
