//! TLS towards a daemon, as docker's `--tls` and `--tlsverify`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Stream;

/// PEM files of a client. Files that are not there are not used, except the authorities when the daemon is verified.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Authorities that sign daemons' certificates (`--tlscacert`).
    pub authorities: Option<PathBuf>,
    /// The client's certificate (`--tlscert`) and key (`--tlskey`).
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Whether the daemon must prove who it is (`--tlsverify`).
    pub verify: bool,
}

/// TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read, or is not PEM.
    #[error("cannot read {what} from \"{path}\"")]
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
    /// The host's name cannot stand in a certificate.
    #[error("\"{0}\" cannot be verified: it is neither a name nor an address")]
    ServerName(String),
    /// Certificate and key do not belong together, or are of a kind that is not supported.
    #[error("cannot use the client's certificate")]
    UseCertificate(#[source] rustls::Error),
}

impl TlsFiles {
    /// Nobody has to prove who he is: what is said is only encrypted.
    pub const ANYBODY: TlsFiles = TlsFiles { authorities: None, identity: None, verify: false };

    /// Speaks TLS on a connection.
    ///
    /// # Errors
    /// The files cannot be used, or the other side does not speak TLS or does not prove who it is.
    pub async fn connect(&self, tcp: TcpStream, host: &str) -> std::io::Result<Stream> {
        let (connector, name) = self.connector(host).map_err(std::io::Error::other)?;
        Ok(Stream::Tls(Box::new(connector.connect(name, tcp).await?)))
    }

    pub(crate) fn connector(
        &self,
        host: &str,
    ) -> Result<(TlsConnector, ServerName<'static>), TlsError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| TlsError::ServerName(host.to_owned()))?;
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::UseCertificate)?;
        let builder = if self.verify {
            builder.with_root_certificates(self.roots()?)
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        };
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let read =
                    |source| TlsError::ReadPem { what: "a private key", path: key.clone(), source };
                let secret = PrivateKeyDer::from_pem_file(key).map_err(read)?;
                builder
                    .with_client_auth_cert(certificates(certificate)?, secret)
                    .map_err(TlsError::UseCertificate)?
            }
        };
        Ok((TlsConnector::from(Arc::new(config)), name))
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut store = RootCertStore::empty();
        match &self.authorities {
            Some(path) => {
                store.add_parsable_certificates(certificates(path)?);
                if store.is_empty() {
                    return Err(TlsError::NoCertificate(path.clone()));
                }
            }
            None => {
                store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        Ok(store)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = |source| TlsError::ReadPem { what: "certificates", path: path.to_owned(), source };
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(read)?
        .collect::<Result<_, _>>()
        .map_err(read)?;
    if found.is_empty() { Err(TlsError::NoCertificate(path.to_owned())) } else { Ok(found) }
}

/// Believes everybody: `--tls` without `--tlsverify` encrypts, and no more.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
