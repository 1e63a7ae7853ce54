//! What goes through the host's `/proc`: scores, labels, sysctls.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use ferry_oci::runtime::Process;
use ferry_sys::mount::{self, PROC_MAGIC};
use ferry_sys::namespace::{self, flag};
use ferry_sys::selinux::Selinux;
use ferry_sys::{Errno, Result};
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::error::{Failure, Outcome, words};

/// The host's `/proc`, opened before anything of the container is mounted: what is written through it cannot be
/// redirected by what an image or a volume has at `/proc`.
pub(super) struct Proc {
    own: OwnedFd,
    sys: OwnedFd,
}

/// A process's AppArmor profile or SELinux label in the making.
#[derive(Debug)]
pub(crate) struct Label {
    module: Module,
    on_exec: OwnedFd,
    now: OwnedFd,
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Module {
    AppArmor,
    Selinux,
}

impl Label {
    /// From the next program on.
    pub(super) fn set_on_exec(&self) -> Outcome<()> {
        self.write(&self.on_exec, "exec", "exec")
    }

    /// From now on: for a process that executes nothing.
    pub(super) fn set_now(&self) -> Outcome<()> {
        self.write(&self.now, "current", "changeprofile")
    }

    /// `verb` is AppArmor's alone: it wants to be told what the attribute says already.
    fn write(&self, file: &OwnedFd, attribute: &str, verb: &str) -> Outcome<()> {
        let (words, what) = match self.module {
            Module::AppArmor => (
                format!("{verb} {}", self.name),
                "unable to apply apparmor profile: apparmor failed to apply profile",
            ),
            Module::Selinux => (self.name.clone(), "unable to apply the SELinux label"),
        };
        rustix::io::write(file, words.as_bytes()).map(drop).map_err(|errno| {
            Failure::errno(format!("{what}: write /proc/self/attr/{attribute}"), errno)
        })
    }
}

impl Proc {
    pub(super) fn open() -> Outcome<Proc> {
        let open = |path: &str| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let dir = openat(CWD, path, flags, Mode::empty())
                .map_err(|errno| Failure::errno(format!("open {path}"), errno))?;
            match mount::is_on(&dir, PROC_MAGIC) {
                Ok(true) => Ok(dir),
                _ => Err(Failure::new(format!("{path} is not on a proc file system"))),
            }
        };
        Ok(Proc { own: open("/proc/self")?, sys: open("/proc/sys")? })
    }

    pub(super) fn set_oom_score(&self, score: Option<i32>, socket: BorrowedFd<'_>) -> Outcome<()> {
        let Some(score) = score else { return Ok(()) };
        match self.write(&self.own, "oom_score_adj", &score.to_string()) {
            Ok(()) => Ok(()),
            // Lowering needs CAP_SYS_RESOURCE.
            Err(errno @ (Errno::ACCESS | Errno::PERM)) => {
                let why = words(errno);
                super::warn(socket, &format!("cannot set oom_score_adj to {score}: {why}"));
                Ok(())
            }
            Err(errno) => Err(Failure::errno("error setting oom_score_adj", errno)),
        }
    }

    /// Where an AppArmor profile or SELinux label is set, opened while it can be.
    pub(super) fn open_label(&self, program: &Process) -> Outcome<Option<Label>> {
        let profile = program.apparmor_profile.as_deref().filter(|profile| !profile.is_empty());
        let label = program.selinux_label.as_deref().filter(|label| !label.is_empty());
        let enabled = |path: &str| Path::new(path).exists();
        match (profile, label) {
            (Some(_), _) if !enabled("/sys/kernel/security/apparmor") => Err(Failure::new(
                "unable to apply apparmor profile: apparmor: config provided but apparmor not supported",
            )),
            (Some(profile), _) => Ok(Some(Label {
                on_exec: self.open_attribute("exec")?,
                module: Module::AppArmor,
                now: self.open_attribute("current")?,
                name: profile.to_owned(),
            })),
            (None, Some(label)) => open_selinux(&Selinux::of_host(), label),
            (None, None) => Ok(None),
        }
    }

    /// AppArmor has a directory of its own since Linux 5.8: the one above it belongs to whichever module comes first.
    fn open_attribute(&self, name: &str) -> Outcome<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        openat(&self.own, format!("attr/apparmor/{name}"), flags, Mode::empty())
            .or_else(|_| openat(&self.own, format!("attr/{name}"), flags, Mode::empty()))
            .map_err(|errno| Failure::errno("unable to open the exec label", errno))
    }

    /// A time namespace is made for children; its offsets are set, and then this process moves there, too.
    pub(super) fn enter_new_time(&self, offsets: &str) -> Outcome<()> {
        let told = |errno| Failure::errno("unable to make a time namespace", errno);
        namespace::unshare(flag::TIME).map_err(told)?;
        if !offsets.is_empty() {
            self.write(&self.own, "timens_offsets", offsets).map_err(|errno| {
                Failure::errno("failed to update /proc/self/timens_offsets", errno)
            })?;
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let made = openat(&self.own, "ns/time_for_children", flags, Mode::empty()).map_err(told)?;
        namespace::join(made.as_fd(), flag::TIME).map_err(told)
    }

    pub(super) fn write_sysctls(&self, sysctls: &[(String, String)]) -> Outcome<()> {
        for (path, value) in sysctls {
            self.write(&self.sys, path, value).map_err(|errno| {
                let why = words(errno);
                Failure::new(format!("open sysctl {} file: {why}", path.replace('/', ".")))
            })?;
        }
        Ok(())
    }

    fn write(&self, dir: &OwnedFd, path: &str, value: &str) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(dir, path, flags, Mode::empty())?;
        rustix::io::write(&file, value.as_bytes()).map(drop)
    }
}

/// runc does nothing about labels either where SELinux is off. The session keyring, which is made next, gets the label, too.
fn open_selinux(selinux: &Selinux, label: &str) -> Outcome<Option<Label>> {
    if !selinux.is_enabled() {
        return Ok(None);
    }
    let told = |errno| Failure::errno("unable to open the exec label", errno);
    let on_exec = selinux.open_on_exec().map_err(told)?;
    let now = selinux.open_current().map_err(told)?;
    selinux
        .set_on_keys(label)
        .map_err(|errno| Failure::errno("unable to label the session keyring", errno))?;
    Ok(Some(Label { module: Module::Selinux, on_exec, now, name: label.to_owned() }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_label_goes_to_the_attributes_of_a_machine_with_selinux() {
        let base = std::env::temp_dir().join(format!("ferry-runtime-label-{}", std::process::id()));
        for dir in ["fs", "attr"] {
            fs::create_dir_all(base.join(dir)).unwrap();
        }
        for attribute in ["exec", "keycreate"] {
            fs::write(base.join("attr").join(attribute), "").unwrap();
        }
        fs::write(base.join("attr/current"), "u:r:runtime_t:s0\0").unwrap();
        let selinux = Selinux::at(base.join("fs"), base.join("etc"), base.join("attr"));
        let label = "u:r:container_t:s0:c1,c2";
        assert!(open_selinux(&selinux, label).unwrap().is_none(), "SELinux is off");
        fs::write(base.join("fs/enforce"), "1").unwrap();
        let opened = open_selinux(&selinux, label).unwrap().unwrap();
        let read = |name: &str| fs::read_to_string(base.join("attr").join(name)).unwrap();
        assert_eq!((read("keycreate"), read("exec")), (label.to_owned(), String::new()));
        opened.set_on_exec().unwrap();
        assert_eq!(read("exec"), label);
        opened.set_now().unwrap();
        assert_eq!(read("current"), label);
        fs::remove_dir_all(base).unwrap();
    }
}
