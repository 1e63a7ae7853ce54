//! A container's state, for inspect and in words.

use ferry_docker_api::{
    ContainerState as WireState, Health as WireHealth, HealthResult as WireResult, ZERO_TIME,
};
use ferry_model::container::{ContainerState, Health, HealthResult, HealthStatus, Phase};
use ferry_stdx::{duration, time::Timestamp};

/// Writes `State`.
pub(super) fn to_wire(state: &ContainerState) -> WireState {
    let ContainerState {
        phase,
        pid,
        exit_code,
        error,
        oom_killed,
        started_at,
        finished_at,
        health,
        // For others; Docker shows them nowhere.
        user: _,
        memory_peak: _,
        deeds: _,
        cgroup: _,
    } = state.clone();
    let time = |at: Option<Timestamp>| {
        at.map_or_else(|| ZERO_TIME.to_owned(), Timestamp::format_rfc3339_nano)
    };
    WireState {
        status: phase.as_str().to_owned(),
        // Docker calls a container that waits for its next start running.
        running: phase.is_running() || phase == Phase::Restarting,
        paused: phase == Phase::Paused,
        restarting: phase == Phase::Restarting,
        oom_killed,
        dead: phase == Phase::Dead,
        pid: i64::from(pid.unwrap_or(0)),
        exit_code: i64::from(exit_code),
        error,
        started_at: time(started_at),
        finished_at: time(finished_at),
        health: health.map(health_to_wire),
    }
}

fn health_to_wire(health: Health) -> WireHealth {
    let Health { status, failing_streak, log } = health;
    let result = |result: HealthResult| {
        let HealthResult { start, end, exit_code, output } = result;
        WireResult {
            start: start.format_rfc3339_nano(),
            end: end.format_rfc3339_nano(),
            exit_code: i64::from(exit_code),
            output,
        }
    };
    WireHealth {
        status: status.as_str().to_owned(),
        failing_streak,
        log: Some(log.into_iter().map(result).collect()),
    }
}

/// The list's `Up 2 hours`, `Exited (0) 5 seconds ago`.
pub(super) fn in_words(state: &ContainerState, now: Timestamp) -> String {
    let ago = |at: Option<Timestamp>| at.map(|at| duration::human(now.since(at)));
    let up = ago(state.started_at).unwrap_or_default();
    let ended = ago(state.finished_at);
    let code = state.exit_code;
    match state.phase {
        Phase::Running => match &state.health {
            None => format!("Up {up}"),
            Some(health) if health.status == HealthStatus::Starting => {
                format!("Up {up} (health: starting)")
            }
            Some(health) => format!("Up {up} ({})", health.status.as_str()),
        },
        Phase::Paused => format!("Up {up} (Paused)"),
        Phase::Restarting => format!("Restarting ({code}) {} ago", ended.unwrap_or_default()),
        Phase::Removing => "Removal In Progress".to_owned(),
        Phase::Dead => "Dead".to_owned(),
        Phase::Created => "Created".to_owned(),
        Phase::Exited if state.started_at.is_none() => "Created".to_owned(),
        Phase::Exited => {
            ended.map_or_else(String::new, |ended| format!("Exited ({code}) {ended} ago"))
        }
    }
}
