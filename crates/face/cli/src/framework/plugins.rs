//! Commands that are programs of their own, in docker's protocol: `docker-NAME` in one of the plugin directories, which is given the
//! whole command line.

use std::{
    collections::BTreeMap,
    io::Read,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde::Deserialize;

use super::{CliError, Globals, connect::DEFAULT_SOCKET};

/// Where docker looks, after the user's own directory.
const SYSTEM: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

/// What a plugin is asked for its own description.
const DESCRIBE: &str = "docker-cli-plugin-metadata";
/// Help does not wait longer for a plugin.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most plugins that help shows, and most that one may say of itself.
const MOST: usize = 100;
const LONGEST: u64 = 64 << 10;

/// The program of a plugin, if there is one.
pub(super) fn find(globals: &Globals, name: &str) -> Option<PathBuf> {
    if !is_name(name) {
        return None;
    }
    directories(globals)
        .map(|directory| directory.join(format!("docker-{name}")))
        .find(|path| is_program(path))
}

/// A plugin as help shows it.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) name: String,
    /// What it is for, or why it is none.
    pub(super) told: Result<String, String>,
}

/// All plugins but those whose command is our own, by name.
pub(super) fn list(globals: &Globals, is_own: &dyn Fn(&str) -> bool) -> Vec<Listed> {
    let mut found = BTreeMap::new();
    for directory in directories(globals) {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(name) = name.strip_prefix("docker-").filter(|name| is_name(name))
                && !is_own(name)
                && found.len() < MOST
            {
                // The first directory counts, as where one is run.
                found.entry(name.to_owned()).or_insert_with(|| entry.path());
            }
        }
    }
    // All are asked before any is waited for.
    let asked: Vec<_> = found.into_iter().map(|(name, path)| (name, ask(&path))).collect();
    let deadline = Instant::now() + PATIENCE;
    asked
        .into_iter()
        .map(|(name, asked)| {
            let told = asked
                .map_err(|error| format!("failed to fetch metadata: {error}"))
                .and_then(|child| answer(child, deadline));
            Listed { name, told }
        })
        .collect()
}

fn ask(path: &Path) -> std::io::Result<Child> {
    let mut command = Command::new(path);
    command.arg(DESCRIBE).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "SchemaVersion", default)]
    schema: String,
    #[serde(rename = "Vendor", default)]
    vendor: String,
    #[serde(rename = "ShortDescription", default)]
    short: String,
}

fn answer(mut child: Child, deadline: Instant) -> Result<String, String> {
    let output = child.stdout.take();
    // Read beside, so that one that says much ends, too.
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        let read = output.map(|output| output.take(LONGEST).read_to_end(&mut text));
        drop(read);
        text
    });
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            Ok(None) => {
                drop(child.kill());
                drop(child.wait());
                return Err("failed to fetch metadata: it does not answer".to_owned());
            }
            Err(error) => return Err(format!("failed to fetch metadata: {error}")),
        }
    };
    if let Some(code) = status.code().filter(|code| *code != 0) {
        return Err(format!("failed to fetch metadata: exit status {code}"));
    }
    let text = reader.join().unwrap_or_default();
    let metadata: Metadata =
        serde_json::from_slice(&text).map_err(|error| format!("invalid metadata: {error}"))?;
    if metadata.schema != "0.1.0" {
        let schema = metadata.schema;
        return Err(format!("plugin SchemaVersion {schema:?} is not valid, must be 0.1.0"));
    }
    if metadata.vendor.is_empty() {
        return Err("plugin metadata does not define a vendor".to_owned());
    }
    Ok(metadata.short)
}

fn directories(globals: &Globals) -> impl Iterator<Item = PathBuf> {
    let own = globals.config_dir().join("cli-plugins");
    std::iter::once(own).chain(SYSTEM.iter().map(PathBuf::from))
}

fn is_name(name: &str) -> bool {
    name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|status| status.is_file() && status.permissions().mode() & 0o111 != 0)
}

/// Becomes the plugin. Only comes back when that fails.
pub(super) fn become_plugin(
    program: &str,
    path: &Path,
    args: &[String],
    globals: &Globals,
) -> CliError {
    let mut command = Command::new(path);
    let own = std::env::args().next().unwrap_or_else(|| program.to_owned());
    command.args(args).env("DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND", own);
    let says = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let named = !globals.hosts().is_empty() || globals.context().is_some() || says("DOCKER_HOST");
    if program != "docker" && !named {
        // A plugin knows docker's socket; ours is another.
        let host = std::env::var("FERRY_HOST").ok().filter(|host| !host.is_empty());
        command.env("DOCKER_HOST", host.unwrap_or_else(|| format!("unix://{DEFAULT_SOCKET}")));
    }
    let error = command.exec();
    CliError::new(format!("cannot run the plugin {}: {error}", path.display()))
}
