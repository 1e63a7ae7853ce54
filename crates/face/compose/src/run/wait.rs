//! Waiting until a service is what another one needs of it.

use std::time::Duration;

use ferry_cli::face::CliError;
use ferry_docker_api::ContainerState;

use super::{Container, Session};

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// `service_healthy`.
    Healthy,
    /// `service_completed_successfully`.
    Completed,
    /// `--wait`: healthy where there is a check, else running.
    RunningOrHealthy,
}

/// Waits for one container.
pub(crate) async fn until(
    session: &Session<'_>,
    container: &Container,
    what: Until,
) -> Result<(), CliError> {
    session.progress("Container", &container.name, "Waiting");
    let mut pause = FIRST_PAUSE;
    loop {
        let found = session.inspect(&container.id).await?;
        let state = found.state.unwrap_or_default();
        match judge(&state, &container.name, &container.service, what) {
            Ok(Some(status)) => {
                session.progress("Container", &container.name, status);
                return Ok(());
            }
            Ok(None) => {}
            Err(error) => {
                session.progress("Container", &container.name, "Error");
                return Err(error);
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Whether it is so (with Compose's word for it), not yet, or never.
fn judge(
    state: &ContainerState,
    name: &str,
    service: &str,
    what: Until,
) -> Result<Option<&'static str>, CliError> {
    let ended = matches!(state.status.as_str(), "exited" | "dead");
    if what == Until::Completed {
        return match (ended, state.exit_code) {
            (false, _) => Ok(None),
            (true, 0) => Ok(Some("Exited")),
            (true, code) => Err(CliError::new(format!(
                "service {service:?} didn't complete successfully: exit {code}"
            ))),
        };
    }
    let code = u8::try_from(state.exit_code).unwrap_or(1).max(1);
    if ended {
        let words = format!("container {name} exited ({})", state.exit_code);
        return Err(match what {
            Until::RunningOrHealthy => CliError::new(words).with_code(code),
            _ => CliError::new(format!("dependency failed to start: {words}")),
        });
    }
    let health = state.health.as_ref().map_or("", |health| health.status.as_str());
    match (health, what) {
        ("healthy", _) => Ok(Some("Healthy")),
        ("unhealthy", Until::RunningOrHealthy) => {
            Err(CliError::new(format!("container {name} is unhealthy")))
        }
        ("unhealthy", _) => {
            Err(CliError::new(format!("dependency failed to start: container {name} is unhealthy")))
        }
        ("" | "none", Until::RunningOrHealthy) if state.status == "running" => Ok(Some("Healthy")),
        ("" | "none", Until::Healthy) if state.status == "running" => Err(CliError::new(format!(
            "dependency failed to start: container {name} has no healthcheck configured"
        ))),
        _ => Ok(None),
    }
}

/// Waits until a new container is well: healthy where it has a check, else running for as long as `monitor`.
pub(crate) async fn well(
    session: &Session<'_>,
    id: &str,
    name: &str,
    monitor: Duration,
) -> Result<(), CliError> {
    let began = tokio::time::Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let state = session.inspect(id).await?.state.unwrap_or_default();
        let health = state.health.as_ref().map_or("", |health| health.status.as_str());
        match (state.status.as_str(), health) {
            ("running", "healthy") => return Ok(()),
            ("running", "" | "none") if began.elapsed() >= monitor => return Ok(()),
            (_, "unhealthy") => {
                return Err(CliError::new(format!("container {name} is unhealthy")));
            }
            ("exited" | "dead" | "restarting", _) => {
                let words = format!("container {name} exited ({})", state.exit_code);
                return Err(CliError::new(words));
            }
            _ => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
