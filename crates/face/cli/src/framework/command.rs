//! Commands as data.

use super::{Cli, CliError, Flag, Matches};

/// What a command ends with: its exit code, or why it failed.
pub type Outcome = Result<u8, CliError>;

/// How many arguments a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Args {
    /// None at all.
    None,
    /// So many or more.
    AtLeast(usize),
    /// So many or fewer.
    AtMost(usize),
    /// From so many to so many.
    Between(usize, usize),
    /// Exactly so many.
    Exactly(usize),
    /// Any number.
    Any,
}

/// A command. Write `Command { name: "rm", …, ..Command::NEW }`.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    /// Its name in its group: `ls`.
    pub name: &'static str,
    /// Its name at top level, if it is there too: `ps`.
    pub top: Option<&'static str>,
    /// Further names in its group: `list`, `ps`.
    pub aliases: &'static [&'static str],
    /// Further names at top level.
    pub top_aliases: &'static [&'static str],
    /// One line for the list of commands.
    pub short: &'static str,
    /// More for its own help; empty when `short` says it all.
    pub long: &'static str,
    /// What stands behind the name: `[OPTIONS] CONTAINER [CONTAINER...]`.
    pub usage: &'static str,
    /// The line below `Aliases:`, with `docker` for the program; empty for none.
    pub aliases_help: &'static str,
    /// Its flags, sorted by name.
    pub flags: &'static [Flag],
    /// Flags may stand behind arguments. Not where the arguments are a command of their own.
    pub interspersed: bool,
    /// How many arguments it takes.
    pub args: Args,
    /// Place among the "Common Commands" at top level.
    pub common: Option<u8>,
    /// Not in lists of commands.
    pub hidden: bool,
    /// Does it.
    pub run: fn(&Cli, &Matches) -> Outcome,
}

impl Command {
    /// What most commands have in common.
    pub const NEW: Command = Command {
        name: "",
        top: None,
        aliases: &[],
        top_aliases: &[],
        short: "",
        long: "",
        usage: "",
        aliases_help: "",
        flags: &[],
        interspersed: true,
        args: Args::None,
        common: None,
        hidden: false,
        run: |_, _| Ok(0),
    };
}

/// A management command: `container`, `image`, …
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// Its name.
    pub name: &'static str,
    /// One line for the list of commands.
    pub short: &'static str,
    /// Its commands, in any order.
    pub commands: &'static [Command],
}

impl Args {
    /// Docker's complaint when `count` arguments do not fit; `path` is `docker container rm`, `usage` the usage line.
    pub fn complaint(self, count: usize, path: &str, usage: &str) -> Option<String> {
        let plural = |n: usize| if n == 1 { "argument" } else { "arguments" };
        let (fits, words, see) = match self {
            Args::Any => return None,
            Args::None => (count == 0, "accepts no arguments".to_owned(), "Run"),
            Args::AtLeast(min) => {
                (count >= min, format!("requires at least {min} {}", plural(min)), "See")
            }
            Args::AtMost(max) => {
                (count <= max, format!("requires at most {max} {}", plural(max)), "Run")
            }
            Args::Between(min, max) => (
                (min..=max).contains(&count),
                format!("requires at least {min} and at most {max} {}", plural(max)),
                "Run",
            ),
            Args::Exactly(n) => (count == n, format!("requires {n} {}", plural(n)), "Run"),
        };
        let program = path.split(' ').next().unwrap_or(path);
        (!fits).then(|| {
            format!(
                "{program}: '{path}' {words}\n\nUsage:  {usage}\n\n{see} '{path} --help' for more information"
            )
        })
    }
}
