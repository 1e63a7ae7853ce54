//! `docker network connect` and `disconnect`.

use std::collections::BTreeMap;

use ferry_docker_api::{
    EndpointIpamConfig, EndpointSettings, NetworkConnectRequest, NetworkDisconnectRequest,
};

use super::path;
use crate::{
    framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome},
    run::options::csv,
};

pub(crate) const CONNECT: Command = Command {
    name: "connect",
    short: "Connect a container to a network",
    usage: "[OPTIONS] NETWORK CONTAINER",
    args: Args::Exactly(2),
    flags: FLAGS,
    run: connect,
    ..Command::NEW
};

pub(crate) const DISCONNECT: Command = Command {
    name: "disconnect",
    short: "Disconnect a container from a network",
    usage: "[OPTIONS] NETWORK CONTAINER",
    args: Args::Exactly(2),
    flags: DISCONNECT_FLAGS,
    run: disconnect,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::value("alias", "strings", "Add network-scoped alias for the container"),
    Flag::value("driver-opt", "strings", "driver options for the network"),
    Flag::int(
        "gw-priority",
        "Highest gw-priority provides the default gateway. Accepts positive and negative values.",
    ),
    Flag::string("ip", "IPv4 address (e.g., \"172.30.100.104\")"),
    Flag::string("ip6", "IPv6 address (e.g., \"2001:db8::33\")"),
    Flag::list("link", "Add link to another container").check(crate::commands::check_link),
    Flag::value("link-local-ip", "strings", "Add a link-local address for the container"),
];

const DISCONNECT_FLAGS: &[Flag] =
    &[Flag::bool("force", "Force the container to disconnect from a network").short('f')];

fn connect(cli: &Cli, matches: &Matches) -> Outcome {
    // Fields between commas, quoted ones too.
    let lists = |name: &str| -> Result<Vec<String>, CliError> {
        let mut found = Vec::new();
        for text in matches.texts(name).iter().filter(|text| !text.is_empty()) {
            found.extend(csv(text).map_err(|error| {
                CliError::new(format!("invalid argument \"{text}\" for \"--{name}\" flag: {error}"))
            })?);
        }
        Ok(found)
    };
    let mut options = BTreeMap::new();
    for pair in lists("driver-opt")? {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| CliError::new("invalid key/value pair format in driver options"))?;
        options.insert(name.trim().to_owned(), value.trim().to_owned());
    }
    let links = matches.texts("link").to_vec();
    let settings = EndpointSettings {
        ipam_config: Some(EndpointIpamConfig {
            ipv4_address: matches.text("ip").to_owned(),
            ipv6_address: matches.text("ip6").to_owned(),
            link_local_ips: lists("link-local-ip")?,
        }),
        links: (!links.is_empty()).then_some(links),
        aliases: Some(lists("alias")?).filter(|aliases| !aliases.is_empty()),
        driver_opts: Some(options).filter(|options| !options.is_empty()),
        gw_priority: matches.int("gw-priority"),
        ..Default::default()
    };
    let request = NetworkConnectRequest {
        container: matches.arg(1).to_owned(),
        endpoint_config: Some(settings),
    };
    let client = cli.client()?;
    cli.wait(client.post(path(matches.arg(0), "/connect")).json_body(&request).done())?;
    Ok(0)
}

fn disconnect(cli: &Cli, matches: &Matches) -> Outcome {
    let request = NetworkDisconnectRequest {
        container: matches.arg(1).to_owned(),
        force: matches.flag("force"),
    };
    let client = cli.client()?;
    cli.wait(client.post(path(matches.arg(0), "/disconnect")).json_body(&request).done())?;
    Ok(0)
}
