//! `docker-credential-ferry`: what `login` keeps encrypted, for docker, podman and whoever else speaks the protocol of credential
//! helpers. A verb is the only argument; what it is about comes on standard input, and the answer, errors too, goes to standard output.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
};

use crate::{
    config::{Entry, Vault},
    framework::{CliError, default_config_dir},
};

/// What this program is called then.
pub(crate) const PROGRAM: &str = "docker-credential-ferry";
/// Most that is read.
const LIMIT: u64 = 1 << 20;
/// Clients look for these words.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// Whether others find it.
pub(crate) fn is_installed() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(PROGRAM).is_file())
}

/// Does what the verb says; the exit code.
pub(crate) fn main(args: &[String]) -> u8 {
    let vault = Vault::of(&default_config_dir());
    let answer = match args {
        [verb] => answer(&vault, verb, &mut std::io::stdin()),
        _ => Err(CliError::new(format!("usage: {PROGRAM} get|store|erase|list|version"))),
    };
    let (text, code) = match answer {
        Ok(text) => (text, 0),
        Err(error) => (error.message().to_owned(), 1),
    };
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => code,
        Err(_) => 1,
    }
}

fn answer(vault: &Vault, verb: &str, input: &mut dyn Read) -> Result<String, CliError> {
    let json = |value: Result<String, serde_json::Error>| {
        value.map_err(|error| CliError::new(format!("cannot write JSON: {error}")))
    };
    match verb {
        "get" => {
            let server = server(input)?;
            let found = vault.get(&server)?.ok_or_else(|| CliError::new(NOT_FOUND))?;
            json(serde_json::to_string(&Entry { server, ..found }))
        }
        "store" => {
            let entry: Entry = serde_json::from_str(&text(input)?)
                .map_err(|error| CliError::new(format!("cannot read credentials: {error}")))?;
            if entry.server.is_empty() {
                return Err(CliError::new("no credentials server URL"));
            }
            if entry.username.is_empty() {
                return Err(CliError::new("no credentials username"));
            }
            vault.lock()?.store(&entry).map(|()| String::new())
        }
        "erase" => vault.lock()?.erase(&[server(input)?]).map(|()| String::new()),
        "list" => {
            let mut users = BTreeMap::new();
            for server in vault.servers()? {
                // One that does not open has no user here; asking for it says why.
                if let Ok(Some(entry)) = vault.get(&server) {
                    users.insert(server, entry.username);
                }
            }
            json(serde_json::to_string(&users))
        }
        "version" => Ok(format!("{PROGRAM} (Ferry) {}", env!("CARGO_PKG_VERSION"))),
        other => Err(CliError::new(format!("{PROGRAM}: unknown credential action {other:?}"))),
    }
}

fn server(input: &mut dyn Read) -> Result<String, CliError> {
    let text = text(input)?.trim().to_owned();
    if text.is_empty() { Err(CliError::new("no credentials server URL")) } else { Ok(text) }
}

fn text(input: &mut dyn Read) -> Result<String, CliError> {
    let mut text = String::new();
    let read = input.take(LIMIT).read_to_string(&mut text);
    read.map(|_| text).map_err(|error| CliError::new(format!("cannot read what to do: {error}")))
}
