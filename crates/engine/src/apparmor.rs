//! AppArmor on this machine, and its default profile for containers.
//!
//! The kernel takes profiles in a form that only AppArmor's own compiler writes: `apparmor_parser` loads ours, as with Docker, when the
//! engine comes up, and again before a start if somebody has unloaded it. Where there is no compiler and nobody else (dockerd) has
//! loaded the profile, containers have none, which `info` says.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

use ferry_container::{
    DEFAULT_PROFILE, ProfileInputs, UNCONFINED, apparmor_profile, default_profile, security_options,
};
use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::ContainerSpec;

/// AppArmor's own directory; there when it is on, and somebody has mounted securityfs.
const SECURITYFS: &str = "/sys/kernel/security/apparmor";

/// Where profiles may include from.
const INCLUDES: &str = "/etc/apparmor.d";

/// What this machine has.
#[derive(Debug)]
pub(crate) struct AppArmor {
    enabled: bool,
    parser: Option<PathBuf>,
    /// Held while the profile is loaded.
    loading: Mutex<()>,
}

impl AppArmor {
    pub(crate) fn detect() -> AppArmor {
        let on = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
        let enabled = on.is_ok_and(|on| on.starts_with('Y')) && Path::new(SECURITYFS).exists();
        let parser = if enabled { crate::programs::find("apparmor_parser") } else { None };
        AppArmor { enabled, parser, loading: Mutex::new(()) }
    }

    /// The profile of containers that name none; `None` without AppArmor.
    pub(crate) fn default_profile(&self) -> Option<&'static str> {
        let has_default = self.enabled && (self.parser.is_some() || is_loaded(DEFAULT_PROFILE));
        self.enabled.then_some(if has_default { DEFAULT_PROFILE } else { UNCONFINED })
    }

    /// The profile that a container has while it runs; empty without AppArmor.
    pub(crate) fn of(&self, spec: &ContainerSpec) -> String {
        let options = security_options(&spec.host.security_opt, spec.host.privileged);
        match (self.default_profile(), options) {
            (Some(default), Ok(options)) => {
                apparmor_profile(&options, spec.host.privileged, default).to_owned()
            }
            _ => String::new(),
        }
    }

    /// Sees to it that a profile is there, if it is ours to load. May run the compiler: blocks.
    pub(crate) fn prepare(&self, profile: &str) -> Result<(), Failure> {
        if profile == DEFAULT_PROFILE { self.load_default() } else { Ok(()) }
    }

    /// Loads the default profile, unless it is loaded or cannot be.
    pub(crate) fn load_default(&self) -> Result<(), Failure> {
        let Some(parser) = &self.parser else { return Ok(()) };
        let _one_at_a_time = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        if is_loaded(DEFAULT_PROFILE) {
            return Ok(());
        }
        let current = fs::read_to_string("/proc/self/attr/current").unwrap_or_default();
        let text = default_profile(ProfileInputs {
            // `name (mode)`, and nothing without AppArmor's word for it.
            daemon: current.split_whitespace().next().unwrap_or(UNCONFINED),
            tunables: Path::new(INCLUDES).join("tunables/global").exists(),
            base: Path::new(INCLUDES).join("abstractions/base").exists(),
        });
        load(parser, &text).map_err(|why| {
            let words = format!(
                "AppArmor enabled on system but the {DEFAULT_PROFILE} profile could not be loaded: {}: {why}",
                parser.display()
            );
            Failure::new(ErrorKind::Internal, words)
        })
    }

    /// A profile that this machine cannot give is refused, not forgotten.
    pub(crate) fn check(&self, spec: &ContainerSpec) -> Result<(), Failure> {
        let options = security_options(&spec.host.security_opt, spec.host.privileged)?;
        match options.apparmor.as_deref() {
            None | Some("" | UNCONFINED) => Ok(()),
            Some(_) if self.enabled => Ok(()),
            Some(name) => {
                let words = format!(
                    "invalid --security-opt: \"apparmor={name}\": AppArmor is not enabled on this host"
                );
                Err(Failure::new(ErrorKind::InvalidArgument, words))
            }
        }
    }

    /// What the user of a machine should know who relies on AppArmor.
    pub(crate) fn warning(&self) -> Option<String> {
        (self.default_profile() == Some(UNCONFINED)).then(|| {
            format!("WARNING: AppArmor is enabled, but containers have no profile: apparmor_parser, which loads {DEFAULT_PROFILE}, is not installed")
        })
    }
}

/// A line is `name (mode)`.
fn is_loaded(profile: &str) -> bool {
    let loaded = fs::read_to_string(Path::new(SECURITYFS).join("profiles")).unwrap_or_default();
    loaded.lines().any(|line| line.split_once(" (").is_some_and(|(name, _)| name == profile))
}

/// Hands a profile to the compiler, which replaces the one of that name in the kernel and reads and writes no cache.
fn load(parser: &Path, text: &str) -> Result<(), String> {
    let mut child = Command::new(parser)
        .arg("-Kr")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    // The text is shorter than a pipe: this waits for nobody. A compiler that does not read says why.
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(text.as_bytes()));
    let ended = child.wait_with_output().map_err(|error| error.to_string())?;
    if !ended.status.success() {
        let complaint = String::from_utf8_lossy(&ended.stderr);
        return Err(format!("{}: {}", ended.status, complaint.trim()));
    }
    match written {
        Some(Err(error)) => Err(error.to_string()),
        _ => Ok(()),
    }
}
