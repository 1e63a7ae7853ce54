//! `docker container`: one file for each command.

mod attach;
mod changes;
mod commit;
mod cp;
mod create;
mod exec;
mod export;
mod inspect;
mod kill;
mod logs;
mod ls;
mod pause;
mod port;
mod port_audit;
mod prune;
mod rename;
mod restart;
mod rm;
mod run;
mod start;
mod stats;
mod stop;
mod top;
mod unpause;
mod update;
mod wait;
mod why;

use std::{future::Future, sync::Arc};

use ferry_client::{Call, Client, ClientError, path_segment};
use tokio::sync::Semaphore;

use crate::{
    framework::{Cli, CliError, Command, Failures, Group, Matches, Outcome},
    run::session::Wiring,
};

/// The group.
pub(crate) const GROUP: Group =
    Group { name: "container", short: "Manage containers", commands: COMMANDS };

const COMMANDS: &[Command] = &[
    attach::COMMAND,
    changes::COMMAND,
    commit::COMMAND,
    cp::COMMAND,
    create::COMMAND,
    exec::COMMAND,
    export::COMMAND,
    inspect::COMMAND,
    kill::COMMAND,
    logs::COMMAND,
    ls::COMMAND,
    pause::COMMAND,
    port::COMMAND,
    prune::COMMAND,
    rename::COMMAND,
    restart::COMMAND,
    rm::COMMAND,
    run::COMMAND,
    start::COMMAND,
    stats::COMMAND,
    stop::COMMAND,
    top::COMMAND,
    unpause::COMMAND,
    update::COMMAND,
    wait::COMMAND,
    why::COMMAND,
];

/// How many containers are worked on at once.
const AT_ONCE: usize = 50;

/// The path of something about a container.
fn path(container: &str, what: &str) -> String {
    format!("/containers/{}{what}", path_segment(container))
}

/// Does something to each container that is named, many at once; prints the names of those where it worked, in order.
fn each<F, W>(cli: &Cli, matches: &Matches, work: F) -> Outcome
where
    F: Fn(Client, String) -> W,
    W: Future<Output = Result<(), ClientError>> + Send + 'static,
{
    let client = cli.client()?;
    let names = matches.args();
    let mut failures = Failures::default();
    cli.wait(async {
        if let [name] = names {
            match work(client.clone(), name.clone()).await {
                Ok(()) => cli.println(name)?,
                Err(error) => failures.push(error),
            }
            return Ok::<(), CliError>(());
        }
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        let mut running = Vec::new();
        for name in names {
            let (work, permits) = (work(client.clone(), name.clone()), Arc::clone(&permits));
            running.push(tokio::spawn(async move {
                let _permit = permits.acquire().await;
                work.await
            }));
        }
        for (name, task) in names.iter().zip(running) {
            match task.await {
                Ok(Ok(())) => cli.println(name)?,
                Ok(Err(error)) => failures.push(error),
                Err(error) => failures.push(CliError::new(format!("{name}: {error}"))),
            }
        }
        Ok(())
    })?;
    failures.outcome()
}

/// Refuses to send what is no terminal to a container's terminal.
fn check_tty(cli: &Cli, attach_stdin: bool, tty: bool) -> Result<(), CliError> {
    if attach_stdin && tty && !cli.stdin_is_terminal() {
        return Err(CliError::new("the input device is not a TTY"));
    }
    Ok(())
}

/// `--detach-keys`, or what the configuration says.
fn detach_keys(cli: &Cli, matches: &Matches) -> String {
    match matches.text("detach-keys") {
        "" => cli.config().detach_keys().unwrap_or_default(),
        keys => keys.to_owned(),
    }
}

/// The request to attach.
fn attach_call(client: &Client, container: &str, wiring: &Wiring) -> Call {
    client
        .post(path(container, "/attach"))
        .query("stream", 1)
        .query_if(wiring.stdin, "stdin", 1)
        .query_if(wiring.stdout, "stdout", 1)
        .query_if(wiring.stderr, "stderr", 1)
        .query_if(!wiring.detach_keys.is_empty(), "detachKeys", &wiring.detach_keys)
}
