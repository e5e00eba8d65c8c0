//! An end's own certificate, key and trust bundle: files that somebody else renews, or a Workload API that streams them.

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
use tokio::task::JoinHandle;

use super::{
    feed::{Feed, FeedError},
    svid::{self, SvidError},
};

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

/// Certificate, key and bundle, as far as they were sound when they came last.
pub struct LiveSvid {
    origin: Origin,
    provider: Arc<CryptoProvider>,
    loaded: Arc<RwLock<(Stamp, Arc<Loaded>)>>,
}

/// Where they come from.
enum Origin {
    Files(SvidFiles),
    /// Whoever follows the stream, for as long as this is used.
    WorkloadApi(JoinHandle<()>),
}

/// A certificate with its key, and the authorities of its trust domain.
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
    /// A Workload API that brings nothing.
    #[error("the Workload API at {endpoint} brings no X.509-SVID")]
    WorkloadApi {
        /// Its endpoint.
        endpoint: String,
        /// Why.
        #[source]
        source: FeedError,
    },
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
        let loaded = Arc::new(RwLock::new((stamp, Arc::new(read(&files, &provider)?))));
        Ok(Self { origin: Origin::Files(files), provider, loaded })
    }

    /// Takes what a Workload API streams, from now on until this is dropped. Waits for the first answer.
    ///
    /// # Errors
    /// No endpoint of this machine, no answer in time, or one that is not sound.
    pub async fn from_workload_api(endpoint: &str) -> Result<Self, LoadError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let failed = |source| LoadError::WorkloadApi { endpoint: endpoint.to_owned(), source };
        let (first, feed) = Feed::open(endpoint, Arc::clone(&provider)).await.map_err(failed)?;
        let loaded = Arc::new(RwLock::new((Stamp::default(), Arc::new(first))));
        let known = Arc::clone(&loaded);
        let task = tokio::spawn(feed.follow(move |fresh| {
            known.write().unwrap_or_else(PoisonError::into_inner).1 = Arc::new(fresh);
        }));
        Ok(Self { origin: Origin::WorkloadApi(task), provider, loaded })
    }

    /// Who we are.
    #[must_use]
    pub fn id(&self) -> SpiffeId {
        self.current().id.clone()
    }

    pub(super) fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }

    /// What is there now, or was when it was sound: files are not replaced all at once. Asked for every connection.
    pub(super) fn current(&self) -> Arc<Loaded> {
        let (seen, loaded) = self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Origin::Files(files) = &self.origin else { return loaded };
        let now = stamp(files);
        if now == seen {
            return loaded;
        }
        let fresh = read(files, &self.provider);
        let mut known = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        match fresh {
            Ok(fresh) => {
                tracing::info!("certificate and bundle of {} were read again", fresh.id);
                *known = (now, Arc::new(fresh));
            }
            Err(err) => {
                tracing::error!(
                    "what is in {} is not used: {}",
                    files.certificate.display(),
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
        let files = match &self.origin {
            Origin::Files(files) => Some(files),
            Origin::WorkloadApi(_) => None,
        };
        f.debug_struct("LiveSvid").field("files", &files).finish_non_exhaustive()
    }
}

impl Drop for LiveSvid {
    fn drop(&mut self) {
        if let Origin::WorkloadApi(task) = &self.origin {
            task.abort();
        }
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
    let (chain, roots) = (certificates(&files.certificate)?, certificates(&files.bundle)?);
    let meta = fs::metadata(&files.key).map_err(io_error(&files.key))?;
    if meta.mode() & 0o077 != 0 {
        return Err(LoadError::Permissions { path: files.key.clone(), mode: meta.mode() & 0o7777 });
    }
    let key =
        PrivateKeyDer::from_pem_slice(&bytes(&files.key)?).map_err(|_| LoadError::Pem(files.key.clone()))?;
    Loaded::new(chain, roots, key, provider).map_err(|fault| match fault {
        Fault::Leaf(source) => LoadError::Svid { path: files.certificate.clone(), source },
        Fault::Authority(source) => LoadError::Svid { path: files.bundle.clone(), source },
        Fault::Key(why) => LoadError::Key(why),
    })
}

/// What does not go together.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("the certificate is refused")]
    Leaf(#[source] SvidError),
    #[error("an authority of the bundle is refused")]
    Authority(#[source] SvidError),
    #[error("the key does not belong to the certificate: {0}")]
    Key(String),
}

impl Loaded {
    /// A chain with a leaf of SPIFFE, its key, and authorities that may sign.
    pub(super) fn new(
        chain: Vec<CertificateDer<'static>>,
        roots: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        provider: &CryptoProvider,
    ) -> Result<Self, Fault> {
        let (leaf, intermediates) = chain.split_first().ok_or(Fault::Leaf(SvidError::Malformed))?;
        let id = svid::leaf_id(leaf).map_err(Fault::Leaf)?;
        for certificate in intermediates {
            svid::check_signing(certificate).map_err(Fault::Leaf)?;
        }
        for root in &roots {
            svid::check_signing(root).map_err(Fault::Authority)?;
        }
        let certified =
            CertifiedKey::from_der(chain, key, provider).map_err(|err| Fault::Key(err.to_string()))?;
        Ok(Self { id, certified: Arc::new(certified), roots })
    }
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
