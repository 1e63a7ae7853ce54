//! `docker version`.

use std::fmt::Write;

use ferry_docker_api::{ApiVersion, ComponentVersion, Version};
use ferry_gotemplate::{Missing, Options, Template};
use serde_json::{Map, Value, json};

use super::ourselves;
use crate::{
    format::{align_with, units},
    framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome},
};

pub(crate) const COMMAND: Command = Command {
    name: "version",
    top: Some("version"),
    short: "Show the Docker version information",
    usage: "[OPTIONS]",
    common: Some(10),
    args: Args::None,
    flags: FLAGS,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::string("format", "Format output using a custom template:\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates").short('f'),
];

/// Exit code for a template that does not read.
const USAGE: u8 = 64;

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let format = match matches.text("format") {
        "json" => "{{json .}}",
        format => format,
    };
    let template = Template::parse_named("version", format).map_err(|error| {
        CliError::new(format!("template parsing error: {error}")).with_code(USAGE)
    })?;
    let asked = cli.client().and_then(|client| {
        let version = cli.wait(client.get("/version").json::<Version>())?;
        Ok((version, client.version()))
    });
    let (server, spoken, failure) = match asked {
        Ok((server, spoken)) => (Some(complete(server)), spoken, None),
        Err(error) => (None, ApiVersion::MAX, Some(error)),
    };
    let text = if format.is_empty() {
        shown(cli, server.as_ref(), spoken)
    } else {
        let client = ourselves::version(cli, Some(spoken.to_string()));
        let (text, wrong) = executed(&template, &json!({"Client": client, "Server": server}));
        cli.print(&text)?;
        return Err(match (failure, wrong) {
            (Some(error), _) | (None, Some(error)) => error,
            (None, None) => return Ok(0),
        });
    };
    cli.print(&text)?;
    failure.map_or(Ok(0), Err)
}

fn executed(template: &Template, value: &Value) -> (String, Option<CliError>) {
    let options = Options {
        missing: Missing::Strict("system.versionInfo"),
        absent: Some(absent),
        types: Some(|key| match key {
            "Client" => Some("system.clientVersion"),
            "Server" => Some("*types.Version"),
            "Components[]" => Some("types.ComponentVersion"),
            _ => None,
        }),
        shown: Some(|_, value| value.is_null().then(|| "<nil>".to_owned())),
        ..Options::default()
    };
    let mut text = String::new();
    let failure = template.execute(value, &options, &mut text).err();
    text.push('\n');
    // docker's columns are at work in templates, too.
    (align_with(&text, 20, 1), failure.map(|error| CliError::new(error.to_string())))
}

fn absent(of: &Map<String, Value>, parent: &str, name: &str) -> Option<Option<Value>> {
    match (parent, name) {
        ("Client", _) => ourselves::absent(of, name),
        ("Server", "APIVersion") => Some(of.get("ApiVersion").cloned()),
        ("Server", "MinAPIVersion" | "KernelVersion" | "BuildTime") => Some(Some("".into())),
        ("Server", "Experimental") => Some(Some(false.into())),
        ("Details", _) => Some(None),
        _ => None,
    }
}

/// The daemon's version with the part that old daemons do not list, and dates as people read them.
fn complete(mut server: Version) -> Version {
    if let Some(engine) = server.components.iter_mut().find(|part| part.name == "Engine") {
        if let Some(built) = engine.details.get_mut("BuildTime") {
            *built = date(built);
        }
        return server;
    }
    let details = [
        ("ApiVersion", server.api_version.clone()),
        ("MinAPIVersion", server.min_api_version.clone()),
        ("GitCommit", server.git_commit.clone()),
        ("GoVersion", server.go_version.clone()),
        ("Os", server.os.clone()),
        ("Arch", server.arch.clone()),
        ("BuildTime", date(&server.build_time)),
        ("Experimental", server.experimental.to_string()),
    ];
    server.components.push(ComponentVersion {
        name: "Engine".to_owned(),
        version: server.version.clone(),
        details: details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    });
    server
}

/// `Tue Sep 15 11:02:57 2026`; what is no date stays as it is.
fn date(text: &str) -> String {
    units::ansi_date(text).unwrap_or_else(|| text.to_owned())
}

fn shown(cli: &Cli, server: Option<&Version>, spoken: ApiVersion) -> String {
    let mut text = format!("Client: {}\n", ourselves::product());
    let mut api = spoken.to_string();
    if spoken != ApiVersion::MAX {
        let _ = write!(api, " (downgraded from {})", ApiVersion::MAX);
    }
    for (name, value) in [
        ("Version", crate::DOCKER_VERSION.to_owned()),
        ("API version", api),
        ("Git commit", format!("ferry-{}", env!("CARGO_PKG_VERSION"))),
        ("OS/Arch", format!("linux/{}", ourselves::arch())),
        ("Context", ourselves::context(cli)),
    ] {
        let _ = writeln!(text, " {name}:\t{value}");
    }
    if let Some(server) = server {
        text.push_str(&of_server(server));
    }
    align_with(&text, 20, 1)
}

fn of_server(server: &Version) -> String {
    let mut text = match server.platform.name.as_str() {
        "" => "\nServer:\n".to_owned(),
        name => format!("\nServer: {name}\n"),
    };
    for component in &server.components {
        let details = &component.details;
        let of = |name: &str| details.get(name).map(String::as_str).unwrap_or_default();
        let _ = writeln!(text, " {}:", component.name);
        if component.name != "Engine" {
            let _ = writeln!(text, "  Version:\t{}", component.version);
            for (name, value) in details {
                let _ = writeln!(text, "  {name}:\t{value}");
            }
            continue;
        }
        let api = format!("{} (minimum version {})", of("ApiVersion"), of("MinAPIVersion"));
        for (name, value) in [
            ("Version", component.version.as_str()),
            ("API version", &api),
            ("Go version", of("GoVersion")),
            ("Git commit", of("GitCommit")),
            ("Built", of("BuildTime")),
            ("OS/Arch", &format!("{}/{}", of("Os"), of("Arch"))),
            ("Experimental", of("Experimental")),
        ] {
            let _ = writeln!(text, "  {name}:\t{value}");
        }
    }
    text
}
