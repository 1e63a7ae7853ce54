//! The docker-compatible command line: docker's commands, flags, words and exit codes, against our daemon or any other that speaks
//! the Docker Engine API.
//!
//! Knows: flags, the terminal, docker's configuration files, how answers are shown. Does not know: how the daemon does anything; it is
//! only ever asked over the API.
//! Start with `framework::Command` (commands are data), `framework::Cli` (what a command may use), `commands::GROUPS` (all of
//! them).

mod commands;
mod config;
mod copying;
mod format;
mod framework;
mod run;

/// The parser of flags, for the other program in this binary that has docker's manners: `ferry daemon`.
pub mod flags {
    pub use crate::framework::{Flag, Matches, ParseError, flag_usages, terminal_width};
}

/// What a face beside this one stands on, so that it has the same manners: `ferry compose`.
pub mod face {
    pub use crate::{
        config::{Logins, every_registry, logins, registry_auth},
        format::{Kind, Row, align_with, render},
        framework::{
            Args, Cli, CliError, Command, Extension, Failures, Group, Outcome, WindowSize,
            command_help, config_dir, quote, run_words, usage_line, warn, window_size, write_fd,
        },
        run::{progress::hide as hide_progress, pull::name_and_tag},
    };
}

/// The version of Docker whose command line this is.
pub(crate) const DOCKER_VERSION: &str = "28.5.2";

/// `ferry daemon` is a program of its own, which is only listed here: its name, and a line about it.
pub const DAEMON: (&str, &str) = ("daemon", "Run the daemon (started by itself when it is needed)");

/// Runs a command line, whose first word is what we were called; the exit code. `…/docker` makes us docker in every message.
///
/// `extensions` are the faces that are commands here; `groups` are commands of other faces, among ours where the group's name is one
/// of ours.
pub fn main(
    args: &[String],
    extensions: &'static [face::Extension],
    groups: &'static [face::Group],
) -> u8 {
    let called = args.first().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    let program = if called == "docker" { "docker" } else { "ferry" };
    framework::main(program, args.get(1..).unwrap_or_default(), (extensions, groups))
}

/// Runs an extension as a program of its own, called `program`; the exit code.
pub fn main_of(extension: &face::Extension, program: &str, args: &[String]) -> u8 {
    framework::main_of(extension, program, args)
}

/// What the program is called that gives others the credentials that `login` keeps.
pub const CREDENTIAL_HELPER: &str = commands::system::credential_helper::PROGRAM;

/// Runs the program of that name; the exit code.
pub fn credential_helper_main(args: &[String]) -> u8 {
    commands::system::credential_helper::main(args)
}

/// What `--version` says.
pub(crate) fn version_line(program: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    if program == "docker" {
        format!("Docker version {DOCKER_VERSION}, build ferry-{version}\n")
    } else {
        format!("Ferry version {version} (Docker {DOCKER_VERSION})\n")
    }
}
