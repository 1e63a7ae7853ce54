//! What a command fails with.

use std::fmt;

use ferry_client::ClientError;

/// A command failed: what to print, and the exit code.
#[derive(Debug)]
pub struct CliError {
    message: String,
    hint: Option<String>,
    code: u8,
}

impl CliError {
    /// A failure with exit code 1.
    pub fn new(message: impl Into<String>) -> Self {
        CliError { message: message.into(), hint: None, code: 1 }
    }

    /// Nothing to print, only an exit code.
    pub fn silent(code: u8) -> Self {
        CliError { message: String::new(), hint: None, code }
    }

    /// Another exit code.
    #[must_use]
    pub fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Adds what to do about it; printed as `hint: …` on a line of its own.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Changes the words.
    #[must_use]
    pub fn map_message(mut self, change: impl FnOnce(String) -> String) -> Self {
        self.message = change(self.message);
        self
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// The words, without the hint.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CliError {}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        let hint = error.hint();
        CliError { message: ferry_errkind::chain(&error), hint, code: 1 }
    }
}

impl From<std::io::Error> for CliError {
    /// An error of our own output. A closed pipe ends us as SIGPIPE would: without a word, with 128 + 13.
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return CliError::silent(141);
        }
        CliError::new(format!("cannot write output: {error}"))
    }
}

/// Collects the failures of a command that goes on with its next argument, as docker does: the messages are printed
/// one a line, in order, and the exit code is 1.
#[derive(Debug, Default)]
pub struct Failures(Vec<CliError>);

impl Failures {
    /// Remembers a failure.
    pub fn push(&mut self, error: impl Into<CliError>) {
        self.0.push(error.into());
    }

    /// The outcome: 0 without failures.
    pub fn outcome(self) -> super::Outcome {
        if self.0.is_empty() {
            return Ok(0);
        }
        let mut hints: Vec<String> = Vec::new();
        let mut lines: Vec<String> = Vec::new();
        for error in self.0 {
            hints.extend(error.hint.filter(|hint| !hints.contains(hint)));
            lines.push(error.message);
        }
        let error = CliError::new(lines.join("\n"));
        Err(if hints.is_empty() { error } else { error.with_hint(hints.join("\nhint: ")) })
    }
}
