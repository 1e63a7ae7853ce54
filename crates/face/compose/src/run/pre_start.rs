//! `pre_start`: containers that run to their end, one after the other, before those of a service start for the first time.
//!
//! Each has the networks, the volumes and the configuration of the service's first container, and is removed when it has ended, whatever
//! its end was. `down` removes those that somebody who was killed has left.

use ferry_cli::face::CliError;
use ferry_client::path_segment;

use super::{
    Change, Container, Session,
    converge::{self, Made},
    labels,
    output::Output,
};
use crate::model::{Healthcheck, PreStart, Project, Service};

/// So many lines of the output are told of one that fails.
const TOLD: usize = 5;
/// So many are asked for then: some may be empty.
const ASKED: usize = 200;

/// Runs all that a service has; `first` is the container whose volumes they see.
pub(crate) async fn run(
    session: &Session<'_>,
    project: &Project,
    service: &Service,
    first: Option<&Container>,
) -> Result<(), CliError> {
    if !session.dry && !service.pre_start.is_empty() {
        // Only what is known as one of these: their names may be others', too.
        for one in session.containers(&project.name, true).await? {
            if !one.label(labels::HOOK).is_empty() && one.service == service.name {
                let why = "whoever made it was killed";
                session.delete(&one.id, &one.name, true, why).await?;
            }
        }
    }
    for number in 0..service.pre_start.len() {
        let mut own = service.before(number);
        own.labels.insert(labels::HOOK.to_owned(), "pre_start".to_owned());
        own.volumes_from =
            first.map(|first| format!("container:{}", first.id)).into_iter().collect();
        one(session, project, &own, number).await?;
    }
    Ok(())
}

async fn one(
    session: &Session<'_>,
    project: &Project,
    service: &Service,
    number: usize,
) -> Result<(), CliError> {
    let separator = project.separator();
    let short = format!("{}{separator}pre_start{separator}{number}", service.name);
    let name = format!("{}{separator}{short}", project.name);
    let words = service.command.as_deref().unwrap_or_default().join(" ");
    let why = format!("pre_start of service {} runs {words:?}", service.name);
    session.progress("Container", &name, "Waiting");
    let made = Made { number: None, created_as: &name, name: &name, inherited: &[] };
    let id = converge::make(session, project, service, "", &made, &why).await?;
    let ended = async {
        session.make(Change::container(&id, &name, "start"), &why).await?;
        if session.dry {
            return Ok((0, String::new()));
        }
        let code = session.wait_for_end(&id).await?;
        Ok::<_, CliError>((code, output(session, &id).await.unwrap_or_default()))
    };
    let ended = ended.await;
    session.delete(&id, &name, true, "it has ended").await?;
    let (code, output) = ended?;
    if session.attached {
        for line in output.lines() {
            session.cli.println(&format!("{short} ->  | {line}"))?;
        }
    }
    if code == 0 {
        session.progress("Container", &name, "Exited");
        return Ok(());
    }
    session.progress("Container", &name, "Error");
    let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(TOLD)..].join("\n");
    let last = if last.is_empty() { last } else { format!(":\n{last}") };
    Err(CliError::new(format!(
        "service {:?}: pre_start[{number}] ({words:?}) exited with status {code}{last}",
        service.name
    )))
}

/// What one that has ended has said; where it is not shown, only the end.
async fn output(session: &Session<'_>, id: &str) -> Result<String, CliError> {
    let call = session.client.get(format!("/containers/{}/logs", path_segment(id)));
    let call = call.query("stdout", 1).query("stderr", 1);
    let call = if session.attached { call } else { call.query("tail", ASKED) };
    let mut answer = call.send().await?;
    let mut output = Output::default();
    while let Some(chunk) = answer.chunk().await? {
        output.add(&chunk)?;
    }
    Ok(output.text())
}

impl Service {
    /// As its `pre_start` container of that number is: what the hook says, and of the service what is not about one container.
    pub(crate) fn before(&self, number: usize) -> Service {
        let mut own = self.clone();
        let Some(PreStart { image, command, user, privileged, working_dir, environment, .. }) =
            self.pre_start.get(number).cloned()
        else {
            return own;
        };
        if !image.is_empty() {
            own.image = image;
            own.build = None;
        }
        own.command = command;
        own.entrypoint = None;
        for (said, kept) in [(user, &mut own.user), (working_dir, &mut own.working_dir)] {
            if !said.is_empty() {
                *kept = said;
            }
        }
        own.privileged |= privileged;
        own.environment.extend(environment);
        own.container_name = format!("{}-pre-start-{number}", self.name);
        own.restart = "no".to_owned();
        if let Some(deploy) = &mut own.deploy {
            deploy.restart_policy = None;
        }
        own.healthcheck = Some(Healthcheck { disable: true, ..Healthcheck::default() });
        own.ports.clear();
        own.expose.clear();
        own.volumes.clear();
        own.tmpfs.clear();
        own.mac_address.clear();
        for on in own.networks.values_mut().flatten() {
            on.ipv4_address.clear();
            on.ipv6_address.clear();
            on.mac_address.clear();
            on.link_local_ips.clear();
        }
        (own.tty, own.stdin_open) = (false, false);
        own.pre_start.clear();
        own.post_start.clear();
        own.pre_stop.clear();
        own
    }
}
