//! `stats`: what a container uses, once or every second.

use std::{collections::BTreeMap, fs, sync::Arc, time::Duration};

use ferry_cgroup::Stats;
use ferry_errkind::Failure;
use ferry_model::container::{Container, NetworkMode, Phase};
use ferry_stdx::time::Timestamp;
use tokio::sync::mpsc;

use crate::{Engine, Shared, registry::Handle};

/// Between two samples, as Docker's.
const EVERY: Duration = Duration::from_secs(1);

/// Nanoseconds of a clock tick in `/proc/stat`: USER_HZ is 100 on every platform that there is.
const TICK: u64 = 10_000_000;

/// Which samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StatsRequest {
    /// Go on until the container is removed.
    pub stream: bool,
    /// Do not wait for a second sample to compare with.
    pub one_shot: bool,
}

/// What a container used up to a moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// Its id.
    pub id: String,
    /// Its name, without slash.
    pub name: String,
    /// `None`: it does not run.
    pub figures: Option<Figures>,
}

/// What a running container used up to a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// The moment.
    pub read: Timestamp,
    /// What its cgroup says; a memory limit above the machine's memory is the latter.
    pub usage: Stats,
    /// The cgroup is of version 2.
    pub unified: bool,
    /// Processor time of the whole machine, nanoseconds.
    pub system_cpu: u64,
    /// Processors of the machine.
    pub online_cpus: u32,
    /// By interface; none for a container without a network of its own.
    pub networks: BTreeMap<String, Counters>,
}

/// An interface's counters, from the container's side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Received.
    pub rx: Direction,
    /// Sent.
    pub tx: Direction,
}

/// Counters of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Direction {
    /// Bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Errors.
    pub errors: u64,
    /// Packets dropped.
    pub dropped: u64,
}

/// Samples of a container as they come, the first at once. Dropping the receiver ends it.
///
/// # Errors
/// There is no such container.
pub async fn stats(
    engine: &Engine,
    name: &str,
    request: StatsRequest,
) -> Result<mpsc::Receiver<Sample>, Failure> {
    let handle = engine.shared.containers.find(name)?;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(watch(Arc::clone(&engine.shared), handle, request, sender));
    Ok(receiver)
}

async fn watch(
    shared: Arc<Shared>,
    handle: Handle,
    request: StatsRequest,
    sender: mpsc::Sender<Sample>,
) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = sender.closed() => return,
        }
        // The task of a container ends when it is removed.
        if handle.commands.is_closed() {
            return;
        }
        let (shared, container) = (Arc::clone(&shared), handle.container());
        let Ok(sample) = crate::blocking(move || Ok(sample(&shared, &container))).await else {
            return;
        };
        let idle = sample.figures.is_none();
        let over = !request.stream && (request.one_shot || idle);
        if sender.send(sample).await.is_err() || over {
            return;
        }
    }
}

fn sample(shared: &Shared, container: &Container) -> Sample {
    let running = matches!(container.state.phase, Phase::Running | Phase::Paused);
    let figures = if running { figures(shared, container) } else { None };
    Sample { id: container.id.clone(), name: container.name.clone(), figures }
}

fn figures(shared: &Shared, container: &Container) -> Option<Figures> {
    container.state.pid?;
    let cgroup = shared.cgroup(container).ok()?;
    let mut usage = cgroup.stats();
    usage.memory_limit = usage.memory_limit.min(machine_memory());
    let (system_cpu, online_cpus) = machine_cpu(&fs::read_to_string("/proc/stat").ok()?);
    Some(Figures {
        read: shared.now(),
        usage,
        unified: shared.hierarchy.is_v2(),
        system_cpu,
        online_cpus,
        networks: interfaces_of(container),
    })
}

/// Bytes of the whole machine.
pub(crate) fn machine_memory() -> u64 {
    let info = rustix::system::sysinfo();
    #[expect(clippy::useless_conversion, reason = "the fields are narrower on 32 bits")]
    u64::from(info.totalram).saturating_mul(info.mem_unit.into())
}

/// Time of all processors in nanoseconds (user, nice, system, idle, iowait, irq, softirq, as Docker counts), and how many
/// there are.
fn machine_cpu(stat: &str) -> (u64, u32) {
    let (mut ticks, mut processors) = (0_u64, 0);
    for line in stat.lines().filter_map(|line| line.strip_prefix("cpu")) {
        if line.starts_with(' ') {
            let fields = line.split_whitespace().take(7);
            ticks = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
        } else {
            processors += 1;
        }
    }
    (ticks.saturating_mul(TICK), processors)
}

/// The interfaces of a container that runs; none where its network is the host's.
pub(crate) fn interfaces_of(container: &Container) -> BTreeMap<String, Counters> {
    let pid = container.state.pid.filter(|_| container.spec.host.network_mode != NetworkMode::Host);
    let text = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/net/dev")).ok());
    interfaces(&text.unwrap_or_default())
}

/// Reads `/proc/<pid>/net/dev`. The loopback interface does not count.
fn interfaces(text: &str) -> BTreeMap<String, Counters> {
    let read = |line: &str| {
        let (name, fields) = line.split_once(':')?;
        let name = name.trim();
        let fields: Vec<u64> =
            fields.split_whitespace().map_while(|field| field.parse().ok()).collect();
        let direction = |at: usize| {
            let [bytes, packets, errors, dropped] = *fields.get(at..at + 4)? else { return None };
            Some(Direction { bytes, packets, errors, dropped })
        };
        (name != "lo").then_some(())?;
        Some((name.to_owned(), Counters { rx: direction(0)?, tx: direction(8)? }))
    };
    text.lines().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_s_processors() {
        let stat = "cpu  1 2 3 4 5 6 7 100 100 100\ncpu0 1 1 1 1\ncpu1 2 2 2 2\nintr 5\n";
        assert_eq!(machine_cpu(stat), (28 * TICK, 2));
    }

    #[test]
    fn a_container_s_interfaces() {
        let text = "Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       9       9    0    0    0     0          0         0        9       9    0    0    0     0       0          0
  eth0:     646       5    1    2    0     0          0         0       84       3    4    6    0     0       0          0
";
        let eth0 = Counters {
            rx: Direction { bytes: 646, packets: 5, errors: 1, dropped: 2 },
            tx: Direction { bytes: 84, packets: 3, errors: 4, dropped: 6 },
        };
        assert_eq!(interfaces(text), BTreeMap::from([("eth0".to_owned(), eth0)]));
    }
}
