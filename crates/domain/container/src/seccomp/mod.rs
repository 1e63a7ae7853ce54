//! Docker's seccomp profiles: a list of rules, some of which depend on the machine and on the container's capabilities,
//! and what is left of it for one container.

mod default;

use ferry_errkind::{ErrorKind, Kinded};
use ferry_oci::runtime::{LinuxSeccomp, LinuxSyscall};
use serde::{Deserialize, Deserializer};

/// A profile as Docker reads it from a file (`--security-opt seccomp=profile.json`).
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Profile {
    /// What calls get that no rule is about.
    pub default_action: String,
    /// The errno of the default action.
    pub default_errno_ret: Option<u32>,
    /// Architectures, plainly.
    #[serde(deserialize_with = "or_default")]
    pub architectures: Vec<String>,
    /// Flags for loading.
    #[serde(deserialize_with = "or_default")]
    pub flags: Vec<String>,
    /// Where a notification agent listens.
    pub listener_path: Option<std::path::PathBuf>,
    /// What it is told.
    pub listener_metadata: Option<String>,
    /// Architectures by machine; not together with `architectures`.
    #[serde(deserialize_with = "or_default")]
    pub arch_map: Vec<ArchMap>,
    /// The rules.
    #[serde(deserialize_with = "or_default")]
    pub syscalls: Vec<Rule>,
}

/// A machine and the other architectures it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ArchMap {
    /// The machine's own.
    pub architecture: String,
    /// The others.
    pub sub_architectures: Option<Vec<String>>,
}

/// A rule and when it counts.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// The rule itself.
    #[serde(flatten)]
    pub call: LinuxSyscall,
    /// One call, in files from before there were lists.
    pub name: Option<String>,
    /// It counts only if all of this holds.
    #[serde(deserialize_with = "or_default")]
    pub includes: Condition,
    /// It does not count if any of this holds.
    #[serde(deserialize_with = "or_default")]
    pub excludes: Condition,
}

/// Circumstances.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// Capabilities in the bounding set.
    #[serde(deserialize_with = "or_default")]
    pub caps: Vec<String>,
    /// Go's names of architectures (`amd64`).
    #[serde(deserialize_with = "or_default")]
    pub arches: Vec<String>,
    /// The oldest kernel, `4.8`.
    pub min_kernel: Option<String>,
}

/// Go writes `null` for what is empty.
fn or_default<'d, D: Deserializer<'d>, T: Deserialize<'d> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A profile that cannot be used. Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Both ways to say the architectures.
    #[error(
        "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'"
    )]
    Architectures,
    /// Both ways to say the calls.
    #[error(
        "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'"
    )]
    Names,
    /// `minKernel` is no version.
    #[error("invalid kernel version: {0:?}")]
    Kernel(String),
}

impl Kinded for ProfileError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// What a container is up against.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// The bounding set, by name.
    pub capabilities: &'a [&'a str],
    /// The machine, as Rust names it (`std::env::consts::ARCH`).
    pub arch: &'a str,
    /// The kernel's version, first two parts.
    pub kernel: (u32, u32),
}

/// Docker's default profile for a container.
pub fn default_profile(circumstances: Circumstances<'_>) -> LinuxSeccomp {
    // It has none of the mistakes that can be made in a file; a test holds it to that.
    resolve(default::profile(), circumstances).ok().flatten().unwrap_or_default()
}

/// What is left of a profile for one container; `None` if it switches filtering off (neither default nor rules).
///
/// # Errors
/// A profile that contradicts itself.
pub fn resolve(
    profile: Profile,
    circumstances: Circumstances<'_>,
) -> Result<Option<LinuxSeccomp>, ProfileError> {
    if profile.default_action.is_empty() && profile.syscalls.is_empty() {
        return Ok(None);
    }
    if !profile.architectures.is_empty() && !profile.arch_map.is_empty() {
        return Err(ProfileError::Architectures);
    }
    let names = Names::of(circumstances.arch);
    let mut architectures = profile.architectures;
    let own = profile.arch_map.into_iter().find(|map| map.architecture == names.seccomp);
    if let Some(map) = own {
        architectures.push(map.architecture);
        architectures.extend(map.sub_architectures.unwrap_or_default());
    }
    let mut syscalls = Vec::with_capacity(profile.syscalls.len());
    for mut rule in profile.syscalls {
        if let Some(name) = rule.name.take().filter(|name| !name.is_empty()) {
            if !rule.call.names.is_empty() {
                return Err(ProfileError::Names);
            }
            rule.call.names = vec![name];
        }
        let excluded = rule.excludes.any_holds(&circumstances, names.go)?;
        if !excluded && rule.includes.all_hold(&circumstances, names.go)? {
            syscalls.push(rule.call);
        }
    }
    Ok(Some(LinuxSeccomp {
        default_action: profile.default_action,
        default_errno_ret: profile.default_errno_ret,
        architectures,
        flags: profile.flags,
        listener_path: profile.listener_path,
        listener_metadata: profile.listener_metadata,
        syscalls,
    }))
}

impl Condition {
    fn all_hold(&self, on: &Circumstances<'_>, arch: &str) -> Result<bool, ProfileError> {
        let arch_fits = self.arches.is_empty() || self.arches.iter().any(|name| name == arch);
        let has = |cap: &String| on.capabilities.contains(&cap.as_str());
        let new_enough = match &self.min_kernel {
            None => true,
            Some(version) => on.kernel >= kernel(version)?,
        };
        Ok(arch_fits && self.caps.iter().all(has) && new_enough)
    }

    fn any_holds(&self, on: &Circumstances<'_>, arch: &str) -> Result<bool, ProfileError> {
        let has = |cap: &String| on.capabilities.contains(&cap.as_str());
        let new_enough = match &self.min_kernel {
            None => false,
            Some(version) => on.kernel >= kernel(version)?,
        };
        Ok(self.arches.iter().any(|name| name == arch) || self.caps.iter().any(has) || new_enough)
    }
}

/// `4.8`, two numbers.
fn kernel(version: &str) -> Result<(u32, u32), ProfileError> {
    let invalid = || ProfileError::Kernel(version.to_owned());
    let (kernel, major) = version.split_once('.').ok_or_else(invalid)?;
    let number = |word: &str| word.parse().map_err(|_| invalid());
    Ok((number(kernel)?, number(major)?))
}

/// The two first numbers of a release like `6.18.44-fc-v595`, as `uname` has it. Zeroes if it is none.
pub fn kernel_version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    let mut next = || numbers.next().and_then(|digits| digits.parse().ok()).unwrap_or(0);
    (next(), next())
}

struct Names {
    go: &'static str,
    seccomp: &'static str,
}

impl Names {
    fn of(arch: &str) -> Names {
        let (go, seccomp) = match arch {
            "x86_64" => ("amd64", "SCMP_ARCH_X86_64"),
            "aarch64" => ("arm64", "SCMP_ARCH_AARCH64"),
            "x86" => ("x86", "SCMP_ARCH_X86"),
            "arm" => ("arm", "SCMP_ARCH_ARM"),
            "riscv64" => ("riscv64", "SCMP_ARCH_RISCV64"),
            "s390x" => ("s390x", "SCMP_ARCH_S390X"),
            "powerpc64" => ("ppc64le", "SCMP_ARCH_PPC64LE"),
            "loongarch64" => ("loongarch64", "SCMP_ARCH_LOONGARCH64"),
            _ => ("", ""),
        };
        Names { go, seccomp }
    }
}

#[cfg(test)]
mod tests;
