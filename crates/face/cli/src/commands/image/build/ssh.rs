//! `--ssh`: an agent of the user's, or one that has keys out of files for as long as the build takes.

use std::{
    fs::DirBuilder,
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, FileTypeExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    config::read_limited,
    framework::{Cli, CliError},
    run::options::go_words,
};

/// Largest key, in bytes.
const MAX_KEY: u64 = 100 << 10;
/// How long an agent may take to come up.
const PATIENCE: Duration = Duration::from_secs(10);
/// What the agent lives as long as: this program's end of a pipe, however this program ends. Ctrl-C reaches this one, too.
const KEEPER: &str =
    "trap '' INT HUP TERM; cat >/dev/null; kill \"$SSH_AGENT_PID\"; rm -rf \"${SSH_AUTH_SOCK%/*}\"";
/// So much of what a program says is told.
const TOLD: u64 = 4 << 10;

/// An agent of our own, gone when dropped.
pub(super) struct Agent {
    keeper: Child,
    directory: PathBuf,
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // What is left of it is in a directory of its own. The keeper removes that, too; without a keeper, we do.
        self.keeper.wait().ok();
        std::fs::remove_dir_all(&self.directory).ok();
    }
}

impl Agent {
    /// What an agent that did not come up has said.
    fn said(&mut self) -> String {
        let mut text = Vec::new();
        if let Some(said) = self.keeper.stderr.take() {
            said.take(TOLD).read_to_end(&mut text).ok();
        }
        match String::from_utf8_lossy(&text).trim() {
            "" => "it did not say why".to_owned(),
            why => why.to_owned(),
        }
    }
}

/// `default`, `id`, `id=/path/of/a/socket`, `id=/path/of/a/key,…`: the id, and the socket of the agent that is meant.
pub(super) fn agent(
    cli: &Cli,
    text: &str,
    own: &mut Vec<Agent>,
) -> Result<(String, String), CliError> {
    let (id, paths) = text.split_once('=').unwrap_or((text, ""));
    let paths = match paths {
        "" => cli.env("SSH_AUTH_SOCK").ok_or_else(|| {
            CliError::new(format!(
                "invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set (--ssh {text})"
            ))
        })?,
        paths => paths.to_owned(),
    };
    let real = |path: &str| {
        let found = std::fs::canonicalize(path);
        found.map_err(|error| CliError::new(format!("cannot use {path}: {}", go_words(&error))))
    };
    let files: Vec<PathBuf> = paths.split(',').map(real).collect::<Result<_, _>>()?;
    let is_socket =
        |path: &PathBuf| std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket());
    match files.iter().filter(|path| is_socket(path)).count() {
        0 => {
            let agent = start(cli, &files, own.len())?;
            let socket = socket_in(&agent.directory).to_string_lossy().into_owned();
            own.push(agent);
            Ok((id.to_owned(), socket))
        }
        1 if files.len() == 1 => Ok((id.to_owned(), files[0].to_string_lossy().into_owned())),
        1 => Err(CliError::new(format!("invalid combination of keys and sockets (--ssh {text})"))),
        _ => Err(CliError::new(format!("only single socket allowed (--ssh {text})"))),
    }
}

fn socket_in(directory: &Path) -> PathBuf {
    directory.join("agent")
}

/// Starts an agent and gives it keys.
fn start(cli: &Cli, keys: &[PathBuf], number: usize) -> Result<Agent, CliError> {
    let wrong = |what: &str, error: &io::Error| {
        CliError::new(format!("--ssh with a key: {what}: {}", go_words(error)))
            .with_hint("ssh-agent and ssh-add are needed: install OpenSSH's client, or name the socket of an agent")
    };
    let place = cli.env("TMPDIR").unwrap_or_else(|| "/tmp".to_owned());
    let own = format!("ferry-ssh-{}-{number}", std::process::id());
    let directory = Path::new(&place).join(own);
    let made = DirBuilder::new().mode(0o700).create(&directory);
    made.map_err(|error| wrong(&format!("mkdir {}", directory.display()), &error))?;
    let socket = socket_in(&directory);
    let keeper = Command::new("ssh-agent")
        .arg("-a")
        .arg(&socket)
        .args(["sh", "-c", KEEPER])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let keeper = match keeper {
        Ok(keeper) => keeper,
        Err(error) => {
            std::fs::remove_dir(&directory).ok();
            return Err(wrong("ssh-agent cannot be started", &error));
        }
    };
    let mut agent = Agent { keeper, directory };
    let begun = Instant::now();
    while !socket.exists() {
        if agent.keeper.try_wait().is_ok_and(|ended| ended.is_some()) {
            return Err(wrong("ssh-agent has failed", &io::Error::other(agent.said())));
        }
        if begun.elapsed() > PATIENCE {
            return Err(wrong("ssh-agent did not come up", &io::ErrorKind::TimedOut.into()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    for key in keys {
        let name = key.display();
        let bytes = read_limited(key, MAX_KEY).map_err(|error| {
            CliError::new(format!("failed to read {name}: {}", go_words(&error)))
        })?;
        // As it comes on standard input, whoever else may read the file does not matter, as with BuildKit; nor is there anybody to ask.
        let added = Command::new("ssh-add")
            .args(["-q", "-"])
            .env("SSH_AUTH_SOCK", &socket)
            .env("SSH_ASKPASS", "/bin/false")
            .env("SSH_ASKPASS_REQUIRE", "force")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .and_then(|mut adding| {
                if let Some(mut input) = adding.stdin.take() {
                    // One that does not want it says why.
                    input.write_all(&bytes).ok();
                }
                adding.wait_with_output()
            })
            .map_err(|error| wrong("ssh-add cannot be started", &error))?;
        if !added.status.success() {
            let why = String::from_utf8_lossy(&added.stderr).trim().to_owned();
            return Err(CliError::new(format!("failed to parse {name} as a key: {why}"))
                .with_hint("a key with a passphrase must be in an agent: ssh-add"));
        }
    }
    Ok(agent)
}
