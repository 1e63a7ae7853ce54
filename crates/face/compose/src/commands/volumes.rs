//! `compose volumes`.

use std::collections::BTreeSet;

use ferry_cli::{
    face::{Args, Command, Kind, Outcome, Row, render},
    flags::{Flag, Matches},
};

use super::{Compose, DRY, Verb, select};
use crate::run::resources;

pub(super) static VOLUMES: Verb = Verb {
    command: Command {
        name: "volumes",
        short: "List volumes",
        usage: "[OPTIONS] [SERVICE...]",
        args: Args::Any,
        flags: &[
            DRY,
            Flag::string("format", "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates").default("table"),
            Flag::bool("quiet", "Only display volume names").short('q'),
        ],
        ..Command::NEW
    },
    run,
};

static KIND: Kind = Kind {
    name: "*formatter.volumeContext",
    titles: &[
        ("Availability", "AVAILABILITY"),
        ("Driver", "DRIVER"),
        ("Group", "GROUP"),
        ("Labels", "LABELS"),
        ("Links", "LINKS"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Name", "VOLUME NAME"),
        ("Scope", "SCOPE"),
        ("Size", "SIZE"),
        ("Status", "STATUS"),
    ],
};

fn run(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let mut project = compose.project_or_name()?;
    let session = compose.session()?;
    let mut list = compose.cli.wait(resources::volumes_of(&session, &project.name))?;
    if !matches.args().is_empty() {
        let names = select(&mut project, matches.args(), false)?;
        let all = compose.cli.wait(session.containers(&project.name, true))?;
        let own = all.iter().filter(|one| names.contains(&one.service));
        let used: BTreeSet<&str> = own
            .flat_map(|one| one.summary.mounts.as_deref().unwrap_or_default())
            .map(|mount| mount.name.as_str())
            .collect();
        list.retain(|volume| used.contains(volume.name.as_str()));
    }
    list.sort_by(|a, b| a.name.cmp(&b.name));
    if matches.flag("quiet") {
        let names: String = list.iter().map(|volume| format!("{}\n", volume.name)).collect();
        compose.cli.print(&names)?;
        return Ok(0);
    }
    let rows: Vec<Row> = list
        .into_iter()
        .map(|volume| {
            let labels = volume.labels.unwrap_or_default();
            let shown: Vec<String> =
                labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let mut row = Row::default()
                .with("Driver", volume.driver)
                .with("Labels", shown.join(","))
                .with("Mountpoint", volume.mountpoint)
                .with("Name", volume.name)
                .with("Scope", volume.scope);
            for absent in ["Availability", "Group", "Links", "Size", "Status"] {
                row = row.with(absent, "N/A");
            }
            row.labelled(Some(labels))
        })
        .collect();
    let format = match matches.text("format") {
        "table" => "table {{.Driver}}\t{{.Name}}",
        other => other,
    };
    let text = render(&KIND, format, &rows)?;
    compose.cli.print(&text)?;
    Ok(0)
}
