//! `docker exec`.

use ferry_client::{Client, ClientError, path_segment};
use ferry_docker_api::{ExecConfig, ExecCreated, ExecInspect, ExecStartConfig};

use super::path;
use crate::{
    framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome, window_size},
    run::{
        options::{key_values, lookup_env},
        resize::{self, Terminal},
        session::{Ended, Session, Wiring},
        signals::Deadly,
        wait::exit_code,
    },
};

pub(crate) const COMMAND: Command = Command {
    name: "exec",
    top: Some("exec"),
    short: "Execute a command in a running container",
    usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
    aliases_help: "docker container exec, docker exec",
    flags: FLAGS,
    args: Args::AtLeast(2),
    interspersed: false,
    common: Some(1),
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::bool("detach", "Detached mode: run command in the background").short('d'),
    Flag::string("detach-keys", "Override the key sequence for detaching a container"),
    Flag::list("env", "Set environment variables").short('e'),
    Flag::list("env-file", "Read in a file of environment variables"),
    Flag::bool("interactive", "Keep STDIN open even if not attached").short('i'),
    Flag::bool("privileged", "Give extended privileges to the command"),
    Flag::bool("tty", "Allocate a pseudo-TTY").short('t'),
    Flag::string("user", "Username or UID (format: \"<name|uid>[:<group|gid>]\")").short('u'),
    Flag::string("workdir", "Working directory inside the container").short('w'),
];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let (container, detach) = (matches.arg(0), matches.flag("detach"));
    let config = config(cli, matches)?;
    let client = cli.client()?;
    cli.wait(async {
        if !detach && let Err(refused) = super::check_tty(cli, config.attach_stdin, config.tty) {
            // That there is no such container is the more important news.
            client.get(path(container, "/json")).done().await?;
            return Err(refused);
        }
        let created: ExecCreated =
            client.post(path(container, "/exec")).json_body(&config).json().await?;
        if created.id.is_empty() {
            return Err(CliError::new("exec ID empty"));
        }
        if detach {
            start(client, &created.id, &config, true).done().await?;
            return Ok(0);
        }
        attached(cli, client, &created.id, &config).await
    })
}

fn config(cli: &Cli, matches: &Matches) -> Result<ExecConfig, CliError> {
    let tty = matches.flag("tty");
    let attach = !matches.flag("detach");
    let size = window_size(rustix::stdio::stdout());
    let size = size.map_or([0, 0], |size| [u32::from(size.rows), u32::from(size.columns)]);
    let env = key_values(matches.texts("env-file"), matches.texts("env"), Some(lookup_env))?;
    Ok(ExecConfig {
        user: matches.text("user").to_owned(),
        privileged: matches.flag("privileged"),
        tty,
        console_size: tty.then_some(size),
        attach_stdin: attach && matches.flag("interactive"),
        attach_stdout: attach,
        attach_stderr: attach,
        detach_keys: super::detach_keys(cli, matches),
        env: (!env.is_empty()).then_some(env),
        working_dir: matches.text("workdir").to_owned(),
        cmd: Some(matches.args().iter().skip(1).cloned().collect()),
        ..Default::default()
    })
}

fn start(client: &Client, id: &str, config: &ExecConfig, detach: bool) -> ferry_client::Call {
    let body = ExecStartConfig { detach, tty: config.tty, console_size: config.console_size };
    client.post(format!("/exec/{}/start", path_segment(id))).json_body(&body)
}

async fn attached(cli: &Cli, client: &Client, id: &str, config: &ExecConfig) -> Outcome {
    let wiring = Wiring {
        stdin: config.attach_stdin,
        stdout: true,
        stderr: true,
        tty: config.tty,
        detach_keys: config.detach_keys.clone(),
        proxied: false,
    };
    let hijacked = start(client, id, config, false).hijack().await?;
    let mut deadly = Deadly::catch(wiring.stdin && wiring.tty);
    let mut session = Session::start(hijacked, &wiring)?;
    if config.tty && cli.stdin_is_terminal() {
        resize::follow(client, Terminal::Exec(id.to_owned()));
    }
    let ended = tokio::select! {
        ended = session.ended() => ended?,
        code = deadly.received() => {
            session.leave();
            return Ok(code);
        }
    };
    if ended == Ended::Detached {
        return Err(CliError::new(
            "exec attach failed: error on attach stdin: read escape sequence",
        ));
    }
    match client.get(format!("/exec/{}/json", path_segment(id))).json::<ExecInspect>().await {
        Ok(found) => Ok(exit_code(i64::from(found.exit_code.unwrap_or(0)))),
        // The daemon has died meanwhile; docker's exit code is -1 then.
        Err(ClientError::Connect { .. } | ClientError::Dial { .. }) => Ok(255),
        Err(error) => Err(error.into()),
    }
}
