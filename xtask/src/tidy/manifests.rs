//! The walls between the crates, read from their manifests.
//!
//! Only what ships is looked at: `[dependencies]`, also those of one target. Tests and build scripts may use more.

use super::Finding;
use crate::repo::File;

/// A crate of ours and what it may use of ours. A crate that is missing here breaks the rule.
struct Layer {
    folder: &'static str,
    uses: &'static [&'static str],
}

const DOMAIN: &str = "holdpoint-domain";
const LEDGER: &str = "holdpoint-ledger";
const POLICY: &str = "holdpoint-policy";
const APP: &str = "holdpoint-app";
const ADAPTERS: &str = "holdpoint-adapters";
const SERVER: &str = "holdpoint";

/// `server → adapters → app → {policy, domain, ledger}`, `policy → domain`; a crate may reach past the next one down.
const LAYERS: &[Layer] = &[
    Layer { folder: "crates/domain", uses: &[] },
    Layer { folder: "crates/ledger", uses: &[] },
    Layer { folder: "crates/policy", uses: &[DOMAIN] },
    Layer { folder: "crates/app", uses: &[POLICY, DOMAIN, LEDGER] },
    Layer { folder: "crates/adapters", uses: &[APP, POLICY, DOMAIN, LEDGER] },
    Layer { folder: "crates/server", uses: &[ADAPTERS, APP, POLICY, DOMAIN, LEDGER] },
    // Properties see what an attacker sees: public interfaces, from the outside.
    Layer { folder: "fuzz/properties", uses: &[SERVER, ADAPTERS, POLICY, DOMAIN, LEDGER] },
    Layer { folder: "fuzz", uses: &["holdpoint-properties"] },
    Layer { folder: "xtask", uses: &[] },
];

const PURE: &[&str] = &["crates/domain", "crates/ledger", "crates/policy", "crates/app"];
/// Crates that do I/O, keep time or draw randomness.
const WORLDLY: &[&str] = &[
    "tokio",
    "reqwest",
    "rusqlite",
    "axum",
    "hyper",
    "rustix",
    "getrandom",
    "rand",
    "kube",
    "sqlx",
    "tokio-postgres",
];
const POLICY_ENGINES: &[&str] = &["cedar-policy", "cedar-policy-core", "regorus"];

pub(super) fn direction(files: &[File]) -> Vec<Finding> {
    dependencies(files, |folder, name| {
        if name != "holdpoint" && !name.starts_with("holdpoint-") {
            return None;
        }
        match LAYERS.iter().find(|layer| layer.folder == folder) {
            None => Some(format!("`{folder}` is not a known crate")),
            Some(layer) if layer.uses.contains(&name) => None,
            Some(_) => Some(format!("`{folder}` uses `{name}`")),
        }
    })
}

pub(super) fn purity(files: &[File]) -> Vec<Finding> {
    dependencies(files, |folder, name| {
        let worldly = PURE.contains(&folder) && WORLDLY.contains(&name);
        worldly.then(|| format!("the pure crate `{folder}` uses `{name}`"))
    })
}

pub(super) fn one_policy_crate(files: &[File]) -> Vec<Finding> {
    dependencies(files, |folder, name| {
        let elsewhere = folder != "crates/policy" && POLICY_ENGINES.contains(&name);
        elsewhere.then(|| format!("`{folder}` uses the policy engine `{name}`"))
    })
}

/// Asks `judge` about every dependency of every member, given the member's folder and the dependency's true name.
fn dependencies(files: &[File], judge: impl Fn(&str, &str) -> Option<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        let Some(folder) = file.path.strip_suffix("/Cargo.toml") else { continue };
        for (line, name) in shipped_dependencies(file) {
            if let Some(found) = judge(folder, name) {
                findings.push(Finding::new(&file.path, line, found));
            }
        }
    }
    findings
}

/// Names with their lines, from `[dependencies]`, `[dependencies.x]` and `[target.….dependencies]`.
fn shipped_dependencies(manifest: &File) -> Vec<(usize, &str)> {
    let mut names = Vec::new();
    let mut in_dependencies = false;
    for (number, line) in manifest.numbered_lines() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let target = header.starts_with("target.") && header.ends_with(".dependencies");
            in_dependencies = header == "dependencies" || target;
            if let Some((_, name)) = header.split_once("dependencies.")
                && !header.contains("dev-dependencies")
                && !header.contains("build-dependencies")
            {
                names.push((number, name));
            }
        } else if in_dependencies && let Some((key, value)) = line.split_once('=') {
            let alias = key.trim().split('.').next().unwrap_or_default();
            names.push((number, renamed_from(value).unwrap_or(alias)));
        }
    }
    names.retain(|(_, name)| !name.is_empty() && !name.starts_with('#'));
    names
}

/// The name behind an alias: `x` in `y = { package = "x" }`.
fn renamed_from(value: &str) -> Option<&str> {
    let (_, rest) = value.split_once("package")?;
    rest.trim_start().strip_prefix('=')?.split('"').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ships_is_read() {
        let text = "[package]\nname = \"a\"\n[dependencies]\n# why\nserde.workspace = true\ny = { package = \"x\" }\n\
                    [dependencies.big]\nversion = \"1\"\n[target.'cfg(unix)'.dependencies]\nrustix = \"1\"\n\
                    [dev-dependencies]\ntokio = \"1\"\n[dev-dependencies.axum]\nversion = \"1\"\n";
        let file = File::new("crates/domain/Cargo.toml", text);
        let names: Vec<&str> = shipped_dependencies(&file).into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["serde", "x", "big", "rustix"]);
    }

    #[test]
    fn a_crate_that_nobody_placed_breaks_the_rule() {
        let file =
            File::new("crates/extra/Cargo.toml", "[dependencies]\nholdpoint-domain.workspace = true\n");
        let findings = direction(&[file]);
        assert_eq!(
            findings,
            [Finding::new("crates/extra/Cargo.toml", 2, "`crates/extra` is not a known crate")]
        );
    }
}
