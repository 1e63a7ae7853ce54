//! What can be asked of the engine: a module a noun, a file a verb.

pub mod build;
pub mod container;
pub mod disk;
pub mod exec;
pub mod exec_sync;
pub(crate) mod freeze;
pub mod image;
pub mod names;
pub mod network;
pub mod pod;
pub mod system;
pub mod volume;
