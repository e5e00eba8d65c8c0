//! The gate's keys: each in a file of its own, or in a PKCS #11 token.

use std::sync::Arc;

use holdpoint_adapters::system::{Ed25519Key, KeyUse, Seed, TokenKey, TokenSpec};
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
            let spec = TokenSpec {
                module: token.module.clone(),
                token: token.token.clone(),
                label: token.label.clone(),
                pin_file: config.path(&token.pin_file),
            };
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
    let first = GateKey::Permit.find(config, Making::Never)?;
    if first.public_key() == *pinned {
        return Ok(first);
    }
    let next = KeyUse::NextPermit(pinned.thumbprint()).path(&config.keys_dir());
    let missing = || {
        CliError::Failed(format!(
            "the executors have pinned another permit key than the gate has, and {} is not there: \
             `holdpoint keys new` makes one to rotate to",
            next.display()
        ))
    };
    if config.tokens.permit.is_some() || !next.exists() {
        return Err(missing());
    }
    let seed = Seed::load(&next).map_err(failed)?;
    let found = Ed25519Key::from_seed(GateKey::Permit.name(config), &seed).map_err(failed)?;
    if found.public_key() == *pinned { Ok(Found::File(found)) } else { Err(missing()) }
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
