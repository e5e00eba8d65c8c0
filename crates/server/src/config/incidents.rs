//! The `incidents:` part of the configuration: who may tell of incidents, and which labels name services.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use holdpoint_adapters::identity::SharedToken;
use holdpoint_domain::{Id, id::kind};
use serde::Deserialize;

/// Most sources: a few Alertmanagers.
const MAX_SOURCES: usize = 8;
/// Most labels that may name a service.
const MAX_LABELS: usize = 8;

/// Who may tell of incidents.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IncidentSource {
    /// Its name, which stands in the path that it posts to.
    pub(crate) id: Id<kind::Source>,
    /// What it speaks.
    pub(crate) kind: SourceKind,
    /// A file with the token that it sends, mode 0600, at least 32 characters.
    pub(crate) secret_file: PathBuf,
    /// Labels whose values are names of services of the inventory (`service`).
    #[serde(default = "service")]
    pub(crate) service_labels: BTreeSet<String>,
}

/// What a source speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SourceKind {
    /// The webhook of an Alertmanager, version 4.
    Alertmanager,
}

/// A source with its token.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// What it shows.
    pub(crate) token: SharedToken,
    /// Labels whose values are names of services.
    pub(crate) service_labels: BTreeSet<String>,
}

fn service() -> BTreeSet<String> {
    ["service".to_owned()].into()
}

/// The sources with their tokens, or all faults. A source without a sound token refuses the start (T40).
pub(crate) fn sources(
    configured: &[IncidentSource],
    base: &Path,
) -> Result<BTreeMap<Id<kind::Source>, Source>, Vec<String>> {
    let (mut sources, mut faults) = (BTreeMap::new(), Vec::new());
    if configured.len() > MAX_SOURCES {
        faults.push(format!("`incidents`: expected at most {MAX_SOURCES} sources, got {}", configured.len()));
    }
    for IncidentSource { id, kind: SourceKind::Alertmanager, secret_file, service_labels } in configured {
        if !(1..=MAX_LABELS).contains(&service_labels.len()) || service_labels.contains("") {
            let fault = format!("expected 1 to {MAX_LABELS} names of labels");
            faults.push(format!("`incidents`: source `{id}`: `service_labels`: {fault}"));
        }
        match SharedToken::read(&base.join(secret_file)) {
            Ok(token) => {
                let source = Source { token, service_labels: service_labels.clone() };
                if sources.insert(id.clone(), source).is_some() {
                    faults.push(format!("`incidents`: source `{id}` stands twice"));
                }
            }
            Err(err) => faults.push(format!("`incidents`: source `{id}`: `secret_file`: {err}")),
        }
    }
    if faults.is_empty() { Ok(sources) } else { Err(faults) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn faults(yaml: &str, base: &Path) -> Vec<String> {
        let configured: Vec<IncidentSource> = serde_saphyr::from_str(yaml).unwrap();
        sources(&configured, base).map(|_| ()).err().unwrap_or_default()
    }

    #[test]
    fn t40_a_source_without_a_sound_secret_refuses_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let good = "0123456789abcdef0123456789abcdef";
        for (name, text, mode) in [
            ("good", good, 0o600),
            ("line", &format!("{good}\n"), 0o600),
            ("empty", "", 0o600),
            ("blank", "\n", 0o600),
            ("short", &good[1..], 0o600),
            ("spaced", "0123456789abcdef 0123456789abcdef", 0o600),
            ("lines", &format!("{good}\n{good}\n"), 0o600),
            ("readable", good, 0o644),
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let of = |file: &str| {
            faults(&format!("[{{id: prod, kind: alertmanager, secret_file: {file}}}]"), dir.path())
        };
        for good in ["good", "line"] {
            assert_eq!(of(good), [""; 0], "{good}");
        }
        for (bad, why) in [
            ("empty", "not empty"),
            ("blank", "not empty"),
            ("short", "at least 32 characters, got 31"),
            ("spaced", "letters, digits"),
            ("lines", "one line"),
            ("readable", "0600"),
            ("nowhere", "nowhere"),
        ] {
            let faults = of(bad);
            assert!(faults.len() == 1 && faults[0].contains(why), "{bad}: {faults:?}");
            assert!(faults[0].starts_with("`incidents`: source `prod`: `secret_file`: "), "{faults:?}");
            assert!(!faults[0].contains("0123456789"), "{faults:?}");
        }
        let no_secret: Result<Vec<IncidentSource>, _> =
            serde_saphyr::from_str("[{id: prod, kind: alertmanager}]");
        assert!(no_secret.is_err_and(|err| err.to_string().contains("secret_file")));
        let twice = "[{id: a, kind: alertmanager, secret_file: good}, {id: a, kind: alertmanager, secret_file: good}]";
        assert!(faults(twice, dir.path())[0].contains("stands twice"));
        let none = "[{id: a, kind: alertmanager, secret_file: good, service_labels: []}]";
        assert!(faults(none, dir.path())[0].contains("service_labels"));
    }
}
