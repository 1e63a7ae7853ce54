//! Whether containers answer by name on this machine, and where. Flags and `daemon.json` go before `config.toml`.

use std::net::SocketAddr;

use ferry_names::NamesSettings;

use super::{own_file::OwnFile, settings::Settings};

/// Where names are served unless somebody says otherwise. `*.localhost` is both addresses.
const HTTP: [&str; 2] = ["127.0.0.1:80", "[::1]:80"];
const HTTPS: [&str; 2] = ["127.0.0.1:443", "[::1]:443"];
/// 53 is the machine's own resolver's, 5353 is mDNS.
const DNS: [&str; 1] = ["127.0.0.1:1053"];

/// Where to serve names; `None` if they are not wanted.
pub(super) fn read(settings: &Settings, file: OwnFile) -> Result<Option<NamesSettings>, String> {
    let on = match settings.one("names") {
        Some(_) => settings.switch("names"),
        None => file.names.unwrap_or_default(),
    };
    let http = addresses(settings, "names-http", file.names_http, &HTTP)?;
    let https = addresses(settings, "names-https", file.names_https, &HTTPS)?;
    let dns = addresses(settings, "names-dns", file.names_dns, &DNS)?;
    Ok(on.then_some(NamesSettings { http, https, dns }))
}

/// Addresses as the flag, else the file, else nobody says; `none` is none.
fn addresses(
    settings: &Settings,
    name: &str,
    of_file: Option<Vec<String>>,
    usual: &[&str],
) -> Result<Vec<SocketAddr>, String> {
    let flag = Some(settings.all(name)).filter(|texts| !texts.is_empty()).map(<[String]>::to_vec);
    let said = flag.or(of_file);
    let texts = said.unwrap_or_else(|| usual.iter().map(|text| (*text).to_owned()).collect());
    if matches!(texts.as_slice(), [only] if only == "none") {
        return Ok(Vec::new());
    }
    let address = |text: &String| {
        text.parse()
            .map_err(|_| format!("{name} {text}: not an address with a port such as 127.0.0.1:80"))
    };
    texts.iter().map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_go_before_the_file() {
        let file = || OwnFile {
            names: Some(true),
            names_http: Some(vec!["127.0.0.1:8080".to_owned()]),
            ..OwnFile::default()
        };
        assert_eq!(read(&Settings::default(), OwnFile::default()), Ok(None));
        let of_file = read(&Settings::default(), file()).unwrap().unwrap();
        assert_eq!(of_file.http, ["127.0.0.1:8080".parse().unwrap()]);
        assert_eq!((of_file.https.len(), of_file.dns.len()), (2, 1));
        let mut settings = Settings::default();
        settings.set("names-http", vec!["127.0.0.2:80".to_owned(), "[::1]:0".to_owned()]);
        settings.set("names-dns", vec!["none".to_owned()]);
        let of_flags = read(&settings, file()).unwrap().unwrap();
        assert_eq!((of_flags.http.len(), of_flags.dns.len()), (2, 0));
        settings.set("names", vec!["false".to_owned()]);
        assert_eq!(read(&settings, file()), Ok(None));
        settings.set("names-https", vec!["localhost".to_owned()]);
        assert!(read(&settings, file()).unwrap_err().starts_with("names-https localhost"));
    }
}
