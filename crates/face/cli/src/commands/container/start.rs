//! `docker start`.

use ferry_client::Client;
use ferry_docker_api::ContainerInspect;

use super::path;
use crate::{
    framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome},
    run::{
        resize::{self, Terminal},
        session::{Ended, Session, Wiring},
        signals::{self, Deadly},
        wait::Waiting,
    },
};

pub(crate) const COMMAND: Command = Command {
    name: "start",
    top: Some("start"),
    short: "Start one or more stopped containers",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    aliases_help: "docker container start, docker start",
    flags: FLAGS,
    args: Args::AtLeast(1),
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::bool("attach", "Attach STDOUT/STDERR and forward signals").short('a'),
    Flag::string("checkpoint", "Restore from this checkpoint").hidden(),
    Flag::string("checkpoint-dir", "Use a custom checkpoint storage directory").hidden(),
    Flag::string("detach-keys", "Override the key sequence for detaching a container"),
    Flag::bool("interactive", "Attach container's STDIN").short('i'),
];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    for flag in ["checkpoint", "checkpoint-dir"] {
        if matches.is_set(flag) {
            return Err(CliError::new(format!("not supported yet: --{flag}")));
        }
    }
    let client = cli.client()?;
    if !matches.flag("attach") && !matches.flag("interactive") {
        return start_all(cli, client, matches.args());
    }
    if matches.args().len() > 1 {
        return Err(CliError::new("you cannot start and attach multiple containers at once"));
    }
    cli.wait(start_attached(cli, client, matches))
}

/// Errors are told one by one as they come, and summed up at the end.
fn start_all(cli: &Cli, client: &Client, names: &[String]) -> Outcome {
    let mut failed: Vec<&str> = Vec::new();
    for name in names {
        match cli.wait(client.post(path(name, "/start")).done()) {
            Ok(()) => cli.println(name)?,
            Err(error) => {
                let error = CliError::from(error);
                cli.warn(error.message());
                if let Some(hint) = error.hint() {
                    cli.warn(&format!("hint: {hint}"));
                }
                failed.push(name);
            }
        }
    }
    if failed.is_empty() {
        return Ok(0);
    }
    Err(CliError::new(format!("Error: failed to start containers: {}", failed.join(", "))))
}

async fn start_attached(cli: &Cli, client: &Client, matches: &Matches) -> Outcome {
    let found: ContainerInspect = client.get(path(matches.arg(0), "/json")).json().await?;
    let config = found.config.unwrap_or_default();
    let auto_remove = found.host_config.is_some_and(|host| host.auto_remove);
    let id = found.id;
    if !config.tty {
        signals::forward(client, &id);
    }
    let wiring = Wiring {
        stdin: matches.flag("interactive") && config.open_stdin,
        stdout: true,
        stderr: true,
        tty: config.tty,
        detach_keys: super::detach_keys(cli, matches),
        proxied: !config.tty,
    };
    let condition = if auto_remove { "removed" } else { "next-exit" };
    let (hijacked, waiting) = tokio::join!(
        super::attach_call(client, &id, &wiring).hijack(),
        Waiting::begin(client, &id, condition)
    );
    let (hijacked, waiting) = (hijacked?, waiting?);
    let mut deadly = Deadly::catch(wiring.stdin && wiring.tty);
    let mut session = Session::start(hijacked, &wiring)?;
    if let Err(error) = client.post(path(&id, "/start")).done().await {
        session.leave();
        if auto_remove {
            drop(waiting.exit_code().await);
        }
        return Err(error.into());
    }
    if wiring.tty && cli.stdout_is_terminal() {
        resize::follow(client, Terminal::Container(id));
    }
    let ended = tokio::select! {
        ended = session.ended() => ended?,
        code = deadly.received() => {
            session.leave();
            return Ok(code);
        }
    };
    if ended == Ended::Detached {
        return Ok(0);
    }
    waiting.exit_code().await.map_err(|(code, words)| CliError::new(words).with_code(code))
}
