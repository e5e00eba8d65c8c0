//! Ed25519 keys in a PKCS #11 token: the private key never leaves it.
//!
//! The module is the operator's: a shared library that is loaded into this process and trusted like the process itself. Signing is
//! `CKM_EDDSA` over the message (PKCS #11 v3.0, section 2.3.14), so that what a token signs verifies like what a file's key signs.

use std::{
    fmt,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error as TokenFault, RvError},
    mechanism::{
        Mechanism,
        eddsa::{EddsaParams, EddsaSignatureScheme},
    },
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    types::AuthPin,
};
use holdpoint_app::port::Signer;
use holdpoint_domain::signature::{PublicKey, Signature};
use holdpoint_ledger::key::{NoteSigner, VerifierKey};

use super::key_file::{self, KeyFileError};
use crate::step::Step;

/// `edwards25519` as a PrintableString, in DER: what names the curve of PKCS #11 v3.0, section 2.3.5.
const ED25519: [u8; 14] =
    [0x13, 0x0c, b'e', b'd', b'w', b'a', b'r', b'd', b's', b'2', b'5', b'5', b'1', b'9'];
/// The header of an OCTET STRING of 32 bytes, in DER.
const OCTETS: [u8; 2] = [0x04, 0x20];

/// Where a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSpec {
    /// The PKCS #11 module, for instance `/usr/lib/softhsm/libsofthsm2.so`.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// The key pair's label.
    pub label: String,
    /// A file with the user's PIN, that nobody but its owner may read.
    pub pin_file: PathBuf,
}

/// A key pair in a token. Shows as its name and public key.
pub struct TokenKey {
    // INVARIANT: `name` is one that signed notes allow; `public` belongs to `private`.
    name: String,
    public: PublicKey,
    spec: TokenSpec,
    session: Mutex<(Session, ObjectHandle)>,
}

/// What is wrong with a token, or with the key in it. The fault is with whoever configured it, or with the token.
#[derive(Debug, thiserror::Error)]
pub enum TokenKeyError {
    /// The PIN.
    #[error("the token's PIN cannot be read")]
    Pin(#[from] KeyFileError),
    /// The module does not load, or a call of it failed.
    #[error("PKCS #11 module `{module}`: {what} failed")]
    Module {
        /// The module.
        module: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why.
        source: TokenFault,
    },
    /// Not one token of this label.
    #[error("expected one token `{label}`, got {count}")]
    Tokens {
        /// The label.
        label: String,
        /// How many there are.
        count: usize,
    },
    /// Not one Ed25519 key pair of this label.
    #[error("expected one Ed25519 key pair `{label}` in token `{token}`, got {count}")]
    Keys {
        /// The token.
        token: String,
        /// The label.
        label: String,
        /// How many there are.
        count: usize,
    },
    /// The public key is in no form that is known.
    #[error("the public key of `{0}` is no Ed25519 point")]
    NotAKey(String),
    /// What it signs does not verify with its public key.
    #[error("key `{0}` does not sign: its signature does not verify with its public key")]
    NotAPair(String),
    /// A name that signed notes do not allow.
    #[error("the key's name cannot stand on a signature: {0}")]
    Name(String),
}

impl TokenSpec {
    fn fault(&self, what: &'static str) -> impl FnOnce(TokenFault) -> TokenKeyError + '_ {
        move |source| TokenKeyError::Module { module: self.module.clone(), what, source }
    }

    /// A session of the user, with the right to write if a key is to be made.
    fn session(&self, writes: bool) -> Result<Session, TokenKeyError> {
        let pin = AuthPin::from(key_file::line(&self.pin_file)?);
        let module = Pkcs11::new(&self.module).map_err(self.fault("to load it"))?;
        match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            // Another key of this process is in a token of the same module.
            Ok(()) | Err(TokenFault::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(err) => return Err(self.fault("to initialize it")(err)),
        }
        let mut found = Vec::new();
        for slot in module.get_slots_with_token().map_err(self.fault("to list tokens"))? {
            let info = module.get_token_info(slot).map_err(self.fault("to look at a token"))?;
            if info.label().trim_end() == self.token {
                found.push(slot);
            }
        }
        let [slot] = found.as_slice() else {
            return Err(TokenKeyError::Tokens { label: self.token.clone(), count: found.len() });
        };
        let opened = if writes { module.open_rw_session(*slot) } else { module.open_ro_session(*slot) };
        let session = opened.map_err(self.fault("to open a session"))?;
        match session.login(UserType::User, Some(&pin)) {
            Ok(()) | Err(TokenFault::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(err) => Err(self.fault("to log in")(err)),
        }
    }

    fn find(&self, session: &Session, class: ObjectClass) -> Result<Vec<ObjectHandle>, TokenKeyError> {
        let wanted = [
            Attribute::Class(class),
            Attribute::KeyType(KeyType::EC_EDWARDS),
            Attribute::Label(self.label.clone().into_bytes()),
        ];
        session.find_objects(&wanted).map_err(self.fault("to find the key"))
    }

    fn one(&self, session: &Session, class: ObjectClass) -> Result<ObjectHandle, TokenKeyError> {
        match self.find(session, class)?.as_slice() {
            [one] => Ok(*one),
            several => Err(TokenKeyError::Keys {
                token: self.token.clone(),
                label: self.label.clone(),
                count: several.len(),
            }),
        }
    }
}

impl TokenKey {
    /// The key pair that is there, which must sign what verifies with its public key.
    pub fn open(name: &str, spec: &TokenSpec) -> Result<Self, TokenKeyError> {
        let session = spec.session(false)?;
        let private = spec.one(&session, ObjectClass::PRIVATE_KEY)?;
        let at = spec.one(&session, ObjectClass::PUBLIC_KEY)?;
        let read = session.get_attributes(at, &[AttributeType::EcPoint]);
        let read = read.map_err(spec.fault("to read the public key"))?;
        let point = read
            .into_iter()
            .find_map(|attribute| if let Attribute::EcPoint(point) = attribute { Some(point) } else { None });
        // As the standard has it now, or in the OCTET STRING of its older versions.
        let point = point.unwrap_or_default();
        let is_wrapped = point.len() == OCTETS.len().saturating_add(32);
        let raw = point.strip_prefix(&OCTETS).filter(|_| is_wrapped).unwrap_or(&point);
        let public = <[u8; 32]>::try_from(raw).ok().and_then(|raw| PublicKey::from_bytes(raw).ok());
        let public = public.ok_or_else(|| TokenKeyError::NotAKey(spec.label.clone()))?;
        VerifierKey::new(name, public.as_bytes()).map_err(|err| TokenKeyError::Name(err.to_string()))?;
        let session = Mutex::new((session, private));
        let key = Self { name: name.to_owned(), public, spec: spec.clone(), session };
        let probe = b"holdpoint: does this key sign?";
        match Signer::sign(&key, probe).verify_raw(&key.public, probe) {
            Ok(()) => Ok(key),
            Err(_) => Err(TokenKeyError::NotAPair(spec.label.clone())),
        }
    }

    /// The key pair that is there, or a fresh one that nobody can take out of the token.
    pub fn open_or_create(name: &str, spec: &TokenSpec) -> Result<Self, TokenKeyError> {
        let session = spec.session(true)?;
        if spec.find(&session, ObjectClass::PRIVATE_KEY)?.is_empty() {
            let label = || Attribute::Label(spec.label.clone().into_bytes());
            let public = [
                Attribute::Token(true),
                Attribute::Verify(true),
                label(),
                Attribute::EcParams(ED25519.to_vec()),
            ];
            let private = [
                Attribute::Token(true),
                Attribute::Private(true),
                Attribute::Sensitive(true),
                Attribute::Extractable(false),
                Attribute::Sign(true),
                label(),
            ];
            // If we stop after this, the next one finds the pair; a half of one is refused by its count.
            let made = Step::KeyFile
                .take(|_| session.generate_key_pair(&Mechanism::EccEdwardsKeyPairGen, &public, &private));
            made.map_err(spec.fault("to make a key pair"))?;
        }
        drop(session);
        Self::open(name, spec)
    }

    /// The public key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.public.clone()
    }

    /// The verifier key of signed notes that belongs to it.
    pub fn verifier_key(&self) -> Result<VerifierKey, TokenKeyError> {
        VerifierKey::new(&self.name, self.public.as_bytes())
            .map_err(|err| TokenKeyError::Name(err.to_string()))
    }

    fn signature(&self, bytes: &[u8]) -> Signature {
        let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure));
        let mut open = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let mut made = open.0.sign(&mechanism, open.1, bytes);
        if let Err(err) = &made {
            tracing::error!(key = %self.name, "the token did not sign with key `{}`: {err}", self.name);
            // A session ends with its token's connection, or when somebody logs everybody out: another one may do.
            let again = self.spec.session(false);
            let again =
                again.and_then(|session| Ok((self.spec.one(&session, ObjectClass::PRIVATE_KEY)?, session)));
            match again {
                Ok((private, session)) => {
                    *open = (session, private);
                    made = open.0.sign(&mechanism, open.1, bytes);
                }
                Err(err) => tracing::error!(key = %self.name, "no new session of the token: {err}"),
            }
        }
        // Bytes of zero are no signature of any key: a signer that fails is caught by whoever checks.
        Signature::from_bytes(made.ok().and_then(|made| made.try_into().ok()).unwrap_or([0; 64]))
    }
}

impl Signer for TokenKey {
    fn public_key(&self) -> PublicKey {
        self.public.clone()
    }

    fn sign(&self, bytes: &[u8]) -> Signature {
        self.signature(bytes)
    }
}

impl NoteSigner for TokenKey {
    fn name(&self) -> &str {
        &self.name
    }

    fn public_key(&self) -> [u8; 32] {
        *self.public.as_bytes()
    }

    fn sign(&self, msg: &[u8]) -> [u8; 64] {
        *self.signature(msg).as_bytes()
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({} {:?})", self.name, self.public)
    }
}
