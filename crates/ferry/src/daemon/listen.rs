//! The sockets of the API.

use ferry_server::{Address, Listener, TlsFiles};

use super::settings::Settings;

/// Where the daemon listens; `unix://<exec root>/ferry.sock` unless it was told.
pub(super) fn addresses(settings: &Settings) -> Result<Vec<Address>, String> {
    let hosts = settings.all("host");
    if hosts.is_empty() {
        return Ok(vec![Address::Unix(settings.exec_root().join("ferry.sock"))]);
    }
    let addresses: Vec<Address> = hosts
        .iter()
        .map(|host| match host.as_str() {
            "unix://" => Ok(Address::Unix(settings.exec_root().join("ferry.sock"))),
            host => host.parse().map_err(|error: ferry_server::InvalidAddress| error.to_string()),
        })
        .collect::<Result<_, _>>()?;
    let insists =
        settings.one("tls") == Some("false") || settings.one("tlsverify") == Some("false");
    let tcp = addresses.iter().any(|address| matches!(address, Address::Tcp(_)));
    if tcp && !tls_wanted(settings) && !insists {
        return Err(
            "the API on tcp:// without TLS lets everybody who reaches it be root on this machine: \
            give --tlsverify with --tlscacert, --tlscert and --tlskey, or insist with --tls=false"
                .to_owned(),
        );
    }
    Ok(addresses)
}

/// Opens them.
pub(super) async fn open(
    addresses: &[Address],
    settings: &Settings,
    mut inherited: Vec<std::os::fd::OwnedFd>,
) -> Result<Vec<Listener>, String> {
    let tls = tls_wanted(settings).then(|| tls_files(settings));
    let mut listeners = Vec::new();
    for address in addresses {
        if *address == Address::Inherited && !inherited.is_empty() {
            for socket in inherited.drain(..) {
                let listener = Listener::inherited(socket, tls.as_ref());
                listeners.push(listener.map_err(|error| ferry_errkind::chain(&error))?);
            }
            continue;
        }
        let listener = Listener::bind(address, settings.one("group"), tls.as_ref()).await;
        listeners.push(listener.map_err(|error| ferry_errkind::chain(&error))?);
    }
    Ok(listeners)
}

fn tls_wanted(settings: &Settings) -> bool {
    settings.switch("tls") || settings.switch("tlsverify")
}

fn tls_files(settings: &Settings) -> TlsFiles {
    let file = |name: &str, default: &str| settings.one(name).unwrap_or(default).into();
    TlsFiles {
        certificate: file("tlscert", "/etc/ferry/tls/cert.pem"),
        key: file("tlskey", "/etc/ferry/tls/key.pem"),
        client_authorities: settings
            .switch("tlsverify")
            .then(|| file("tlscacert", "/etc/ferry/tls/ca.pem")),
    }
}
