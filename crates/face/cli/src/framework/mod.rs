//! What every command stands on: flags, commands and groups as data, parsing and help from them, and [`Cli`], through which a command
//! reaches the daemon and the terminal.

mod autostart;
mod check;
mod command;
mod complete;
mod connect;
mod dispatch;
mod error;
mod flag;
mod globals;
mod help;
mod output;
mod parse;
mod plugins;
mod terminal;
mod tree;

use std::{cell::OnceCell, future::Future};

use ferry_client::Client;
use tokio::runtime::Runtime;

use crate::config::ConfigFile;

pub(crate) use check::{bytes_or_unlimited, nano, parse_bool};
pub use command::{Args, Command, Group, Outcome};
pub(crate) use connect::DEFAULT_SOCKET;
pub use dispatch::terminal_width;
pub use dispatch::{Extension, config_dir, run_words};
pub(crate) use dispatch::{main, main_of};
pub use error::{CliError, Failures};
pub use flag::Flag;
pub(crate) use globals::{Globals, default_config_dir, home};
pub use help::{command_help, flag_usages, usage_line};
pub use output::{warn, write_fd};
pub use parse::{Matches, ParseError};
pub(crate) use terminal::RawMode;
pub use terminal::{WindowSize, window_size};
pub(crate) use tree::Tree;

/// One run of the command line: who we are, and what a command may use.
#[derive(Debug)]
pub struct Cli {
    program: String,
    /// The command as it was called: `docker container run`.
    path: OnceCell<String>,
    globals: Globals,
    runtime: Runtime,
    config: OnceCell<ConfigFile>,
    client: OnceCell<Client>,
}

impl Cli {
    pub(crate) fn new(program: &str, globals: Globals) -> Result<Self, CliError> {
        // One thread: a command waits for one thing most of the time, and a second thread costs more to start than it gains.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| CliError::new(format!("cannot start: {error}")))?;
        Ok(Cli {
            program: program.to_owned(),
            path: OnceCell::new(),
            globals,
            runtime,
            config: OnceCell::new(),
            client: OnceCell::new(),
        })
    }

    /// `docker` or `ferry`, as the user called us. For messages: `{program}: …`.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// The command as it was called: `docker run`, `docker container run`.
    pub fn path(&self) -> &str {
        self.path.get().map_or(self.program.as_str(), String::as_str)
    }

    /// The flags before the command.
    pub(crate) fn globals(&self) -> &Globals {
        &self.globals
    }

    /// The daemon. The first use connects, and starts a daemon where none runs and none was named.
    pub fn client(&self) -> Result<&Client, CliError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = connect::client(self)?;
        Ok(self.client.get_or_init(|| client))
    }

    /// Another daemon than that of this command line: `ssh://host`, as `-H` has it.
    ///
    /// # Errors
    /// The text names no place where a daemon could listen.
    pub fn client_at(&self, host: &str) -> Result<Client, CliError> {
        connect::client_at(self, host)
    }

    /// Runs a future to its end.
    pub fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// `config.json`. One that cannot be read is as one that is not there, with a warning.
    pub(crate) fn config(&self) -> &ConfigFile {
        self.config.get_or_init(|| {
            let (config, warning) = ConfigFile::load(&self.globals.config_dir());
            if let Some(warning) = warning {
                self.warn(&warning);
            }
            config
        })
    }

    /// Prints text as it is.
    pub fn print(&self, text: &str) -> Result<(), CliError> {
        write_fd(rustix::stdio::stdout(), text.as_bytes()).map_err(CliError::from)
    }

    /// Prints a line.
    pub fn println(&self, line: &str) -> Result<(), CliError> {
        self.print(&format!("{line}\n"))
    }

    /// A line on standard error. That nobody reads it is no reason to fail.
    pub fn warn(&self, line: &str) {
        warn(line);
    }

    /// Asks `question [y/N] ` on standard output and reads the answer; anything but `y` is no.
    pub fn confirm(&self, question: &str) -> Result<bool, CliError> {
        output::confirm(question)
    }

    /// Asks for a line on the terminal; what is no `secret` is shown while it is typed.
    pub fn ask(&self, question: &str, shown: bool) -> Result<String, CliError> {
        output::ask(question, !shown)
    }

    /// Whether standard input is a terminal.
    pub fn stdin_is_terminal(&self) -> bool {
        rustix::termios::isatty(rustix::stdio::stdin())
    }

    /// Whether standard output is a terminal.
    pub fn stdout_is_terminal(&self) -> bool {
        rustix::termios::isatty(rustix::stdio::stdout())
    }

    /// Whether standard error is a terminal.
    pub fn stderr_is_terminal(&self) -> bool {
        rustix::termios::isatty(rustix::stdio::stderr())
    }

    /// An environment variable; empty is as not there.
    pub fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}

/// Quotes as Go's `%q` does.
pub fn quote(text: &str) -> String {
    use std::fmt::Write;
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(character);
            }
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            control if (control as u32) < 0x20 || control == '\u{7f}' => {
                let _ = write!(quoted, "\\x{:02x}", control as u32);
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests;
