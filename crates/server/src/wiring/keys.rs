//! The gate's keys: each in a file of its own, or in a PKCS #11 token.

use std::sync::Arc;

use holdpoint_adapters::system::{Ed25519Key, KeyFileError, KeyUse, Seed, TokenKey, TokenSpec};
use holdpoint_app::port::Signer;
use holdpoint_domain::signature::PublicKey;
use holdpoint_ledger::{VerifierKey, key::NoteSigner};

use crate::{
    cli::{CliError, failed},
    config::{Config, Token},
};

/// A key of the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GateKey {
    /// Of the ledger's checkpoints.
    Checkpoint,
    /// Of delegations.
    Delegation,
    /// Of evidence.
    Evidence,
    /// Of permits.
    Permit,
}

/// Whether a key may be made where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Making {
    /// It must be there.
    Never,
    /// It is made.
    WhereMissing,
}

/// A key that was found: in memory, or in a token.
pub(crate) enum Found {
    File(Ed25519Key),
    Token(TokenKey),
}

impl GateKey {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Checkpoint, Self::Delegation, Self::Evidence, Self::Permit];

    const fn file(self) -> KeyUse {
        match self {
            Self::Checkpoint => KeyUse::Checkpoint,
            Self::Delegation => KeyUse::Delegation,
            Self::Evidence => KeyUse::Evidence,
            Self::Permit => KeyUse::Permit,
        }
    }

    /// What it is for, in a word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Delegation => "delegation",
            Self::Evidence => "evidence",
            Self::Permit => "permit",
        }
    }

    /// The name on its signatures.
    fn name(self, config: &Config) -> &str {
        match self {
            Self::Checkpoint => &config.origin,
            Self::Delegation => "delegation",
            Self::Evidence => "evidence",
            Self::Permit => "permit",
        }
    }

    const fn token(self, config: &Config) -> Option<&Token> {
        match self {
            Self::Checkpoint => config.tokens.checkpoint.as_ref(),
            Self::Delegation => config.tokens.delegation.as_ref(),
            Self::Evidence => config.tokens.evidence.as_ref(),
            Self::Permit => config.tokens.permit.as_ref(),
        }
    }

    /// Finds the key where the configuration says that it is.
    pub(crate) fn find(self, config: &Config, making: Making) -> Result<Found, CliError> {
        let name = self.name(config);
        if let Some(token) = self.token(config) {
            let spec = spec(config, token);
            let found = match making {
                Making::Never => TokenKey::open(name, &spec),
                Making::WhereMissing => TokenKey::open_or_create(name, &spec),
            };
            return found.map(Found::Token).map_err(failed);
        }
        let path = self.file().path(&config.keys_dir());
        let seed = match making {
            Making::Never => Seed::load(&path)
                .map_err(|err| CliError::Failed(format!("{err}; run `holdpoint init` first")))?,
            Making::WhereMissing => Seed::load_or_create(&path).map_err(failed)?,
        };
        Ed25519Key::from_seed(name, &seed).map(Found::File).map_err(failed)
    }
}

/// The key that signs permits: the one that the executors have pinned, wherever it is.
pub(super) fn permit(config: &Config, pinned: &PublicKey) -> Result<Found, CliError> {
    let name = GateKey::Permit.name(config);
    let mut faults = Vec::new();
    let mut looked_at = |place: String, found: Result<Found, CliError>| match found {
        Ok(found) if found.public_key() == *pinned => Some(found),
        Ok(_) => {
            faults.push(format!("{place} holds another key"));
            None
        }
        Err(err) => {
            faults.push(format!("{place}: {err}"));
            None
        }
    };
    for token in [&config.tokens.permit, &config.tokens.next_permit].into_iter().flatten() {
        let found = TokenKey::open(name, &spec(config, token)).map(Found::Token).map_err(failed);
        if let Some(found) = looked_at(format!("key `{}` of token `{}`", token.label, token.token), found) {
            return Ok(found);
        }
    }
    for file in [KeyUse::Permit, KeyUse::NextPermit(pinned.thumbprint())] {
        let path = file.path(&config.keys_dir());
        let seed = Seed::load(&path).map_err(failed);
        let found = seed.and_then(|seed| Ed25519Key::from_seed(name, &seed).map(Found::File).map_err(failed));
        if let Some(found) = looked_at(path.display().to_string(), found) {
            return Ok(found);
        }
    }
    Err(CliError::Failed(format!(
        "the executors have pinned another permit key than the gate has ({}): put the pinned key back, or rotate with \
         `holdpoint keys new`",
        faults.join("; ")
    )))
}

/// The key to rotate to in a token, which is made where it is missing.
pub(crate) fn next_permit(config: &Config, token: &Token) -> Result<TokenKey, CliError> {
    TokenKey::open_or_create(GateKey::Permit.name(config), &spec(config, token)).map_err(failed)
}

/// The key of checkpoints that the log is about to rotate to, where there is one.
pub(crate) fn next_checkpoint(config: &Config) -> Result<Option<Found>, CliError> {
    let name = GateKey::Checkpoint.name(config);
    if let Some(token) = &config.tokens.next_checkpoint {
        return TokenKey::open(name, &spec(config, token)).map(|key| Some(Found::Token(key))).map_err(failed);
    }
    match Seed::load(&KeyUse::NextCheckpoint.path(&config.keys_dir())) {
        Ok(_) if config.tokens.checkpoint.is_some() => Err(CliError::Failed(
            "the log's key is in a token, and there is a file `checkpoint-next.key`: remove it, or name `tokens.next_checkpoint`"
                .to_owned(),
        )),
        Ok(seed) => Ed25519Key::from_seed(name, &seed).map(|key| Some(Found::File(key))).map_err(failed),
        Err(KeyFileError::Missing(_)) => Ok(None),
        Err(err) => Err(failed(err)),
    }
}

/// Makes the key of checkpoints to rotate to, where it is missing: in the token that is named for it, or in a file.
pub(crate) fn make_next_checkpoint(config: &Config) -> Result<Found, CliError> {
    let name = GateKey::Checkpoint.name(config);
    if let Some(token) = &config.tokens.next_checkpoint {
        return TokenKey::open_or_create(name, &spec(config, token)).map(Found::Token).map_err(failed);
    }
    let path = KeyUse::NextCheckpoint.path(&config.keys_dir());
    let seed = Seed::load_or_create(&path).map_err(failed)?;
    Ed25519Key::from_seed(name, &seed).map(Found::File).map_err(failed)
}

fn spec(config: &Config, token: &Token) -> TokenSpec {
    TokenSpec {
        module: token.module.clone(),
        token: token.token.clone(),
        label: token.label.clone(),
        pin_file: config.path(&token.pin_file),
    }
}

impl Found {
    /// Its public key.
    pub(crate) fn public_key(&self) -> PublicKey {
        match self {
            Self::File(key) => key.public_key(),
            Self::Token(key) => key.public_key(),
        }
    }

    /// The verifier key of signed notes that belongs to it.
    pub(crate) fn verifier_key(&self) -> Result<VerifierKey, CliError> {
        match self {
            Self::File(key) => key.verifier_key().map_err(failed),
            Self::Token(key) => key.verifier_key().map_err(failed),
        }
    }

    /// For permits, evidence and delegations.
    pub(crate) fn signer(self) -> Arc<dyn Signer> {
        match self {
            Self::File(key) => Arc::new(key),
            Self::Token(key) => Arc::new(key),
        }
    }

    /// For checkpoints.
    pub(crate) fn note_signer(self) -> Box<dyn NoteSigner + Send> {
        match self {
            Self::File(key) => Box::new(key),
            Self::Token(key) => Box::new(key),
        }
    }
}
