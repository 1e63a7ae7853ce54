//! Containers.

mod attach;
mod create;
mod inspect;
mod list;
mod logs;
mod prune;
mod top;
mod verbs;
mod wait;

pub use attach::{AttachRequest, Attachment, PendingStream, attach};
pub use create::create;
pub use inspect::inspect;
pub(crate) use inspect::view;
pub use list::list;
pub use logs::{LogStream, LogsRequest, logs};
pub use prune::prune;
pub use top::top;
pub(crate) use verbs::ask;
pub use verbs::{
    RemoveRequest, StopRequest, kill, pause, remove, rename, resize, restart, start, stop, unpause,
};
pub use wait::{Wait, wait};
