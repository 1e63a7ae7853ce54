//! `ferry names`, beyond Docker: containers by name on their host.

use std::fmt::Write;

use ferry_docker_api::NamesInfo;

use crate::{
    format::align_with,
    framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome},
};

pub(crate) const COMMAND: Command = Command {
    name: "names",
    top: Some("names"),
    short: "List the names that containers answer by on their host",
    usage: "[OPTIONS]",
    flags: &[
        Flag::bool("ca", "Print the certificate of the local authority"),
        Flag::string("format", "Format output: \"json\", or a table when empty"),
    ],
    args: Args::None,
    run,
    ..Command::NEW
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let info: NamesInfo = cli.wait(client.get("/names").json())?;
    if !info.enabled {
        let words = "names are off: say \"names = true\" in /etc/ferry/config.toml, or start the daemon with --names";
        return Err(CliError::new(words));
    }
    if matches.flag("ca") {
        if info.certificate.is_empty() {
            let why = info.problems.join("; ");
            return Err(CliError::new(format!("there is no local authority: {why}")));
        }
        cli.println(info.certificate.trim_end())?;
        return Ok(0);
    }
    match matches.text("format") {
        "" => cli.println(&table(&info))?,
        "json" => {
            let text =
                serde_json::to_string(&info).map_err(|error| CliError::new(error.to_string()))?;
            cli.println(&text)?;
        }
        other => return Err(CliError::new(format!("unknown format {other:?}: use json"))),
    }
    Ok(0)
}

fn table(info: &NamesInfo) -> String {
    let mut rows = "NAME\tCONTAINER\tTARGET\n".to_owned();
    for one in &info.names {
        let target = if one.target.is_empty() { &one.problem } else { &one.target };
        // Writing to a string does not fail.
        writeln!(rows, "{}\t{}\t{target}", one.name, one.container).ok();
    }
    let mut text = align_with(rows.trim_end(), 0, 3);
    let places = [("HTTP", &info.http), ("HTTPS", &info.https), ("DNS", &info.dns)];
    text.truncate(text.trim_end().len());
    text.push('\n');
    for (what, addresses) in places.iter().filter(|(_, addresses)| !addresses.is_empty()) {
        write!(text, "\n{what}: {}", addresses.join(", ")).ok();
    }
    if !info.authority.is_empty() {
        write!(text, "\nAuthority: {}", info.authority).ok();
    }
    for problem in &info.problems {
        write!(text, "\nProblem: {problem}").ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use ferry_docker_api::NamedContainer;

    use super::*;

    #[test]
    fn names_and_where_they_are_served() {
        let one = |name: &str, target: &str, problem: &str| NamedContainer {
            name: name.to_owned(),
            container: "c".to_owned(),
            target: target.to_owned(),
            problem: problem.to_owned(),
        };
        let info = NamesInfo {
            enabled: true,
            http: vec!["127.0.0.1:80".to_owned(), "[::1]:80".to_owned()],
            authority: "/ca.crt".to_owned(),
            problems: vec!["no DNS".to_owned()],
            names: vec![
                one("web.localhost", "10.0.0.2:80", ""),
                one("x.localhost", "", "it ended"),
            ],
            ..NamesInfo::default()
        };
        let text = "NAME            CONTAINER   TARGET\nweb.localhost   c           10.0.0.2:80\nx.localhost     c           it ended\n\nHTTP: 127.0.0.1:80, [::1]:80\nAuthority: /ca.crt\nProblem: no DNS";
        assert_eq!(table(&info), text);
    }
}
