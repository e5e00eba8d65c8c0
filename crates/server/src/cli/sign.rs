//! Signing as a person: whose key, a last question, and the signature.

use std::{
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

use clap::Args;
use holdpoint_adapters::system::{Ed25519Key, Seed};
use holdpoint_domain::{
    Id,
    approval::{Choice, TreeHead},
    id::kind,
    signed::{Signed, Statement},
    text::quoted,
};

use super::{CliError, Door, client::Client, failed, say};

/// The options of everything that signs.
#[derive(Debug, Clone, Args)]
pub(crate) struct SignOptions {
    /// Your approval key; with --as and --config, `people/<name>.key` beside the configuration
    #[arg(long)]
    key: Option<PathBuf>,
    /// Do not ask before signing
    #[arg(long)]
    yes: bool,
}

impl SignOptions {
    /// Who signs, and where their key is.
    pub(super) fn signer(
        &self,
        door: &Door,
        client: &Client,
    ) -> Result<(Id<kind::Person>, PathBuf), CliError> {
        let person = door.person.as_deref();
        let person = person.ok_or_else(|| CliError::Usage("expected --as, your name".into()))?;
        let person: Id<kind::Person> = person.parse().map_err(failed)?;
        let key = match (&self.key, client.config()) {
            (Some(path), _) => path.clone(),
            (None, Some(config)) => config.person_key(&person),
            (None, None) => return Err(CliError::Usage("expected --key, your approval key".into())),
        };
        Ok((person, key))
    }

    /// Has the person type a word, unless they said that they need not be asked.
    pub(super) fn confirm(&self, word: &str) -> Result<(), CliError> {
        if self.yes || confirmed(word)? {
            return Ok(());
        }
        Err(CliError::Failed("nothing was signed".into()))
    }
}

/// What to type for a choice.
pub(super) const fn word(choice: Choice) -> &'static str {
    match choice {
        Choice::Approve => "approve",
        Choice::Reject => "reject",
    }
}

/// Refuses to sign what belongs to the log of another gate than the configuration's: one key may serve at several gates, and
/// what is signed here must be good here only.
pub(super) fn same_log(client: &Client, head: &TreeHead) -> Result<(), CliError> {
    same_origin(client, &head.origin)
}

/// As [`same_log`], for what names the log alone.
pub(super) fn same_origin(client: &Client, origin: &str) -> Result<(), CliError> {
    match client.config() {
        Some(config) if origin != config.origin => Err(CliError::NotVerified(format!(
            "what is to be signed belongs to the log {}: expected `{}`",
            quoted(origin, 80),
            config.origin
        ))),
        Some(_) | None => Ok(()),
    }
}

/// A person's key.
pub(super) fn load(key: &Path) -> Result<Ed25519Key, CliError> {
    Seed::load(key).and_then(|seed| Ed25519Key::from_seed("approval", &seed)).map_err(failed)
}

/// Signs a statement with a person's key.
pub(super) fn sign<T: Statement>(key: &Path, statement: T) -> Result<Signed<T>, CliError> {
    let signature = load(key)?.sign(&statement.signing_bytes().map_err(failed)?);
    Ok(Signed { statement, signature: signature.into() })
}

#[allow(clippy::print_stdout, reason = "asks on the terminal")]
fn confirmed(word: &str) -> Result<bool, CliError> {
    print!("Type `{word}` to sign: ");
    std::io::stdout().flush().map_err(failed)?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(failed)?;
    if !std::io::stdin().is_terminal() {
        // Nobody pressed Enter on the screen.
        say("");
    }
    Ok(line.trim() == word)
}
