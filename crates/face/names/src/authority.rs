//! The local authority: made once, kept below the data root, and what it signs for each name that a client asks for.

use std::{
    collections::HashMap,
    fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ferry_errkind::{ErrorKind, Kinded};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls::{
    ServerConfig,
    crypto::ring::{default_provider, sign::any_ecdsa_type},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// An authority that is trusted by hand is not made anew often.
const AUTHORITY_DAYS: u32 = 3650;
/// Clients refuse certificates of names that are valid for more than 398 days.
const LEAF_DAYS: u32 = 90;
/// Clients' clocks may be behind.
const EARLIER: Duration = DAY;
/// Certificates that are remembered; when there are so many, all are made anew.
const REMEMBERED: usize = 1024;
/// Largest name of a certificate's subject.
const SUBJECT_LIMIT: usize = 64;
/// What a client gets that names no host.
const NAMELESS: &str = "localhost";

/// The authority could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthorityError {
    /// A file or directory cannot be written or read.
    #[error("cannot {what} \"{}\"", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    /// A key or certificate does not read, or cannot be made.
    #[error("cannot use the authority in \"{}\"", path.display())]
    Content { path: PathBuf, source: rcgen::Error },
    /// The certificate is none.
    #[error("cannot read a certificate from \"{}\"", path.display())]
    Certificate { path: PathBuf, source: rustls::pki_types::pem::Error },
    /// Somebody changed one of them.
    #[error("the certificate \"{}\" does not belong to the key beside it: remove both", .0.display())]
    Strangers(PathBuf),
}

impl Kinded for AuthorityError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

/// Signs certificates of names below `.localhost`.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    path: PathBuf,
    certificate: String,
    signed: Mutex<HashMap<String, (Instant, Arc<CertifiedKey>)>>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Authority {
    /// The authority in a directory, made if it is not there. Called where one may block.
    pub(crate) fn open(directory: &Path) -> Result<Arc<Authority>, AuthorityError> {
        let failed = |what, path: &Path| {
            let path = path.to_owned();
            move |source| AuthorityError::File { what, path, source }
        };
        let wrong = |source| AuthorityError::Content { path: directory.to_owned(), source };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(failed("make", directory))?;
        let (key_path, path) = (directory.join("ca.key"), directory.join("ca.crt"));
        let key = match fs::read_to_string(&key_path) {
            Ok(text) => KeyPair::from_pem(&text).map_err(wrong)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = KeyPair::generate().map_err(wrong)?;
                let text = key.serialize_pem();
                write(&key_path, &text, 0o600).map_err(failed("write", &key_path))?;
                key
            }
            Err(error) => return Err(failed("read", &key_path)(error)),
        };
        let params = authority_params();
        let certificate = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = params.self_signed(&key).map_err(wrong)?.pem();
                write(&path, &text, 0o644).map_err(failed("write", &path))?;
                text
            }
            Err(error) => return Err(failed("read", &path)(error)),
        };
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|source| AuthorityError::Certificate { path: path.clone(), source })?;
        let public = key.public_key_raw();
        if !der.windows(public.len()).any(|part| part == public) {
            return Err(AuthorityError::Strangers(path));
        }
        let issuer = Issuer::new(params, key);
        Ok(Arc::new(Authority { issuer, path, certificate, signed: Mutex::default() }))
    }

    /// The certificate's file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The certificate, PEM.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// TLS with this authority's certificates.
    pub(crate) fn server_config(self: Arc<Self>) -> Result<ServerConfig, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    /// A certificate for a name, and its key.
    fn certified(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let mut signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, key)) = signed.get(name)
            && since.elapsed() < DAY
        {
            return Some(Arc::clone(key));
        }
        let key = match self.sign(name) {
            Ok(key) => Arc::new(key),
            Err(why) => {
                tracing::debug!("no certificate for {name:?}: {why}");
                return None;
            }
        };
        if signed.len() >= REMEMBERED {
            signed.clear();
        }
        signed.insert(name.to_owned(), (Instant::now(), Arc::clone(&key)));
        Some(key)
    }

    fn sign(&self, name: &str) -> Result<CertifiedKey, String> {
        let wrong = |error: rcgen::Error| error.to_string();
        let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(wrong)?;
        params.distinguished_name = subject(name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        valid_for(&mut params, LEAF_DAYS);
        // One key for each: the serial number comes of it, and must not be there twice.
        let key = KeyPair::generate().map_err(wrong)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(wrong)?;
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let private = any_ecdsa_type(&private).map_err(|error| error.to_string())?;
        Ok(CertifiedKey::new(vec![certificate.der().clone()], private))
    }
}

impl ResolvesServerCert for Authority {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().unwrap_or(NAMELESS).to_ascii_lowercase();
        let ours = name == NAMELESS || name.ends_with(".localhost");
        ours.then(|| self.certified(&name)).flatten()
    }
}

/// The same for every run: a certificate names its issuer, and is found by its key's digest.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject("Ferry: names of this machine's containers");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // Whoever trusts it trusts it for nothing else, whatever becomes of its key.
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("localhost".to_owned())],
        excluded_subtrees: Vec::new(),
    });
    valid_for(&mut params, AUTHORITY_DAYS);
    params
}

fn subject(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    if name.len() <= SUBJECT_LIMIT {
        subject.push(DnType::CommonName, name);
    }
    subject
}

fn valid_for(params: &mut CertificateParams, days: u32) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(EARLIER);
    params.not_after = epoch + now + DAY * days;
}

/// Writes a file so that it is there whole or not at all.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(mode).open(&partial)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&partial, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_authority_is_made_once_and_signs_names_below_localhost() {
        let root = std::env::temp_dir().join(format!("ferry-names-{}", std::process::id()));
        drop(fs::remove_dir_all(&root));
        let first = Authority::open(&root).unwrap();
        let mode = fs::metadata(root.join("ca.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = Authority::open(&root).unwrap();
        assert_eq!(first.certificate(), second.certificate());
        // Signed once a day, and the certificates of two names are two.
        let web = second.certified("web.shop.localhost").unwrap();
        assert!(Arc::ptr_eq(&web, &second.certified("web.shop.localhost").unwrap()));
        assert_ne!(web.cert, second.certified("db.shop.localhost").unwrap().cert);
        let der = CertificateDer::from_pem_slice(first.certificate().as_bytes()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(der).unwrap();
        let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(
            Arc::new(roots),
            Arc::new(default_provider()),
        );
        let verifier = verifier.build().unwrap();
        let check = |key: &CertifiedKey, name: &str| {
            use rustls::{client::danger::ServerCertVerifier, pki_types::ServerName};
            let name = ServerName::try_from(name.to_owned()).unwrap();
            let now = rustls::pki_types::UnixTime::now();
            verifier.verify_server_cert(&key.cert[0], &[], &name, &[], now)
        };
        check(&web, "web.shop.localhost").unwrap();
        check(&web, "db.shop.localhost").unwrap_err();
        // Even if it were made to sign another name, nobody would take it.
        let stranger = second.sign("example.org").unwrap();
        check(&stranger, "example.org").unwrap_err();

        let other = KeyPair::generate().unwrap().serialize_pem();
        fs::write(root.join("ca.key"), other).unwrap();
        assert!(matches!(Authority::open(&root), Err(AuthorityError::Strangers(_))));
        fs::remove_dir_all(&root).unwrap();
    }
}
