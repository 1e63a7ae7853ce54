//! What can go wrong between us and the kernel.

pub use rustix::io::Errno;

/// A request was not done, or its answer not understood. `what` is the request in words: `create link ferry0`.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// There is no socket.
    #[error("cannot open a netlink socket")]
    Open {
        /// Why.
        source: Errno,
    },
    /// The namespace of a process cannot be opened or entered.
    #[error("cannot enter the network namespace of process {pid}")]
    Enter {
        /// The process.
        pid: i32,
        /// Why.
        source: Errno,
    },
    /// The thread that enters namespaces is gone or cannot be started.
    #[error("cannot run in another network namespace: no thread")]
    NoThread,
    /// The request did not get out.
    #[error("cannot ask the kernel to {what}")]
    Send {
        /// The request.
        what: String,
        /// Why.
        source: Errno,
    },
    /// The answer did not get in.
    #[error("no answer from the kernel to: {what}")]
    Receive {
        /// The request.
        what: String,
        /// Why.
        source: Errno,
    },
    /// The kernel said no.
    #[error("cannot {what}{}", parenthesis(.message))]
    Refused {
        /// The request.
        what: String,
        /// The kernel's own words (extended ack); often empty.
        message: String,
        /// Its error number.
        source: Errno,
    },
    /// An attribute is longer than its 16-bit length field can tell.
    #[error("cannot {what}: request too long")]
    TooLong {
        /// The request.
        what: String,
    },
    /// The answer is not netlink, or longer than we are willing to read.
    #[error("unreadable answer from the kernel to: {what}")]
    Malformed {
        /// The request.
        what: String,
    },
}

impl NetlinkError {
    /// The error number, if the kernel gave one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            NetlinkError::Open { source }
            | NetlinkError::Enter { source, .. }
            | NetlinkError::Send { source, .. }
            | NetlinkError::Receive { source, .. }
            | NetlinkError::Refused { source, .. } => Some(*source),
            NetlinkError::NoThread
            | NetlinkError::TooLong { .. }
            | NetlinkError::Malformed { .. } => None,
        }
    }

    /// What was asked for is not there.
    pub fn is_absent(&self) -> bool {
        matches!(self.errno(), Some(Errno::NOENT | Errno::NODEV | Errno::SRCH | Errno::NXIO))
    }

    /// What was to be made is there already.
    pub fn is_present(&self) -> bool {
        self.errno() == Some(Errno::EXIST)
    }
}

fn parenthesis(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(" ({message})") }
}
