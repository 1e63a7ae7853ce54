//! Containers.

mod archive;
mod attach;
mod changes;
pub(crate) mod checkpoint;
pub(crate) mod commit;
pub(crate) mod create;
mod export;
mod hand_over;
mod inspect;
mod list;
mod logs;
mod prune;
mod publish;
mod sources;
mod stats;
mod top;
mod update;
mod verbs;
mod wait;
mod why;

pub use archive::{ArchiveStream, ExtractRequest, PathStat, archive, extract, stat_path};
pub use attach::{AttachRequest, Attachment, PendingStream, attach};
pub use changes::changes;
pub use checkpoint::{CheckpointFiles, CheckpointRequest, checkpoint};
pub use commit::{CommitRequest, commit};
pub use create::create;
pub use export::export;
pub use hand_over::{reveal, start_aside, withdraw};
pub use inspect::inspect;
pub use list::list;
pub use logs::{LogStream, LogsRequest, logs};
pub use prune::prune;
pub use publish::publish;
pub(crate) use sources::is_plain_bind;
pub use stats::{Counters, Direction, Figures, Sample, StatsRequest, stats};
pub(crate) use stats::{interfaces_of, machine_memory};
pub use top::top;
pub use update::update;
pub(crate) use verbs::ask;
pub use verbs::{
    RemoveRequest, StopRequest, kill, pause, remove, rename, resize, restart, start, stop, unpause,
};
pub use wait::{Wait, wait};
pub use why::why;
