//! `docker run`.

use ferry_client::{Client, path_segment};
use ferry_docker_api::ContainerConfig;

use crate::{
    framework::{Args, Cli, CliError, Command, Matches, Outcome},
    run::{
        create::{check_pull, check_unsupported, create, with_help},
        options::{RUN_FLAGS, request},
        resize::{self, Terminal},
        session::{Ended, Session, Wiring},
        signals::{self, Deadly},
        wait::Waiting,
    },
};

pub(crate) const COMMAND: Command = Command {
    name: "run",
    top: Some("run"),
    short: "Create and run a new container from an image",
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    aliases_help: "docker container run, docker run",
    flags: RUN_FLAGS,
    interspersed: false,
    args: Args::AtLeast(1),
    common: Some(0),
    run,
    ..Command::NEW
};

/// docker's exit code for everything that kept the container's program from running.
const NOT_RUN: u8 = 125;

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let misused = |error| with_help(cli, "run", error).with_code(NOT_RUN);
    check_pull(matches).and_then(|()| check_unsupported(cli, matches)).map_err(misused)?;
    let client = cli.client().map_err(misused)?;
    let mut request = request(cli, matches).map_err(misused)?;
    let config = &mut request.config;
    if matches.flag("detach") {
        if matches.is_set("attach") {
            return Err(CliError::new(
                "conflicting options: cannot specify both --attach and --detach",
            ));
        }
        config.attach_stdin = false;
        config.attach_stdout = false;
        config.attach_stderr = false;
        config.stdin_once = false;
    } else {
        super::check_tty(cli, config.attach_stdin, config.tty)?;
    }
    cli.wait(async {
        let id = create(cli, client, &mut request, matches)
            .await
            .map_err(|error| not_run(cli, error))?;
        let config = &request.config;
        if matches.flag("sig-proxy") && !config.tty {
            signals::forward(client, &id);
        }
        if config.attach_stdin || config.attach_stdout || config.attach_stderr {
            attached(cli, client, &id, config, matches).await
        } else {
            detached(cli, client, &id, matches.flag("rm")).await
        }
    })
}

/// The id is told before the start: it is there even if starting fails.
async fn detached(cli: &Cli, client: &Client, id: &str, remove: bool) -> Outcome {
    cli.println(id)?;
    // Only a failed start is waited for, until the daemon has cleaned up.
    let removed = if remove { Waiting::begin(client, id, "removed").await.ok() } else { None };
    if let Err(error) = start(client, id).await {
        if let Some(removed) = removed {
            drop(removed.exit_code().await);
        }
        return Err(not_run(cli, error));
    }
    Ok(0)
}

async fn attached(
    cli: &Cli,
    client: &Client,
    id: &str,
    config: &ContainerConfig,
    matches: &Matches,
) -> Outcome {
    let wiring = Wiring {
        stdin: config.attach_stdin,
        stdout: config.attach_stdout,
        stderr: config.attach_stderr,
        tty: config.tty,
        detach_keys: super::detach_keys(cli, matches),
        proxied: matches.flag("sig-proxy") && !config.tty,
    };
    let condition = if matches.flag("rm") { "removed" } else { "next-exit" };
    // On connections of their own, at the same time; both must be there before the container starts.
    let (hijacked, waiting) = tokio::join!(
        super::attach_call(client, id, &wiring).hijack(),
        Waiting::begin(client, id, condition)
    );
    let (hijacked, waiting) = (hijacked?, waiting?);
    let mut deadly = Deadly::catch(wiring.stdin && wiring.tty);
    let mut session = Session::start(hijacked, &wiring)?;
    if let Err(error) = start(client, id).await {
        session.leave();
        if matches.flag("rm") {
            drop(waiting.exit_code().await);
        }
        return Err(not_run(cli, error));
    }
    if wiring.tty && cli.stdout_is_terminal() {
        resize::follow(client, Terminal::Container(id.to_owned()));
    }
    let outcome = tokio::select! {
        outcome = exit_code(cli, &mut session, waiting, &wiring) => outcome,
        code = deadly.received() => Ok(code),
    };
    session.leave();
    outcome
}

/// The container's, once everything that it wrote was shown; 0 when the user detached.
async fn exit_code(cli: &Cli, session: &mut Session, waiting: Waiting, wiring: &Wiring) -> Outcome {
    let status = waiting.exit_code();
    tokio::pin!(status);
    let code = tokio::select! {
        ended = session.ended() => {
            if ended? == Ended::Detached {
                return Ok(0);
            }
            status.await
        }
        code = &mut status => {
            // What the container wrote last may still be on its way.
            if wiring.stdout || wiring.stderr {
                session.ended().await?;
            }
            code
        }
    };
    Ok(code.unwrap_or_else(|(code, words)| {
        cli.warn(&words);
        code
    }))
}

async fn start(client: &Client, id: &str) -> Result<(), CliError> {
    Ok(client.post(format!("/containers/{}/start", path_segment(id))).done().await?)
}

/// docker tells from the daemon's words whether the program was not found, could not be run, or something else went wrong.
fn not_run(cli: &Cli, error: CliError) -> CliError {
    let words = error.message();
    let has = |texts: &[&str]| texts.iter().any(|text| words.contains(text));
    let code = if has(&[
        "executable file not found",
        "no such file or directory",
        "system cannot find the file specified",
    ]) {
        127
    } else if has(&["permission denied", "is a directory"]) {
        126
    } else {
        NOT_RUN
    };
    with_help(cli, "run", error).with_code(code)
}
