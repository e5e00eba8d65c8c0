//! An authority of a test, and certificates of this machine.

use std::{fs, path::PathBuf, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};

/// An authority whose certificate is in a file, and a certificate of it for this machine.
pub(super) struct Authority {
    pub(super) dir: tempfile::TempDir,
    pub(super) ca_file: PathBuf,
    pub(super) cert_file: PathBuf,
    pub(super) key_file: PathBuf,
    leaf: (CertificateDer<'static>, Vec<u8>),
}

impl Authority {
    pub(super) fn new(names: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        let key = KeyPair::generate().unwrap();
        let own = params.self_signed(&key).unwrap();
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let leaf_key = KeyPair::generate().unwrap();
        let issuer = rcgen::Issuer::from_params(&params, &key);
        let leaf = CertificateParams::new(names).unwrap().signed_by(&leaf_key, &issuer).unwrap();
        let (ca_file, cert_file, key_file) =
            (dir.path().join("ca.pem"), dir.path().join("cert.pem"), dir.path().join("key.pem"));
        fs::write(&ca_file, own.pem()).unwrap();
        fs::write(&cert_file, leaf.pem()).unwrap();
        fs::write(&key_file, leaf_key.serialize_pem()).unwrap();
        let leaf = (leaf.der().clone(), leaf_key.serialize_der());
        Self { dir, ca_file, cert_file, key_file, leaf }
    }

    pub(super) fn server(&self) -> Arc<ServerConfig> {
        let (certificate, key) = self.leaf.clone();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key.into()))
            .unwrap();
        Arc::new(config)
    }
}
