//! How commands end.

use crate::config::ConfigError;

/// What the exit codes mean, as the help and the documentation say it.
pub(crate) const EXIT_CODES: [(u8, &str); 10] = [
    (0, "done"),
    (1, "error"),
    (2, "usage"),
    (3, "denied, by the gate or by a person"),
    (4, "approval pending, or not ended in the time given"),
    (5, "expired"),
    (6, "post-check failed, and undone"),
    (7, "undo failed"),
    (8, "gate unreachable: nothing was started"),
    (9, "verification failed"),
];

/// Why a command ended without success.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// Something failed.
    #[error("{0}")]
    Failed(String),
    /// The command line does not make sense.
    #[error("{0}")]
    Usage(String),
    /// The gate, its policy, or a person, said no.
    #[error("{0}")]
    Denied(String),
    /// The plan waits for people, or is not at its end yet; not an error, but not done either.
    #[error("{0}")]
    Pending(String),
    /// The plan's time ran out.
    #[error("{0}")]
    Expired(String),
    /// The result did not verify, and the effect was taken back.
    #[error("{0}")]
    Undone(String),
    /// And could not be taken back.
    #[error("{0}")]
    UndoFailed(String),
    /// The gate could not be reached. Nothing was started.
    #[error("{0}")]
    Unreachable(String),
    /// A log or a proof does not stand.
    #[error("{0}")]
    NotVerified(String),
}

impl CliError {
    /// The exit code.
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Denied(_) => 3,
            Self::Pending(_) => 4,
            Self::Expired(_) => 5,
            Self::Undone(_) => 6,
            Self::UndoFailed(_) => 7,
            Self::Unreachable(_) => 8,
            Self::NotVerified(_) => 9,
        }
    }
}

impl From<ConfigError> for CliError {
    fn from(err: ConfigError) -> Self {
        Self::Failed(err.to_string())
    }
}

/// A failure with its causes on one line.
pub(crate) fn failed(err: impl std::error::Error) -> CliError {
    let mut text = err.to_string();
    let mut source = err.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    CliError::Failed(text)
}

/// The exit codes as the help shows them.
pub(super) fn exit_codes() -> String {
    let lines = EXIT_CODES.iter().map(|(code, what)| format!("  {code}  {what}\n"));
    format!("Exit codes:\n{}", lines.collect::<String>().trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_a_documented_code_of_its_own() {
        let make = [
            CliError::Failed,
            CliError::Usage,
            CliError::Denied,
            CliError::Pending,
            CliError::Expired,
            CliError::Undone,
            CliError::UndoFailed,
            CliError::Unreachable,
            CliError::NotVerified,
        ];
        let codes: Vec<u8> = std::iter::once(0).chain(make.map(|make| make(String::new()).code())).collect();
        assert_eq!(codes, EXIT_CODES.map(|(code, _)| code));
    }
}
