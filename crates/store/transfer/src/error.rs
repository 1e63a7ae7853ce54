//! Why a pull fails, in Docker's words where it has some.

use ferry_errkind::{ErrorKind, Kinded};
use ferry_layers::IngestError;
use ferry_oci::{Digest, ParseError};

use crate::{
    refusal::Refusal,
    source::{LOGIN, SourceError},
};

/// An image cannot be pulled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// The registry's name is none.
    #[error("invalid registry \"{0}\"")]
    Domain(String),
    /// The registry says no.
    #[error(
        "pull access denied for {repository}, repository does not exist or may require 'docker login': {refusal}"
    )]
    Denied {
        /// The repository as users write it.
        repository: String,
        /// The registry's words.
        refusal: Refusal,
    },
    /// No such tag or digest.
    #[error("manifest for {reference} not found: {refusal}")]
    UnknownManifest {
        /// The image as users write it.
        reference: String,
        /// The registry's words.
        refusal: Refusal,
    },
    /// No such repository.
    #[error("repository {repository} not found: {refusal}")]
    UnknownRepository {
        /// The repository as users write it.
        repository: String,
        /// The registry's words.
        refusal: Refusal,
    },
    /// The registry did not give its manifest.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The manifest does not read.
    #[error("cannot read the manifest of {reference}")]
    Manifest {
        /// The image as users write it.
        reference: String,
        /// Why not.
        source: ParseError,
    },
    /// An index leads to another index.
    #[error("the index of {0} lists another index for this platform")]
    Nested(String),
    /// The manifest is not the one that was asked for.
    #[error("manifest verification failed for digest {0}")]
    ManifestDigest(Digest),
    /// Nothing for this machine.
    #[error("no matching manifest for {wanted} in the manifest list entries")]
    NoPlatform {
        /// What was asked for.
        wanted: String,
        /// What there is.
        available: Vec<String>,
    },
    /// No container image.
    #[error("unsupported media type {0}")]
    MediaType(String),
    /// More layers than may be stacked.
    #[error("max depth exceeded: the image has {0} layers, more than 127")]
    TooManyLayers(usize),
    /// The configuration did not come.
    #[error("error pulling image configuration: {0}")]
    Config(SourceError),
    /// It is another one.
    #[error("image config verification failed for digest {0}")]
    ConfigDigest(Digest),
    /// It is no configuration.
    #[error("cannot read the image configuration")]
    ParseConfig(#[source] ParseError),
    /// Manifest and configuration do not belong together.
    #[error("layers from manifest don't match image configuration")]
    RootFs,
    /// Not for this kernel.
    #[error(
        "image operating system \"{0}\" cannot be used on this platform: operating system is not supported"
    )]
    OperatingSystem(String),
    /// Nobody signed it who is trusted.
    #[error(
        "{reference} is refused: images of {prefix} must be signed, and of {digest} there is no signature by a key that is known here ({seen} by others)"
    )]
    Unsigned {
        /// The image as users write it.
        reference: String,
        /// What the name leads to.
        digest: Digest,
        /// Of the rule that wants it signed.
        prefix: String,
        /// How many signatures there are that are not good.
        seen: usize,
    },
    /// A layer did not come.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

/// A layer cannot be pulled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// Only its owner may hand it out.
    #[error(
        "layer {0} is a foreign layer: registries do not have it, and its urls are not followed"
    )]
    Foreign(Digest),
    /// No registry gave it.
    #[error("download failed after attempts={attempts}: {source}")]
    Download {
        /// How often it was tried.
        attempts: u32,
        /// The last failure. Printed here, as Docker does.
        source: SourceError,
    },
    /// What came is not what was asked for.
    #[error("filesystem layer verification failed for digest {0}")]
    Digest(Digest),
    /// It is no layer, or not the one that the configuration names.
    #[error("failed to register layer {digest}")]
    Ingest {
        /// The blob.
        digest: Digest,
        /// Why not.
        source: Box<IngestError>,
    },
    /// Its tar is another than the configuration says.
    #[error(
        "layers from manifest don't match image configuration: layer {digest} has diff id {actual}, not {expected}"
    )]
    DiffId {
        /// The blob.
        digest: Digest,
        /// What the configuration says.
        expected: Box<Digest>,
        /// What it is.
        actual: Box<Digest>,
    },
    /// A bug, or the daemon ends.
    #[error("unpacking of layer {0} was abandoned")]
    Abandoned(Digest),
}

impl Kinded for PullError {
    fn kind(&self) -> ErrorKind {
        match self {
            PullError::Denied { .. }
            | PullError::UnknownManifest { .. }
            | PullError::UnknownRepository { .. }
            | PullError::NoPlatform { .. } => ErrorKind::NotFound,
            PullError::Domain(_) => ErrorKind::InvalidArgument,
            PullError::Unsigned { .. } => ErrorKind::Forbidden,
            PullError::Source(error) | PullError::Config(error) => error.kind(),
            PullError::Layer(error) => error.kind(),
            PullError::Manifest { .. }
            | PullError::Nested(_)
            | PullError::ManifestDigest(_)
            | PullError::MediaType(_)
            | PullError::TooManyLayers(_)
            | PullError::ConfigDigest(_)
            | PullError::ParseConfig(_)
            | PullError::RootFs
            | PullError::OperatingSystem(_) => ErrorKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            PullError::Denied { .. } | PullError::UnknownRepository { .. } => {
                Some(LOGIN.to_owned())
            }
            PullError::UnknownManifest { .. } => {
                Some("check the name and the tag: the registry has no such image".to_owned())
            }
            PullError::NoPlatform { available, .. } if available.is_empty() => {
                Some("the image's index names no platform".to_owned())
            }
            PullError::NoPlatform { available, .. } => Some(format!(
                "the image exists for {}: choose with --platform",
                available.join(", ")
            )),
            PullError::Source(error) | PullError::Config(error) => error.hint(),
            PullError::Layer(error) => error.hint(),
            PullError::MediaType(_) => {
                Some("this is an artifact of another kind, not a container image".to_owned())
            }
            PullError::Unsigned { .. } => Some(
                "have it signed ('cosign sign --key …'), or see [[signatures]] in /etc/ferry/config.toml"
                    .to_owned(),
            ),
            PullError::ManifestDigest(_) | PullError::ConfigDigest(_) => Some(DAMAGED.to_owned()),
            _ => None,
        }
    }
}

const DAMAGED: &str =
    "the registry, or something on the way, changed the content: try again, or tell its owner";

impl Kinded for LayerError {
    fn kind(&self) -> ErrorKind {
        match self {
            LayerError::Foreign(_) => ErrorKind::NotImplemented,
            LayerError::Download { source, .. } => source.kind(),
            LayerError::Ingest { source, .. } => source.kind(),
            LayerError::Digest(_) | LayerError::DiffId { .. } | LayerError::Abandoned(_) => {
                ErrorKind::Internal
            }
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            LayerError::Download { source, .. } => source.hint(),
            LayerError::Digest(_) => Some(DAMAGED.to_owned()),
            _ => None,
        }
    }
}
