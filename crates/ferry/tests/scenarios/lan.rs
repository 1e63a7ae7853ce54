//! Another host beside this machine.

use std::process::Command;

use ferry_testkit::run;

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
    /// `letter` tells the links of a test from those of others; `address` is the other host's.
    pub(crate) fn new(letter: char, address: &str) -> Lan {
        let number = std::process::id();
        let lan =
            Lan { parent: format!("fl{letter}{number}"), host: format!("flan{letter}{number}") };
        ip(&format!("netns add {}", lan.host));
        ip(&format!("link add {} type veth peer name lan netns {}", lan.parent, lan.host));
        ip(&format!("link set {} up", lan.parent));
        ip(&format!("-n {} link set lan up", lan.host));
        ip(&format!("-n {} addr add {address} dev lan", lan.host));
        lan
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        drop(run(Command::new("ip").args(["link", "del", &self.parent])));
        drop(run(Command::new("ip").args(["netns", "del", &self.host])));
    }
}
