//! TLS for TCP sockets, with client certificates as dockerd's `--tlsverify` has them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use ferry_errkind::{ErrorKind, Kinded};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{VerifierBuilderError, WebPkiClientVerifier},
};
use tokio_rustls::TlsAcceptor;

/// PEM files, as dockerd's `--tlscert --tlskey --tlscacert`.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's certificate and what leads to its authority.
    pub certificate: PathBuf,
    /// The server's private key.
    pub key: PathBuf,
    /// Authorities of client certificates; `None` lets every client in.
    pub client_authorities: Option<PathBuf>,
}

/// TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read, or is not PEM.
    #[error("cannot read {} from \"{path}\"", what)]
    ReadPem {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// A file holds no certificate.
    #[error("there is no certificate in \"{0}\"")]
    NoCertificate(PathBuf),
    /// The authorities do not make a verifier.
    #[error("cannot use the authorities in \"{path}\"")]
    UseAuthorities {
        /// The file.
        path: PathBuf,
        /// Why.
        source: VerifierBuilderError,
    },
    /// Certificate and key do not belong together, or are of a kind that is not supported.
    #[error("cannot use the certificate in \"{path}\" with its key")]
    UseCertificate {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

impl Kinded for TlsError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

impl TlsFiles {
    /// Reads the files.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let wrong = |source| TlsError::UseCertificate { path: self.certificate.clone(), source };
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(wrong)?;
        let builder = match &self.client_authorities {
            None => builder.with_no_client_auth(),
            Some(path) => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(
                    Arc::new(authorities(path)?),
                    Arc::new(ring::default_provider()),
                )
                .build()
                .map_err(|source| TlsError::UseAuthorities { path: path.clone(), source })?,
            ),
        };
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|source| TlsError::ReadPem {
            what: "a private key",
            path: self.key.clone(),
            source,
        })?;
        let mut config =
            builder.with_single_cert(certificates(&self.certificate)?, key).map_err(wrong)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(certificates(path)?);
    if store.is_empty() { Err(TlsError::NoCertificate(path.to_owned())) } else { Ok(store) }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = |source| TlsError::ReadPem { what: "certificates", path: path.to_owned(), source };
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(read)?
        .collect::<Result<_, _>>()
        .map_err(read)?;
    if found.is_empty() { Err(TlsError::NoCertificate(path.to_owned())) } else { Ok(found) }
}
