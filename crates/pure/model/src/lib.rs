//! The engine's own nouns as plain data: what a container, image, network, volume, exec and event *are*, whoever asks.
//!
//! Knows: nothing but data. Does not know: the Docker API's JSON (that is `ferry-docker-api`), the kernel, the disk.
//! Start with [`container::ContainerSpec`], [`container::ContainerState`], [`event::Event`].
//!
//! The types are `Serialize` because they are also the engine's records on disk (`config.json` of a container, rows of
//! `ferry.db`); that format is ours alone and carries a version. It is never what a client sees: every face converts by
//! exhaustive destructuring (decision record 0008).

pub mod container;
pub mod event;
pub mod exec;
pub mod image;
pub mod network;
pub mod system;
pub mod volume;
