//! Linux system calls behind safe functions: mounts, namespaces, processes, capabilities, ptys, paths inside a root.
//!
//! Knows the kernel's interface and nothing else: no containers, no images, no policy. It never decides whether an
//! error is worth failing for; it hands out the errno (or, for mounts, the errno with what the kernel said about it).
//!
//! Start with [`root::InRoot`] (paths inside an untrusted tree), [`mount`] and [`overlay`] (mounts as descriptors that
//! nobody sees until they are attached), and [`process::clone3`].
//!
//! Invariants:
//! - Every descriptor that comes out of here is close-on-exec.
//! - `unsafe` sits in the modules that say so at their head; each block holds one operation.

pub mod bpf;
pub mod caps;
pub mod code;
pub mod exe;
pub mod failpoint;
pub mod fdpass;
pub mod idmap;
pub mod inherited;
pub mod mount;
pub mod namespace;
pub mod overlay;
pub mod pidfd;
pub mod process;
pub mod pty;
pub mod quota;
mod raw;
pub mod root;
pub mod seccomp;
pub mod selinux;
pub mod signals;

pub use rustix::io::{Errno, Result};
