//! `update`: other limits for a container that is there.

use std::io::Read;

use ferry_errkind::{ErrorKind, Failure};
use ferry_oci::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources};

use super::Command;
use crate::{
    Ended,
    arguments::{Arguments, Flag},
    options::Global,
    record::{Locked, Status},
    report::{self, failed, invalid},
};

/// Largest description of limits that is read.
const MAX_RESOURCES: u64 = 1 << 20;

pub(super) const COMMAND: Command = Command {
    name: "update",
    usage: "[command options] <container-id>",
    flags: &[
        Flag::value("resources").short('r'),
        Flag::value("blkio-weight"),
        Flag::value("cpu-period"),
        Flag::value("cpu-quota"),
        Flag::value("cpu-burst"),
        Flag::value("cpu-share"),
        Flag::value("cpu-rt-period"),
        Flag::value("cpu-rt-runtime"),
        Flag::value("cpu-idle"),
        Flag::value("cpuset-cpus"),
        Flag::value("cpuset-mems"),
        Flag::value("kernel-memory"),
        Flag::value("kernel-memory-tcp"),
        Flag::value("memory"),
        Flag::value("memory-reservation"),
        Flag::value("memory-swap"),
        Flag::value("pids-limit"),
        Flag::value("l3-cache-schema"),
        Flag::value("mem-bw-schema"),
    ],
    run,
    failure_code: 1,
};

fn run(global: &Global, arguments: &Arguments) -> Ended {
    let id = arguments.only_id("update")?;
    for name in ["l3-cache-schema", "mem-bw-schema"] {
        if arguments.one(name).is_some() {
            return Err(invalid(format!("--{name} is not supported")));
        }
    }
    let resources = match arguments.one("resources") {
        Some(file) => read(file)?,
        None => from_flags(arguments)?,
    };
    let mut container = Locked::open(global, id)?;
    if container.status() == Status::Stopped {
        return Err(Failure::new(ErrorKind::Conflict, "container not running"));
    }
    let warnings = container.record.need_cgroup()?.apply(&resources).map_err(Failure::of)?;
    for warning in warnings {
        report::warning(global, &warning);
    }
    let linux = container.record.spec.linux.get_or_insert_default();
    remember(linux.resources.get_or_insert_default(), resources);
    container.record.save(&container.dir)?;
    Ok(0)
}

fn read(file: &str) -> Result<LinuxResources, Failure> {
    let mut text = String::new();
    let opened: Box<dyn Read> = match file {
        "-" => Box::new(std::io::stdin()),
        file => Box::new(std::fs::File::open(file).map_err(|error| failed(file, error))?),
    };
    opened.take(MAX_RESOURCES).read_to_string(&mut text).map_err(|error| failed(file, error))?;
    let mut resources: LinuxResources =
        serde_json::from_str(&text).map_err(|error| failed(file, error))?;
    // As runc: what devices a container may use does not change any more.
    resources.devices.clear();
    Ok(resources)
}

fn from_flags(arguments: &Arguments) -> Result<LinuxResources, Failure> {
    let size = |name: &str| -> Result<Option<i64>, Failure> {
        let Some(text) = arguments.one(name) else { return Ok(None) };
        if text == "-1" {
            return Ok(Some(-1));
        }
        let parsed = ferry_stdx::size::parse_bytes(text);
        parsed.map(Some).map_err(|_| invalid(format!("invalid value for {name}: {text}")))
    };
    let list = |name: &str| arguments.one(name).map(str::to_owned);
    let memory = LinuxMemory {
        limit: size("memory")?,
        swap: size("memory-swap")?,
        reservation: size("memory-reservation")?,
        kernel: size("kernel-memory")?,
        kernel_tcp: size("kernel-memory-tcp")?,
        ..LinuxMemory::default()
    };
    let cpu = LinuxCpu {
        shares: arguments.number("cpu-share")?,
        quota: arguments.number("cpu-quota")?,
        burst: arguments.number("cpu-burst")?,
        period: arguments.number("cpu-period")?,
        realtime_runtime: arguments.number("cpu-rt-runtime")?,
        realtime_period: arguments.number("cpu-rt-period")?,
        cpus: list("cpuset-cpus"),
        mems: list("cpuset-mems"),
        idle: arguments.number("cpu-idle")?,
    };
    let weight = arguments.number("blkio-weight")?;
    Ok(LinuxResources {
        memory: (memory != LinuxMemory::default()).then_some(memory),
        cpu: (cpu != LinuxCpu::default()).then_some(cpu),
        pids: arguments.number("pids-limit")?.map(|limit| LinuxPids { limit }),
        block_io: weight
            .map(|weight| LinuxBlockIo { weight: Some(weight), ..LinuxBlockIo::default() }),
        ..LinuxResources::default()
    })
}

/// What was changed is what the container has from now on.
fn remember(all: &mut LinuxResources, changed: LinuxResources) {
    if let Some(memory) = changed.memory {
        let known = all.memory.get_or_insert_default();
        known.limit = memory.limit.or(known.limit);
        known.swap = memory.swap.or(known.swap);
        known.reservation = memory.reservation.or(known.reservation);
    }
    if let Some(cpu) = changed.cpu {
        let known = all.cpu.get_or_insert_default();
        known.shares = cpu.shares.or(known.shares);
        known.quota = cpu.quota.or(known.quota);
        known.period = cpu.period.or(known.period);
        known.cpus = cpu.cpus.or(known.cpus.take());
        known.mems = cpu.mems.or(known.mems.take());
    }
    all.pids = changed.pids.or(all.pids.take());
    all.block_io = changed.block_io.or(all.block_io.take());
}
