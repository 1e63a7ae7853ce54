//! OCI data: digest, reference, platform, manifest, image configuration, runtime specification.
//!
//! Knows: the formats of opencontainers/image-spec, distribution-spec and runtime-spec, and Docker's older spellings of them.
//! Does not know: the network, the disk, the kernel.
//! Start with [`Reference`], [`Document`], [`runtime::Spec`].

mod config;
mod digest;
mod manifest;
mod platform;
mod reference;
pub mod runtime;

pub use config::{ContainerDefaults, HealthDefaults, History, ImageConfig, RootFs};
pub use digest::{Digest, DigestError, Hasher};
pub use manifest::{Descriptor, Document, Index, MAX_MANIFEST, Manifest, ParseError, media};
pub use platform::{InvalidPlatform, Platform};
pub use reference::{Reference, ReferenceError};
