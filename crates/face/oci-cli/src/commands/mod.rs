//! The table of commands.

mod create;
mod delete;
mod events;
mod exec;
mod features;
mod kill;
mod limits;
mod run;
mod spec;
mod start;
mod update;
mod view;

use crate::{
    Ended,
    arguments::{Arguments, Flag},
    options::Global,
};

/// A command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Command {
    name: &'static str,
    usage: &'static str,
    pub(crate) flags: &'static [Flag],
    pub(crate) run: fn(&Global, &Arguments) -> Ended,
    /// The exit code of this program when the command fails.
    pub(crate) failure_code: u8,
}

const COMMANDS: &[Command] = &[
    create::COMMAND,
    delete::COMMAND,
    events::COMMAND,
    exec::COMMAND,
    features::COMMAND,
    kill::COMMAND,
    view::LIST,
    limits::PAUSE,
    view::PS,
    limits::RESUME,
    run::COMMAND,
    spec::COMMAND,
    start::COMMAND,
    view::STATE,
    update::COMMAND,
];

pub(crate) fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

/// What `ferry oci help COMMAND` says.
pub(crate) fn help(command: &Command) -> String {
    let mut text = format!("USAGE:\n   ferry oci {} {}\n", command.name, command.usage);
    if !command.flags.is_empty() {
        text.push_str("\nOPTIONS:\n");
        for flag in command.flags {
            text.push_str(&format!("   {}\n", flag.shown()));
        }
    }
    text
}

/// What `ferry oci` alone says.
pub(crate) const HELP: &str = "\
NAME:
   ferry oci - an OCI runtime: containers from bundles

USAGE:
   ferry oci [global options] command [command options] [arguments...]

COMMANDS:
   create    make a container that waits for its start
   delete    remove a container that has ended
   events    show statistics and out-of-memory events
   exec      run a further process in a container
   features  show what this runtime can do
   kill      send a signal to a container
   list      list containers
   pause     stop all processes of a container
   ps        list the processes of a container
   resume    let them go on
   run       create and start a container
   spec      write a configuration to begin with
   start     start the program of a container that was created
   state     show the state of a container
   update    change the limits of a container

GLOBAL OPTIONS:
   --root value        directory of the containers' state (default: \"/run/ferry-oci\")
   --log value         file for errors and warnings
   --log-format value  text or json (default: \"text\")
   --debug             taken, as other runtimes take it
   --version, -v       print the version
   --help, -h          print this
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_the_help() {
        for command in COMMANDS {
            assert!(HELP.contains(&format!("\n   {} ", command.name)), "{}", command.name);
        }
    }
}
