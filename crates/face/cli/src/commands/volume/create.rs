//! `docker volume create`.

use std::collections::BTreeMap;

use ferry_docker_api::{Volume, VolumeCreateRequest};

use crate::framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome};

pub(crate) const COMMAND: Command = Command {
    name: "create",
    short: "Create a volume",
    usage: "[OPTIONS] [VOLUME]",
    args: Args::AtMost(1),
    flags: FLAGS,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::string("availability", "Cluster Volume availability (\"active\", \"pause\", \"drain\")")
        .default("active")
        .hidden(),
    Flag::string("driver", "Specify volume driver name").short('d').default("local"),
    Flag::string("group", "Cluster Volume group (cluster volumes)").hidden(),
    Flag::list("label", "Set metadata for a volume").check(crate::commands::check_label),
    Flag::bytes("limit-bytes", "Minimum size of the Cluster Volume in bytes").hidden(),
    Flag::string("name", "Specify volume name").hidden(),
    Flag::map("opt", "Set driver specific options").short('o').shown("map[]"),
    Flag::bytes("required-bytes", "Maximum size of the Cluster Volume in bytes").hidden(),
    Flag::string("scope", "Cluster Volume access scope (\"single\", \"multi\")")
        .default("single")
        .hidden(),
    Flag::map("secret", "Cluster Volume secrets").shown("map[]").hidden(),
    Flag::string(
        "sharing",
        "Cluster Volume access sharing (\"none\", \"readonly\", \"onewriter\", \"all\")",
    )
    .default("none")
    .hidden(),
    Flag::list("topology-preferred", "A topology that the Cluster Volume would be preferred in")
        .hidden(),
    Flag::list("topology-required", "A topology that the Cluster Volume must be accessible from")
        .hidden(),
    Flag::string("type", "Cluster Volume access type (\"mount\", \"block\")")
        .default("block")
        .hidden(),
];

/// Flags of Swarm's volumes.
const CLUSTER: [&str; 10] = [
    "availability",
    "group",
    "limit-bytes",
    "required-bytes",
    "scope",
    "secret",
    "sharing",
    "topology-preferred",
    "topology-required",
    "type",
];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    if let Some(flag) = CLUSTER.iter().find(|flag| matches.is_set(flag)) {
        return Err(CliError::new(format!(
            "--{flag} is not supported: there is no Swarm in ferry"
        )));
    }
    let name = match (matches.text("name"), matches.arg(0)) {
        ("", name) => name,
        (name, _) if matches.args().is_empty() => name,
        _ => {
            return Err(CliError::new(
                "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
            ));
        }
    };
    let request = VolumeCreateRequest {
        name: name.to_owned(),
        driver: matches.text("driver").to_owned(),
        driver_opts: pairs(matches.texts("opt")),
        labels: pairs(matches.texts("label")),
        ..Default::default()
    };
    let client = cli.client()?;
    let volume: Volume = cli.wait(client.post("/volumes/create").json_body(&request).json())?;
    cli.println(&volume.name)?;
    Ok(0)
}

fn pairs(texts: &[String]) -> BTreeMap<String, String> {
    let split = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    };
    texts.iter().map(split).collect()
}
