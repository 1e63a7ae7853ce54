//! The last steps of every process: environment, ids, capabilities, seccomp, exec.

use std::ffi::CString;

use ferry_oci::runtime::{LinuxIoPriority, Process, Scheduler};
use ferry_sys::caps::{self, Caps, SYS_ADMIN};
use ferry_sys::process::{self, CStrings, SchedAttr};
use ferry_sys::root::InRoot;
use ferry_sys::{Errno, seccomp};
use rustix::fs::{Gid, Uid, fchown, fstat, major, minor};

use super::{host::Label, lookup};
use crate::error::{Failure, Outcome, words};
use crate::plan::{Capabilities, Shape};
use crate::user::{self, Identity};

/// A process that is complete but for its program.
pub(crate) struct Ending {
    shape: Shape,
    identity: Identity,
    environment: CStrings,
    /// `PATH` of that environment.
    path: Option<String>,
    /// What to execute, once it is found.
    program: Option<CString>,
    label: Option<Label>,
    /// It executes nothing itself.
    stays: bool,
    no_new_privileges: bool,
    locked_down: bool,
    /// The first descriptor that does not reach the program.
    closed_from: u32,
}

impl Ending {
    /// Reads what it needs of the container's files while it may still read them.
    pub(crate) fn prepare(
        root: &InRoot,
        program: &Process,
        shape: Shape,
        label: Option<Label>,
        preserve_fds: u32,
    ) -> Outcome<Ending> {
        let user = &program.user;
        let identity = match user.username.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => user::resolve(root, name, &user.additional_gids)?,
            None => Identity { uid: user.uid, gid: user.gid, groups: user.additional_gids.clone() },
        };
        let environment = environment(root, &program.env, identity.uid);
        let prefix = |pair: &String| pair.strip_prefix("PATH=").map(str::to_owned);
        let path = environment.iter().find_map(prefix);
        let environment = CStrings::new(environment)
            .ok_or_else(|| Failure::new("an environment variable contains a NUL byte"))?;
        if let Some(priority) = &program.io_priority {
            set_io_priority(priority)?;
        }
        if let Some(scheduler) = &program.scheduler {
            set_scheduler(scheduler)?;
        }
        let no_new_privileges = program.no_new_privileges;
        Ok(Ending {
            shape,
            identity,
            environment,
            path,
            program: None,
            label,
            stays: false,
            no_new_privileges,
            locked_down: false,
            closed_from: preserve_fds.saturating_add(3),
        })
    }

    /// Who it will be.
    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// From root to the process's user and capabilities, in its working directory.
    pub(crate) fn become_user(&mut self, program: &Process) -> Outcome<()> {
        let told = |what: &'static str| move |errno| Failure::errno(what, errno);
        // Root may enter a directory the user may not, and the other way round (root without CAP_DAC_OVERRIDE).
        let inside = change_dir(&program.cwd)?;
        self.own_standard_files()?;
        let caps = self.shape.caps.map(|wanted| available(&wanted)).transpose()?;
        if let Some(caps) = &caps {
            caps::limit_bounding(caps.bounding).map_err(told("unable to apply bounding set"))?;
        }
        process::set_keep_caps(true).map_err(told("unable to set keep caps"))?;
        self.set_ids()?;
        if !inside && !change_dir(&program.cwd)? {
            let cwd = &program.cwd;
            let why = words(Errno::ACCESS);
            let text = format!("chdir to cwd ({cwd:?}) set in config.json failed: {why}");
            return Err(Failure::new(text));
        }
        verify_cwd()?;
        process::set_keep_caps(false).map_err(told("unable to clear keep caps"))?;
        if self.no_new_privileges {
            process::set_no_new_privs().map_err(told("prctl(SET_NO_NEW_PRIVS)"))?;
        }
        if let Some(caps) = caps {
            self.set_caps(caps)?;
        }
        process::set_umask(program.user.umask.unwrap_or(0o022) & 0o777);
        Ok(())
    }

    /// Standard files must belong to the user, or it could not open `/dev/stdout` again.
    fn own_standard_files(&self) -> Outcome<()> {
        let files = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
        for file in files {
            let stat = fstat(file).map_err(|errno| Failure::errno("fstat", errno))?;
            let null = (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3);
            if stat.st_uid == self.identity.uid || null {
                continue;
            }
            match fchown(file, Some(Uid::from_raw(self.identity.uid)), None::<Gid>) {
                // Not mapped here, or on something read-only: leave it as it is.
                Ok(()) | Err(Errno::PERM | Errno::ROFS | Errno::INVAL) => {}
                Err(errno) => return Err(Failure::errno("chown of a standard file", errno)),
            }
        }
        Ok(())
    }

    fn set_ids(&self) -> Outcome<()> {
        let Identity { uid, gid, groups } = &self.identity;
        match process::set_groups(groups) {
            // "deny" in a user namespace: nobody can change groups there, and nobody asked for any.
            Err(Errno::PERM) if groups.is_empty() => {}
            other => {
                other.map_err(|errno| Failure::errno("unable to setup user: setgroups", errno))?
            }
        }
        process::set_gid(*gid).map_err(|errno| unmapped("gid", *gid, errno))?;
        process::set_uid(*uid).map_err(|errno| unmapped("uid", *uid, errno))
    }

    fn set_caps(&self, caps: Capabilities) -> Outcome<()> {
        // Loading a filter without no_new_privs takes CAP_SYS_ADMIN. It is kept until exec, which computes the sets
        // anew from bounding, inheritable and ambient, none of which it is in.
        let needs_admin = self.shape.filter.is_some() && !self.no_new_privileges;
        let extra = if needs_admin { SYS_ADMIN } else { 0 };
        let told = |errno| Failure::errno("unable to apply caps", errno);
        let held = caps::get().map_err(told)?.permitted;
        let sets = Caps {
            effective: caps.effective | (extra & held),
            permitted: caps.permitted | (extra & held),
            inheritable: caps.inheritable,
        };
        caps::set(sets).map_err(told)?;
        caps::set_ambient(caps.ambient)
            .map_err(|errno| Failure::errno("unable to apply ambient set", errno))
    }

    /// Says that this process executes nothing, so that it is confined as it is.
    pub(crate) fn stay(&mut self) {
        self.stays = true;
    }

    /// Finds the program, so that a missing one is told before anybody says "go".
    pub(crate) fn look_up(&mut self) -> Outcome<()> {
        let name = self.shape.args.first().map_or("", String::as_str);
        let found = lookup::find(name, self.path.as_deref())?;
        let program = CString::new(found)
            .map_err(|_| Failure::new("the program's path contains a NUL byte"))?;
        self.program = Some(program);
        Ok(())
    }

    /// Whether the filter can be in force already while the word "go" is waited for: it costs a third of a millisecond,
    /// which then nobody waits for. It must let us hear that word, and speak about what goes wrong.
    pub(crate) fn can_lock_down_early(&self) -> bool {
        match &self.shape.filter {
            None => true,
            Some((program, _)) => crate::seccomp::NEEDED_TO_WAIT
                .iter()
                .all(|number| crate::seccomp::always_allows(program, *number)),
        }
    }

    /// The end. A file that turns out not to be executable (its interpreter is missing, it is no program) counts as
    /// started, with Docker: the reason goes to its standard error, and it exits with what `status` says.
    pub(crate) fn exec(mut self, status: fn(Errno) -> i32) -> Outcome<std::convert::Infallible> {
        if self.program.is_none() {
            self.look_up()?;
        }
        self.lock_down()?;
        let Some(program) = self.program else { return Err(Failure::new("no program")) };
        let errno = process::execve(&program, &self.shape.argv, &self.environment);
        let name = program.to_string_lossy();
        let reason = format!("exec {name}: {}\n", words(errno));
        // Nobody may be listening.
        let _ = rustix::io::write(rustix::stdio::stderr(), reason.as_bytes());
        process::exit_now(status(errno))
    }

    /// Label, descriptors, parent's death, filter. Once: a second call finds nothing left to do.
    pub(crate) fn lock_down(&mut self) -> Outcome<()> {
        if std::mem::replace(&mut self.locked_down, true) {
            return Ok(());
        }
        match &self.label {
            // What it forks and executes then has the profile, too.
            Some(label) if self.stays => label.set_now()?,
            Some(label) => label.set_on_exec()?,
            None => {}
        }
        process::cloexec_from(self.closed_from)
            .map_err(|errno| Failure::errno("close_range", errno))?;
        process::set_parent_death_signal(0)
            .map_err(|errno| Failure::errno("prctl(SET_PDEATHSIG)", errno))?;
        if let Some((program, flags)) = self.shape.filter.take() {
            seccomp::load(&program, flags)
                .map_err(|errno| Failure::errno("unable to init seccomp", errno))?;
        }
        Ok(())
    }
}

/// Not more than this process has: a machine's root may lack some (CAP_SYS_RESOURCE here), and `--privileged` asks for
/// all of them.
fn available(wanted: &Capabilities) -> Outcome<Capabilities> {
    let held = caps::get().map_err(|errno| Failure::errno("capget", errno))?;
    let permitted = wanted.permitted & held.permitted;
    let bounding = wanted.bounding & held.permitted;
    let inheritable = wanted.inheritable & held.permitted & bounding;
    Ok(Capabilities {
        bounding,
        permitted,
        effective: wanted.effective & permitted,
        inheritable,
        ambient: wanted.ambient & permitted & inheritable,
    })
}

fn unmapped(what: &str, id: u32, errno: Errno) -> Failure {
    if errno == Errno::INVAL {
        let words = format!("cannot set{what} to unmapped {what} {id} in user namespace");
        return Failure::new(format!("unable to setup user: {words}"));
    }
    Failure::errno(format!("unable to setup user: set{what}"), errno)
}

/// `false` if this user may not enter it, which another one may.
fn change_dir(cwd: &str) -> Outcome<bool> {
    match rustix::process::chdir(cwd) {
        Ok(()) => Ok(true),
        Err(Errno::ACCESS | Errno::PERM) => Ok(false),
        Err(errno) => {
            let why = words(errno);
            let text = format!("chdir to cwd ({cwd:?}) set in config.json failed: {why}");
            Err(Failure::new(text))
        }
    }
}

/// A working directory outside of the root would be a way out (CVE-2024-21626). The kernel says so by "(unreachable)".
fn verify_cwd() -> Outcome<()> {
    const WORDS: &str = "current working directory is outside of container mount namespace root -- possible container breakout detected";
    match rustix::process::getcwd(Vec::new()) {
        Ok(path) if path.as_bytes().starts_with(b"/") => Ok(()),
        Ok(_) | Err(Errno::NOENT) => Err(Failure::new(WORDS)),
        Err(errno) => Err(Failure::errno("getcwd", errno)),
    }
}

/// The given environment, the last of equal names counting, with a home.
fn environment(root: &InRoot, given: &[String], uid: u32) -> Vec<String> {
    let mut result: Vec<String> = Vec::with_capacity(given.len() + 1);
    for pair in given {
        let Some((name, _)) = pair.split_once('=') else { continue };
        let same = |known: &String| known.split_once('=').is_some_and(|(other, _)| other == name);
        match result.iter().position(same) {
            Some(index) => result[index].clone_from(pair),
            None => result.push(pair.clone()),
        }
    }
    let has_home = result.iter().any(|pair| pair.starts_with("HOME=") && pair.len() > 5);
    if !has_home {
        result.retain(|pair| !pair.starts_with("HOME="));
        result.push(format!("HOME={}", user::home(root, uid)));
    }
    result
}

fn set_io_priority(priority: &LinuxIoPriority) -> Outcome<()> {
    let class = match priority.class.as_str() {
        "IOPRIO_CLASS_RT" => 1,
        "IOPRIO_CLASS_BE" => 2,
        "IOPRIO_CLASS_IDLE" => 3,
        other => return Err(Failure::new(format!("invalid io priority class: {other}"))),
    };
    let level = u32::try_from(priority.priority).unwrap_or(u32::MAX);
    if level > 7 {
        return Err(Failure::new(format!("invalid io priority: {}", priority.priority)));
    }
    process::set_io_priority(class, level)
        .map_err(|errno| Failure::errno("failed to set io priority", errno))
}

fn set_scheduler(scheduler: &Scheduler) -> Outcome<()> {
    let policy = match scheduler.policy.as_str() {
        "SCHED_OTHER" => 0,
        "SCHED_FIFO" => 1,
        "SCHED_RR" => 2,
        "SCHED_BATCH" => 3,
        "SCHED_ISO" => 4,
        "SCHED_IDLE" => 5,
        "SCHED_DEADLINE" => 6,
        other => return Err(Failure::new(format!("invalid scheduler policy: {other}"))),
    };
    let mut flags = 0;
    for flag in &scheduler.flags {
        flags |= match flag.as_str() {
            "SCHED_FLAG_RESET_ON_FORK" => 0x01,
            "SCHED_FLAG_RECLAIM" => 0x02,
            "SCHED_FLAG_DL_OVERRUN" => 0x04,
            "SCHED_FLAG_KEEP_POLICY" => 0x08,
            "SCHED_FLAG_KEEP_PARAMS" => 0x10,
            "SCHED_FLAG_UTIL_CLAMP_MIN" => 0x20,
            "SCHED_FLAG_UTIL_CLAMP_MAX" => 0x40,
            other => return Err(Failure::new(format!("invalid scheduler flag: {other}"))),
        };
    }
    let attr = SchedAttr {
        policy,
        flags,
        nice: scheduler.nice,
        priority: u32::try_from(scheduler.priority).unwrap_or(0),
        runtime: scheduler.runtime,
        deadline: scheduler.deadline,
        period: scheduler.period,
        ..SchedAttr::default()
    };
    process::set_scheduler(attr).map_err(|errno| Failure::errno("error setting scheduler", errno))
}
