//! Security profiles as `--security-opt` has them.

use tonic::Status;

use super::unsupported;
use crate::{answer::invalid, api, api::security_profile::ProfileType};

/// Largest profile that is read.
const MAX_PROFILE: u64 = 1 << 20;

/// What `seccomp=` says. Without a word there is no filter, as in containerd: kubelet always says something.
pub(crate) fn seccomp(profile: Option<&api::SecurityProfile>) -> Result<Option<String>, Status> {
    let Some(profile) = profile else { return Ok(Some("seccomp=unconfined".to_owned())) };
    match profile.profile_type() {
        ProfileType::RuntimeDefault => Ok(None),
        ProfileType::Unconfined => Ok(Some("seccomp=unconfined".to_owned())),
        ProfileType::Localhost => {
            let path = profile.localhost_ref.trim_start_matches("localhost/");
            let failed = |error: std::io::Error| {
                invalid(format!("failed to load local seccomp profile \"{path}\": {error}"))
            };
            let size = std::fs::metadata(path).map_err(failed)?.len();
            if size > MAX_PROFILE {
                return Err(invalid(format!("seccomp profile \"{path}\" has {size} bytes")));
            }
            Ok(Some(format!("seccomp={}", std::fs::read_to_string(path).map_err(failed)?)))
        }
    }
}

/// What `apparmor=` says. A machine without AppArmor has no default profile to load.
pub(crate) fn apparmor(profile: Option<&api::SecurityProfile>) -> Option<String> {
    let profile = profile?;
    match profile.profile_type() {
        ProfileType::RuntimeDefault => None,
        ProfileType::Unconfined => Some("apparmor=unconfined".to_owned()),
        ProfileType::Localhost => {
            Some(format!("apparmor={}", profile.localhost_ref.trim_start_matches("localhost/")))
        }
    }
}

/// Labels of SELinux are not set by Ferry.
pub(crate) fn selinux(options: Option<&api::SeLinuxOption>) -> Result<(), Status> {
    match options {
        Some(options) if *options != api::SeLinuxOption::default() => {
            Err(unsupported("security_context.selinux_options"))
        }
        _ => Ok(()),
    }
}

/// User namespaces other than the machine's.
pub(crate) fn user_namespace(options: &api::NamespaceOption) -> Result<(), Status> {
    match &options.userns_options {
        Some(userns) if userns.mode() != api::NamespaceMode::Node => {
            Err(unsupported("namespace_options.userns_options"))
        }
        _ => Ok(()),
    }
}

/// `user[:group]` of CRI's three fields.
pub(crate) fn user(
    user: Option<&api::Int64Value>,
    name: &str,
    group: Option<&api::Int64Value>,
) -> Result<String, Status> {
    let mut text = match (user, name) {
        (Some(user), _) => user.value.to_string(),
        (None, "") if group.is_some() => {
            return Err(invalid("runAsGroup is specified without a runAsUser"));
        }
        (None, name) => name.to_owned(),
    };
    if let Some(group) = group {
        text.push_str(&format!(":{}", group.value));
    }
    Ok(text)
}
