//! An end's own certificate, key and trust bundle: files that somebody else renews.

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    SignatureScheme,
    client::ResolvesClientCert,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use spiffe::SpiffeId;

use super::svid::{self, SvidError};

/// Largest file: a bundle of a hundred authorities is far below.
const MAX_FILE: u64 = 1024 * 1024;

/// Where an end's own certificate, key and bundle are: PEM, as SPIRE's helper writes them.
#[derive(Debug, Clone)]
pub struct SvidFiles {
    /// The certificate, and the intermediate ones after it.
    pub certificate: PathBuf,
    /// Its private key; nobody but its owner may touch the file.
    pub key: PathBuf,
    /// The authorities of the trust domain.
    pub bundle: PathBuf,
}

/// What is in the files, as far as it was sound when it was looked at last.
pub struct LiveSvid {
    files: SvidFiles,
    provider: Arc<CryptoProvider>,
    loaded: RwLock<(Stamp, Arc<Loaded>)>,
}

/// The content of the files.
pub(super) struct Loaded {
    pub(super) id: SpiffeId,
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) roots: Vec<CertificateDer<'static>>,
}

/// Why an end cannot prove who it is.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others could read or change the key.
    #[error("key file {path} has mode {mode:04o}, expected 0600: nobody but its owner may touch it")]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not PEM of what it should be.
    #[error("{0} does not hold what it should as PEM, or nothing, or too much")]
    Pem(PathBuf),
    /// A certificate that is none of SPIFFE's.
    #[error("{path} has a certificate that is refused")]
    Svid {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: SvidError,
    },
    /// The key belongs to another certificate: perhaps only one of the files is new yet.
    #[error("the key does not belong to the certificate: {0}")]
    Key(String),
}

/// What tells one content of the files from another without reading them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Stamp([Option<(u64, i64, i64, u64)>; 3]);

impl LiveSvid {
    /// Reads the files.
    ///
    /// # Errors
    /// Files that do not go together.
    pub fn load(files: SvidFiles) -> Result<Self, LoadError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let stamp = stamp(&files);
        let loaded = RwLock::new((stamp, Arc::new(read(&files, &provider)?)));
        Ok(Self { files, provider, loaded })
    }

    /// Who we are.
    #[must_use]
    pub fn id(&self) -> SpiffeId {
        self.current().id.clone()
    }

    pub(super) fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }

    /// What the files have now, or had when they were sound: they are not replaced all at once. Asked for every connection.
    pub(super) fn current(&self) -> Arc<Loaded> {
        let now = stamp(&self.files);
        let (seen, loaded) = self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone();
        if now == seen {
            return loaded;
        }
        let fresh = read(&self.files, &self.provider);
        let mut known = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        match fresh {
            Ok(fresh) => {
                tracing::info!("certificate and bundle of {} were read again", fresh.id);
                *known = (now, Arc::new(fresh));
            }
            Err(err) => {
                tracing::error!(
                    "what is in {} is not used: {}",
                    self.files.certificate.display(),
                    crate::executor::chain(&err)
                );
                // Looked at once for each change of the files.
                known.0 = now;
            }
        }
        Arc::clone(&known.1)
    }
}

impl fmt::Debug for LiveSvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveSvid").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for LiveSvid {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current().certified))
    }
}

impl ResolvesClientCert for LiveSvid {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current().certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn stamp(files: &SvidFiles) -> Stamp {
    let one = |path: &Path| {
        let meta = fs::metadata(path).ok()?;
        Some((meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len()))
    };
    Stamp([one(&files.certificate), one(&files.key), one(&files.bundle)])
}

fn read(files: &SvidFiles, provider: &CryptoProvider) -> Result<Loaded, LoadError> {
    let chain = certificates(&files.certificate)?;
    let (leaf, intermediates) =
        chain.split_first().ok_or_else(|| LoadError::Pem(files.certificate.clone()))?;
    let refused = |path: &Path, source| LoadError::Svid { path: path.to_owned(), source };
    let id = svid::leaf_id(leaf).map_err(|err| refused(&files.certificate, err))?;
    for certificate in intermediates {
        svid::check_signing(certificate).map_err(|err| refused(&files.certificate, err))?;
    }
    let roots = certificates(&files.bundle)?;
    for root in &roots {
        svid::check_signing(root).map_err(|err| refused(&files.bundle, err))?;
    }
    let meta = fs::metadata(&files.key).map_err(io_error(&files.key))?;
    if meta.mode() & 0o077 != 0 {
        return Err(LoadError::Permissions { path: files.key.clone(), mode: meta.mode() & 0o7777 });
    }
    let key =
        PrivateKeyDer::from_pem_slice(&bytes(&files.key)?).map_err(|_| LoadError::Pem(files.key.clone()))?;
    let certified =
        CertifiedKey::from_der(chain, key, provider).map_err(|err| LoadError::Key(err.to_string()))?;
    Ok(Loaded { id, certified: Arc::new(certified), roots })
}

/// The certificates of a file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let bytes = bytes(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(|| LoadError::Pem(path.to_owned()))
}

fn bytes(path: &Path) -> Result<Vec<u8>, LoadError> {
    let meta = fs::metadata(path).map_err(io_error(path))?;
    if !meta.is_file() || meta.len() > MAX_FILE {
        return Err(LoadError::Pem(path.to_owned()));
    }
    fs::read(path).map_err(io_error(path))
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> LoadError {
    let path = path.to_owned();
    move |source| LoadError::Io { path: path.clone(), source }
}
