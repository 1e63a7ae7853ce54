//! What comes before a command.

use std::path::PathBuf;

use ferry_errkind::Failure;

use crate::{
    arguments::{self, Flag},
    report::invalid,
};

/// Where containers are unless `--root` says otherwise.
const ROOT: &str = "/run/ferry-oci";

/// The form of log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// `time=… level=… msg=…`.
    #[default]
    Text,
    /// An object a line.
    Json,
}

/// Global options.
#[derive(Debug, Clone, Default)]
pub(crate) struct Global {
    /// Directory of all containers' state.
    pub(crate) root: PathBuf,
    /// A file for errors and warnings.
    pub(crate) log: Option<PathBuf>,
    pub(crate) log_format: LogFormat,
    /// `cgroupsPath` is a scope of systemd's.
    pub(crate) systemd: bool,
    pub(crate) version: bool,
}

const FLAGS: &[Flag] = &[
    Flag::switch("debug"),
    Flag::value("log"),
    Flag::value("log-format"),
    Flag::value("root"),
    Flag::value("criu"),
    Flag::switch("systemd-cgroup"),
    Flag::value("rootless"),
    Flag::value("cgroup-manager"),
    Flag::switch("help").short('h'),
    Flag::switch("version").short('v'),
];

/// The global options, the command's name and its words.
pub(crate) fn read(args: &[String]) -> Result<(Global, Option<String>, Vec<String>), Failure> {
    let given = arguments::parse("", FLAGS, args)?;
    let systemd = given.is_set("systemd-cgroup") || given.one("cgroup-manager") == Some("systemd");
    if systemd && !ferry_cgroup::has_systemd() {
        // runc's words.
        return Err(invalid(
            "systemd cgroup flag passed, but systemd support for managing cgroups is not available",
        ));
    }
    if let Some(other) =
        given.one("cgroup-manager").filter(|name| !matches!(*name, "cgroupfs" | "systemd"))
    {
        return Err(invalid(format!("cgroup manager \"{other}\" is not supported")));
    }
    match given.one("rootless") {
        None | Some("auto" | "false") => {}
        Some(other) => {
            return Err(invalid(format!(
                "--rootless {other} is not supported: ferry oci needs root"
            )));
        }
    }
    let log_format = match given.one("log-format") {
        None | Some("text") => LogFormat::Text,
        Some("json") => LogFormat::Json,
        Some(other) => return Err(invalid(format!("invalid log-format: {other}"))),
    };
    let global = Global {
        root: PathBuf::from(given.one("root").unwrap_or(ROOT)),
        log: given.one("log").filter(|path| !path.is_empty()).map(PathBuf::from),
        log_format,
        systemd,
        version: given.is_set("version"),
    };
    let mut rest = given.rest.into_iter();
    let name = rest.next();
    Ok((global, name, rest.collect()))
}
