//! The flags before the command, and the environment that stands for them.

use std::path::PathBuf;

use super::{CliError, Flag, Matches};

/// docker's. `~/.docker` stands for the directory of the configuration; help shows where that is.
pub(crate) static FLAGS: &[Flag] = &[
    Flag::string("config", "Location of client config files").default("~/.docker"),
    Flag::string("context", "Name of the context to use to connect to the daemon (overrides DOCKER_HOST env var and default context set with \"docker context use\")").short('c'),
    Flag::bool("debug", "Enable debug mode").short('D'),
    Flag::list("host", "Daemon socket to connect to").short('H'),
    Flag::string("log-level", "Set the logging level (\"debug\", \"info\", \"warn\", \"error\", \"fatal\")").short('l').default("info"),
    Flag::bool("tls", "Use TLS; implied by --tlsverify"),
    Flag::string("tlscacert", "Trust certs signed only by this CA").default("~/.docker/ca.pem"),
    Flag::string("tlscert", "Path to TLS certificate file").default("~/.docker/cert.pem"),
    Flag::string("tlskey", "Path to TLS key file").default("~/.docker/key.pem"),
    Flag::bool("tlsverify", "Use TLS and verify the remote"),
    Flag::bool("version", "Print version information and quit").short('v'),
];

/// The flags before the command.
#[derive(Debug)]
pub(crate) struct Globals {
    matches: Matches,
}

impl Globals {
    pub(crate) fn new(matches: Matches) -> Result<Self, CliError> {
        let level = matches.text("log-level");
        let known = ["panic", "fatal", "error", "warn", "warning", "info", "debug", "trace"];
        if !known.contains(&level.to_ascii_lowercase().as_str()) {
            return Err(CliError::new(format!("Unable to parse logging level: {level}")));
        }
        Ok(Globals { matches })
    }

    /// What `-H` says.
    pub(crate) fn hosts(&self) -> &[String] {
        self.matches.texts("host")
    }

    /// What `--context` says.
    pub(crate) fn context(&self) -> Option<&str> {
        Some(self.matches.text("context")).filter(|name| !name.is_empty())
    }

    /// `--version`.
    pub(crate) fn version(&self) -> bool {
        self.matches.flag("version")
    }

    /// Whether TLS was asked for, and whether the daemon must be verified: by flags, or by `DOCKER_TLS` and
    /// `DOCKER_TLS_VERIFY`.
    pub(crate) fn tls(&self) -> (bool, bool) {
        let set = |name: &str| std::env::var(name).is_ok_and(|value| !value.is_empty());
        let verify = if self.matches.is_set("tlsverify") {
            self.matches.flag("tlsverify")
        } else {
            set("DOCKER_TLS_VERIFY")
        };
        let tls =
            if self.matches.is_set("tls") { self.matches.flag("tls") } else { set("DOCKER_TLS") };
        (tls || verify || self.matches.is_set("tlsverify"), verify)
    }

    /// `ca.pem`, `cert.pem` or `key.pem`: what the flag says, or where it lies by default; and whether the flag was given.
    pub(crate) fn tls_file(&self, flag: &str, file: &str) -> (PathBuf, bool) {
        if self.matches.is_set(flag) {
            return (PathBuf::from(self.matches.text(flag)), true);
        }
        let directory = std::env::var("DOCKER_CERT_PATH").ok().filter(|path| !path.is_empty());
        (directory.map_or_else(|| self.config_dir(), PathBuf::from).join(file), false)
    }

    /// Where `config.json` lies: `--config`, `DOCKER_CONFIG`, `~/.docker`.
    pub(crate) fn config_dir(&self) -> PathBuf {
        if self.matches.is_set("config") {
            return PathBuf::from(self.matches.text("config"));
        }
        default_config_dir()
    }
}

/// Where `config.json` lies without `--config`.
pub(crate) fn default_config_dir() -> PathBuf {
    match std::env::var("DOCKER_CONFIG") {
        Ok(directory) if !directory.is_empty() => PathBuf::from(directory),
        _ => home().join(".docker"),
    }
}

/// The user's home; where the environment names none, root's.
pub(crate) fn home() -> PathBuf {
    match std::env::var("HOME") {
        Ok(home) if !home.is_empty() => PathBuf::from(home),
        _ => PathBuf::from("/root"),
    }
}
