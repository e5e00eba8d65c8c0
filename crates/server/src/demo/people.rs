//! The passkeys of the demo's people: authenticators in software, whose seeds lie in the demo's folder. A real one never leaves its
//! device, and asks for a PIN or a finger; these play people where nobody sits in front of a browser.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use holdpoint_domain::{Id, passkey::Authenticator};

use super::{Demo, DemoError, random};

/// Those on call, who approve.
pub(super) const APPROVERS: [&str; 2] = ["ada", "bob"];

impl Demo {
    fn passkey_file(&self, person: &str) -> std::path::PathBuf {
        self.path(&format!("people/{person}.passkey"))
    }

    /// Makes a person's passkey, which only the owner of the demo's folder can read.
    pub(super) fn make_passkey(&self, person: &str) -> Result<Authenticator, DemoError> {
        let seed = random::<32>()?;
        let path = self.passkey_file(person);
        let mut private = OpenOptions::new();
        let made = private.write(true).create_new(true).mode(0o600).open(&path);
        let written = made.and_then(|mut file| writeln!(file, "{}", URL_SAFE_NO_PAD.encode(seed)));
        written.map_err(|source| DemoError::File { path, source })?;
        self.passkey(person, seed)
    }

    /// A person's passkey, out of its file.
    pub(super) fn load_passkey(&self, person: &str) -> Result<Authenticator, DemoError> {
        let path = self.passkey_file(person);
        let text = fs::read_to_string(&path).map_err(|source| DemoError::File { path, source })?;
        let seed = URL_SAFE_NO_PAD.decode(text.trim()).ok().and_then(|seed| <[u8; 32]>::try_from(seed).ok());
        self.passkey(person, seed.ok_or_else(|| differs("a passkey of 32 bytes", "something else"))?)
    }

    fn passkey(&self, person: &str, seed: [u8; 32]) -> Result<Authenticator, DemoError> {
        let act = Id::parse(&format!("demo-{person}")).map_err(|err| differs("a valid name", err))?;
        let origin = format!("http://localhost:{}", self.ports.gate);
        Authenticator::new(seed, &origin, act).map_err(|err| differs("a passkey", err))
    }
}

fn differs(expected: &str, got: impl std::fmt::Display) -> DemoError {
    super::acts::differs(1, expected, got)
}
