//! What was asked, as it is kept in the engine's records: the request's own bytes, as text.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ferry_model::container::{Container, Phase};
use prost::Message;

use crate::api;

/// The text of a request.
pub(crate) fn encode(request: &impl Message) -> String {
    STANDARD.encode(request.encode_to_vec())
}

/// The request in a record; an empty one where it does not read, so that the rest can be seen and removed.
fn decode<T: Message + Default>(it: &Container) -> T {
    let text = it.spec.pod.as_ref().map_or("", |part| part.request.as_str());
    let bytes = STANDARD.decode(text).unwrap_or_default();
    T::decode(bytes.as_slice()).unwrap_or_default()
}

/// A sandbox with what it was asked for.
#[derive(Debug)]
pub(crate) struct Sandbox<'a> {
    pub(crate) it: &'a Container,
    pub(crate) config: api::PodSandboxConfig,
    pub(crate) handler: String,
}

impl<'a> Sandbox<'a> {
    /// `None`: it is a container, no sandbox.
    pub(crate) fn of(it: &'a Container) -> Option<Self> {
        it.spec.pod.as_ref().filter(|part| part.sandbox.is_none())?;
        let request: api::RunPodSandboxRequest = decode(it);
        let config = request.config.unwrap_or_default();
        Some(Sandbox { it, config, handler: request.runtime_handler })
    }

    pub(crate) fn state(&self) -> api::PodSandboxState {
        match self.it.state.phase {
            Phase::Running => api::PodSandboxState::SandboxReady,
            _ => api::PodSandboxState::SandboxNotready,
        }
    }

    pub(crate) fn namespaces(&self) -> api::NamespaceOption {
        self.security().namespace_options.unwrap_or_default()
    }

    pub(crate) fn security(&self) -> api::LinuxSandboxSecurityContext {
        let linux = self.config.linux.clone().unwrap_or_default();
        linux.security_context.unwrap_or_default()
    }
}

/// A container with what it was asked for.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    pub(crate) it: &'a Container,
    pub(crate) sandbox: &'a str,
    pub(crate) config: api::ContainerConfig,
}

impl<'a> Member<'a> {
    /// `None`: it is a sandbox.
    pub(crate) fn of(it: &'a Container) -> Option<Self> {
        let sandbox = it.spec.pod.as_ref()?.sandbox.as_deref()?;
        let request: api::CreateContainerRequest = decode(it);
        Some(Member { it, sandbox, config: request.config.unwrap_or_default() })
    }

    pub(crate) fn state(&self) -> api::ContainerState {
        let state = &self.it.state;
        match state.phase {
            Phase::Running | Phase::Paused => api::ContainerState::ContainerRunning,
            // It could not be started: for Kubernetes that is an end, too.
            Phase::Created if !state.error.is_empty() => api::ContainerState::ContainerExited,
            Phase::Created => api::ContainerState::ContainerCreated,
            Phase::Exited | Phase::Dead | Phase::Removing => api::ContainerState::ContainerExited,
            Phase::Restarting => api::ContainerState::ContainerUnknown,
        }
    }
}
