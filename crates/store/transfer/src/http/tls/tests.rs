//! Handshakes over a pipe, with certificates of an authority of our own.

use std::sync::atomic::{AtomicU32, Ordering};

use rustls::ServerConfig;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A `certs.d` with files for one registry.
struct Directory(PathBuf);

impl Directory {
    fn new(registry: &str, files: &[(&str, &str)]) -> Directory {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ferry-transfer-tls-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(path.join(registry)).unwrap();
        for (from, to) in files {
            fs::copy(Path::new(DATA).join(from), path.join(registry).join(to)).unwrap();
        }
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn origin(domain: &str) -> Origin {
    Origin::of_domain(domain, true).unwrap()
}

/// What a client makes of a server that shows the certificate `shown`.
async fn shake(
    domain: &str,
    shown: &str,
    insecure: bool,
    directory: &Directory,
) -> Result<(), String> {
    let directories = [directory.0.clone()];
    let settings = settings(&origin(domain), insecure, &directories, &RootCertStore::empty());
    let settings = settings.map_err(|fault| fault.to_string())?;
    let chain = certificates(&Path::new(DATA).join(format!("{shown}.pem"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(Path::new(DATA).join(format!("{shown}.key"))).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let (here, there) = tokio::io::duplex(64 << 10);
    let serving = tokio::spawn(async move {
        drop(TlsAcceptor::from(Arc::new(server)).accept(there).await);
    });
    let host = origin(domain).host;
    let name = ServerName::try_from(host.clone()).unwrap();
    let shaken = TlsConnector::from(Arc::new(settings)).connect(name, here).await;
    serving.await.unwrap();
    shaken.map(|_| ()).map_err(|error| handshake_fault(&error, &host).to_string())
}

const AUTHORITY: (&str, &str) = ("authority.pem", "ca.crt");

#[tokio::test]
async fn an_authority_of_certs_d_is_trusted_for_its_registry() {
    let directory = Directory::new("reg.test:5000", &[AUTHORITY]);
    assert_eq!(shake("reg.test:5000", "reg.test", false, &directory).await, Ok(()));
    let unknown =
        "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    let elsewhere = shake("reg.test:5001", "reg.test", false, &directory).await;
    assert_eq!(elsewhere, Err(unknown.to_owned()));
    assert_eq!(shake("reg.test:5001", "reg.test", true, &directory).await, Ok(()));
}

#[tokio::test]
async fn another_name_is_refused() {
    let directory = Directory::new("other.test", &[AUTHORITY]);
    let words = "tls: failed to verify certificate: x509: certificate is valid for ";
    let refused = shake("other.test", "reg.test", false, &directory).await.unwrap_err();
    assert!(
        refused.starts_with(words) && refused.ends_with("reg.test\"), not other.test"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_self_signed_certificate_may_be_its_own_authority() {
    let directory = Directory::new("self.test", &[("self.test.pem", "ca.crt")]);
    assert_eq!(shake("self.test", "self.test", false, &directory).await, Ok(()));
    let directory = Directory::new("reg.test", &[("self.test.pem", "ca.crt")]);
    let words = "x509: certificate";
    assert!(shake("reg.test", "self.test", false, &directory).await.unwrap_err().contains(words));
}

#[tokio::test]
async fn a_client_certificate_wants_its_key() {
    let certificate = ("self.test.pem", "client.cert");
    let directory = Directory::new("reg.test", &[AUTHORITY, certificate]);
    let words = "missing key client.key for client certificate client.cert. CA certificates must use the extension .crt";
    let refused = shake("reg.test", "reg.test", false, &directory).await;
    assert_eq!(refused, Err(words.to_owned()));
    let files = [AUTHORITY, certificate, ("self.test.key", "client.key")];
    let directory = Directory::new("reg.test", &files);
    assert_eq!(shake("reg.test", "reg.test", false, &directory).await, Ok(()));
}

#[tokio::test]
async fn plain_http_is_told_apart() {
    let directory = Directory::new("reg.test", &[AUTHORITY]);
    let directories = [directory.0.clone()];
    let settings = settings(&origin("reg.test"), false, &directories, &RootCertStore::empty());
    let (here, mut there) = tokio::io::duplex(64 << 10);
    tokio::io::AsyncWriteExt::write_all(&mut there, b"HTTP/1.1 400 Bad Request\r\n\r\n")
        .await
        .unwrap();
    let connector = TlsConnector::from(Arc::new(settings.unwrap()));
    let shaken = connector.connect(ServerName::try_from("reg.test").unwrap(), here).await;
    let fault = handshake_fault(&shaken.map(|_| ()).unwrap_err(), "reg.test");
    assert_eq!(fault.to_string(), "http: server gave HTTP response to HTTPS client");
}
