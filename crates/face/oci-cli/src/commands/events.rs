//! `events`: statistics now and then, and news of the out-of-memory killer.

use std::{collections::BTreeMap, time::Duration};

use ferry_cgroup::{BlkioEntry, Stats};
use ferry_errkind::Failure;
use serde_json::{Value, json};

use super::Command;
use crate::{
    Ended,
    arguments::{Arguments, Flag},
    options::Global,
    record::{Record, Status},
    report::{self, invalid},
};

/// How often the counters are looked at.
const LOOK: Duration = Duration::from_millis(500);

pub(super) const COMMAND: Command = Command {
    name: "events",
    usage: "[command options] <container-id>",
    flags: &[Flag::value("interval"), Flag::switch("stats")],
    run,
    failure_code: 1,
};

fn run(global: &Global, arguments: &Arguments) -> Ended {
    let interval = interval(arguments.one("interval").unwrap_or("5s"))?;
    let record = Record::load(global, arguments.only_id("events")?)?;
    let dir = global.root.join(&record.id);
    if record.status(&dir) == Status::Stopped {
        return Err(invalid(format!("container with id {} is not running", record.id)));
    }
    let cgroup = record.need_cgroup()?;
    let tell = |kind: &str, data: Value| -> Result<u8, Failure> {
        let mut event = json!({"type": kind, "id": record.id});
        if !data.is_null() {
            event["data"] = data;
        }
        report::json(&event, None)
    };
    if arguments.is_set("stats") {
        return tell("stats", stats(&cgroup.stats()));
    }
    let kills = || cgroup.events().map_or(0, |count| count.kills);
    let (mut known, mut waited) = (kills(), interval);
    loop {
        let now = kills();
        if now > known {
            known = now;
            tell("oom", Value::Null)?;
        }
        if record.status(&dir) == Status::Stopped {
            return Ok(0);
        }
        if waited >= interval {
            waited = Duration::ZERO;
            if tell("stats", stats(&cgroup.stats()))? != 0 {
                return Ok(0);
            }
        }
        let pause = LOOK.min(interval);
        std::thread::sleep(pause);
        waited += pause;
    }
}

/// `5s`, `500ms`, `1m`.
fn interval(text: &str) -> Result<Duration, Failure> {
    let wrong = || invalid(format!("invalid value {text:?} for flag -interval"));
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let duration = match &text[digits..] {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        _ => return Err(wrong()),
    };
    if duration.is_zero() {
        return Err(invalid("duration interval must be greater than 0"));
    }
    Ok(duration)
}

/// In runc's form, which containerd reads.
fn stats(stats: &Stats) -> Value {
    let detail = |name: &str| stats.memory_detail.get(name).copied().unwrap_or(0);
    let raw: BTreeMap<&str, u64> =
        stats.memory_detail.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    json!({
        "cpu": {
            "usage": {
                "total": stats.cpu_total,
                "percpu": stats.cpu_each,
                "kernel": stats.cpu_system,
                "user": stats.cpu_user,
            },
            "throttling": {
                "periods": stats.periods,
                "throttledPeriods": stats.throttled_periods,
                "throttledTime": stats.throttled_time,
            },
        },
        "cpuset": {},
        "memory": {
            "cache": detail("cache") + detail("file"),
            "usage": {
                "limit": stats.memory_limit,
                "usage": stats.memory_usage,
                "max": stats.memory_peak,
                "failcnt": stats.memory_failures,
            },
            "swap": {"limit": 0, "failcnt": 0},
            "kernel": {"limit": 0, "failcnt": 0},
            "kernelTCP": {"limit": 0, "failcnt": 0},
            "raw": raw,
        },
        "pids": {
            "current": stats.pids,
            "limit": if stats.pids_limit == u64::MAX { 0 } else { stats.pids_limit },
        },
        "blkio": {
            "ioServiceBytesRecursive": entries(&stats.io_bytes),
            "ioServicedRecursive": entries(&stats.io_operations),
        },
        "hugetlb": {},
        "intel_rdt": {},
        "network_interfaces": null,
    })
}

fn entries(entries: &[BlkioEntry]) -> Vec<Value> {
    let one = |entry: &BlkioEntry| json!({"major": entry.major, "minor": entry.minor, "op": entry.op, "value": entry.value});
    entries.iter().map(one).collect()
}
