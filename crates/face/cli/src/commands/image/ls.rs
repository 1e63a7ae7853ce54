//! `docker images`.

use ferry_docker_api::ImageSummary;

use crate::{
    format::{image, render},
    framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome, window_size},
};

pub(crate) const COMMAND: Command = Command {
    name: "ls",
    top: Some("images"),
    aliases: &["list"],
    short: "List images",
    usage: "[OPTIONS] [REPOSITORY[:TAG]]",
    aliases_help: "docker image ls, docker image list, docker images",
    common: Some(6),
    args: Args::AtMost(1),
    flags: FLAGS,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::bool("all", "Show all images (default hides intermediate images)").short('a'),
    Flag::bool("digests", "Show digests"),
    Flag::filter("filter", "Filter output based on conditions provided").short('f'),
    Flag::string(
        "format",
        "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates",
    ),
    Flag::bool("no-trunc", "Don't truncate output"),
    Flag::bool("quiet", "Only show image IDs").short('q'),
    Flag::bool("tree", "List multi-platform images as a tree (EXPERIMENTAL)"),
];

/// Names of commands that users look for among the images.
const COMMANDS: [&str; 13] = [
    "build", "history", "import", "inspect", "list", "load", "ls", "prune", "pull", "push", "rm",
    "save", "tag",
];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    if matches.flag("tree") {
        for (flag, name) in [
            ("quiet", "quiet"),
            ("no-trunc", "no-trunc"),
            ("digests", "show-digest"),
            ("format", "format"),
        ] {
            if matches.is_set(flag) {
                return Err(CliError::new(format!("--{name} is not yet supported with --tree")));
            }
        }
    }
    let mut filters = matches.filters("filter");
    let name = matches.arg(0);
    if !name.is_empty() {
        filters.add("reference", name);
    }
    let client = cli.client()?;
    let tree = matches.flag("tree");
    let call = client
        .get("/images/json")
        .query_if(matches.flag("all"), "all", 1)
        .query_if(tree, "manifests", 1)
        .filters(&filters);
    let images: Vec<ImageSummary> = cli.wait(call.json())?;
    if tree {
        cli.print(&super::tree::show(
            &images,
            window_size(rustix::stdio::stdout()).map(|size| size.columns),
        ))?;
        return Ok(0);
    }
    let quiet = matches.flag("quiet");
    let format = match matches.text("format") {
        "" if quiet => "table".to_owned(),
        "" => cli.config().images_format().unwrap_or_else(|| "table".to_owned()),
        format => format.to_owned(),
    };
    let digests = matches.flag("digests");
    let format = image::format(&format, quiet, digests);
    let trunc = !matches.flag("no-trunc");
    let rows = image::rows(&images, &format, digests, trunc);
    cli.print(&render(&image::KIND, &format, &rows)?)?;
    if images.is_empty() && COMMANDS.contains(&name) && cli.path().ends_with(" images") {
        let program = cli.program();
        cli.warn(&format!(
            "\nNo images found matching \"{name}\": did you mean \"{program} image {name}\"?"
        ));
    }
    Ok(0)
}
