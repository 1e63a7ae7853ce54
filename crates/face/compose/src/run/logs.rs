//! Output of several containers in one stream, each line with the name of its container in front.

use std::time::{SystemTime, UNIX_EPOCH};

use ferry_cli::face::{CliError, write_fd};
use ferry_client::path_segment;
use ferry_docker_api::stream::{Demultiplexer, StreamKind};

use ferry_stdx::time::Timestamp;

use super::{Container, Session};

/// Colours of names, in Compose's order.
const COLOURS: [&str; 12] =
    ["36", "33", "32", "35", "34", "36;1", "33;1", "32;1", "35;1", "34;1", "31", "31;1"];
/// A line longer than this is printed in pieces.
const MAX_LINE: usize = 1 << 20;

/// What is asked of the daemon.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    pub(crate) follow: bool,
    pub(crate) tail: String,
    pub(crate) since: String,
    pub(crate) until: String,
    pub(crate) timestamps: bool,
}

/// How lines look.
#[derive(Debug, Clone)]
pub(crate) struct Printer {
    /// What was written to the standard error goes to ours.
    pub(crate) errors_apart: bool,
    pub(crate) prefix: bool,
    pub(crate) colour: bool,
    pub(crate) width: usize,
}

impl Printer {
    fn prefix(&self, name: &str, index: usize) -> String {
        if !self.prefix {
            return String::new();
        }
        let text = format!("{name:width$}  | ", width = self.width);
        if self.colour {
            format!("\x1b[{}m{text}\x1b[0m", COLOURS[index % COLOURS.len()])
        } else {
            text
        }
    }
}

/// Now, as the API takes it.
pub(crate) fn now() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:09}", now.as_secs(), now.subsec_nanos())
}

/// A point in time as the API takes it, from one that people write: a date, seconds, or how long ago. Empty stays empty.
pub(crate) fn moment(text: &str) -> Result<String, CliError> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let now = Timestamp::from_system(SystemTime::now());
    let time =
        Timestamp::parse_user(text, now).map_err(|error| CliError::new(error.to_string()))?;
    Ok(format!("{}.{:09}", time.seconds(), time.subsec_nanos()))
}

/// Prints one container's output, to its end if followed.
pub(crate) async fn show(
    session: &Session<'_>,
    container: &Container,
    name: &str,
    index: usize,
    options: &Options,
    printer: &Printer,
) -> Result<(), CliError> {
    let tty = session.inspect(&container.id).await?.config.is_some_and(|config| config.tty);
    let call = session
        .client
        .get(format!("/containers/{}/logs", path_segment(&container.id)))
        .query("stdout", 1)
        .query("stderr", 1)
        .query_if(options.follow, "follow", 1)
        .query_if(options.timestamps, "timestamps", 1)
        .query_if(!options.tail.is_empty(), "tail", &options.tail)
        .query_if(!options.since.is_empty(), "since", &options.since)
        .query_if(!options.until.is_empty(), "until", &options.until);
    let mut answer = call.send().await?;
    let mut demultiplexer = Demultiplexer::default();
    let prefix = printer.prefix(name, index);
    let mut out = Lines { prefix: prefix.clone(), stdout: true, rest: Vec::new() };
    let mut err = Lines { prefix, stdout: !printer.errors_apart, rest: Vec::new() };
    while let Some(chunk) = answer.chunk().await? {
        if tty {
            out.take(&chunk)?;
            continue;
        }
        let mut input: &[u8] = &chunk;
        while let Some((kind, piece)) =
            demultiplexer.next(&mut input).map_err(|error| CliError::new(error.to_string()))?
        {
            match kind {
                StreamKind::Stderr => err.take(piece)?,
                _ => out.take(piece)?,
            }
        }
    }
    out.end()?;
    err.end()
}

/// Pieces to whole lines.
struct Lines {
    prefix: String,
    stdout: bool,
    rest: Vec<u8>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.rest.extend_from_slice(bytes);
        let mut text = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            text.extend_from_slice(self.prefix.as_bytes());
            text.extend(self.rest.drain(..=end));
        }
        if self.rest.len() > MAX_LINE {
            text.extend_from_slice(self.prefix.as_bytes());
            text.append(&mut self.rest);
            text.push(b'\n');
        }
        self.write(&text)
    }

    fn end(&mut self) -> Result<(), CliError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        self.take(b"\n")
    }

    fn write(&self, text: &[u8]) -> Result<(), CliError> {
        if text.is_empty() {
            return Ok(());
        }
        let fd = if self.stdout { rustix::stdio::stdout() } else { rustix::stdio::stderr() };
        write_fd(fd, text).map_err(CliError::from)
    }
}
