//! What goes through the host's `/proc`: scores, labels, sysctls.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use ferry_oci::runtime::Process;
use ferry_sys::mount::{self, PROC_MAGIC};
use ferry_sys::namespace::{self, flag};
use ferry_sys::{Errno, Result};
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::error::{Failure, Outcome, words};

/// The host's `/proc`, opened before anything of the container is mounted: what is written through it cannot be
/// redirected by what an image or a volume has at `/proc`.
pub(super) struct Proc {
    own: OwnedFd,
    sys: OwnedFd,
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

    /// Where an AppArmor profile or SELinux label for the next exec goes, opened while it can be.
    pub(super) fn open_exec_label(&self, program: &Process) -> Outcome<Option<(OwnedFd, String)>> {
        let profile = program.apparmor_profile.as_deref().filter(|profile| !profile.is_empty());
        let label = program.selinux_label.as_deref().filter(|label| !label.is_empty());
        let enabled = |path: &str| Path::new(path).exists();
        let (path, value) = match (profile, label) {
            (Some(profile), _) => {
                if !enabled("/sys/kernel/security/apparmor") {
                    return Err(Failure::new(
                        "unable to apply apparmor profile: apparmor: config provided but apparmor not supported",
                    ));
                }
                ("attr/apparmor/exec", format!("exec {profile}"))
            }
            // runc does nothing about labels either where SELinux is off.
            (None, Some(label)) if enabled("/sys/fs/selinux/enforce") => {
                ("attr/exec", label.to_owned())
            }
            _ => return Ok(None),
        };
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(&self.own, path, flags, Mode::empty())
            .or_else(|_| openat(&self.own, "attr/exec", flags, Mode::empty()))
            .map_err(|errno| Failure::errno("unable to open the exec label", errno))?;
        Ok(Some((file, value)))
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
