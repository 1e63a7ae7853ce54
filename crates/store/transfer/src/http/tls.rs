//! TLS settings of one registry: the system's authorities and what `certs.d` adds, as Docker has it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};

use super::{fault::Fault, location::Origin};

/// Most files that are read of one directory.
const MAX_FILES: usize = 256;

/// What `certs.d` holds for one registry.
#[derive(Default)]
struct Found {
    authorities: Vec<CertificateDer<'static>>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

/// The system's authorities. None at all is no error here: a registry may have its own.
pub(crate) fn system_roots() -> RootCertStore {
    let loaded = rustls_native_certs::load_native_certs();
    for error in &loaded.errors {
        tracing::debug!(%error, "an authority of the system cannot be read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(loaded.certs);
    roots
}

/// Settings for a registry. `directories` are those that hold a directory per registry.
pub(crate) fn settings(
    origin: &Origin,
    insecure: bool,
    directories: &[PathBuf],
    system: &RootCertStore,
) -> Result<ClientConfig, Fault> {
    let mut found = Found::default();
    let mut names = vec![origin.authority(), origin.host_and_port()];
    names.dedup();
    for directory in directories {
        for name in &names {
            read_directory(&directory.join(name), &mut found)?;
        }
    }
    let provider = Arc::new(ring::default_provider());
    let unusable = |error: rustls::Error| Fault::Tls(error.to_string());
    let mut roots = system.clone();
    roots.add_parsable_certificates(found.authorities.iter().cloned());
    // A verifier cannot be made of nothing; without authorities every certificate is of an unknown one.
    let inner = if roots.is_empty() {
        None
    } else {
        let builder =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        Some(builder.build().map_err(|error| Fault::Tls(error.to_string()))?)
    };
    let verifier =
        Verifier { inner, named: found.authorities, insecure, provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match found.identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(unusable)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn read_directory(directory: &Path, found: &mut Found) -> Result<(), Fault> {
    let Ok(entries) = fs::read_dir(directory) else { return Ok(()) };
    let mut files: Vec<PathBuf> =
        entries.flatten().take(MAX_FILES).map(|entry| entry.path()).collect();
    files.sort();
    for file in files {
        let unusable = |reason: String| {
            Fault::TlsFiles(format!("cannot use \"{}\" for TLS: {reason}", file.display()))
        };
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => found.authorities.extend(certificates(&file).map_err(unusable)?),
            Some("cert") => {
                let key = file.with_extension("key");
                if !key.exists() {
                    return Err(Fault::TlsFiles(format!(
                        "missing key {} for client certificate {}. CA certificates must use the extension .crt",
                        name(&key),
                        name(&file)
                    )));
                }
                let key = PrivateKeyDer::from_pem_file(&key)
                    .map_err(|error| unusable(format!("its key: {error}")))?;
                found.identity = Some((certificates(&file).map_err(unusable)?, key));
            }
            _ => {}
        }
    }
    Ok(())
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let found: Vec<_> = read.map_err(|error| error.to_string())?;
    if found.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(found) }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Checks certificates: by the authorities, or not at all for an insecure registry. A certificate that lies in `certs.d`
/// itself is good too, for the name it has: people make one self-signed certificate and use it as its own authority,
/// which webpki refuses and Go allows.
#[derive(Debug)]
struct Verifier {
    inner: Option<Arc<WebPkiServerVerifier>>,
    named: Vec<CertificateDer<'static>>,
    insecure: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.insecure {
            return Ok(ServerCertVerified::assertion());
        }
        if self.named.iter().any(|named| named.as_ref() == certificate.as_ref()) {
            verify_server_name(&ParsedCertificate::try_from(certificate)?, server)?;
            return Ok(ServerCertVerified::assertion());
        }
        match &self.inner {
            Some(inner) => inner.verify_server_cert(certificate, intermediates, server, ocsp, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        None
    }
}

/// What went wrong in a handshake, in Go's words.
pub(crate) fn handshake_fault(error: &std::io::Error, host: &str) -> Fault {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        // `HTTP/1.1 400` has no valid type of a TLS record.
        Some(rustls::Error::InvalidMessage(_)) => Fault::NotTls,
        Some(rustls::Error::InvalidCertificate(reason)) => {
            Fault::Certificate(certificate_words(reason, host))
        }
        Some(other) => Fault::Tls(other.to_string()),
        None => Fault::broken(error),
    }
}

fn certificate_words(reason: &CertificateError, host: &str) -> String {
    match reason {
        CertificateError::UnknownIssuer => "certificate signed by unknown authority".to_owned(),
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            format!("certificate has expired or is not yet valid: {reason}")
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            format!("certificate is valid for {}, not {host}", presented.join(", "))
        }
        CertificateError::NotValidForName => format!("certificate is not valid for {host}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
