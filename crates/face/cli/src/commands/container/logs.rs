//! `docker logs`.

use ferry_client::{Answer, Client};
use ferry_docker_api::{
    ApiVersion, ContainerInspect,
    stream::{Demultiplexer, StreamKind},
};
use ferry_stdx::time::Timestamp;

use super::path;
use crate::framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome, write_fd};

pub(crate) const COMMAND: Command = Command {
    name: "logs",
    top: Some("logs"),
    short: "Fetch the logs of a container",
    usage: "[OPTIONS] CONTAINER",
    aliases_help: "docker container logs, docker logs",
    flags: FLAGS,
    args: Args::Exactly(1),
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::bool("details", "Show extra details provided to logs"),
    Flag::bool("follow", "Follow log output").short('f'),
    Flag::string(
        "since",
        "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)",
    ),
    Flag::string("tail", "Number of lines to show from the end of the logs")
        .short('n')
        .default("all"),
    Flag::bool("timestamps", "Show timestamps").short('t'),
    Flag::string(
        "until",
        "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)",
    ),
];

/// From this version on the daemon says whether the answer is in frames.
const TELLS_FRAMES: ApiVersion = ApiVersion::new(1, 42);

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let container = matches.arg(0);
    let (since, until) = (moment(matches, "since")?, moment(matches, "until")?);
    let client = cli.client()?;
    let call = client
        .get(path(container, "/logs"))
        .query("stdout", 1)
        .query("stderr", 1)
        .query_if(!since.is_empty(), "since", since)
        .query_if(!until.is_empty(), "until", until)
        .query_if(matches.flag("timestamps"), "timestamps", 1)
        .query_if(matches.flag("details"), "details", 1)
        .query_if(matches.flag("follow"), "follow", 1)
        .query("tail", matches.text("tail"));
    cli.wait(async {
        let answer = call.send().await?;
        let frames = in_frames(client, &answer, container).await?;
        show(answer, frames).await
    })
}

/// A point in time as the daemon reads it: durations are counted back from our clock, not from the daemon's.
fn moment(matches: &Matches, flag: &str) -> Result<String, CliError> {
    let text = matches.text(flag);
    if text.is_empty() {
        return Ok(String::new());
    }
    let now = Timestamp::from_system(std::time::SystemTime::now());
    let time = Timestamp::parse_user(text, now)
        .map_err(|error| CliError::new(format!("invalid value for \"{flag}\": {error}")))?;
    if ferry_stdx::duration::parse_go(text).is_ok() {
        return Ok(time.seconds().to_string());
    }
    Ok(format!("{}.{:09}", time.seconds(), time.subsec_nanos()))
}

async fn in_frames(client: &Client, answer: &Answer, container: &str) -> Result<bool, CliError> {
    if answer.header("content-type") == Some("application/vnd.docker.multiplexed-stream") {
        return Ok(true);
    }
    if client.version() >= TELLS_FRAMES {
        return Ok(false);
    }
    let found: ContainerInspect = client.get(path(container, "/json")).json().await?;
    Ok(!found.config.is_some_and(|config| config.tty))
}

async fn show(mut answer: Answer, frames: bool) -> Outcome {
    let (stdout, stderr) = (rustix::stdio::stdout(), rustix::stdio::stderr());
    let mut demultiplexer = Demultiplexer::default();
    let mut told = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        if !frames {
            write_fd(stdout, &piece)?;
            continue;
        }
        let mut rest: &[u8] = &piece;
        let wrong =
            |error: ferry_docker_api::stream::UnknownStream| CliError::new(error.to_string());
        while let Some((kind, bytes)) = demultiplexer.next(&mut rest).map_err(wrong)? {
            match kind {
                StreamKind::Stdin | StreamKind::Stdout => write_fd(stdout, bytes)?,
                StreamKind::Stderr => write_fd(stderr, bytes)?,
                StreamKind::SystemError => told.extend_from_slice(bytes),
            }
        }
    }
    if told.is_empty() {
        return Ok(0);
    }
    let told = String::from_utf8_lossy(&told);
    Err(CliError::new(format!("error from daemon in stream: {}", told.trim_end())))
}
