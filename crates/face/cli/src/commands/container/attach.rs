//! `docker attach`.

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
    name: "attach",
    top: Some("attach"),
    short: "Attach local standard input, output, and error streams to a running container",
    usage: "[OPTIONS] CONTAINER",
    aliases_help: "docker container attach, docker attach",
    flags: FLAGS,
    args: Args::Exactly(1),
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::string("detach-keys", "Override the key sequence for detaching a container"),
    Flag::bool("no-stdin", "Do not attach STDIN"),
    Flag::bool("sig-proxy", "Proxy all received signals to the process").default("true"),
];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let container = matches.arg(0);
    let client = cli.client()?;
    cli.wait(async {
        let (found, waiting) =
            tokio::join!(running(client, container), Waiting::begin(client, container, ""));
        let found = found?;
        let config = found.config.unwrap_or_default();
        let no_stdin = matches.flag("no-stdin");
        super::check_tty(cli, !no_stdin, config.tty)?;
        let wiring = Wiring {
            stdin: !no_stdin && config.open_stdin,
            stdout: true,
            stderr: true,
            tty: config.tty,
            detach_keys: super::detach_keys(cli, matches),
            proxied: matches.flag("sig-proxy") && !config.tty,
        };
        if matches.flag("sig-proxy") && !wiring.tty {
            signals::forward(client, &found.id);
        }
        let hijacked = super::attach_call(client, container, &wiring).hijack().await?;
        // It may have ended since: then there is nothing that would end the session.
        running(client, container).await?;
        if wiring.tty && cli.stdout_is_terminal() {
            let terminal = Terminal::Container(found.id);
            resize::redraw(client, &terminal).await;
            resize::follow(client, terminal);
        }
        let mut deadly = Deadly::catch(wiring.stdin && wiring.tty);
        let mut session = Session::start(hijacked, &wiring)?;
        let ended = tokio::select! {
            ended = session.ended() => ended?,
            code = deadly.received() => {
                session.leave();
                return Ok(code);
            }
        };
        if ended == Ended::Detached {
            return Err(CliError::new("read escape sequence"));
        }
        waiting?.exit_code().await.map_err(|(code, words)| CliError::new(words).with_code(code))
    })
}

/// The container, if it runs.
async fn running(client: &Client, container: &str) -> Result<ContainerInspect, CliError> {
    let found: ContainerInspect = client.get(path(container, "/json")).json().await?;
    let state = found.state.clone().unwrap_or_default();
    let refused = |words: &str| Err(CliError::new(words));
    match (state.running, state.paused, state.restarting) {
        (false, _, _) => refused("You cannot attach to a stopped container, start it first"),
        (_, true, _) => refused("You cannot attach to a paused container, unpause it first"),
        (_, _, true) => {
            refused("You cannot attach to a restarting container, wait until it is running")
        }
        _ => Ok(found),
    }
}
