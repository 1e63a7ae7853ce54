//! Options of the drivers whose logs somebody else keeps.

use std::path::PathBuf;

use ferry_shim::{JournaldLog, SyslogFormat, SyslogLog};

use super::{LogContext, Options, SettingsError, chosen};

/// Options of `syslog` alone.
pub(super) const SYSLOG: [&str; 7] = [
    "syslog-address",
    "syslog-facility",
    "syslog-format",
    "syslog-tls-ca-cert",
    "syslog-tls-cert",
    "syslog-tls-key",
    "syslog-tls-skip-verify",
];

/// syslog(3)'s facilities, by number.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "", "", "", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];

/// systemd's place for its own protocol.
const JOURNAL: &str = "/run/systemd/journal/socket";

pub(super) fn syslog(
    options: &Options,
    context: &LogContext,
    buffer: Option<u64>,
) -> Result<SyslogLog, SettingsError> {
    let option = |name: &str| options.get(name).map_or("", String::as_str);
    let refused = |words: &str| SettingsError::Refused(words.to_owned());
    if let Some(name) = SYSLOG[3..].iter().find(|name| options.contains_key(**name)) {
        return Err(SettingsError::Refused(format!(
            "log opt {name} is not supported: syslog over TLS is not"
        )));
    }
    let facility = match option("syslog-facility") {
        "" => 3,
        text => FACILITIES
            .iter()
            .position(|name| *name == text && !text.is_empty())
            .or_else(|| text.parse().ok().filter(|number| *number < FACILITIES.len()))
            .and_then(|number| u8::try_from(number).ok())
            .ok_or_else(|| refused("invalid syslog facility"))?,
    };
    let format = match option("syslog-format") {
        "" => SyslogFormat::Unix,
        "rfc3164" => SyslogFormat::Rfc3164,
        "rfc5424" => SyslogFormat::Rfc5424,
        "rfc5424micro" => SyslogFormat::Rfc5424Micro,
        _ => return Err(refused("Invalid syslog format")),
    };
    Ok(SyslogLog {
        address: address(option("syslog-address"))?,
        facility,
        format,
        tag: chosen::tag(options, context, "{{.ID}}")?.unwrap_or_default(),
        non_blocking: buffer,
    })
}

/// An address with its port, in the words of Docker's `parseAddress`.
fn address(text: &str) -> Result<String, SettingsError> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let refused = |words: String| Err(SettingsError::Refused(words));
    let (scheme, place) = text.split_once("://").unwrap_or(("", text));
    match scheme {
        "unix" | "unixgram" => match std::path::Path::new(place).exists() {
            true => Ok(text.to_owned()),
            false => refused(format!("stat {place}: no such file or directory")),
        },
        "udp" | "tcp" => {
            let has_port = place
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.ends_with(':') && port.parse::<u16>().is_ok());
            Ok(if has_port { text.to_owned() } else { format!("{scheme}://{place}:514") })
        }
        "tcp+tls" => refused("syslog over TLS (tcp+tls) is not supported".to_owned()),
        other => refused(format!("unsupported scheme: '{other}'")),
    }
}

pub(super) fn journald(
    options: &Options,
    context: &LogContext,
    non_blocking: bool,
) -> Result<JournaldLog, SettingsError> {
    let tag = chosen::tag(options, context, "{{.ID}}")?.unwrap_or_default();
    let short: String = context.id.chars().take(12).collect();
    let mut fields = vec![
        ("CONTAINER_ID".to_owned(), short),
        ("CONTAINER_ID_FULL".to_owned(), context.id.clone()),
        ("CONTAINER_NAME".to_owned(), context.name.trim_start_matches('/').to_owned()),
        ("CONTAINER_TAG".to_owned(), tag.clone()),
        ("IMAGE_NAME".to_owned(), context.image.clone()),
        ("SYSLOG_IDENTIFIER".to_owned(), tag),
    ];
    for (key, value) in chosen::attributes(options, context)? {
        fields.push((field_name(&key), value));
    }
    Ok(JournaldLog { socket: PathBuf::from(JOURNAL), fields, non_blocking })
}

/// Names of fields are capitals, digits and underscores, and do not begin with an underscore (moby's `sanitizeKeyMod`).
fn field_name(key: &str) -> String {
    let name: String = key
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
        .collect();
    name.trim_start_matches('_').to_owned()
}
