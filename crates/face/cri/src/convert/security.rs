//! Security profiles as `--security-opt` has them.

use tonic::Status;

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

/// What `label=` says. A machine without SELinux takes labels, and they mean nothing there.
pub(crate) fn selinux(options: Option<&api::SeLinuxOption>) -> Vec<String> {
    let Some(api::SeLinuxOption { user, role, r#type, level }) = options else { return Vec::new() };
    let parts = [("user", user), ("role", role), ("type", r#type), ("level", level)];
    let given = parts.into_iter().filter(|(_, value)| !value.is_empty());
    given.map(|(part, value)| format!("label={part}:{value}")).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_selinux_as_options() {
        assert_eq!(selinux(None), Vec::<String>::new());
        let given = api::SeLinuxOption {
            r#type: "spc_t".to_owned(),
            level: "s0:c1,c2".to_owned(),
            ..api::SeLinuxOption::default()
        };
        assert_eq!(selinux(Some(&given)), ["label=type:spc_t", "label=level:s0:c1,c2"]);
    }
}
