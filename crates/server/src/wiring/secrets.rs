//! Files of passwords: each is for one role, and the others must not be able to read it.

use std::{fs::File, path::PathBuf};

use super::executors::Targets;
use crate::{
    cli::CliError,
    config::{Role, RoleConfig},
};

/// Refuses a role that can read a password of another one. All of them have the same list of files.
pub(crate) fn check(config: &RoleConfig) -> Result<(), CliError> {
    let text = config.text(config.executors.as_deref())?;
    let Targets { databases, logins, backends, .. } = Targets::parse(&config.base, text.as_deref())?;
    let looks = databases.into_iter().map(|database| (Role::Observer, database.observer_password_file));
    let probes = logins.into_values().map(|login| (Role::Observer, login.password_file));
    let roots = backends.roots().map(|path| (Role::Issuer, path));
    let is_open = |path: &PathBuf| File::open(path).is_ok();
    match looks.chain(probes).chain(roots).find(|(owner, path)| *owner != config.role && is_open(path)) {
        None => Ok(()),
        Some((owner, path)) => Err(CliError::Failed(format!(
            "{} is a secret of the role `{owner}`, and `{}` can read it: keep it from the folder and the user of this role",
            path.display(),
            config.role,
        ))),
    }
}
