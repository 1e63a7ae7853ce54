//! Everything that a shim knows, and what it does about news. What clients ask is in `state/requests.rs`, the end in `state/end.rs`.

mod end;
mod requests;

use std::{
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, SystemTime},
};

use base64::Engine as _;
use ferry_cgroup::{Cgroup, EndWatch, Hierarchy, Holder, Place};
use ferry_runtime::{Bundle, Created, Rootfs, Running};
use ferry_stdx::time::Timestamp;
use ferry_sys::{pidfd, process, pty};
use rustix::event::PollFlags;

use super::{
    Source,
    client::{Client, Role},
    exec::Exec,
    external::{External, Refusal, Waiting},
    output::Streams,
};
use crate::{
    launch::{Launch, OciRuntime, RootfsSpec},
    log::Log,
};

/// Exit codes of execs that are remembered for those who ask.
const REMEMBERED_EXECS: usize = 256;

/// With the host's process ids, orphans of the container become our children without our being told.
const ORPHAN_CHECK: Duration = Duration::from_secs(2);

/// While another runtime's command may still have children that are about to become ours.
const RESTLESS_CHECK: Duration = Duration::from_millis(50);

/// Where the container stands.
enum Phase {
    /// Could not be made: whoever launched it has not been told yet.
    Failed { code: i32, message: String },
    /// Its namespaces are there.
    Created(Made),
    /// Its program runs.
    Running(Running),
    /// It ended, and everyone was told.
    Ended,
}

/// A container that was not started yet.
enum Made {
    /// By Ferry.
    Own(Created),
    /// By another runtime.
    External(Waiting),
}

impl Made {
    fn pid(&self) -> i32 {
        match self {
            Made::Own(created) => created.pid(),
            Made::External(waiting) => waiting.pid,
        }
    }

    fn pidfd(&self) -> BorrowedFd<'_> {
        match self {
            Made::Own(created) => created.pidfd(),
            Made::External(waiting) => waiting.pidfd.as_fd(),
        }
    }
}

/// One shim.
pub(super) struct Shim {
    pub(super) launch: Launch,
    rootfs: Rootfs,
    pub(super) filter: Option<Vec<u8>>,
    pub(super) cgroup: Option<Cgroup>,
    /// Keeps systemd's scope until the container's own process is in it.
    holder: Option<Holder>,
    /// What the kernel counts in that scope.
    pub(super) counted: Option<EndWatch>,
    /// The runtime, if it is another one.
    pub(super) external: Option<External>,
    phase: Phase,
    pub(super) pid: i32,
    pub(super) streams: Streams,
    pub(super) log: Option<Log>,
    pub(super) clients: Vec<Option<Client>>,
    pub(super) execs: Vec<Option<Exec>>,
    exec_exits: std::collections::VecDeque<(String, i32)>,
    /// Holds the container's mounts until this process ends, so that nobody waits for the kernel to take them apart.
    mounts: Option<std::os::fd::OwnedFd>,
    pub(super) buffer: Vec<u8>,
    owned: bool,
}

impl Shim {
    /// Makes the container up to the point where it waits for its start. What fails in the making of the container itself
    /// is told to whoever launched it later; an error here is about the shim.
    pub(super) fn new(launch: Launch) -> Result<Shim, String> {
        let filter = match &launch.filter {
            Some(text) => Some(
                base64::engine::general_purpose::STANDARD
                    .decode(text)
                    .map_err(|error| format!("system call filter: {error}"))?,
            ),
            None => None,
        };
        let log = Log::open(&launch.log).map_err(|why| {
            // Docker's words.
            format!(
                "failed to create task for container: failed to initialize logging driver: {why}"
            )
        })?;
        let rootfs = match launch.rootfs.clone() {
            RootfsSpec::Overlay { lower, upper, work } => Rootfs::Overlay { lower, upper, work },
            RootfsSpec::Directory(path) => Rootfs::Dir(path),
        };
        let external = match &launch.runtime {
            OciRuntime::Own => None,
            OciRuntime::External { path, args } => {
                Some(External::new(path.clone(), args.clone(), &launch.id, launch.run_dir.clone()))
            }
        };
        let mut shim = Shim {
            launch,
            rootfs,
            filter,
            cgroup: None,
            holder: None,
            counted: None,
            external,
            phase: Phase::Ended,
            pid: 0,
            streams: Streams::default(),
            log,
            clients: Vec::new(),
            execs: Vec::new(),
            exec_exits: std::collections::VecDeque::new(),
            mounts: None,
            buffer: Vec::new(),
            owned: false,
        };
        shim.phase = match shim.create() {
            Ok(created) => Phase::Created(created),
            Err((code, message)) => Phase::Failed { code, message },
        };
        Ok(shim)
    }

    fn create(&mut self) -> Result<Made, Refusal> {
        let internal = |words: String| (125, words);
        let linux = self.launch.spec.linux.clone().unwrap_or_default();
        if let Some(path) = &linux.cgroups_path {
            let hierarchy = Hierarchy::detect().map_err(|error| internal(chain(&error)))?;
            let made = Place::read(path).and_then(|place| match &self.external {
                // The runtime makes it, from the same path and limits.
                Some(_) => Ok((place.open(&hierarchy)?, None)),
                None => place.create(&hierarchy, &linux.resources.clone().unwrap_or_default()),
            });
            let (cgroup, holder) = made.map_err(|error| internal(chain(&error)))?;
            (self.cgroup, self.holder) = (Some(cgroup), holder);
        }
        let terminal = self.launch.spec.process.as_ref().is_some_and(|process| process.terminal);
        let size = self.launch.spec.process.as_ref().and_then(|process| process.console_size);
        let size = size.map_or((0, 0), |size| {
            (u16::try_from(size.height).unwrap_or(0), u16::try_from(size.width).unwrap_or(0))
        });
        let (streams, stdio) = Streams::make(terminal, self.launch.open_stdin, size)
            .map_err(|error| internal(format!("cannot make pipes: {error}")))?;
        let made = match &self.external {
            Some(external) => {
                external.create(&self.launch.spec, &self.rootfs, stdio).map(Made::External)
            }
            None => ferry_runtime::create(&self.bundle(), stdio)
                .map(Made::Own)
                .map_err(|error| (i32::from(error.exit_code()), chain(&error))),
        };
        match made {
            Ok(made) => {
                self.streams = streams;
                self.pid = made.pid();
                Ok(made)
            }
            Err(refusal) => {
                self.delete_cgroup();
                Err(refusal)
            }
        }
    }

    /// The container's first process, if it could be made.
    pub(super) fn made(&self) -> Option<i32> {
        matches!(self.phase, Phase::Created(_)).then_some(self.pid)
    }

    fn bundle(&self) -> Bundle<'_> {
        Bundle {
            id: &self.launch.id,
            spec: &self.launch.spec,
            rootfs: &self.rootfs,
            filter: self.filter.as_deref(),
            cgroup: self.cgroup.as_ref(),
            init: self.launch.init,
            bundle_dir: &self.launch.run_dir,
            gate: None,
            preserve_fds: 0,
        }
    }

    /// Adds everything that can be dealt with now to the list of what is polled.
    pub(super) fn each_source<'s>(
        &'s self,
        add: &mut impl FnMut(Source, BorrowedFd<'s>, PollFlags),
    ) {
        if let Phase::Running(running) = &self.phase {
            for file in self.counted.iter().flat_map(EndWatch::fds) {
                add(Source::Counted, file, PollFlags::PRI);
            }
            add(Source::Init, running.pidfd.as_fd(), PollFlags::IN);
            self.streams.each_source(None, add, |stderr| self.readers_behind(None, stderr));
        }
        for (index, exec) in self.execs.iter().enumerate() {
            let Some(exec) = exec else { continue };
            add(Source::ExecEnd(index), exec.running.pidfd.as_fd(), PollFlags::IN);
            exec.streams
                .each_source(Some(index), add, |stderr| self.readers_behind(Some(index), stderr));
        }
        for (index, client) in self.clients.iter().enumerate() {
            let Some(client) = client else { continue };
            let mut flags = PollFlags::empty();
            if client.is_behind() {
                flags |= PollFlags::OUT;
            }
            if !client.half_closed && !self.input_is_full(client) {
                flags |= PollFlags::IN;
            }
            add(Source::Client(index), client.fd(), flags);
        }
    }

    /// Whether a client that gets this stream has not taken what it was sent before.
    fn readers_behind(&self, exec: Option<usize>, of_stderr: bool) -> bool {
        self.clients.iter().flatten().any(|client| {
            client.is_behind()
                && matches!(client.role, Role::Stream { exec: own, stdout, stderr, .. }
                    if own == exec && if of_stderr { stderr } else { stdout })
        })
    }

    /// Whether the process has to read before this client may send more.
    fn input_is_full(&self, client: &Client) -> bool {
        match client.role {
            Role::Stream { exec: None, stdin: true, .. } => self.streams.has_input(),
            Role::Stream { exec: Some(index), stdin: true, .. } => self
                .execs
                .get(index)
                .is_some_and(|exec| exec.as_ref().is_some_and(|exec| exec.streams.has_input())),
            _ => false,
        }
    }

    pub(super) fn remember_exec(&mut self, id: String, exit_code: i32) {
        if self.exec_exits.len() == REMEMBERED_EXECS {
            self.exec_exits.pop_front();
        }
        self.exec_exits.push_back((id, exit_code));
    }

    /// The init's descriptor and pid, for those who join it.
    pub(super) fn target(&self) -> Option<(BorrowedFd<'_>, i32)> {
        match &self.phase {
            Phase::Running(running) => Some((running.pidfd.as_fd(), running.pid)),
            Phase::Failed { .. } | Phase::Created(_) | Phase::Ended => None,
        }
    }

    pub(super) fn look_at_counts(&mut self) {
        if let Some(watch) = &mut self.counted {
            watch.look();
        }
    }

    /// Forgets clients that are gone or have everything, and reaps strangers.
    pub(super) fn sweep(&mut self) {
        for index in 0..self.clients.len() {
            let over = |client: &mut Client| client.dead || (client.closing && !client.is_behind());
            let Some(client) = self.clients[index].take_if(over) else { continue };
            // However it went: who was killed with words of ours unread is an error, not an end.
            match client.role {
                Role::Control { owner: true } => self.owner_left(),
                Role::Stream { exec: Some(index), .. } => self.reader_left(index),
                Role::Stream { stdin: true, .. } if self.launch.stdin_once => {
                    self.streams.close_input();
                }
                Role::New | Role::Control { .. } | Role::Stream { .. } => {}
            }
        }
        while self.clients.last().is_some_and(Option::is_none) {
            self.clients.pop();
        }
        if self.orphan_check().is_some() {
            self.reap_strangers();
        }
    }

    /// Children that nobody asked for: orphans of the container where it has the host's process ids, and what another
    /// runtime leaves behind, which would hold up the end of the container's pid namespace.
    fn reap_strangers(&mut self) {
        while let Ok(Some(pid)) = process::peek_any() {
            let of_exec =
                |exec: &Option<Exec>| exec.as_ref().is_some_and(|exec| exec.running.pid == pid);
            if let Some(index) = self.execs.iter().position(of_exec) {
                self.exec_ended(index);
            } else if pid != self.pid {
                pidfd::open(pid).and_then(|stranger| pidfd::wait(stranger.as_fd())).ok();
            } else if matches!(self.phase, Phase::Running(_)) {
                self.init_ended();
            } else {
                // It has not been started yet: the start will tell.
                return;
            }
        }
    }

    /// How long strangers may wait to be reaped, if there can be any: their end is not told to us.
    pub(super) fn orphan_check(&self) -> Option<Duration> {
        match &self.external {
            Some(external) if external.is_restless() => Some(RESTLESS_CHECK),
            Some(_) => Some(ORPHAN_CHECK),
            None => self.shares_host_pids().then_some(ORPHAN_CHECK),
        }
    }

    fn shares_host_pids(&self) -> bool {
        let linux = self.launch.spec.linux.as_ref();
        linux.is_some_and(|linux| !linux.namespaces.iter().any(|namespace| namespace.kind == "pid"))
    }

    /// Whether its processes end with the first of them.
    fn has_own_pids(&self) -> bool {
        let linux = self.launch.spec.linux.as_ref();
        let mut namespaces = linux.into_iter().flat_map(|linux| &linux.namespaces);
        namespaces.any(|namespace| {
            let joins = namespace.path.as_ref().is_some_and(|path| !path.as_os_str().is_empty());
            namespace.kind == "pid" && !joins
        })
    }

    pub(super) fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
            || (matches!(self.phase, Phase::Failed { .. }) && !self.owned)
            || (matches!(self.phase, Phase::Created(_)) && !self.owned)
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Ended) && self.clients.is_empty()
    }
}

/// Nanoseconds since 1970.
pub(super) fn now() -> i64 {
    Timestamp::from_system(SystemTime::now()).nanos()
}

/// Into the daemon's log, while there is one to write into.
pub(super) fn complain(words: &str) {
    rustix::io::write(rustix::stdio::stderr(), format!("ferry-shim: {words}\n").as_bytes()).ok();
}

fn chain(error: &dyn std::error::Error) -> String {
    ferry_errkind::chain(error)
}

/// Used by [`Streams`]: the size of a terminal.
pub(super) fn set_size(terminal: BorrowedFd<'_>, rows: u16, cols: u16) {
    pty::set_size(terminal, rows, cols).ok();
}
