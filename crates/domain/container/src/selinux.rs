//! SELinux labels of containers: what `--security-opt label=…` makes of the policy's own, and which categories keep containers
//! apart.
//!
//! A label is `user:role:type:level`, and a level may have colons. Two containers have the same type; what one writes is
//! closed to the other because each has a pair of categories (`s0:c17,c391`) that no other has.

use ferry_errkind::{ErrorKind, Kinded};
use ferry_model::container::SelinuxLabels;

/// Categories are `c0` to `c1023`.
const CATEGORIES: u64 = 1024;

/// The level of what is mounted in containers without a label of their own: they may go everywhere, and others not to them.
const PRIVILEGED_LEVEL: &str = "s0:c1022,c1023";

/// The level of files that all containers share.
const SHARED_LEVEL: &str = "s0";

/// Directories of the host that nobody may relabel: it would break the host. (Below them one may, except where that is a
/// system's directory, too.)
const HOST: [&str; 25] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/etc/passwd",
    "/etc/pki",
    "/etc/shadow",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/system",
    "/tmp",
    "/usr",
    "/var",
    "/var/lib",
    "/var/log",
];

/// A `label` that does not read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SelinuxError {
    /// Neither `disable` nor a part with a value. Docker's words.
    #[error(
        "Bad label option {0:?}, valid options 'disable' or \n'user, role, level, type, filetype' followed by ':' and a value"
    )]
    Option(String),
    /// There is no such part. Docker's words.
    #[error("Bad label option {0:?}, valid options 'disable, user, role, level, type, filetype'")]
    Part(String),
    /// The policy's own label is none.
    #[error("the policy's label {0:?} is not user:role:type:level")]
    Policy(String),
    /// Two containers whose namespaces are to be shared are kept apart. Docker's words.
    #[error("--ipc and --pid containers SELinux labels aren't the same")]
    Conflict,
}

impl Kinded for SelinuxError {
    fn kind(&self) -> ErrorKind {
        match self {
            SelinuxError::Policy(_) => ErrorKind::Internal,
            _ => ErrorKind::InvalidArgument,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Context {
    user: String,
    role: String,
    kind: String,
    /// Policies without levels have none.
    level: Option<String>,
}

impl Context {
    fn read(label: &str) -> Option<Context> {
        let mut parts = label.splitn(4, ':').map(str::to_owned);
        Some(Context {
            user: parts.next()?,
            role: parts.next()?,
            kind: parts.next()?,
            level: parts.next(),
        })
    }

    fn write(&self) -> String {
        let Context { user, role, kind, level } = self;
        match level {
            Some(level) => format!("{user}:{role}:{kind}:{level}"),
            None => format!("{user}:{role}:{kind}"),
        }
    }
}

/// The labels of a new container: the policy's for `process` and `file`, with `level`, changed by what the user says.
///
/// # Errors
/// An option that does not read.
pub fn selinux_labels(
    (process, file): (&str, &str),
    level: &str,
    options: &[String],
) -> Result<SelinuxLabels, SelinuxError> {
    let read = |label: &str| {
        let mut context =
            Context::read(label).ok_or_else(|| SelinuxError::Policy(label.to_owned()))?;
        // A policy without levels has no categories.
        context.level = context.level.map(|_| level.to_owned());
        Ok(context)
    };
    let (mut process, mut mount) = (read(process)?, read(file)?);
    for option in options {
        if option == "disable" {
            mount.level = mount.level.map(|_| PRIVILEGED_LEVEL.to_owned());
            return Ok(SelinuxLabels { process: String::new(), mount: mount.write() });
        }
        let (part, value) =
            option.split_once(':').ok_or_else(|| SelinuxError::Option(option.clone()))?;
        let value = value.to_owned();
        match part {
            "filetype" => mount.kind = value,
            "type" => process.kind = value,
            "role" => process.role = value,
            "user" => {
                mount.user.clone_from(&value);
                process.user = value;
            }
            "level" => {
                mount.level = Some(value.clone());
                process.level = Some(value);
            }
            _ => return Err(SelinuxError::Part(option.clone())),
        }
    }
    Ok(SelinuxLabels { process: process.write(), mount: mount.write() })
}

/// What gives a container the process label of another, whose namespaces it shares.
pub fn selinux_options_of(process: &str) -> Vec<String> {
    let Some(context) = Context::read(process) else { return Vec::new() };
    let Context { user, role, kind, level } = context;
    let mut options = vec![format!("user:{user}"), format!("role:{role}"), format!("type:{kind}")];
    options.extend(level.map(|level| format!("level:{level}")));
    options
}

/// A level with one of the 523,776 pairs of categories.
pub fn selinux_level(number: u64) -> String {
    let first = number % CATEGORIES;
    // Another one: 1 to 1023 further on.
    let second = (first + 1 + number / CATEGORIES % (CATEGORIES - 1)) % CATEGORIES;
    format!("s0:c{},c{}", first.min(second), first.max(second))
}

/// The level of a label.
pub fn selinux_level_of(label: &str) -> Option<&str> {
    label.splitn(4, ':').nth(3)
}

/// What a mount is to be labelled with that asks for it: `Z` for this container alone, `z` for all. `None` for the others.
pub fn selinux_relabel(mode: &str, mount_label: &str) -> Option<String> {
    if mode.split(',').any(|word| word == "Z") {
        return Some(mount_label.to_owned());
    }
    if !mode.split(',').any(|word| word == "z") {
        return None;
    }
    selinux_shared(mount_label)
}

/// A label for files that all containers may use.
pub fn selinux_shared(mount_label: &str) -> Option<String> {
    let mut context = Context::read(mount_label)?;
    context.level = context.level.map(|_| SHARED_LEVEL.to_owned());
    Some(context.write())
}

/// Whether a directory is the host's own, which no container's label may be put on.
pub fn is_host_directory(path: &str) -> bool {
    HOST.contains(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: (&str, &str) =
        ("system_u:system_r:container_t:s0", "system_u:object_r:container_file_t:s0");

    fn labels(options: &[&str]) -> Result<(String, String), SelinuxError> {
        let options: Vec<_> = options.iter().map(|option| (*option).to_owned()).collect();
        selinux_labels(POLICY, "s0:c1,c2", &options).map(|labels| (labels.process, labels.mount))
    }

    #[test]
    fn what_the_user_says_changes_the_policys_labels() {
        let of = |options: &[&str]| labels(options).unwrap();
        let (process, mount) = of(&[]);
        assert_eq!(process, "system_u:system_r:container_t:s0:c1,c2");
        assert_eq!(mount, "system_u:object_r:container_file_t:s0:c1,c2");
        let (process, mount) = of(&["type:svirt_apache_t", "role:my_r", "filetype:my_file_t"]);
        assert_eq!(process, "system_u:my_r:svirt_apache_t:s0:c1,c2");
        assert_eq!(mount, "system_u:object_r:my_file_t:s0:c1,c2");
        // A level has colons.
        let (process, mount) = of(&["level:s0:c100,c200", "user:me_u"]);
        assert_eq!(process, "me_u:system_r:container_t:s0:c100,c200");
        assert_eq!(mount, "me_u:object_r:container_file_t:s0:c100,c200");
        let (process, mount) = of(&["type:x_t", "disable"]);
        assert_eq!(process, "");
        assert_eq!(mount, "system_u:object_r:container_file_t:s0:c1022,c1023");
    }

    #[test]
    fn what_does_not_read_is_told_in_dockers_words() {
        let words = labels(&["bogus"]).unwrap_err().to_string();
        assert!(words.starts_with("Bad label option \"bogus\", valid options 'disable' or"));
        let words = labels(&["nope:x"]).unwrap_err().to_string();
        assert!(words.ends_with("'disable, user, role, level, type, filetype'"), "{words}");
    }

    #[test]
    fn a_policy_without_levels_gets_none() {
        let labels = selinux_labels(("u:r:p", "u:r:f"), "s0:c1,c2", &[]).unwrap();
        assert_eq!((labels.process.as_str(), labels.mount.as_str()), ("u:r:p", "u:r:f"));
        assert!(selinux_labels(("nothing", "u:r:f"), "s0", &[]).is_err());
    }

    #[test]
    fn categories_are_two_and_in_order() {
        for number in [0, 1, 1023, 1024, 1_047_551, 1_047_552, u64::MAX] {
            let level = selinux_level(number);
            let pair = level.strip_prefix("s0:c").unwrap().split_once(",c").unwrap();
            let (first, second): (u64, u64) = (pair.0.parse().unwrap(), pair.1.parse().unwrap());
            assert!(first < second && second < 1024, "{level}");
        }
        let all: std::collections::BTreeSet<_> = (0..1_047_552).map(selinux_level).collect();
        assert_eq!(all.len(), 523_776);
    }

    #[test]
    fn options_of_another_give_its_label() {
        let (process, _) = labels(&["level:s0:c7,c8"]).unwrap();
        let options = selinux_options_of(&process);
        assert_eq!(selinux_labels(POLICY, "s0:c1,c2", &options).unwrap().process, process);
        assert_eq!(selinux_options_of(""), Vec::<String>::new());
    }

    #[test]
    fn mounts_are_relabelled_when_they_say_so() {
        let label = "system_u:object_r:container_file_t:s0:c1,c2";
        let of = |mode: &str| selinux_relabel(mode, label);
        assert_eq!(of("ro,Z").as_deref(), Some(label));
        assert_eq!(of("z").as_deref(), Some("system_u:object_r:container_file_t:s0"));
        assert_eq!(of("ro"), None);
        assert!(is_host_directory("/etc") && !is_host_directory("/etc/app"));
        assert_eq!(selinux_level_of(label), Some("s0:c1,c2"));
    }
}
