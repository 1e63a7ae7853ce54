//! `docker update`.

use ferry_docker_api::{PortsChange, Resources, UpdateConfig};
use serde::Deserialize;

use super::path;
use crate::{
    framework::{
        Args, Cli, CliError, Command, Failures, Flag, Matches, Outcome, bytes_or_unlimited, nano,
    },
    run::options::{published_ports, restart_policy},
};

pub(crate) const COMMAND: Command = Command {
    name: "update",
    top: Some("update"),
    short: "Update configuration of one or more containers",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    aliases_help: "docker container update, docker update",
    flags: FLAGS,
    args: Args::AtLeast(1),
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::uint16(
        "blkio-weight",
        "Block IO (relative weight), between 10 and 1000, or 0 to disable",
    )
    .shown("0"),
    Flag::int("cpu-period", "Limit CPU CFS (Completely Fair Scheduler) period"),
    Flag::int("cpu-quota", "Limit CPU CFS (Completely Fair Scheduler) quota"),
    Flag::int("cpu-rt-period", "Limit the CPU real-time period in microseconds"),
    Flag::int("cpu-rt-runtime", "Limit the CPU real-time runtime in microseconds"),
    Flag::int("cpu-shares", "CPU shares (relative weight)").short('c'),
    Flag::decimal("cpus", "Number of CPUs"),
    Flag::string("cpuset-cpus", "CPUs in which to allow execution (0-3, 0,1)"),
    Flag::string("cpuset-mems", "MEMs in which to allow execution (0-3, 0,1)"),
    Flag::bytes("kernel-memory", "Kernel memory limit (deprecated)").hidden(),
    Flag::bytes("memory", "Memory limit").short('m'),
    Flag::bytes("memory-reservation", "Memory soft limit"),
    Flag::bytes("memory-swap", "Swap limit equal to memory plus swap: -1 to enable unlimited swap")
        .check(bytes_or_unlimited),
    Flag::int("pids-limit", "Tune container pids limit (set -1 for unlimited)"),
    // Beyond Docker.
    Flag::list(
        "publish-add",
        "Publish a further port, also of a running container (beyond Docker)",
    )
    .beyond_docker(),
    Flag::list("publish-rm", "Stop publishing a host port, [IP:]PORT[/PROTO] (beyond Docker)")
        .beyond_docker(),
    Flag::string("restart", "Restart policy to apply when a container exits"),
];

#[derive(Deserialize)]
struct Updated {
    #[serde(rename = "Warnings")]
    warnings: Option<Vec<String>>,
}

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let config = config(matches)?;
    let ports = ports(matches)?;
    let only_ports = !FLAGS
        .iter()
        .any(|flag| matches.is_set(flag.name()) && !flag.name().starts_with("publish-"));
    let client = cli.client()?;
    let (mut failures, mut warnings) = (Failures::default(), Vec::new());
    for name in matches.args() {
        let updated = cli.wait(async {
            if let Some(ports) = &ports {
                client.post(path(name, "/ports")).json_body(ports).done().await?;
            }
            if only_ports {
                return Ok(Updated { warnings: None });
            }
            client.post(path(name, "/update")).json_body(&config).json::<Updated>().await
        });
        match updated {
            Ok(updated) => {
                cli.println(name)?;
                warnings.extend(updated.warnings.unwrap_or_default());
            }
            Err(error) => failures.push(error),
        }
    }
    if !warnings.is_empty() {
        cli.println(&warnings.join("\n"))?;
    }
    failures.outcome()
}

/// What is to be published and what not any more; `None` where nothing changes.
fn ports(matches: &Matches) -> Result<Option<PortsChange>, CliError> {
    let (add, remove) = (matches.texts("publish-add"), matches.texts("publish-rm"));
    if add.is_empty() && remove.is_empty() {
        return Ok(None);
    }
    let add = published_ports(add).map_err(CliError::new)?;
    Ok(Some(PortsChange { add: (!add.is_empty()).then_some(add), remove: remove.to_vec() }))
}

fn config(matches: &Matches) -> Result<UpdateConfig, CliError> {
    if !FLAGS.iter().any(|flag| matches.is_set(flag.name())) {
        return Err(CliError::new("you must provide one or more flags when using this command"));
    }
    let cpus = matches.text("cpus");
    let pids = matches.int("pids-limit");
    let resources = Resources {
        blkio_weight: u16::try_from(matches.int("blkio-weight")).unwrap_or_default(),
        cpu_period: matches.int("cpu-period"),
        cpu_quota: matches.int("cpu-quota"),
        cpu_realtime_period: matches.int("cpu-rt-period"),
        cpu_realtime_runtime: matches.int("cpu-rt-runtime"),
        cpu_shares: matches.int("cpu-shares"),
        cpuset_cpus: matches.text("cpuset-cpus").to_owned(),
        cpuset_mems: matches.text("cpuset-mems").to_owned(),
        kernel_memory: matches.bytes("kernel-memory"),
        memory: matches.bytes("memory"),
        memory_reservation: matches.bytes("memory-reservation"),
        memory_swap: matches.bytes("memory-swap"),
        nano_cpus: if cpus.is_empty() { 0 } else { nano(cpus).map_err(CliError::new)? },
        pids_limit: (pids != 0).then_some(pids),
        ..Default::default()
    };
    let restart_policy = match matches.text("restart") {
        "" => Default::default(),
        text => restart_policy(text).map_err(CliError::new)?,
    };
    Ok(UpdateConfig { resources, restart_policy })
}
