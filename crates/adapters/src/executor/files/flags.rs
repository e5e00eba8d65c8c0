//! The executor for feature flags in files of the flagd format (<https://flagd.dev/reference/flag-definitions/>):
//! `flags.disable`, `flags.enable` and `flags.set-variant`.
//!
//! A target is one flag. Its relevant version is the flag's own object, byte by byte: another flag of the file may
//! change meanwhile, and that change survives our write.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use holdpoint_app::port::Field;
use holdpoint_domain::{
    Digest, Id,
    id::kind,
    parts::Parts,
    plan::{ParamValue, Step},
};

use super::{
    FileTarget, FilesError, check_path,
    edit::{EditError, Editable},
    json::{self, Missing},
    place::Content,
};

/// Largest flag file.
const MAX_FILE: u64 = 4 * 1024 * 1024;
/// Largest object of one flag: it is kept in the state file while its undo is armed.
const MAX_FLAG: usize = 64 * 1024;
/// Longest name of a flag.
const MAX_NAME: usize = 256;

/// One flag in one file, as the operator wrote it down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagTarget {
    // INVARIANT: `path` passed `check_path`; `flag` has 1 to MAX_NAME bytes.
    id: Id<kind::Target>,
    path: PathBuf,
    flag: String,
}

/// The members of a flag that people read.
const MEMBERS: [&str; 2] = ["state", "defaultVariant"];

/// What this executor can do. Everything else is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Disable,
    Enable,
    SetVariant,
}

impl Operation {
    fn of(action: &Id<kind::Action>) -> Option<Self> {
        match action.as_str() {
            "flags.disable" => Some(Self::Disable),
            "flags.enable" => Some(Self::Enable),
            "flags.set-variant" => Some(Self::SetVariant),
            _ => None,
        }
    }
}

impl FlagTarget {
    /// Checks what the operator wrote.
    pub fn new(id: Id<kind::Target>, path: PathBuf, flag: String) -> Result<Self, FilesError> {
        check_path(&id, &path)?;
        if flag.is_empty() || flag.len() > MAX_NAME {
            let why = format!("expected a flag's name of 1 to {MAX_NAME} bytes, got {}", flag.len());
            return Err(FilesError::Target { target: id, why });
        }
        Ok(Self { id, path, flag })
    }

    /// The document, and where the flag's object stands in it.
    /// What a member of the flag's object is.
    fn value(&self, file: &Content, name: &str) -> Result<String, EditError> {
        let (text, flag) = self.find(file)?;
        match json::member(text, &flag, name) {
            Ok(at) => Ok(json::slice(text, &at)?.to_owned()),
            Err(Missing::Member(_)) => Ok("not there".to_owned()),
            Err(err) => Err(err.into()),
        }
    }

    fn find<'a>(&self, file: &'a Content) -> Result<(&'a str, Range<usize>), EditError> {
        let text = json::text(&file.bytes)?;
        let at = json::locate(text, &["flags", &self.flag])?;
        if at.len() > MAX_FLAG {
            let why = format!("expected a flag of at most {MAX_FLAG} bytes, got {}", at.len());
            return Err(EditError::Document(why));
        }
        // It is an object, and what we may change in it stands there once.
        for name in ["state", "variants", "defaultVariant"] {
            match json::member(text, &at, name) {
                Ok(_) | Err(Missing::Member(_)) => {}
                Err(err @ (Missing::Twice(_) | Missing::Shape { .. } | Missing::NotUtf8)) => {
                    return Err(err.into());
                }
            }
        }
        Ok((text, at))
    }

    /// The flag's own variant that a step names.
    fn variant(text: &str, flag: &Range<usize>, step: &Step) -> Result<String, EditError> {
        let mut params = step.params.iter();
        let (Some((name, ParamValue::Choice(word))), None) = (params.next(), params.next()) else {
            return Err(EditError::Parameters("expected one word, `variant`".to_owned()));
        };
        if name.as_str() != "variant" {
            return Err(EditError::Parameters(format!("expected `variant`, got `{name}`")));
        }
        let variants = json::members(text, &json::member(text, flag, "variants")?)?;
        if variants.iter().filter(|(variant, _)| variant == word.as_str()).count() == 1 {
            return Ok(word.as_str().to_owned());
        }
        Err(EditError::Parameters(format!("expected one of the flag's own variants, got `{word}`")))
    }
}

impl FileTarget for FlagTarget {
    fn id(&self) -> &Id<kind::Target> {
        &self.id
    }

    fn thing(&self) -> String {
        format!("{:?} {:?}", self.path, self.flag)
    }
}

impl Editable for FlagTarget {
    const MAX_BYTES: u64 = MAX_FILE;

    fn knows(action: &Id<kind::Action>) -> bool {
        Operation::of(action).is_some()
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn version(&self, file: &Content) -> Result<Digest, EditError> {
        let object = Digest::of_bytes(&self.part(file)?);
        let version = serde_json::json!({
            "type": "holdpoint/flag-version/v1", "target": self.id, "flag": self.flag, "object": object,
        });
        Digest::of(&version).map_err(|err| EditError::Document(err.to_string()))
    }

    fn parts(&self, file: &Content) -> Result<Parts, EditError> {
        let object = Digest::of_bytes(&self.part(file)?).short();
        let state = match self.value(file, "state")?.as_str() {
            "\"ENABLED\"" => "ENABLED".to_owned(),
            "\"DISABLED\"" => "DISABLED".to_owned(),
            other => Digest::of_bytes(other.as_bytes()).short(),
        };
        let variant = Digest::of_bytes(self.value(file, "defaultVariant")?.as_bytes()).short();
        Ok([("state", state), ("defaultVariant", variant), ("object", object)].into_iter().collect())
    }

    fn part(&self, file: &Content) -> Result<Vec<u8>, EditError> {
        let (text, at) = self.find(file)?;
        Ok(json::slice(text, &at)?.as_bytes().to_vec())
    }

    fn with_part(&self, file: &Content, part: &[u8]) -> Result<Vec<u8>, EditError> {
        let (text, at) = self.find(file)?;
        Ok(json::splice(text, &at, json::text(part)?)?.into_bytes())
    }

    fn fields(&self, before: &Content, after: &Content, _: &Step) -> Result<Vec<Field>, EditError> {
        let field = |name: &str| {
            let (before, after) = (self.value(before, name)?, self.value(after, name)?);
            Ok(Field { name: name.to_owned(), before, after })
        };
        MEMBERS.map(field).into_iter().collect()
    }

    fn edited(&self, file: &Content, step: &Step) -> Result<Vec<u8>, EditError> {
        let (text, flag) = self.find(file)?;
        let operation = Operation::of(&step.action);
        if operation != Some(Operation::SetVariant) && !step.params.is_empty() {
            return Err(EditError::Parameters(format!("action `{}` takes none here", step.action)));
        }
        let (member, word) = match operation {
            Some(Operation::Disable) => ("state", "DISABLED".to_owned()),
            Some(Operation::Enable) => ("state", "ENABLED".to_owned()),
            Some(Operation::SetVariant) => ("defaultVariant", Self::variant(text, &flag, step)?),
            None => return Err(EditError::Operation(format!("there is none for `{}`", step.action))),
        };
        let at = json::member(text, &flag, member)?;
        let old: String = json::parse(json::slice(text, &at)?, "a string")?;
        if member == "state" && !matches!(old.as_str(), "ENABLED" | "DISABLED") {
            return Err(EditError::Document("expected the state `ENABLED` or `DISABLED`".to_owned()));
        }
        if old == word {
            return Err(EditError::Operation(format!("the flag's `{member}` is `{word}` already")));
        }
        // Upper-case letters and the grammar of ids: nothing in them that JSON would escape.
        Ok(json::splice(text, &at, &format!("\"{word}\""))?.into_bytes())
    }

    /// The evaluator watches the file.
    fn could_settle(&self) -> std::io::Result<()> {
        Ok(())
    }

    fn settle(&self) -> Result<(), EditError> {
        Ok(())
    }
}

impl From<Missing> for EditError {
    fn from(err: Missing) -> Self {
        Self::Document(err.to_string())
    }
}
