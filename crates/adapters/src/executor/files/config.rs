//! The executor for configuration files: an action's parameters are named settings of the file, and exactly those are set.
//!
//! The relevant version is the whole file with its mode. The file before is kept in the state, readable by its owner only,
//! and goes back byte by byte.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
};

use holdpoint_app::port::Field;
use holdpoint_domain::{
    Digest, Id,
    action::ParamSpec,
    id::kind,
    parts::Parts,
    plan::{ParamValue, Step},
};

use super::{
    Command, FileTarget, FilesError, check_path,
    edit::{EditError, Editable},
    json,
    place::Content,
};
use crate::executor::chain;

/// Largest configuration file: it is kept in the state file while its undo is armed.
const MAX_FILE: u64 = 256 * 1024;
/// Most settings of one file.
const MAX_SETTINGS: usize = 256;
/// Longest key.
const MAX_KEY: usize = 512;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON (RFC 8259). Keys are paths of member names: `db.pool_size`, or a pointer (RFC 6901) such as `/db/pool_size`.
    Json,
    /// Lines of `KEY=value`, with or without `export`, the value plain or in one pair of quotes.
    Env,
}

/// A setting that actions may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Where it stands in the file.
    pub key: String,
    /// What it may be set to, whatever a permit says. Not a secret: `secret.rotate` is for those.
    pub spec: ParamSpec,
}

/// One configuration file, as the operator wrote it down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigTarget {
    // INVARIANT: `path` passed `check_path`; every key parses for the format; no setting is a secret.
    id: Id<kind::Target>,
    path: PathBuf,
    format: Format,
    settings: BTreeMap<Id<kind::Param>, Setting>,
    reload: Option<Command>,
}

impl ConfigTarget {
    /// Checks what the operator wrote. `reload` tells whoever reads the file, after each write; without one they must watch
    /// it themselves.
    pub fn new(
        id: Id<kind::Target>,
        path: PathBuf,
        format: Format,
        settings: BTreeMap<Id<kind::Param>, Setting>,
        reload: Option<Command>,
    ) -> Result<Self, FilesError> {
        check_path(&id, &path)?;
        let wrong = |why: String| Err(FilesError::Target { target: id.clone(), why });
        if settings.is_empty() || settings.len() > MAX_SETTINGS {
            return wrong(format!("expected 1 to {MAX_SETTINGS} settings, got {}", settings.len()));
        }
        for (name, setting) in &settings {
            let key_fits = setting.key.len() <= MAX_KEY
                && match format {
                    Format::Json => pointer(&setting.key).is_some(),
                    Format::Env => is_variable(&setting.key),
                };
            if !key_fits {
                return wrong(format!(
                    "setting `{name}`: expected a key of at most {MAX_KEY} bytes for its format"
                ));
            }
            if setting.spec == ParamSpec::Secret {
                return wrong(format!(
                    "setting `{name}`: expected a number, a choice or yes and no, got a secret"
                ));
            }
        }
        Ok(Self { id, path, format, settings, reload })
    }

    /// The setting's place in the text, and whether it holds a value of its type.
    fn find(&self, text: &str, name: &Id<kind::Param>, setting: &Setting) -> Result<Range<usize>, EditError> {
        let (at, fits) = match self.format {
            Format::Json => {
                let path = pointer(&setting.key)
                    .ok_or_else(|| EditError::Document(format!("setting `{name}` has no place")))?;
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                let at = json::locate(text, &path)?;
                let fits = is_json_of(json::slice(text, &at)?, &setting.spec);
                (at, fits)
            }
            Format::Env => {
                let at = variable(text, &setting.key)?;
                let fits = is_text_of(json::slice(text, &at)?, &setting.spec);
                (at, fits)
            }
        };
        if fits {
            return Ok(at);
        }
        // Not what stands there: it may be a secret.
        Err(EditError::Document(format!("setting `{name}`: what stands there is not of its type")))
    }
}

/// The value as text for a format, if it is within what the operator's file allows.
fn written(
    format: Format,
    name: &Id<kind::Param>,
    spec: &ParamSpec,
    value: &ParamValue,
) -> Result<String, EditError> {
    match (spec, value) {
        (ParamSpec::Int { min, max }, ParamValue::Int(int)) if min <= int && int <= max => {
            Ok(int.to_string())
        }
        (ParamSpec::Bool, ParamValue::Bool(yes)) => Ok(yes.to_string()),
        // The grammar of ids has nothing that JSON, a line or a shell would escape.
        (ParamSpec::Choice { of }, ParamValue::Choice(word)) if of.contains(word) => Ok(match format {
            Format::Json => format!("\"{word}\""),
            Format::Env => word.to_string(),
        }),
        (ParamSpec::Int { .. } | ParamSpec::Bool | ParamSpec::Choice { .. } | ParamSpec::Secret, _) => {
            Err(EditError::Parameters(format!("`{name}` is not within what this target's file allows")))
        }
    }
}

/// Whether a JSON value is of a setting's type, whatever its bounds: what is out of bounds may be what is to be mended.
fn is_json_of(value: &str, spec: &ParamSpec) -> bool {
    match spec {
        ParamSpec::Int { .. } => value.parse::<i64>().is_ok(),
        ParamSpec::Bool => matches!(value, "true" | "false"),
        ParamSpec::Choice { .. } => value.starts_with('"'),
        ParamSpec::Secret => false,
    }
}

/// Whether a value of a variable is of a setting's type.
fn is_text_of(value: &str, spec: &ParamSpec) -> bool {
    match spec {
        ParamSpec::Int { .. } => value.parse::<i64>().is_ok(),
        ParamSpec::Bool => matches!(value, "true" | "false"),
        ParamSpec::Choice { .. } => {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            !value.is_empty() && value.chars().all(plain)
        }
        ParamSpec::Secret => false,
    }
}

/// The member names of a key: a pointer with its escapes, or names with dots between them.
fn pointer(key: &str) -> Option<Vec<String>> {
    let Some(rest) = key.strip_prefix('/') else {
        let names: Vec<String> = key.split('.').map(str::to_owned).collect();
        return (!names.iter().any(String::is_empty)).then_some(names);
    };
    // RFC 6901, section 4: `~1` first, so that `~01` becomes `~1`.
    Some(rest.split('/').map(|name| name.replace("~1", "/").replace("~0", "~")).collect())
}

fn is_variable(key: &str) -> bool {
    let first = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    first && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Where the value of a variable stands, within its quotes. One that stands twice is nobody's.
fn variable(text: &str, key: &str) -> Result<Range<usize>, EditError> {
    let mut found = None;
    let mut start = 0_usize;
    for line in text.split_inclusive('\n') {
        let content = line.trim_end_matches(['\n', '\r']);
        if let Some(at) = value_of(content, key) {
            let at = start.saturating_add(at.start)..start.saturating_add(at.end);
            if found.replace(at).is_some() {
                return Err(EditError::Document(format!("expected `{key}` once, got it twice")));
            }
        }
        start = start.saturating_add(line.len());
    }
    found.ok_or_else(|| EditError::Document(format!("expected `{key}`, got no such line")))
}

/// Where the value stands in a line `KEY=value`, without quotes around it.
fn value_of(line: &str, key: &str) -> Option<Range<usize>> {
    let rest = line.trim_start();
    let rest = rest.strip_prefix("export ").map_or(rest, str::trim_start);
    let value = rest.strip_prefix(key)?.strip_prefix('=')?;
    let start = line.len().checked_sub(value.len())?;
    let inner = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    let (start, length) = match inner {
        Some(inner) => (start.checked_add(1)?, inner.len()),
        None => (start, value.trim_end().len()),
    };
    Some(start..start.checked_add(length)?)
}

impl FileTarget for ConfigTarget {
    fn id(&self) -> &Id<kind::Target> {
        &self.id
    }

    fn thing(&self) -> String {
        format!("{:?}", self.path)
    }
}

impl Editable for ConfigTarget {
    const MAX_BYTES: u64 = MAX_FILE;

    /// Any action of this executor: what it sets is in its parameters.
    fn knows(_: &Id<kind::Action>) -> bool {
        true
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn version(&self, file: &Content) -> Result<Digest, EditError> {
        let version = serde_json::json!({
            "type": "holdpoint/config-version/v1", "target": self.id,
            "bytes": Digest::of_bytes(&file.bytes), "mode": file.mode,
        });
        Digest::of(&version).map_err(|err| EditError::Document(err.to_string()))
    }

    fn parts(&self, file: &Content) -> Result<Parts, EditError> {
        let rest = [
            ("file".to_owned(), Digest::of_bytes(&file.bytes).short()),
            ("mode".to_owned(), format!("{:o}", file.mode)),
        ];
        // What stands there is of its type, and no type is one of secrets. A setting that cannot be read is part of the file.
        let setting = |(name, setting): (&Id<kind::Param>, &Setting)| {
            let text = json::text(&file.bytes).ok()?;
            let at = self.find(text, name, setting).ok()?;
            Some((setting.key.clone(), json::slice(text, &at).ok()?.to_owned()))
        };
        Ok(rest.into_iter().chain(self.settings.iter().filter_map(setting)).collect())
    }

    fn part(&self, file: &Content) -> Result<Vec<u8>, EditError> {
        // What does not read as its format is nothing that we could edit.
        let text = json::text(&file.bytes)?;
        for (name, setting) in &self.settings {
            self.find(text, name, setting)?;
        }
        Ok(file.bytes.clone())
    }

    fn with_part(&self, _: &Content, part: &[u8]) -> Result<Vec<u8>, EditError> {
        Ok(part.to_vec())
    }

    fn fields(&self, before: &Content, after: &Content, step: &Step) -> Result<Vec<Field>, EditError> {
        let (before, after) = (json::text(&before.bytes)?, json::text(&after.bytes)?);
        let touched = step.params.keys().filter_map(|name| self.settings.get_key_value(name));
        let field = |(name, setting): (&Id<kind::Param>, &Setting)| {
            // What stands there is of its type, and no type is one of secrets.
            let before = json::slice(before, &self.find(before, name, setting)?)?.to_owned();
            let after = json::slice(after, &self.find(after, name, setting)?)?.to_owned();
            Ok(Field { name: setting.key.clone(), before, after })
        };
        touched.map(field).collect()
    }

    fn edited(&self, file: &Content, step: &Step) -> Result<Vec<u8>, EditError> {
        if step.params.is_empty() {
            return Err(EditError::Parameters("expected at least one setting".to_owned()));
        }
        let mut text = json::text(&file.bytes)?.to_owned();
        for (name, value) in &step.params {
            let setting = self.settings.get(name);
            let setting = setting
                .ok_or_else(|| EditError::Parameters(format!("`{name}` is not a setting of this target")))?;
            let value = written(self.format, name, &setting.spec, value)?;
            // Looked up anew after each change: the places behind it have moved.
            let at = self.find(&text, name, setting)?;
            text = json::splice(&text, &at, &value)?;
        }
        Ok(text.into_bytes())
    }

    fn could_settle(&self) -> std::io::Result<()> {
        self.reload.as_ref().map_or(Ok(()), Command::could_run)
    }

    fn settle(&self) -> Result<(), EditError> {
        let reloaded = self.reload.as_ref().map_or(Ok(()), Command::run);
        reloaded.map_err(|err| EditError::Reload(chain(&err)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_found_with_and_without_quotes_and_never_twice() {
        let text = "# POOL=1\nPOOLS=2\r\nexport POOL=\"30\"\r\n  MODE='fast'\nLAST=x";
        let value = |key: &str| variable(text, key).map(|at| text[at].to_owned());
        assert_eq!(value("POOL").unwrap(), "30");
        assert_eq!(value("POOLS").unwrap(), "2");
        assert_eq!(value("MODE").unwrap(), "fast");
        assert_eq!(value("LAST").unwrap(), "x");
        assert!(value("NONE").is_err());
        assert!(variable("A=1\nexport A=2\n", "A").is_err());
    }

    #[test]
    fn what_would_be_lost_by_a_new_value_is_not_a_value() {
        let int = ParamSpec::Int { min: 0, max: 1 };
        for (text, fits) in [("5", true), ("-5", true), ("5 # why", false), ("$N", false), ("", false)] {
            assert_eq!(is_text_of(text, &int), fits, "{text}");
        }
        assert!(!is_json_of("1e3", &int) && !is_json_of("\"5\"", &int));
    }

    #[test]
    fn keys_are_paths() {
        assert_eq!(pointer("db.pool").unwrap(), ["db", "pool"]);
        assert_eq!(pointer("/a~1b/c.d/~01").unwrap(), ["a/b", "c.d", "~1"]);
        assert!(pointer("a..b").is_none() && pointer("").is_none());
    }
}
