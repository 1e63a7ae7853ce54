//! `docker inspect`: whatever has that name.

use ferry_client::{ClientError, path_segment};

use crate::{
    format::{
        inspect::{self, Details, Go},
        structures,
    },
    framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome, quote},
};

pub(crate) const COMMAND: Command = Command {
    name: "inspect",
    top: Some("inspect"),
    short: "Return low-level information on Docker objects",
    usage: "[OPTIONS] NAME|ID [NAME|ID...]",
    args: Args::AtLeast(1),
    flags: FLAGS,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::string("format", "Format output using a custom template:\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates").short('f'),
    Flag::bool("size", "Display total file sizes if the type is container").short('s'),
    Flag::string("type", "Only inspect objects of the given type"),
];

/// A kind of object: its name, where it is, and whether it is looked for when no kind is named.
struct Kind {
    name: &'static str,
    before: &'static str,
    after: &'static str,
    go: Go,
    searched: bool,
}

const fn kind(name: &'static str, before: &'static str, after: &'static str, go: Go) -> Kind {
    Kind { name, before, after, go, searched: true }
}

/// Of Swarm and plugins: only the daemon can say that there are none.
const fn rare(name: &'static str, before: &'static str, after: &'static str) -> Kind {
    Kind { name, before, after, go: structures::OTHER, searched: false }
}

/// In the order in which docker looks for them.
const KINDS: [Kind; 10] = [
    kind("container", "/containers/", "/json", structures::CONTAINER),
    kind("image", "/images/", "/json", structures::IMAGE),
    kind("network", "/networks/", "", structures::NETWORK),
    kind("volume", "/volumes/", "", structures::VOLUME),
    rare("service", "/services/", ""),
    rare("task", "/tasks/", ""),
    rare("node", "/nodes/", ""),
    rare("plugin", "/plugins/", "/json"),
    rare("secret", "/secrets/", ""),
    rare("config", "/configs/", ""),
];

/// All kinds, as docker's complaints list them.
const CHOICE: &str = "must be one of \"config\", \"container\", \"image\", \"network\", \"node\", \"plugin\", \"secret\", \"service\", \"task\", \"volume\"";

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let wanted = matches.text("type");
    if matches.is_set("type") && wanted.is_empty() {
        return Err(CliError::new(format!("type is empty: {CHOICE}")));
    }
    if !wanted.is_empty() && !KINDS.iter().any(|kind| kind.name == wanted) {
        return Err(CliError::new(format!("unknown type: {}: {CHOICE}", quote(wanted))));
    }
    let size = matches.flag("size");
    inspect::show(cli, matches.text("format"), matches.args(), |name| find(cli, name, wanted, size))
}

fn find(cli: &Cli, name: &str, wanted: &str, size: bool) -> Result<Details, CliError> {
    let client = cli.client()?;
    for kind in &KINDS {
        if wanted.is_empty() && !kind.searched || !wanted.is_empty() && wanted != kind.name {
            continue;
        }
        let has_size = kind.name == "container";
        let call = client
            .get(format!("{}{}{}", kind.before, path_segment(name), kind.after))
            .query_if(size && has_size, "size", 1);
        match inspect::fetch(cli, call, kind.go) {
            Ok(details) => {
                if size && !has_size {
                    cli.warn(&format!("WARNING: --size ignored for {}", kind.name));
                }
                return Ok(details);
            }
            Err(error) if wanted.is_empty() && is_absent(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(CliError::new(format!("Error: No such object: {name}")))
}

/// Not there, or no name that an object of this kind could have.
fn is_absent(error: &ClientError) -> bool {
    let words = error.message();
    error.is_not_found()
        || words.contains("not supported")
        || words.contains("invalid reference format")
}
