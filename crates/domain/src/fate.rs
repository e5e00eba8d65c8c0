//! Shared fate: what instances of different services have in common beside who needs whom. Two services on one node, or behind one
//! secret, fall together although neither calls the other.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Id, id::kind, target::Target};

/// Most things that one target says it shares.
pub const MAX_SHARES: usize = 64;

/// What kind of thing is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SharedKind {
    /// A machine, or a node of a cluster.
    Node,
    /// A volume or a file system.
    Volume,
    /// A database, or the server of several.
    Database,
    /// A secret, a key or a certificate.
    Secret,
    /// Where backups go: whatever destroys it takes the copies of all.
    BackupDomain,
}

impl SharedKind {
    /// All kinds, in their order.
    pub const ALL: [Self; 5] = [Self::Node, Self::Volume, Self::Database, Self::Secret, Self::BackupDomain];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Volume => "volume",
            Self::Database => "database",
            Self::Secret => "secret",
            Self::BackupDomain => "backup_domain",
        }
    }

    /// The same for people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::BackupDomain => "backup domain",
            Self::Node | Self::Volume | Self::Database | Self::Secret => self.as_str(),
        }
    }
}

/// The things that a target shares with whatever else names them, by kind.
pub type Shares = BTreeMap<SharedKind, BTreeSet<Id<kind::Shared>>>;

/// One thing that several targets may name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shared {
    /// What it is.
    pub kind: SharedKind,
    /// Its name. Things of different kinds with one name are different things.
    pub name: Id<kind::Shared>,
}

/// The things that a target names.
pub fn of(target: &Target) -> impl Iterator<Item = Shared> + '_ {
    target
        .shares
        .iter()
        .flat_map(|(kind, names)| names.iter().map(|name| Shared { kind: *kind, name: name.clone() }))
}

/// Which services have a target on which thing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Index {
    services: BTreeMap<Shared, BTreeSet<Id<kind::Service>>>,
}

impl Index {
    /// The index of all targets.
    pub(crate) fn new<'a>(targets: impl IntoIterator<Item = &'a Target>) -> Self {
        let mut index = Self::default();
        for target in targets {
            for shared in of(target) {
                index.services.entry(shared).or_default().insert(target.service.clone());
            }
        }
        index
    }

    /// The things that any of these targets names, and all services with a target that names them.
    pub(crate) fn sharing<'a>(
        &self,
        targets: impl IntoIterator<Item = &'a Target>,
    ) -> BTreeMap<Shared, &BTreeSet<Id<kind::Service>>> {
        let things = targets.into_iter().flat_map(of);
        things.filter_map(|shared| self.services.get(&shared).map(|services| (shared, services))).collect()
    }
}
