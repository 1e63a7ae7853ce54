//! `docker top`.

use ferry_docker_api::TopResponse;

use super::path;
use crate::framework::{Args, Cli, Command, Matches, Outcome};

pub(crate) const COMMAND: Command = Command {
    name: "top",
    top: Some("top"),
    short: "Display the running processes of a container",
    usage: "CONTAINER [ps OPTIONS]",
    aliases_help: "docker container top, docker top",
    args: Args::AtLeast(1),
    interspersed: false,
    run,
    ..Command::NEW
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let options = matches.args().get(1..).unwrap_or_default().join(" ");
    let call =
        client.get(path(matches.arg(0), "/top")).query_if(!options.is_empty(), "ps_args", options);
    let top: TopResponse = cli.wait(call.json())?;
    let mut rows = vec![top.titles.unwrap_or_default()];
    rows.extend(top.processes.unwrap_or_default());
    cli.print(&table(&rows))?;
    Ok(0)
}

/// Columns of at least twenty, three spaces between them; the last as it is.
fn table(rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let longest = rows
            .iter()
            .filter(|row| column + 1 < row.len())
            .map(|row| row[column].chars().count())
            .max();
        (longest.unwrap_or(0) + 3).max(20)
    };
    let widths: Vec<usize> = (0..rows.iter().map(Vec::len).max().unwrap_or(0)).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            if column + 1 < row.len() {
                text.push_str(&format!("{cell:<width$}", width = widths[column]));
            } else {
                text.push_str(cell);
            }
        }
        text.push('\n');
    }
    text
}
