//! Exec, Attach and PortForward: an address for each, where the streams are.

use ferry_model::container::{Container, Phase};
use tonic::Status;

use super::Runtime;
use crate::{
    answer::{Answer, done, invalid},
    api,
    stream::Ticket,
};

pub(super) fn exec(runtime: &Runtime, request: api::ExecRequest) -> Answer<api::ExecResponse> {
    let it = runtime.container(&request.container_id)?;
    running(&it)?;
    if request.cmd.is_empty() {
        return Err(invalid("cmd is required"));
    }
    check_streams(request.tty, request.stdin, request.stdout, request.stderr)?;
    let url = runtime.streams()?.issue(Ticket::Exec(request))?;
    done(api::ExecResponse { url })
}

pub(super) fn attach(
    runtime: &Runtime,
    request: api::AttachRequest,
) -> Answer<api::AttachResponse> {
    let it = runtime.container(&request.container_id)?;
    running(&it)?;
    check_streams(request.tty, request.stdin, request.stdout, request.stderr)?;
    let url = runtime.streams()?.issue(Ticket::Attach(request))?;
    done(api::AttachResponse { url })
}

pub(super) fn port_forward(
    runtime: &Runtime,
    request: api::PortForwardRequest,
) -> Answer<api::PortForwardResponse> {
    running(&*runtime.sandbox(&request.pod_sandbox_id)?)?;
    if let Some(port) = request.port.iter().find(|port| !(1..=65535).contains(*port)) {
        return Err(invalid(format!("{port} is no port")));
    }
    let url = runtime.streams()?.issue(Ticket::Forward(request))?;
    done(api::PortForwardResponse { url })
}

fn running(it: &Container) -> Result<(), Status> {
    if it.state.phase == Phase::Running {
        return Ok(());
    }
    Err(Status::failed_precondition(format!("container \"{}\" is not running", it.id)))
}

/// What the API asks of the combination.
fn check_streams(tty: bool, stdin: bool, stdout: bool, stderr: bool) -> Result<(), Status> {
    if tty && stderr {
        return Err(invalid("tty and stderr cannot both be true"));
    }
    if !stdin && !stdout && !stderr {
        return Err(invalid("one of stdin, stdout, or stderr must be set"));
    }
    Ok(())
}
