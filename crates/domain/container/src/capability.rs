//! `--cap-add`, `--cap-drop`, `--privileged`: the capabilities of a container.

use ferry_errkind::{ErrorKind, Kinded};
use ferry_oci::runtime::{CAPABILITIES, capability_number};

/// Docker's default set (moby `oci/caps/defaults.go`).
const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// A capability that Linux does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {list}: unknown capability: \"{name}\"")]
pub struct UnknownCapability {
    /// `CapAdd` or `CapDrop`.
    pub list: &'static str,
    /// The name with its prefix.
    pub name: String,
}

impl Kinded for UnknownCapability {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// The set that results, in the kernel's order. `bounding` is what this machine's engine itself may have: what is outside
/// cannot be given to anyone, so `ALL` and `--privileged` mean all of it.
///
/// # Errors
/// A name that is no capability.
pub fn capabilities(
    add: &[String],
    drop: &[String],
    privileged: bool,
    bounding: impl Fn(&str) -> bool,
) -> Result<Vec<&'static str>, UnknownCapability> {
    let add = normalise("CapAdd", add)?;
    let drop = normalise("CapDrop", drop)?;
    let adds_all = add.iter().any(|name| name.is_none());
    let drops_all = drop.iter().any(|name| name.is_none());
    let named = |list: &[Option<&str>], name: &str| list.contains(&Some(name));
    let keep = |name: &&'static str| {
        if privileged {
            return true;
        }
        match (adds_all, drops_all) {
            (true, _) => !named(&drop, name),
            (false, true) => named(&add, name),
            (false, false) => named(&add, name) || (DEFAULT.contains(name) && !named(&drop, name)),
        }
    };
    Ok(CAPABILITIES.into_iter().filter(keep).filter(|name| bounding(name)).collect())
}

/// `None` stands for `ALL`.
fn normalise(
    list: &'static str,
    names: &[String],
) -> Result<Vec<Option<&'static str>>, UnknownCapability> {
    names
        .iter()
        .map(|name| {
            let upper = name.to_ascii_uppercase();
            if upper == "ALL" || upper == "CAP_ALL" {
                return Ok(None);
            }
            let number = capability_number(&upper).and_then(|number| usize::try_from(number).ok());
            match number.and_then(|number| CAPABILITIES.get(number)) {
                Some(known) => Ok(Some(*known)),
                None => {
                    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
                    Err(UnknownCapability { list, name: format!("CAP_{bare}") })
                }
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(add: &[&str], drop: &[&str], privileged: bool) -> Vec<&'static str> {
        let own = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        capabilities(&own(add), &own(drop), privileged, |_| true).unwrap()
    }

    #[test]
    fn dockers_table() {
        assert_eq!(set(&[], &[], false).len(), DEFAULT.len());
        assert_eq!(set(&[], &[], true).len(), CAPABILITIES.len());
        assert_eq!(set(&["all"], &[], false).len(), CAPABILITIES.len());
        assert_eq!(set(&["ALL"], &["mknod"], false).len(), CAPABILITIES.len() - 1);
        assert_eq!(set(&[], &["ALL"], false).len(), 0);
        assert_eq!(set(&["net_admin"], &["ALL"], false), ["CAP_NET_ADMIN"]);
        assert!(set(&["CAP_SYS_TIME"], &[], false).contains(&"CAP_SYS_TIME"));
        assert!(!set(&[], &["CHOWN"], false).contains(&"CAP_CHOWN"));
    }

    #[test]
    fn an_unknown_name_is_refused() {
        let error = capabilities(&["nope".into()], &[], false, |_| true).unwrap_err();
        assert_eq!(error.to_string(), "invalid CapAdd: unknown capability: \"CAP_NOPE\"");
    }

    #[test]
    fn nothing_outside_the_bounding_set() {
        let all = capabilities(&["ALL".into()], &[], false, |name| name != "CAP_SYS_RESOURCE");
        assert!(!all.unwrap().contains(&"CAP_SYS_RESOURCE"));
    }
}
