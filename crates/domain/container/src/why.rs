//! Why a container ended, or does not do what it should: from facts to sentences.
//!
//! Pure: the engine gathers [`Facts`], and [`explain`] says what they mean. The first finding is the cause; later ones are what else
//! is worth knowing.

mod codes;
mod program;
#[cfg(test)]
mod tests;
mod words;

use ferry_model::container::{Container, HealthStatus, Phase};

pub use program::{ProgramFile, read_program};

/// What is known about a container.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// Its record.
    pub container: &'a Container,
    /// Most bytes of memory that it had at once in its last run; 0 when nobody counted.
    pub memory_peak: u64,
    /// What was done to it since it started, oldest first: Docker's words of events, with the signal of a `kill`.
    pub actions: Vec<(String, Option<i32>)>,
    /// Its program's file, and what that one needs to run.
    pub program: Vec<ProgramFile>,
    /// The last lines that it wrote.
    pub log: Vec<String>,
    /// The machine, as ELF files number it.
    pub machine: u16,
    /// Who has the host's port that it could not get.
    pub port_owner: Option<String>,
    /// Whether the engine remembers its start: else it may not know who killed it.
    pub remembers: bool,
}

/// A sentence about a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finding {
    /// A word for programs: `oom`, `killed-by-user`, …
    pub cause: &'static str,
    /// What happened.
    pub what: String,
    /// What can be done about it; may be empty.
    pub hint: String,
}

fn finding(cause: &'static str, what: impl Into<String>, hint: impl Into<String>) -> Finding {
    Finding { cause, what: what.into(), hint: hint.into() }
}

/// Says why, cause first. There is always one finding.
pub fn explain(facts: &Facts<'_>) -> Vec<Finding> {
    let state = &facts.container.state;
    let mut findings = Vec::new();
    match state.phase {
        _ if !state.error.is_empty() => findings.push(words::failed_start(facts)),
        Phase::Running | Phase::Paused => running(facts, &mut findings),
        Phase::Created => findings.push(finding(
            "never-started",
            "it was created and never started",
            format!("start it: docker start {}", facts.container.name),
        )),
        Phase::Exited | Phase::Restarting | Phase::Dead | Phase::Removing => {
            findings.push(ended(facts));
            restarts(facts, &mut findings);
        }
    }
    health(facts, &mut findings);
    findings
}

fn running(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let state = &facts.container.state;
    let unhealthy =
        state.health.as_ref().is_some_and(|health| health.status == HealthStatus::Unhealthy);
    if state.phase == Phase::Paused {
        findings.push(finding(
            "paused",
            "it is paused: its processes are frozen",
            format!("docker unpause {}", facts.container.name),
        ));
    } else if !unhealthy {
        findings.push(finding("running", "it runs, and nothing is known to be wrong with it", ""));
    }
    restarts(facts, findings);
}

/// Why a process that ran does not run any more.
fn ended(facts: &Facts<'_>) -> Finding {
    let state = &facts.container.state;
    if state.oom_killed {
        return out_of_memory(facts);
    }
    if let Some(found) = words::by_health(facts) {
        return found;
    }
    if let Some(found) = by_request(facts) {
        return found;
    }
    codes::explain(facts)
}

fn out_of_memory(facts: &Facts<'_>) -> Finding {
    let limit = facts.container.spec.host.resources.memory;
    let size = |bytes: u64| ferry_stdx::size::format_binary(bytes);
    let peak = match facts.memory_peak {
        0 => String::new(),
        peak => format!("; it had used {} at its peak", size(peak)),
    };
    let limit = u64::try_from(limit).unwrap_or(0);
    let against = match limit {
        0 => "the machine ran out of memory".to_owned(),
        limit => format!("it reached its limit of {} of memory", size(limit)),
    };
    let main = facts.container.state.exit_code == 137;
    let whom = if main { "its main process" } else { "a process in it" };
    finding(
        "oom",
        format!("the kernel killed {whom} because {against}{peak}"),
        "give it more (docker update -m …), or make the program use less",
    )
}

/// Somebody asked this engine for its end.
fn by_request(facts: &Facts<'_>) -> Option<Finding> {
    let code = facts.container.state.exit_code;
    let did = |action: &str| facts.actions.iter().any(|(known, _)| known == action);
    let signals: Vec<i32> = facts.actions.iter().filter_map(|(_, signal)| *signal).collect();
    let last = *signals.last()?;
    if code != 128 + last && !did("stop") && !did("restart") {
        return None;
    }
    let asked = if did("restart") { "docker restart" } else { "docker stop" };
    if did("stop") || did("restart") {
        if last == 9 && signals.len() > 1 && code == 137 {
            return Some(finding(
                "stop-timeout",
                format!(
                    "{asked} asked it to end with {}, it did not within its time, and was killed",
                    codes::signal_name(signals[0])
                ),
                "its program does not act on that signal: as process 1 it must handle it itself; try --init, STOPSIGNAL, or a longer -t",
            ));
        }
        return Some(finding(
            "stopped",
            format!("{asked} ended it with {}", codes::signal_name(signals[0])),
            "",
        ));
    }
    Some(finding(
        "killed-by-user",
        format!(
            "it was killed through this engine: docker kill (or rm -f) sent {}",
            codes::signal_name(last)
        ),
        "",
    ))
}

fn restarts(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let count = facts.container.restart_count;
    if count > 0 {
        let last = match facts.container.state.phase {
            Phase::Running => format!(
                "it was restarted {count} times by its restart policy, last after exit code {}",
                facts.container.state.exit_code
            ),
            _ => format!("it was restarted {count} times by its restart policy"),
        };
        findings.push(finding("restarted", last, ""));
    }
}

fn health(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let Some(health) = &facts.container.state.health else { return };
    if health.status != HealthStatus::Unhealthy
        || findings.iter().any(|known| known.cause == "health-check")
    {
        return;
    }
    findings.insert(0, words::unhealthy(health));
}
