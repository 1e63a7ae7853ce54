//! `docker port`.

use ferry_docker_api::{ContainerInspect, PortBinding};

use super::path;
use crate::framework::{Args, Cli, CliError, Command, Matches, Outcome, quote};

pub(crate) const COMMAND: Command = Command {
    name: "port",
    top: Some("port"),
    short: "List port mappings or a specific mapping for the container",
    usage: "CONTAINER [PRIVATE_PORT[/PROTO]]",
    aliases_help: "docker container port, docker port",
    args: Args::Between(1, 2),
    run,
    ..Command::NEW
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let (container, wanted) = (matches.arg(0), matches.arg(1));
    let found = cli.wait(client.get(path(container, "/json")).json::<ContainerInspect>());
    // Beyond Docker, unless somebody has called a container so.
    if container == "audit" && wanted.is_empty() && found.is_err() {
        return super::port_audit::run(cli);
    }
    let found = found?;
    let ports = found.network_settings.and_then(|settings| settings.ports).unwrap_or_default();
    let mut lines = Vec::new();
    if wanted.is_empty() {
        for (port, bindings) in &ports {
            for binding in bindings.iter().flatten() {
                lines.push(format!("{port} -> {}", address(binding)));
            }
        }
    } else {
        let (port, protocol) = wanted.split_once('/').unwrap_or((wanted, ""));
        let protocol = if protocol.is_empty() { "tcp" } else { protocol };
        if port.parse::<u16>().is_err() {
            let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            let why = if digits { "value out of range" } else { "invalid syntax" };
            return Err(CliError::new(format!(
                "Error: invalid port ({port}): strconv.ParseUint: parsing {}: {why}",
                quote(port)
            )));
        }
        let bindings = ports.get(&format!("{port}/{protocol}")).into_iter().flatten().flatten();
        lines.extend(bindings.map(address));
        if lines.is_empty() {
            return Err(CliError::new(format!(
                "Error: No public port '{wanted}' published for {container}"
            )));
        }
    }
    lines.sort_by_cached_key(|line| natural(line));
    if !lines.is_empty() {
        cli.println(&lines.join("\n"))?;
    }
    Ok(0)
}

fn address(binding: &PortBinding) -> String {
    if binding.host_ip.contains(':') {
        format!("[{}]:{}", binding.host_ip, binding.host_port)
    } else {
        format!("{}:{}", binding.host_ip, binding.host_port)
    }
}

/// A key by which `9/tcp` stands before `80/tcp`: numbers as numbers, the rest as text.
fn natural(line: &str) -> Vec<(u64, String)> {
    let mut parts: Vec<(u64, String)> = vec![(0, String::new())];
    let mut digits = String::new();
    for character in line.chars() {
        if character.is_ascii_digit() {
            digits.push(character);
            continue;
        }
        if !digits.is_empty() {
            parts.push((digits.parse().unwrap_or(u64::MAX), String::new()));
            digits.clear();
        }
        if let Some((_, text)) = parts.last_mut() {
            text.push(character);
        }
    }
    if !digits.is_empty() {
        parts.push((digits.parse().unwrap_or(u64::MAX), String::new()));
    }
    parts
}
