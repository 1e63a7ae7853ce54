//! Settings of a container's link: the endpoint option `com.docker.network.endpoint.sysctls`.

use std::collections::BTreeMap;

use ferry_errkind::{ErrorKind, Failure};

const OPTION: &str = "com.docker.network.endpoint.sysctls";
/// What stands for the link's name.
const LINK: &str = "IFNAME";

/// What is to be written to which file below `/proc/sys/net`: `net.ipv4.conf.IFNAME.log_martians=1,…` of the link `interface`.
///
/// # Errors
/// It is not a setting of a link.
pub(super) fn of(
    options: &BTreeMap<String, String>,
    interface: &str,
) -> Result<Vec<(String, String)>, Failure> {
    let text = options.get(OPTION).map(String::as_str).unwrap_or_default();
    let settings = text.split(',').filter(|setting| !setting.is_empty());
    settings.map(|setting| one(setting.trim(), interface)).collect()
}

/// Docker's words.
fn one(setting: &str, interface: &str) -> Result<(String, String), Failure> {
    let plain = |part: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        !part.is_empty() && part.chars().all(fits)
    };
    if let Some((name, value)) = setting.split_once('=')
        && let ["net", family @ ("ipv4" | "ipv6" | "mpls"), group, LINK, key] =
            name.split('.').collect::<Vec<_>>().as_slice()
        && plain(group)
        && plain(key)
    {
        return Ok((format!("{family}/{group}/{interface}/{key}"), value.to_owned()));
    }
    let words = format!(
        "unrecognised network interface sysctl '{setting}'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
    );
    Err(Failure::new(ErrorKind::InvalidArgument, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Vec<(String, String)>, String> {
        let options = BTreeMap::from([(OPTION.to_owned(), text.to_owned())]);
        of(&options, "eth1").map_err(|failure| failure.message().to_owned())
    }

    #[test]
    fn only_settings_of_the_link_itself() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            settings("net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.neigh.IFNAME.gc_stale_time=7"),
            Ok(vec![
                pair("ipv4/conf/eth1/log_martians", "1"),
                pair("ipv6/neigh/eth1/gc_stale_time", "7")
            ])
        );
        assert_eq!(settings(""), Ok(vec![]));
        for wrong in [
            "net.ipv4.conf.IFNAME.log_martians",
            "net.ipv4.conf.eth0.log_martians=1",
            "net.core.conf.IFNAME.x=1",
            "kernel.a.b.IFNAME.x=1",
            "net.ipv4.ip_forward=1",
            "net.ipv4.conf/../../../kernel.IFNAME.x=1",
            "net.ipv4..IFNAME.x=1",
        ] {
            assert!(settings(wrong).is_err(), "{wrong}");
        }
    }
}
