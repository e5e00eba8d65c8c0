//! Who cosigns our heads, and the file of a witness of one's own.

use std::{net::SocketAddr, path::PathBuf};

use holdpoint_domain::Millis;
use holdpoint_ledger::{KeyKind, VerifierKey};
use serde::Deserialize;

use super::{ConfigError, parse};

/// Most witnesses: a note has at most 16 signatures, and the log's own and those of the roles want room.
pub(crate) const MAX_WITNESSES: usize = 12;

/// `witnesses:` of the gate's configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Witnesses {
    /// The pause between two submissions (1 second).
    #[serde(default)]
    pub(crate) every_ms: Option<Millis>,
    /// How many cosignatures a head needs before it is served as cosigned (1).
    #[serde(default)]
    pub(crate) quorum: Option<usize>,
    /// The witnesses.
    #[serde(default)]
    pub(crate) of: Vec<WitnessEntry>,
}

/// A witness, as its operator publishes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WitnessEntry {
    /// The submission prefix, for instance `https://witness.example`.
    pub(crate) url: String,
    /// The verifier key: `name+id+base64`, of type 0x04.
    pub(crate) key: String,
}

impl Witnesses {
    /// Submission prefixes and keys; all faults together.
    pub(crate) fn parsed(&self) -> Result<Vec<(String, VerifierKey)>, Vec<String>> {
        let (mut found, mut faults) = (Vec::new(), Vec::new());
        for entry in &self.of {
            match cosigner_key(&entry.key) {
                Ok(key) if entry.url.starts_with("http") => found.push((entry.url.clone(), key)),
                Ok(_) => faults.push(format!("`witnesses`: `{}` is no http or https address", entry.url)),
                Err(why) => faults.push(format!("`witnesses`: {why}")),
            }
        }
        if self.of.len() > MAX_WITNESSES {
            faults.push(format!("`witnesses`: expected at most {MAX_WITNESSES}, got {}", self.of.len()));
        }
        if self.quorum.is_some_and(|quorum| quorum == 0 || quorum > self.of.len()) {
            faults.push(format!(
                "`witnesses.quorum`: expected 1 to {}, the number of witnesses",
                self.of.len()
            ));
        }
        if faults.is_empty() { Ok(found) } else { Err(faults) }
    }
}

/// The verifier key of a cosigner.
pub(crate) fn cosigner_key(text: &str) -> Result<VerifierKey, String> {
    let key: VerifierKey = text.trim().parse().map_err(|err| format!("key `{text}`: {err}"))?;
    match key.kind() {
        KeyKind::Cosignature => Ok(key),
        KeyKind::Note => Err(format!("key `{text}` is of a log: expected one of a cosigner (type 0x04)")),
    }
}

/// The verifier key of a log.
pub(crate) fn log_key(text: &str) -> Result<VerifierKey, String> {
    let key: VerifierKey = text.trim().parse().map_err(|err| format!("key `{text}`: {err}"))?;
    match key.kind() {
        KeyKind::Note => Ok(key),
        KeyKind::Cosignature => {
            Err(format!("key `{text}` is of a cosigner: expected one of a log (type 0x01)"))
        }
    }
}

/// The file of `holdpoint witness`. Paths are relative to its folder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WitnessConfig {
    /// Address and port.
    pub(crate) listen: SocketAddr,
    /// Folder of the key and of what is remembered. Whoever loses it may sign two histories.
    pub(crate) data_dir: PathBuf,
    /// The name on cosignatures: a schema-less address of yours, for instance `witness.example/w1`.
    pub(crate) name: String,
    /// Verifier keys of the logs that are cosigned.
    pub(crate) logs: Vec<String>,
    /// Drills are taken. Never in production.
    #[serde(default)]
    pub(crate) development: bool,
    /// The folder that the paths are relative to.
    #[serde(skip)]
    pub(crate) base: PathBuf,
}

impl WitnessConfig {
    /// Reads the file.
    pub(crate) fn load(path: &std::path::Path) -> Result<Self, ConfigError> {
        let mut config: Self = parse(path)?;
        config.base = super::folder_of(path);
        Ok(config)
    }

    /// The folder of the key and of what is remembered.
    pub(crate) fn data(&self) -> PathBuf {
        self.base.join(&self.data_dir)
    }

    /// The keys of the logs; all faults together.
    pub(crate) fn log_keys(&self) -> Result<Vec<VerifierKey>, ConfigError> {
        let (keys, faults): (Vec<_>, Vec<_>) =
            self.logs.iter().map(|text| log_key(text)).partition(Result::is_ok);
        let faults: Vec<_> =
            faults.into_iter().filter_map(Result::err).map(|why| format!("`logs`: {why}")).collect();
        if faults.is_empty() { Ok(keys.into_iter().flatten().collect()) } else { Err(ConfigError(faults)) }
    }
}
