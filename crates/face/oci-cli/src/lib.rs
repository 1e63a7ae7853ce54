//! `ferry oci`: the command line of an OCI runtime, as runc has it, so that podman, containerd and dockerd can use Ferry's own.
//!
//! Knows: bundles, the state of containers in a directory, runc's flags and words. Does not know: images, networks, shims, the
//! daemon; nothing of it runs on when a command has ended.
//!
//! Start with [`main`], then `commands/mod.rs` (the table), `record.rs` (what is kept of a container), `commands/create.rs`.
//!
//! ```text
//! create ──clone3──▶ init, which waits at the gate (ferry_runtime::Gate) in <root>/<id>/
//! start  ──knocks──▶ the gate: init executes the program; its end is the business of whoever called create
//! ```

mod arguments;
mod bundle;
mod commands;
mod foreground;
mod options;
mod record;
mod report;
mod signal;
mod stdio;

use ferry_errkind::Failure;

use options::Global;

/// How a command ended: the exit code of the program.
type Ended = Result<u8, Failure>;

/// Runs `ferry oci ARGS` and answers the exit code.
pub fn main(args: &[String]) -> u8 {
    let (global, name, rest) = match options::read(args) {
        Ok(read) => read,
        Err(failure) => {
            report::error(&Global::default(), &failure);
            return 1;
        }
    };
    let Some(name) = name else {
        return report::print(if global.version { VERSION_TEXT } else { commands::HELP });
    };
    let Some(command) = commands::find(&name) else {
        if name == "help" {
            return report::print(commands::HELP);
        }
        let words = match name.as_str() {
            "checkpoint" | "restore" => format!("{name} is not supported: ferry has no CRIU"),
            _ => format!("No help topic for '{name}'"),
        };
        report::error(&global, &report::invalid(words));
        return UNKNOWN_COMMAND;
    };
    let ended = arguments::parse(&name, command.flags, &rest).and_then(|arguments| {
        if arguments.is_set("help") {
            return Ok(report::print(&commands::help(command)));
        }
        (command.run)(&global, &arguments)
    });
    match ended {
        Ok(code) => code,
        Err(failure) => {
            report::error(&global, &failure);
            command.failure_code
        }
    }
}

/// As runc.
const UNKNOWN_COMMAND: u8 = 3;

/// dockerd, containerd and podman read the first two lines.
const VERSION_TEXT: &str =
    concat!("ferry-oci version ", env!("CARGO_PKG_VERSION"), "\nspec: 1.2.1\n");
