//! How a build is shown: line by line, as a picture that is drawn again and again, as JSON, or not at all.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use base64::Engine as _;
use ferry_docker_api::solve::{SolveStatus, SolveVertex, VertexLog, VertexStatus};
use ferry_stdx::{size, time::Timestamp};

use crate::framework::{CliError, window_size, write_fd};

/// A picture is drawn at most so often.
const BETWEEN: Duration = Duration::from_millis(100);

/// Lines of a vertex's output that a picture shows, and that an error repeats at most.
const SHOWN: usize = 6;
const REPEATED: usize = 200;

/// The ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Plain,
    Tty,
    Quiet,
    RawJson,
}

impl Mode {
    pub(super) fn of(text: &str, quiet: bool, terminal: bool) -> Result<Mode, CliError> {
        match text {
            _ if quiet => Ok(Mode::Quiet),
            "" | "auto" if terminal => Ok(Mode::Tty),
            "" | "auto" | "plain" => Ok(Mode::Plain),
            "tty" if terminal => Ok(Mode::Tty),
            "tty" => Err(CliError::new("failed to get console: provided file is not a console")),
            "quiet" | "none" => Ok(Mode::Quiet),
            "rawjson" => Ok(Mode::RawJson),
            other => Err(CliError::new(format!("invalid progress mode {other}"))),
        }
    }
}

/// Everything that is known of a build, and what of it was shown.
#[derive(Debug)]
pub(super) struct Progress {
    mode: Mode,
    vertices: Vec<Seen>,
    by_digest: BTreeMap<String, usize>,
    warnings: Vec<String>,
    began: Instant,
    drawn: Option<Instant>,
    /// Lines of the last picture.
    lines: usize,
    /// The vertex that plain output is about at the moment.
    current: Option<usize>,
    next: usize,
}

#[derive(Debug, Default)]
struct Seen {
    vertex: SolveVertex,
    number: usize,
    /// Output, line by line, with the time that it came.
    output: Vec<String>,
    open: String,
    statuses: BTreeMap<String, VertexStatus>,
    told: bool,
}

impl Progress {
    pub(super) fn new(mode: Mode) -> Progress {
        Progress {
            mode,
            vertices: Vec::new(),
            by_digest: BTreeMap::new(),
            warnings: Vec::new(),
            began: Instant::now(),
            drawn: None,
            lines: 0,
            current: None,
            next: 1,
        }
    }

    /// Takes what the daemon said.
    pub(super) fn update(&mut self, status: SolveStatus) -> Result<(), CliError> {
        if self.mode == Mode::RawJson {
            // Texts and numbers always have a JSON form.
            let line = serde_json::to_string(&status).unwrap_or_default();
            return write(&format!("{line}\n"));
        }
        let mut text = String::new();
        for vertex in status.vertexes {
            self.vertex(vertex, &mut text);
        }
        for told in status.statuses {
            self.status(told, &mut text);
        }
        for log in status.logs {
            self.log(&log, &mut text);
        }
        for warning in status.warnings {
            self.warnings.push(decoded(&warning.short));
        }
        match self.mode {
            Mode::Plain => write(&text),
            Mode::Tty if self.drawn.is_none_or(|at| at.elapsed() >= BETWEEN) => self.draw(false),
            _ => Ok(()),
        }
    }

    /// Shows what is left at the end.
    pub(super) fn end(&mut self) -> Result<(), CliError> {
        match self.mode {
            Mode::Tty => self.draw(true)?,
            Mode::Plain => {}
            Mode::Quiet | Mode::RawJson => return Ok(()),
        }
        let mut text = String::new();
        match self.warnings.as_slice() {
            [] => {}
            [one] => text.push_str(&format!("\n 1 warning found:\n - {one}\n")),
            many => {
                text.push_str(&format!("\n {} warnings found:\n", many.len()));
                many.iter().for_each(|one| text.push_str(&format!(" - {one}\n")));
            }
        }
        write(&text)
    }

    /// Why steps were done that might have been in the cache; nothing, where each message has said it or `built` nothing.
    pub(super) fn explanation(&self, built: bool) -> String {
        let explained = self.vertices.iter().filter(|seen| !seen.vertex.why.is_empty());
        let mut text = String::new();
        for Seen { vertex, .. } in explained {
            text.push_str(&format!(" {}\n", vertex.name));
            vertex.why.iter().for_each(|why| text.push_str(&format!("   {why}\n")));
        }
        match text.is_empty() {
            true if self.mode == Mode::RawJson || !built => text,
            true => "All steps were cached.\n".to_owned(),
            false => format!("Not cached:\n{text}"),
        }
    }

    /// What the step that failed had said.
    pub(super) fn failed_output(&self) -> Option<String> {
        if self.mode == Mode::RawJson {
            return None;
        }
        let failed = self.vertices.iter().find(|seen| !seen.vertex.error.is_empty())?;
        let skip = failed.output.len().saturating_sub(REPEATED);
        let lines: Vec<String> =
            failed.output.iter().skip(skip).map(|line| format!("{line}\n")).collect();
        Some(format!("------\n > {}:\n{}------\n", failed.vertex.name, lines.concat()))
    }

    fn seen(&mut self, digest: &str) -> usize {
        if let Some(at) = self.by_digest.get(digest) {
            return *at;
        }
        self.vertices.push(Seen::default());
        self.by_digest.insert(digest.to_owned(), self.vertices.len() - 1);
        self.vertices.len() - 1
    }

    fn vertex(&mut self, vertex: SolveVertex, text: &mut String) {
        let at = self.seen(&vertex.digest);
        let started = vertex.started.is_some();
        self.vertices[at].vertex = vertex;
        // BuildKit has no vertices for what only changes the configuration.
        if !started || !is_shown(&self.vertices[at].vertex) {
            return;
        }
        if self.vertices[at].number == 0 {
            self.vertices[at].number = self.next;
            self.next += 1;
            self.head(at, text);
        }
        let seen = &self.vertices[at];
        if seen.vertex.completed.is_none() || seen.told {
            return;
        }
        self.head(at, text);
        let seen = &mut self.vertices[at];
        seen.told = true;
        let number = seen.number;
        if !seen.open.is_empty() {
            let line = std::mem::take(&mut seen.open);
            text.push_str(&format!("#{number} {line}\n"));
            seen.output.push(line);
        }
        match (&seen.vertex.error, seen.vertex.cached) {
            (error, _) if !error.is_empty() => {
                text.push_str(&format!("#{number} ERROR: {error}\n"))
            }
            (_, true) => text.push_str(&format!("#{number} CACHED\n")),
            _ => text.push_str(&format!("#{number} DONE {:.1}s\n", took(&seen.vertex))),
        }
    }

    /// The line that says which vertex the next lines are about.
    fn head(&mut self, at: usize, text: &mut String) {
        if self.current == Some(at) {
            return;
        }
        if self.current.is_some() {
            text.push('\n');
        }
        self.current = Some(at);
        let seen = &self.vertices[at];
        text.push_str(&format!("#{} {}\n", seen.number, seen.vertex.name));
    }

    fn status(&mut self, told: VertexStatus, text: &mut String) {
        let at = self.seen(&told.vertex);
        let before = self.vertices[at].statuses.get(&told.id);
        let changed =
            before.is_none_or(|before| before.completed.is_none() && told.completed.is_some());
        if changed && self.vertices[at].number > 0 {
            self.head(at, text);
            let done = if told.completed.is_some() { " done" } else { "" };
            let bytes = match (told.current, told.total) {
                (0, 0) => String::new(),
                (current, 0) => format!(" {}", size::format_decimal(current)),
                (current, total) => {
                    format!(" {} / {}", size::format_decimal(current), size::format_decimal(total))
                }
            };
            text.push_str(&format!("#{} {}{bytes}{done}\n", self.vertices[at].number, told.id));
        }
        self.vertices[at].statuses.insert(told.id.clone(), told);
    }

    fn log(&mut self, log: &VertexLog, text: &mut String) {
        let at = self.seen(&log.vertex);
        self.head(at, text);
        let seen = &mut self.vertices[at];
        let since = seen.vertex.started.as_deref().and_then(Timestamp::parse_rfc3339);
        let now = Timestamp::parse_rfc3339(&log.timestamp);
        let after = now.zip(since).map_or(0.0, |(now, since)| now.since(since).as_secs_f64());
        let bytes = base64::engine::general_purpose::STANDARD.decode(&log.data).unwrap_or_default();
        for piece in String::from_utf8_lossy(&bytes).split_inclusive('\n') {
            if seen.open.is_empty() {
                seen.open = format!("{after:.3} ");
            }
            seen.open.push_str(piece.trim_end_matches(['\r', '\n']));
            if piece.ends_with('\n') {
                let line = std::mem::take(&mut seen.open);
                text.push_str(&format!("#{} {line}\n", seen.number));
                seen.output.push(line);
            }
        }
    }

    /// Draws everything over what was drawn before.
    fn draw(&mut self, last: bool) -> Result<(), CliError> {
        self.drawn = Some(Instant::now());
        let window = window_size(rustix::stdio::stderr());
        let (rows, columns) =
            window.map_or((24, 80), |size| (usize::from(size.rows), usize::from(size.columns)));
        let all: Vec<&Seen> = self.vertices.iter().filter(|seen| seen.number > 0).collect();
        let done = all.iter().filter(|seen| seen.vertex.completed.is_some()).count();
        let word = if last { "FINISHED" } else { "" };
        let mut lines = vec![format!(
            "[+] Building {:.1}s ({done}/{}) {word}",
            self.began.elapsed().as_secs_f64(),
            all.len()
        )];
        for seen in &all {
            lines.push(seen.line(columns));
            if seen.vertex.completed.is_none() && !last {
                let skip = seen.output.len().saturating_sub(SHOWN);
                lines.extend(seen.output.iter().skip(skip).map(|line| format!(" => => # {line}")));
            }
        }
        // What does not fit would scroll away and could not be drawn over.
        if !last && lines.len() > rows.saturating_sub(1) {
            let over = lines.len() - rows.saturating_sub(1);
            lines.drain(1..=over.min(lines.len() - 1));
        }
        let mut text = String::new();
        if self.lines > 0 {
            text.push_str(&format!("\x1b[{}A\x1b[J", self.lines));
        }
        for line in &lines {
            let cut: String =
                line.chars().filter(|char| !char.is_control()).take(columns).collect();
            text.push_str(&cut);
            text.push('\n');
        }
        self.lines = lines.len();
        write(&text)
    }
}

impl Seen {
    /// Its line in a picture: name to the left, time to the right.
    fn line(&self, columns: usize) -> String {
        let state = match (&self.vertex.error, self.vertex.cached) {
            (error, _) if !error.is_empty() => "ERROR ",
            (_, true) => "CACHED ",
            _ => "",
        };
        let time = format!("{:.1}s", took(&self.vertex));
        let room = columns.saturating_sub(time.len() + 5);
        let name: String = format!("{state}{}", self.vertex.name).chars().take(room).collect();
        format!(" => {name:<room$} {time}")
    }
}

/// Seconds from its beginning to its end, or to now.
fn took(vertex: &SolveVertex) -> f64 {
    let read = |text: &Option<String>| text.as_deref().and_then(Timestamp::parse_rfc3339);
    let now = || Timestamp::from_system(std::time::SystemTime::now());
    let Some(started) = read(&vertex.started) else { return 0.0 };
    read(&vertex.completed).unwrap_or_else(now).since(started).as_secs_f64()
}

fn is_shown(vertex: &SolveVertex) -> bool {
    vertex.name.starts_with('[') || vertex.name.starts_with("exporting") || !vertex.error.is_empty()
}

fn decoded(text: &str) -> String {
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn write(text: &str) -> Result<(), CliError> {
    Ok(write_fd(rustix::stdio::stderr(), text.as_bytes())?)
}
