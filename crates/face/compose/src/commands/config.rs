//! `compose config`: the canonical form of a project.

use ferry_cli::{
    face::{Args, CliError, Command, Outcome},
    flags::{Flag, Matches},
};

use super::{Compose, Verb, select};
use crate::{
    load::{self, Form},
    run::labels::service_hash,
    yaml::to_yaml,
};

pub(super) static CONFIG: Verb = Verb {
    command: Command {
        name: "config",
        aliases: &["convert"],
        short: "Parse, resolve and render compose file in canonical format",
        usage: "[OPTIONS] [SERVICE...]",
        args: Args::Any,
        flags: &[
            Flag::bool("environment", "Print environment used for interpolation."),
            Flag::string("format", "Format the output. Values: [yaml | json]").default("yaml"),
            Flag::string("hash", "Print the service config hash, one per line."),
            Flag::bool("images", "Print the image names, one per line."),
            Flag::bool("networks", "Print the network names, one per line."),
            Flag::bool("no-interpolate", "Don't interpolate environment variables"),
            Flag::string("output", "Save to file (default to stdout)").short('o'),
            Flag::bool("profiles", "Print the profile names, one per line."),
            Flag::bool("quiet", "Only validate the configuration, don't print anything").short('q'),
            Flag::bool("services", "Print the service names, one per line."),
            Flag::bool("volumes", "Print the volume names, one per line."),
        ],
        ..Command::NEW
    },
    run,
};

fn run(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let mut request = compose.request.clone();
    request.raw = matches.flag("no-interpolate");
    let compose = Compose { request, ..*compose };
    let mut project = compose.project()?;
    let names = match matches.args() {
        [] => project.services.keys().cloned().collect(),
        args => select(&mut project, args, true)?,
    };
    if matches.flag("quiet") {
        return Ok(0);
    }
    let text = if matches.is_set("hash") {
        let wanted = matches.text("hash");
        let lines = project
            .services
            .iter()
            .filter(|(name, _)| wanted == "*" || wanted.split(',').any(|one| one == name.as_str()));
        lines.map(|(name, service)| format!("{name} {}\n", service_hash(service))).collect()
    } else if matches.flag("services") {
        lines(names.iter())
    } else if matches.flag("volumes") {
        lines(project.volumes.keys())
    } else if matches.flag("networks") {
        lines(project.networks.keys())
    } else if matches.flag("profiles") {
        lines(project.profiles.iter())
    } else if matches.flag("images") {
        let images: Vec<String> =
            project.services.values().map(|service| project.image_of(service)).collect();
        lines(images.iter())
    } else if matches.flag("environment") {
        project.environment.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
    } else {
        whole(&mut project, &names, matches.text("format"))?
    };
    match matches.text("output") {
        "" => compose.cli.print(&text)?,
        path => std::fs::write(path, text)
            .map_err(|error| CliError::new(format!("open {path}: {error}")))?,
    }
    Ok(0)
}

fn lines<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(|name| format!("{name}\n")).collect()
}

fn whole(
    project: &mut crate::model::Project,
    names: &std::collections::BTreeSet<String>,
    format: &str,
) -> Result<String, CliError> {
    for name in names {
        if project.tree["services"].get(name).is_none() {
            project.tree["services"][name] = project.all_services[name].clone();
        }
    }
    if let Some(services) = project.tree["services"].as_object_mut() {
        services.retain(|name, _| names.contains(name));
    }
    match format {
        "yaml" => Ok(to_yaml(&load::config(&project.tree, Form::Yaml))),
        "json" => {
            let value = load::config(&project.tree, Form::Json);
            let text = serde_json::to_string_pretty(&value);
            Ok(text.map_err(|error| CliError::new(error.to_string()))? + "\n")
        }
        other => Err(CliError::new(format!("unsupported format {other:?}"))),
    }
}
