//! `post_start` and `pre_stop`: commands inside a container when it has started, and before it is stopped.

use ferry_cli::face::CliError;
use ferry_client::path_segment;
use ferry_docker_api::{ExecConfig, ExecCreated, ExecInspect, ExecStartConfig};
use tokio::io::AsyncReadExt;

use super::{Change, Container, Session, output::Output};
use crate::model::{Hook, Service};

/// Runs what a service has for a container that has just started.
pub(crate) async fn post_start(
    session: &Session<'_>,
    service: Option<&Service>,
    id: &str,
    name: &str,
) -> Result<(), CliError> {
    let Some(service) = service else { return Ok(()) };
    for hook in &service.post_start {
        run(session, service, hook, id, name, "post_start").await?;
    }
    Ok(())
}

/// Runs what a service has for a container that is about to be stopped, if it runs.
pub(crate) async fn pre_stop(
    session: &Session<'_>,
    service: Option<&Service>,
    container: &Container,
) -> Result<(), CliError> {
    let Some(service) = service.filter(|_| container.summary.state == "running") else {
        return Ok(());
    };
    for hook in &service.pre_stop {
        run(session, service, hook, &container.id, &container.name, "pre_stop").await?;
    }
    Ok(())
}

pub(crate) async fn run(
    session: &Session<'_>,
    service: &Service,
    hook: &Hook,
    id: &str,
    name: &str,
    kind: &str,
) -> Result<(), CliError> {
    let change = Change::container(id, name, "exec");
    let why = format!("{kind} of service {} runs {:?}", service.name, hook.command.join(" "));
    let Some((call, _permit)) = session.change(&change, &why).await? else { return Ok(()) };
    let config = ExecConfig {
        user: hook.user.clone(),
        privileged: hook.privileged,
        attach_stdout: true,
        attach_stderr: true,
        env: Some(super::create::pairs(&hook.environment)),
        working_dir: hook.working_dir.clone(),
        cmd: Some(hook.command.clone()),
        ..ExecConfig::default()
    };
    let exec: ExecCreated = call.json_body(&config).json().await?;
    let path = format!("/exec/{}", path_segment(&exec.id));
    let start = session.client.post(format!("{path}/start"));
    let start = start.json_body(&ExecStartConfig::default()).hijack().await?;
    let output = read(start).await?;
    if session.attached {
        // Without the project's name, which may have hyphens as well.
        let shown = name.rfind(&service.name).map_or(name, |at| &name[at..]);
        for line in output.lines() {
            session.cli.println(&format!("{shown} ->  | {line}"))?;
        }
    }
    let ended: ExecInspect = session.client.get(format!("{path}/json")).json().await?;
    match ended.exit_code {
        Some(0) | None => Ok(()),
        Some(code) => {
            Err(CliError::new(format!("{} hook exited with status {code}", service.name)))
        }
    }
}

/// Both outputs, to their end.
async fn read(mut from: ferry_client::Hijacked) -> Result<String, CliError> {
    let fail = |error: std::io::Error| CliError::new(format!("reading a hook's output: {error}"));
    let mut output = Output::default();
    let mut chunk = from.early.to_vec();
    loop {
        output.add(&chunk)?;
        chunk.resize(16 << 10, 0);
        let length = from.stream.read(&mut chunk).await.map_err(fail)?;
        if length == 0 {
            return Ok(output.text());
        }
        chunk.truncate(length);
    }
}
