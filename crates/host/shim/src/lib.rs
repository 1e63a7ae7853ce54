//! The small process that owns a container's stdio and exit code, so that containers outlive the daemon.
//!
//! Knows: one container's process, its pipes or terminal, its log file, a socket on which it is asked things. Does not know:
//! images, networks, restart policies, the Engine API; it never decides what should run.
//!
//! Start with [`Launch`] (what a shim is given), [`wire`] (what is said on its socket), [`Template`] (the daemon's end).
//!
//! ```text
//! daemon --SOCK_SEQPACKET--> template (exec'ed once, one thread) --fork--> shim --clone3--> the container's init
//!    \------------------- <run_dir>/shim.sock ---------------------------/
//! ```
//!
//! Invariants:
//! - A container that was started depends on nothing but its shim; one that was not yet goes away with whoever launched it.
//! - `exit.json` is written before anyone is told of the end.
//! - A client that does not read holds up the container (as Docker does it), one that is gone does not.

mod cri_log;
mod launch;
mod log;
mod serve;
mod template;
pub mod wire;

pub use launch::{
    ExitRecord, JournaldLog, Launch, LogFile, LogSpec, OciRuntime, RemoteLog, RootfsSpec,
    SyslogFormat, SyslogLog,
};
pub use log::rotate as log_files;
pub use template::{LaunchError, Template, template_main};
