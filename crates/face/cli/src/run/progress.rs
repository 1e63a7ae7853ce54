//! Progress of pulls, pushes, loads and imports, drawn as docker draws it: a line for each layer on a terminal, only what has
//! happened elsewhere.

use std::fmt::Write;

use ferry_client::JsonLines;
use ferry_docker_api::{JsonMessage, ProgressDetail};
use ferry_stdx::size::format_decimal;

use crate::framework::{Cli, CliError, window_size, write_fd};

/// The bar is drawn on terminals wider than this.
const BAR_WIDTH: usize = 110;
/// The width of a terminal that does not tell.
const ASSUMED_WIDTH: usize = 200;

/// Shows messages until their end; on standard error if `to_stderr`. A message that is an error is the error.
pub(crate) async fn show(
    cli: &Cli,
    lines: JsonLines<JsonMessage>,
    to_stderr: bool,
) -> Result<(), CliError> {
    each(cli, lines, to_stderr, |_| Ok(())).await
}

/// As [`show`]; `aux` sees the results that are meant for programs.
pub(crate) async fn each(
    cli: &Cli,
    mut lines: JsonLines<JsonMessage>,
    to_stderr: bool,
    mut aux: impl FnMut(&serde_json::Value) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let fd = if to_stderr { rustix::stdio::stderr() } else { rustix::stdio::stdout() };
    let terminal = if to_stderr { cli.stderr_is_terminal() } else { cli.stdout_is_terminal() };
    let width = window_size(fd).map_or(ASSUMED_WIDTH, |size| usize::from(size.columns));
    let mut screen = Screen { terminal, width, lines: Vec::new() };
    while let Some(message) = lines.next().await? {
        if let Some(value) = &message.aux {
            aux(value)?;
            continue;
        }
        if let Some(error) = failure(&message) {
            return Err(CliError::new(error));
        }
        let text = screen.draw(&message);
        if !text.is_empty() {
            write_fd(fd, text.as_bytes())?;
        }
    }
    Ok(())
}

/// Shows one message, as it is shown where there is no terminal.
pub(crate) fn once(message: &JsonMessage) -> Result<(), CliError> {
    let mut screen = Screen { terminal: false, width: ASSUMED_WIDTH, lines: Vec::new() };
    Ok(write_fd(rustix::stdio::stdout(), screen.draw(message).as_bytes())?)
}

/// Reads messages to their end without a word; a message that is an error is the error.
pub async fn hide(mut lines: JsonLines<JsonMessage>) -> Result<(), CliError> {
    while let Some(message) = lines.next().await? {
        if let Some(error) = failure(&message) {
            return Err(CliError::new(error));
        }
    }
    Ok(())
}

fn failure(message: &JsonMessage) -> Option<String> {
    if let Some(detail) = &message.error_detail {
        return Some(detail.message.clone());
    }
    Some(message.error.clone()).filter(|words| !words.is_empty())
}

/// What is on the terminal: the ids of the lowest lines, from above.
struct Screen {
    terminal: bool,
    width: usize,
    lines: Vec<String>,
}

impl Screen {
    /// What to write for a message.
    fn draw(&mut self, message: &JsonMessage) -> String {
        let mut text = String::new();
        let mut below = 0;
        let progresses = message.progress_detail.is_some() || !message.progress.is_empty();
        if !message.id.is_empty() && progresses {
            let known = self.lines.iter().position(|id| *id == message.id);
            let line = known.unwrap_or_else(|| {
                self.lines.push(message.id.clone());
                if self.terminal {
                    text.push('\n');
                }
                self.lines.len() - 1
            });
            below = self.lines.len() - line;
            if self.terminal {
                let _ = write!(text, "\x1b[{below}A");
            }
        } else {
            // What stands above is out of reach after a line that belongs to nobody.
            self.lines.clear();
        }
        self.message(message, &mut text);
        if !message.id.is_empty() && self.terminal && below > 0 {
            let _ = write!(text, "\x1b[{below}B");
        }
        text
    }

    fn message(&self, message: &JsonMessage, text: &mut String) {
        let bar = message.progress_detail.as_ref().map(|detail| self.bar(detail));
        let in_place = self.terminal && message.stream.is_empty() && bar.is_some();
        if in_place {
            text.push_str("\x1b[2K\r");
        } else if bar.as_ref().is_some_and(|bar| !bar.is_empty()) {
            // Not every percent on a line of its own.
            return;
        }
        let end = if in_place { "\r" } else { "" };
        if !message.id.is_empty() {
            let _ = write!(text, "{}: ", message.id);
        }
        if !message.from.is_empty() {
            let _ = write!(text, "(from {}) ", message.from);
        }
        let _ = match bar {
            Some(bar) if self.terminal => write!(text, "{} {bar}{end}", message.status),
            _ if !message.progress.is_empty() => {
                write!(text, "{} {}{end}", message.status, message.progress)
            }
            _ if !message.stream.is_empty() => write!(text, "{}{end}", message.stream),
            _ => writeln!(text, "{}{end}", message.status),
        };
    }

    /// `[====>   ]  1.2MB/3MB`.
    fn bar(&self, progress: &ProgressDetail) -> String {
        let (current, total) = (progress.current, progress.total);
        let size = |bytes: i64| format_decimal(u64::try_from(bytes).unwrap_or(0));
        let units = progress.units.as_str();
        if current <= 0 && total <= 0 {
            return String::new();
        }
        if total <= 0 {
            return if units.is_empty() {
                format!("{:>8}", size(current))
            } else {
                format!("{current} {units}")
            };
        }
        let done = usize::try_from(current.saturating_mul(100) / total / 2).unwrap_or(0).min(50);
        let mut text = String::new();
        if self.width > BAR_WIDTH {
            let _ = write!(text, "[{}>{}] ", "=".repeat(done), " ".repeat(50 - done));
        }
        if !progress.hide_counts {
            let _ = match (units, current > total) {
                ("", true) => write!(text, "{:>8}", size(current)),
                ("", false) => write!(text, "{:>8}/{}", size(current), size(total)),
                (_, true) => write!(text, "{current} {units}"),
                (_, false) => write!(text, "{current}/{total} {units}"),
            };
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(terminal: bool, messages: &[&str]) -> String {
        let mut screen = Screen { terminal, width: 200, lines: Vec::new() };
        messages
            .iter()
            .map(|json| screen.draw(&serde_json::from_str(json).unwrap()))
            .collect::<String>()
    }

    const PULL: &[&str] = &[
        r#"{"status":"Pulling from library/busybox","id":"latest"}"#,
        r#"{"status":"Pulling fs layer","progressDetail":{},"id":"abc"}"#,
        r#"{"status":"Downloading","progressDetail":{"current":500,"total":1000},"id":"abc"}"#,
        r#"{"status":"Pull complete","progressDetail":{},"id":"abc"}"#,
        r#"{"status":"Digest: sha256:1"}"#,
    ];

    #[test]
    fn without_a_terminal_only_what_happened() {
        assert_eq!(
            draw(false, PULL),
            "latest: Pulling from library/busybox\nabc: Pulling fs layer\nabc: Pull complete\nDigest: sha256:1\n"
        );
    }

    #[test]
    fn on_a_terminal_in_place() {
        let bar = format!("[{}>{}] ", "=".repeat(25), " ".repeat(25));
        assert_eq!(
            draw(true, PULL),
            format!(
                "latest: Pulling from library/busybox\n\
                 \n\x1b[1A\x1b[2K\rabc: Pulling fs layer \r\x1b[1B\
                 \x1b[1A\x1b[2K\rabc: Downloading {bar}    500B/1kB\r\x1b[1B\
                 \x1b[1A\x1b[2K\rabc: Pull complete \r\x1b[1B\
                 Digest: sha256:1\n"
            )
        );
    }
}
