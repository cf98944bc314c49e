//! TLS of the listener: rustls, certificates from files, client certificates on request.
//!
//! Everything is checked at the start, with a sentence that names the file and what is wrong with it.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, Error, InconsistentKeys, RootCertStore};

use crate::config::Tls;

/// Reads the files. `Err` is one sentence.
pub fn open(tls: &Tls) -> Result<Arc<ServerConfig>, String> {
    let chain = certificates("certificate", &tls.cert_file)?;
    let key = key(&tls.key_file)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("TLS cannot be set up: {e}"))?;
    let builder = match &tls.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates("client certificate authority", path)? {
                roots.add(certificate).map_err(|e| {
                    format!("client certificate authority {}: a certificate in it cannot be used: {e}", path.display())
                })?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|e| format!("client certificate authority {}: {e}", path.display()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|e| {
        let (cert, key) = (tls.cert_file.display(), tls.key_file.display());
        match e {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                format!("the key in {key} does not belong to the certificate in {cert}")
            }
            Error::InvalidCertificate(CertificateError::BadEncoding) => format!("the certificate in {cert} is garbled"),
            other => format!("the certificate in {cert} and the key in {key} cannot be used: {other}"),
        }
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(what: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("{what} file {}: {e}", path.display()))?;
    let found = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| format!("{what} file {} is not PEM: {e}", path.display()))?;
    if found.is_empty() {
        return Err(format!(
            "{what} file {} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)",
            path.display()
        ));
    }
    Ok(found)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let failed = |e: std::io::Error| format!("key file {}: {e}", path.display());
    super::auth::private("key file", path, &std::fs::metadata(path).map_err(failed)?)?;
    let bytes = std::fs::read(path).map_err(failed)?;
    PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|_| format!("key file {} holds no private key in PEM (-----BEGIN PRIVATE KEY-----)", path.display()))
}
