//! Another host beside this machine.

use std::{
    os::fd::AsFd,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use ferry_testkit::run;
use rustix::{
    fs::{Mode, OFlags},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

pub(crate) fn ip(words: &str) -> String {
    run(Command::new("ip").args(words.split(' '))).ok()
}

/// A link of the host, and another host at its other end, in a network namespace of its own.
pub(crate) struct Lan {
    /// The machine's link.
    pub(crate) parent: String,
    /// The other host's namespace.
    pub(crate) host: String,
}

impl Lan {
    /// `address` is the other host's.
    pub(crate) fn new(address: &str) -> Lan {
        // The tests of one process have links of their own, too: fifteen bytes at most.
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let own = format!("{}x{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let lan = Lan { parent: format!("fl{own}"), host: format!("flan{own}") };
        ip(&format!("netns add {}", lan.host));
        ip(&format!("link add {} type veth peer name lan netns {}", lan.parent, lan.host));
        ip(&format!("link set {} up", lan.parent));
        ip(&format!("-n {} link set lan up", lan.host));
        ip(&format!("-n {} link set lo up", lan.host));
        ip(&format!("-n {} addr add {address} dev lan", lan.host));
        lan
    }
}

/// Moves the calling thread into a network namespace: one that does nothing else.
pub(crate) fn enter(namespace: &str) {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let namespace = rustix::fs::open(namespace, flags, Mode::empty()).unwrap();
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

/// Does something in a network namespace.
pub(crate) fn inside<T: Send + 'static>(
    namespace: String,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let thread = std::thread::spawn(move || {
        enter(&namespace);
        work()
    });
    thread.join().unwrap()
}

impl Lan {
    /// The file of the other host's namespace.
    pub(crate) fn namespace(&self) -> String {
        format!("/run/netns/{}", self.host)
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        drop(run(Command::new("ip").args(["link", "del", &self.parent])));
        drop(run(Command::new("ip").args(["netns", "del", &self.host])));
    }
}

/// A server on another host that tells everybody the address that it sees.
pub(crate) struct Mirror(Child);

impl Mirror {
    /// `kind` is socat's: `TCP-LISTEN` or `TCP6-LISTEN`.
    pub(crate) fn on(lan: &Lan, kind: &str, port: u16) -> Mirror {
        let listen = format!("{kind}:{port},fork,reuseaddr");
        let tell = "SYSTEM:echo $SOCAT_PEERADDR";
        let mut socat = Command::new("ip");
        socat.args(["netns", "exec", &lan.host, "socat", &listen, tell]);
        Mirror(socat.stdin(Stdio::null()).spawn().expect("socat"))
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
