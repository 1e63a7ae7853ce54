//! What goes out: answers on standard output, errors and warnings where runc's callers look for them.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    time::SystemTime,
};

use ferry_errkind::{ErrorKind, Failure};
use ferry_stdx::time::Timestamp;
use serde::Serialize;

use crate::options::{Global, LogFormat};

/// The caller asked for something that cannot be.
pub(crate) fn invalid(words: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::InvalidArgument, words)
}

/// The machine did not do something.
pub(crate) fn failed(what: impl std::fmt::Display, why: impl std::fmt::Display) -> Failure {
    Failure::new(ErrorKind::Internal, format!("{what}: {}", as_go(&why.to_string())))
}

/// The system's errors as Go words them, whose words callers look for.
fn as_go(words: &str) -> String {
    let Some((words, _)) = words.split_once(" (os error") else { return words.to_owned() };
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// Prints text; its end is the end of the program.
pub(crate) fn print(text: &str) -> u8 {
    let mut out = io::stdout().lock();
    // Whoever closes the pipe has seen enough.
    u8::from(out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err())
}

/// Prints a value as JSON, indented by `indent`, or in one line.
pub(crate) fn json<T: Serialize>(value: &T, indent: Option<&str>) -> Result<u8, Failure> {
    let mut bytes = Vec::new();
    let written = match indent {
        Some(indent) => {
            let form = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, form))
        }
        None => serde_json::to_writer(&mut bytes, value),
    };
    written.map_err(|error| failed("cannot write the answer", error))?;
    bytes.push(b'\n');
    Ok(print(&String::from_utf8_lossy(&bytes)))
}

/// An error: into the log, and to standard error for whoever looks there.
pub(crate) fn error(global: &Global, failure: &Failure) {
    let words = failure.to_string();
    let line = line(global.log_format, "error", &words);
    if !log(global, &line) {
        // Nobody is left to be told.
        drop(writeln!(io::stderr(), "{line}"));
        return;
    }
    drop(writeln!(io::stderr(), "{words}"));
}

/// Something that is not worth failing for.
pub(crate) fn warning(global: &Global, words: &str) {
    let line = line(global.log_format, "warning", words);
    if !log(global, &line) {
        drop(writeln!(io::stderr(), "{line}"));
    }
}

/// Whether there is a log, and it took the line.
fn log(global: &Global, line: &str) -> bool {
    let Some(path) = &global.log else { return false };
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| writeln!(file, "{line}")).is_ok()
}

fn line(format: LogFormat, level: &str, words: &str) -> String {
    let now = Timestamp::from_system(SystemTime::now()).format_rfc3339_nano();
    match format {
        LogFormat::Json => {
            serde_json::json!({"level": level, "msg": words, "time": now}).to_string()
        }
        LogFormat::Text => format!("time={now:?} level={level} msg={words:?}"),
    }
}
