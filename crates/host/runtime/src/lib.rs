//! Turns an OCI configuration into a running process: the core under `ferry run`, `ferry oci` and the builder.
//!
//! Knows the OCI runtime specification, namespaces, mounts, capabilities, seccomp. Does not know images, layers,
//! networks, logs or the Engine API, and never waits for a process that runs: that is the shim's.
//!
//! Start with [`Bundle`], [`Created`] and [`Running`]; then read `child/mod.rs` top-down, which is what happens between
//! `clone3` and `execve`, in the kernel's order.
//!
//! Invariants:
//! - The calling process has one thread. The child is a plain fork: it may allocate, it must not start threads.
//! - Nothing is mounted in the caller's mount namespace. The rootfs exists in the container's only.
//! - Every mount target is resolved inside the rootfs by `openat2(RESOLVE_IN_ROOT)`, which follows no magic links.
//! - No descriptor of the caller reaches the user's program, and the init is not dumpable until it execs.
//!
//! ```no_run
//! # fn demo(
//! #     spec: ferry_oci::runtime::Spec,
//! #     rootfs: ferry_runtime::Rootfs,
//! #     stdio: ferry_runtime::StdioRequest,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let bundle = ferry_runtime::Bundle {
//!     id: "demo", spec: &spec, rootfs: &rootfs, filter: None, cgroup: None, init: false,
//!     bundle_dir: std::path::Path::new("/run/demo"), gate: None, preserve_fds: 0,
//! };
//! let created = ferry_runtime::create(&bundle, stdio)?; // the namespaces exist, the rootfs is being set up
//! let running = created.start()?;                       // the program has been exec'ed
//! println!("pid {}", running.pid);
//! # Ok(()) }
//! ```

mod bundle;
mod child;
mod create;
mod error;
mod exec;
mod foreign;
mod fork;
mod gate;
mod hooks;
mod mapped;
mod message;
mod plan;
pub mod seccomp;
mod user;
mod usher;

pub use bundle::{Bundle, ExecRequest, Rootfs, Running, Stdio, StdioRequest};
pub use child::{HOLDER_ANNOTATION, VOLATILE_ANNOTATION, stand_alone as init_main};
pub use create::{Created, Left, create};
pub use error::{CreateError, ExecError, StartError};
pub use exec::exec;
pub use foreign::{detached_rootfs, detached_source, host_root, io_words, judge, resolve_user};
pub use gate::Gate;
pub use hooks::{run_poststart, run_poststop};
pub use plan::DEFAULT_RLIMITS_ANNOTATION;
pub use user::{look_up_names, look_up_user};
