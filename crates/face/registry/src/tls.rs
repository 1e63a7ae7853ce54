//! TLS: certificates from files, or one of our own making.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use ferry_errkind::{ErrorKind, Kinded};
use ring::digest::{SHA256, digest};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring as provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{VerifierBuilderError, WebPkiClientVerifier},
};
use tokio_rustls::TlsAcceptor;

use crate::serve::Acceptor;

/// PEM files.
#[derive(Debug, Clone)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Authorities of clients' certificates; without it, clients need none.
    pub(crate) client_authorities: Option<PathBuf>,
}

/// TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("cannot read {what} from \"{}\"", path.display())]
    Read { what: &'static str, path: PathBuf, source: rustls::pki_types::pem::Error },
    #[error("there is no certificate in \"{}\"", .0.display())]
    NoCertificate(PathBuf),
    #[error("cannot use the authorities in \"{}\"", path.display())]
    Authorities { path: PathBuf, source: VerifierBuilderError },
    #[error("cannot use the certificate in \"{}\" with its key", path.display())]
    Certificate { path: PathBuf, source: rustls::Error },
    #[error("cannot make a certificate")]
    Make(#[source] rcgen::Error),
    #[error("cannot write \"{}\"", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl Kinded for TlsError {
    fn kind(&self) -> ErrorKind {
        match self {
            TlsError::Make(_) | TlsError::Write { .. } => ErrorKind::Internal,
            _ => ErrorKind::InvalidArgument,
        }
    }
}

impl TlsFiles {
    /// `tls.crt` and `tls.key` of a registry's directory, made for these names when they are not there.
    pub(crate) fn self_signed(root: &Path, names: Vec<String>) -> Result<TlsFiles, TlsError> {
        let files = TlsFiles {
            certificate: root.join("tls.crt"),
            key: root.join("tls.key"),
            client_authorities: None,
        };
        if files.certificate.is_file() && files.key.is_file() {
            return Ok(files);
        }
        let made = rcgen::generate_simple_self_signed(names).map_err(TlsError::Make)?;
        // The key first: a certificate without its key would be taken for one that is there.
        write(&files.key, &made.signing_key.serialize_pem())?;
        write(&files.certificate, &made.cert.pem())?;
        Ok(files)
    }

    pub(crate) fn acceptor(&self) -> Result<Acceptor, TlsError> {
        let wrong = |source| TlsError::Certificate { path: self.certificate.clone(), source };
        let builder = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(wrong)?;
        let builder = match &self.client_authorities {
            None => builder.with_no_client_auth(),
            Some(path) => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(
                    Arc::new(authorities(path)?),
                    Arc::new(provider::default_provider()),
                )
                .build()
                .map_err(|source| TlsError::Authorities { path: path.clone(), source })?,
            ),
        };
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|source| TlsError::Read {
            what: "a private key",
            path: self.key.clone(),
            source,
        })?;
        let mut config =
            builder.with_single_cert(certificates(&self.certificate)?, key).map_err(wrong)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Acceptor(TlsAcceptor::from(Arc::new(config))))
    }

    /// SHA-256 of the certificate, as browsers and `openssl x509 -fingerprint` show it.
    pub(crate) fn fingerprint(&self) -> Result<String, TlsError> {
        let certificates = certificates(&self.certificate)?;
        let first = certificates
            .first()
            .map(|der| digest(&SHA256, der))
            .ok_or_else(|| TlsError::NoCertificate(self.certificate.clone()))?;
        let pairs: Vec<String> = first.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        Ok(pairs.join(":"))
    }
}

fn write(path: &Path, text: &str) -> Result<(), TlsError> {
    let write = || {
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| TlsError::Write { path: path.to_owned(), source })
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(certificates(path)?);
    if store.is_empty() { Err(TlsError::NoCertificate(path.to_owned())) } else { Ok(store) }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = |source| TlsError::Read { what: "certificates", path: path.to_owned(), source };
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(read)?
        .collect::<Result<_, _>>()
        .map_err(read)?;
    if found.is_empty() { Err(TlsError::NoCertificate(path.to_owned())) } else { Ok(found) }
}
