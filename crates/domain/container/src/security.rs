//! `--security-opt`.

use ferry_errkind::{ErrorKind, Kinded};

use crate::seccomp::Profile;

/// Which system call filter.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum SeccompChoice {
    /// Docker's default profile.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// The user's own.
    Profile(Box<Profile>),
}

/// All security options, read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SecurityOptions {
    /// The filter.
    pub seccomp: SeccompChoice,
    /// `no-new-privileges`.
    pub no_new_privileges: bool,
    /// AppArmor profile; `None` is the default of the host.
    pub apparmor: Option<String>,
    /// SELinux label parts (`user:…`, `role:…`, `type:…`, `level:…`, `disable`).
    pub label: Vec<String>,
    /// `systempaths=unconfined`: nothing masked, nothing read-only.
    pub system_paths_unconfined: bool,
    /// `writable-cgroups=true`.
    pub writable_cgroups: bool,
}

/// An option that does not read.
#[derive(Debug, thiserror::Error)]
pub enum SecurityOptionError {
    /// It has no value. Docker's words.
    #[error("invalid --security-opt 1: \"{0}\"")]
    NoValue(String),
    /// There is no such option. Docker's words.
    #[error("invalid --security-opt 2: \"{0}\"")]
    Unknown(String),
    /// The profile is no JSON. Docker's words.
    #[error("decoding seccomp profile failed")]
    Profile(#[source] serde_json::Error),
}

impl Kinded for SecurityOptionError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// Reads the options of one container. `privileged` takes the filter away, as Docker does, unless one is named.
///
/// # Errors
/// The first option that does not read.
pub fn security_options(
    options: &[String],
    privileged: bool,
) -> Result<SecurityOptions, SecurityOptionError> {
    let mut read = SecurityOptions::default();
    if privileged {
        read.seccomp = SeccompChoice::Unconfined;
        read.system_paths_unconfined = true;
    }
    for option in options {
        if option == "no-new-privileges" {
            read.no_new_privileges = true;
            continue;
        }
        // The colon is Docker's older spelling.
        let (key, value) = option
            .split_once('=')
            .or_else(|| option.split_once(':'))
            .ok_or_else(|| SecurityOptionError::NoValue(option.clone()))?;
        match key {
            "no-new-privileges" => read.no_new_privileges = flag(option, value)?,
            "writable-cgroups" => read.writable_cgroups = flag(option, value)?,
            "apparmor" => read.apparmor = Some(value.to_owned()),
            "label" => read.label.push(value.to_owned()),
            "systempaths" if value == "unconfined" => read.system_paths_unconfined = true,
            "seccomp" => read.seccomp = seccomp(value)?,
            _ => return Err(SecurityOptionError::Unknown(option.clone())),
        }
    }
    Ok(read)
}

fn seccomp(value: &str) -> Result<SeccompChoice, SecurityOptionError> {
    match value {
        "unconfined" => Ok(SeccompChoice::Unconfined),
        "builtin" | "" => Ok(SeccompChoice::Default),
        profile => serde_json::from_str(profile)
            .map(|profile| SeccompChoice::Profile(Box::new(profile)))
            .map_err(SecurityOptionError::Profile),
    }
}

/// Go's `strconv.ParseBool`.
fn flag(option: &str, value: &str) -> Result<bool, SecurityOptionError> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(SecurityOptionError::Unknown(option.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[&str]) -> Result<SecurityOptions, SecurityOptionError> {
        let options: Vec<_> = options.iter().map(|option| (*option).to_owned()).collect();
        security_options(&options, false)
    }

    #[test]
    fn both_spellings() {
        assert!(read(&["no-new-privileges"]).unwrap().no_new_privileges);
        assert!(!read(&["no-new-privileges:false"]).unwrap().no_new_privileges);
        assert_eq!(read(&["seccomp:unconfined"]).unwrap().seccomp, SeccompChoice::Unconfined);
        let profile = read(&[r#"seccomp={"defaultAction":"SCMP_ACT_ALLOW"}"#]).unwrap().seccomp;
        assert!(
            matches!(profile, SeccompChoice::Profile(profile) if profile.default_action == "SCMP_ACT_ALLOW")
        );
    }

    #[test]
    fn what_does_not_read() {
        for option in ["nope", "nope=1", "no-new-privileges=maybe", "seccomp={", "systempaths=some"]
        {
            assert!(read(&[option]).is_err(), "{option}");
        }
    }
}
