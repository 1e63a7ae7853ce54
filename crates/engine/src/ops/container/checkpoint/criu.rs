//! One run of CRIU (`criu swrk`), the program that writes a process's memory down.
//!
//! It holds the processes by ptrace alone: when it ends in whatever way, the kernel lets them go on. No cgroup is frozen.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use ferry_errkind::{ErrorKind, Failure};
use prost::Message;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair},
    process::{Pid, Signal, kill_process_group},
};

use super::{
    limit::Limit,
    rpc::{self, DUMP, NOTIFY, Notify, Options, Request, Response},
};

/// CRIU's log, in its working directory.
pub(super) const LOG: &str = "dump.log";

/// What it says where there is no log yet.
const COMPLAINT: &str = "stderr";

/// Its own level for messages that help when something fails.
const LOG_LEVEL: i32 = 4;

/// Files that are open and have no name any more are written down up to this size each.
const DELETED_FILES: u32 = 256 << 20;

/// Longest message that it sends.
const MAX_MESSAGE: usize = 64 << 10;

/// How often it is looked whether time is over.
const GLANCE: Duration = Duration::from_millis(100);

/// How many of its errors are repeated.
const MOST_ERRORS: usize = 4;

/// How much of the end of its log is looked at.
const MAX_LOG: u64 = 256 << 10;

/// What is to be written down.
pub(super) struct Wish<'a> {
    pub(super) program: &'a Path,
    /// The container's first process.
    pub(super) pid: i32,
    /// Where its images go, and its log.
    pub(super) images: &'a Path,
    pub(super) work: &'a Path,
    /// What is not the container's own, in CRIU's words.
    pub(super) external: Vec<String>,
}

/// Writes it down and lets the container go on. `held` is called while nothing of it runs, when all else is done.
pub(super) fn dump(
    wish: &Wish<'_>,
    limit: &Limit,
    held: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let broken = |what: &str, error: io::Error| {
        let words = format!("cannot run {}: {what}: {error}", wish.program.display());
        Failure::new(ErrorKind::Internal, words)
    };
    let (images, work) = open_both(wish).map_err(|error| broken("its directories", error))?;
    let (socket, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|errno| broken("socketpair", errno.into()))?;
    let child = spawn(wish, theirs).map_err(|error| broken("start it", error))?;
    let mut run = Run { child, socket };
    let request = Request {
        kind: DUMP,
        options: Some(options(wish, &images, &work, limit)),
        notify_success: None,
    };
    let done = run.send(&request).and_then(|()| run.talk(limit, held));
    // Before anybody looks at what it wrote, and before the container is taken for one that runs.
    run.end();
    match done {
        Ok(()) => Ok(()),
        Err(Ended::Ours(failure)) => Err(failure),
        Err(Ended::Refused(said)) => Err(refused(wish, said)),
    }
}

fn open_both(wish: &Wish<'_>) -> io::Result<(File, File)> {
    Ok((File::open(wish.images)?, File::open(wish.work)?))
}

/// Its socket is its standard input: no other descriptor of ours is left open for it.
fn spawn(wish: &Wish<'_>, socket: OwnedFd) -> io::Result<Child> {
    let complaint = File::create(wish.work.join(COMPLAINT))?;
    Command::new(wish.program)
        .args(["swrk", "0"])
        .stdin(socket)
        .stdout(Stdio::null())
        .stderr(complaint)
        .current_dir(wish.work)
        // Killed as a group: it starts tar and others of its own.
        .process_group(0)
        .spawn()
}

fn options(wish: &Wish<'_>, images: &File, work: &File, limit: &Limit) -> Options {
    let seconds = limit.left().as_secs().max(1);
    Options {
        // It opens them as descriptors of this process, whose socket it has.
        images_dir_fd: images.as_raw_fd(),
        work_dir_fd: Some(work.as_raw_fd()),
        pid: Some(wish.pid),
        leave_running: Some(true),
        ext_unix_sk: Some(true),
        tcp_established: Some(true),
        file_locks: Some(true),
        log_level: Some(LOG_LEVEL),
        log_file: Some(LOG.to_owned()),
        notify_scripts: Some(true),
        link_remap: Some(true),
        manage_cgroups: Some(true),
        manage_cgroups_mode: Some(rpc::CGROUPS_SOFT),
        ext_sharing: Some(true),
        ext_masters: Some(true),
        ghost_limit: Some(DELETED_FILES),
        external: wish.external.clone(),
        timeout: Some(u32::try_from(seconds).unwrap_or(u32::MAX)),
        orphan_pts_master: Some(true),
        network_lock: Some(rpc::NETWORK_UNLOCKED),
    }
}

/// Why it did not come to its end.
enum Ended {
    /// Something of ours failed, or time is over.
    Ours(Failure),
    /// It refused, or ended early; what it said.
    Refused(String),
}

/// CRIU while it runs.
struct Run {
    child: Child,
    socket: OwnedFd,
}

impl Run {
    fn send(&self, request: &Request) -> Result<(), Ended> {
        let bytes = request.encode_to_vec();
        // Without a signal: it may have ended.
        match send(&self.socket, &bytes, SendFlags::NOSIGNAL) {
            Ok(_) => Ok(()),
            Err(errno) => Err(Ended::Refused(format!("it takes no message: {errno}"))),
        }
    }

    /// Answers its questions until it has an answer itself.
    fn talk(&self, limit: &Limit, held: impl FnOnce() -> Result<(), Failure>) -> Result<(), Ended> {
        let mut held = Some(held);
        let mut failed = None;
        loop {
            let response = self.receive(limit)?;
            if response.kind != NOTIFY {
                return match (failed, response.success) {
                    (Some(failure), _) => Err(Ended::Ours(failure)),
                    (None, true) if held.is_none() => Ok(()),
                    (None, true) => {
                        Err(Ended::Refused("it did not say when it was done".to_owned()))
                    }
                    (None, false) => Err(Ended::Refused(response.error.unwrap_or_default())),
                };
            }
            let script = response.notify.and_then(|Notify { script }| script).unwrap_or_default();
            if script == "post-dump"
                && let Some(held) = held.take()
            {
                failed = held().err();
            }
            self.send(&Request {
                kind: NOTIFY,
                options: None,
                notify_success: Some(failed.is_none()),
            })?;
        }
    }

    fn receive(&self, limit: &Limit) -> Result<Response, Ended> {
        loop {
            limit.check().map_err(Ended::Ours)?;
            let pause = Timespec { tv_sec: 0, tv_nsec: GLANCE.subsec_nanos().into() };
            match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&pause)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => {}
                Err(errno) => return Err(Ended::Refused(errno.to_string())),
            }
            let mut buffer = vec![0; MAX_MESSAGE];
            return match recv(&self.socket, &mut buffer, RecvFlags::empty()) {
                Ok((0, _)) => Err(Ended::Refused(String::new())),
                Ok((length, _)) => Response::decode(&buffer[..length])
                    .map_err(|error| Ended::Refused(format!("its answer does not read: {error}"))),
                Err(errno) => Err(Ended::Refused(errno.to_string())),
            };
        }
    }

    /// It has nothing more to do. One that stays is killed, with all that it started.
    fn end(&mut self) {
        let group = Pid::from_child(&self.child);
        let deadline = Instant::now() + GLANCE;
        while !matches!(self.child.try_wait(), Ok(Some(_))) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        kill_process_group(group, Signal::KILL).ok();
        self.child.wait().ok();
    }
}

/// The words of a refusal: CRIU's own errors, of its log or of what it said before it had one.
fn refused(wish: &Wish<'_>, said: String) -> Failure {
    let mut words = errors(&tail(&wish.work.join(LOG)));
    if words.is_empty() {
        words = errors(&tail(&wish.work.join(COMPLAINT)));
    }
    let said = Some(said).filter(|said| !said.is_empty());
    words.extend(said.filter(|said| !words.iter().any(|word| word.contains(said.as_str()))));
    if words.is_empty() {
        words.push("it ended without a word".to_owned());
    }
    let program = wish.program.display();
    Failure::new(ErrorKind::Internal, format!("{program} failed: {}", words.join("; ")))
        .with_hint(format!("\"{program} check\" says what the kernel lacks"))
}

fn tail(path: &Path) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(MAX_LOG)))?;
        let mut bytes = Vec::new();
        file.take(MAX_LOG).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

/// The last errors of a log; of one without, its last line. That it may not raise its own limits, CRIU calls an error and goes on.
fn errors(log: &str) -> Vec<String> {
    let lines: Vec<&str> = log.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let is_error = |line: &&&str| line.contains("Error (") && !line.contains("rlimit:");
    let mut found: Vec<String> = lines
        .iter()
        .rev()
        .filter(is_error)
        .take(MOST_ERRORS)
        .map(|line| without_time(line).to_owned())
        .collect();
    found.reverse();
    if found.is_empty() {
        found.extend(lines.last().map(|line| without_time(line).to_owned()));
    }
    found
}

/// A line of the log without `(00.123456) `.
fn without_time(line: &str) -> &str {
    let rest = line.strip_prefix('(').and_then(|line| line.split_once(") "));
    match rest {
        Some((time, rest)) if time.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => {
            rest
        }
        _ => line,
    }
}

/// Keeps the log of a run that failed; answers whether there is one.
pub(super) fn keep_log(work: &Path, to: &Path) -> bool {
    fs::copy(work.join(LOG), to).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_found_in_a_log() {
        let log = "(00.001) Running\n\
            (00.002) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self\n\
            (00.003) Error (criu/mount.c:753): mnt: no root\n\
            (00.004) Unseizing\n\
            (00.005) Error (criu/cr-dump.c:1975): Dumping FAILED.\n";
        let wanted = [
            "Error (criu/mount.c:753): mnt: no root",
            "Error (criu/cr-dump.c:1975): Dumping FAILED.",
        ];
        assert_eq!(errors(log), wanted);
        assert_eq!(errors("criu: cannot open libnet.so\n\n"), ["criu: cannot open libnet.so"]);
        assert!(errors("").is_empty());
        assert_eq!(without_time("(no time) at all"), "(no time) at all");
    }

    #[test]
    fn messages_are_those_of_the_protocol() {
        let options = Options { images_dir_fd: 7, network_lock: Some(3), ..Options::default() };
        let request = Request { kind: DUMP, options: Some(options), notify_success: None };
        // Field 1: 1; field 2, five bytes: field 1: 7; field 64: 3.
        assert_eq!(request.encode_to_vec(), [8, 1, 18, 5, 8, 7, 128, 4, 3]);
        let answer: &[u8] = &[8, 6, 16, 1, 42, 11, 10, 9];
        let answer = [answer, b"post-dump"].concat();
        let response = Response::decode(answer.as_slice()).unwrap();
        let script = response.notify.and_then(|notify| notify.script);
        assert_eq!((response.kind, script.as_deref()), (NOTIFY, Some("post-dump")));
    }
}
