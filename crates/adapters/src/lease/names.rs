//! Names of the roles of tasks: the lease's id, below a prefix that is this gate's alone.

use holdpoint_domain::{Digest, Id, id::kind};

/// Longest prefix of our roles: with the rest of the name it stays below the 63 bytes of an identifier.
const MAX_PREFIX: usize = 16;
/// How lease ids begin that the gate makes.
const LEASE: &str = "lease-";

/// Why no roles can be named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "lease backend `{backend}`: expected a prefix of 1 to {MAX_PREFIX} lower-case letters and digits, got `{got}`"
)]
pub struct PrefixError {
    backend: Id<kind::Backend>,
    got: String,
}

/// The names of one gate's roles in one backend: `{prefix}_{8 hex of the ledger's origin}_{32 hex of the lease}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RoleNames {
    /// With the ledger's origin in it, so that two gates at one server never take each other's roles for orphans.
    prefix: String,
}

impl RoleNames {
    /// Names below the operator's prefix, for the ledger of this origin.
    pub(super) fn new(backend: &Id<kind::Backend>, prefix: &str, origin: &str) -> Result<Self, PrefixError> {
        let plain = prefix.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let starts = prefix.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        if !plain || !starts || prefix.len() > MAX_PREFIX {
            return Err(PrefixError { backend: backend.clone(), got: prefix.to_owned() });
        }
        let gate: String = hex(Digest::of_bytes(origin.as_bytes()).as_bytes()).chars().take(8).collect();
        Ok(Self { prefix: format!("{prefix}_{gate}_") })
    }

    /// How all of them begin.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The role of a lease; none for an id that no gate makes.
    pub(super) fn role(&self, lease: &Id<kind::Lease>) -> Option<String> {
        let unique = lease.as_str().strip_prefix(LEASE)?;
        is_unique(unique).then(|| format!("{}{unique}", self.prefix))
    }

    /// The lease of a role; none for a role that is not exactly one of ours.
    pub(super) fn lease(&self, role: &str) -> Option<Id<kind::Lease>> {
        let unique = role.strip_prefix(&self.prefix)?;
        is_unique(unique).then(|| Id::parse(&format!("{LEASE}{unique}")).ok()).flatten()
    }
}

fn is_unique(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
