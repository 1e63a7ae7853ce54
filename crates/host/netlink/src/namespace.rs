//! Doing things in the network namespace of another process.
//!
//! A socket belongs to the namespace that it was opened in, for good. So nothing needs to stay in a foreign namespace:
//! one thread goes in, opens what is wanted, and comes back. If it cannot come back it ends, and another takes its place.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Sender, SyncSender},
    },
    thread,
};

use rustix::{
    fs::{Mode, OFlags},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::{Errno, Family, NetlinkError, Socket};

/// A process's network namespace. Keeps the namespace alive as long as it is open.
#[derive(Debug)]
pub struct NetNamespace {
    fd: OwnedFd,
    pid: i32,
}

struct Visit {
    namespace: OwnedFd,
    /// What to do inside; told whether the way in was found.
    job: Box<dyn FnOnce(Result<(), Errno>) + Send>,
}

static VISITOR: Mutex<Option<Sender<Visit>>> = Mutex::new(None);

impl NetNamespace {
    /// The namespace of process `pid`.
    pub fn of(pid: i32) -> Result<Self, NetlinkError> {
        let path = format!("/proc/{pid}/ns/net");
        let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|source| NetlinkError::Enter { pid, source })?;
        Ok(NetNamespace { fd, pid })
    }

    /// Whether this program is in it, too.
    pub fn is_own(&self) -> bool {
        let number = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino);
        let own = rustix::fs::stat("/proc/self/ns/net").map(number);
        own.is_ok() && own == rustix::fs::fstat(&self.fd).map(number)
    }

    /// Its descriptor, as links are put into it by.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Opens a netlink socket in it.
    pub fn socket(&self, family: Family) -> Result<Socket, NetlinkError> {
        self.run(move || Socket::open(family))?
    }

    /// Runs `work` on a thread that is in the namespace. Must not take long: there is one such thread.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NetlinkError> {
        let pid = self.pid;
        let enter = |source| NetlinkError::Enter { pid, source };
        let namespace = self.fd.try_clone().map_err(|error| {
            enter(Errno::from_raw_os_error(error.raw_os_error().unwrap_or(libc::EIO)))
        })?;
        let (answer, answered): (SyncSender<Result<T, Errno>>, _) = mpsc::sync_channel(1);
        let job = Box::new(move |entered: Result<(), Errno>| {
            // Nobody waits any more only if the waiting thread is gone, and then nobody misses the answer.
            answer.send(entered.map(|()| work())).ok();
        });
        send(Visit { namespace, job })?;
        answered.recv().map_err(|_| NetlinkError::NoThread)?.map_err(enter)
    }
}

fn send(mut visit: Visit) -> Result<(), NetlinkError> {
    let mut visitor = VISITOR.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(sender) = visitor.as_ref() {
        match sender.send(visit) {
            Ok(()) => return Ok(()),
            Err(mpsc::SendError(refused)) => visit = refused,
        }
    }
    let (sender, visits) = mpsc::channel();
    thread::Builder::new()
        .name("netns".to_owned())
        .spawn(move || visit_all(&visits))
        .map_err(|_| NetlinkError::NoThread)?;
    sender.send(visit).map_err(|_| NetlinkError::NoThread)?;
    *visitor = Some(sender);
    Ok(())
}

fn visit_all(visits: &mpsc::Receiver<Visit>) {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let Ok(home) = rustix::fs::open("/proc/thread-self/ns/net", flags, Mode::empty()) else {
        return;
    };
    for Visit { namespace, job } in visits {
        let entered = join(&namespace);
        let inside = entered.is_ok();
        job(entered);
        drop(namespace);
        // A thread that stayed inside would keep the namespace of a dead container alive, and do its next
        // work there.
        if inside && join(&home).is_err() {
            return;
        }
    }
}

fn join(namespace: &OwnedFd) -> Result<(), Errno> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
}
