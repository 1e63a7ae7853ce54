//! What happened, for `events`.

use std::collections::BTreeMap;

use ferry_stdx::time::Timestamp;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A network.
    Network,
    /// A volume.
    Volume,
    /// The daemon.
    Daemon,
    /// The builder.
    Builder,
}

impl Subject {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Subject::Container => "container",
            Subject::Image => "image",
            Subject::Network => "network",
            Subject::Volume => "volume",
            Subject::Daemon => "daemon",
            Subject::Builder => "builder",
        }
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What it is about.
    pub subject: Subject,
    /// Docker's word for what happened: `create`, `start`, `die`, `exec_start: sh`, …
    pub action: String,
    /// The subject's id (a volume's or image's name where Docker has that).
    pub id: String,
    /// Docker's attributes: `name`, `image`, `exitCode`, labels, …
    pub attributes: BTreeMap<String, String>,
    /// When.
    pub time: Timestamp,
}
