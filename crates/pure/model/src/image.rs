//! Images.

use std::collections::BTreeMap;

use ferry_oci::{Descriptor, Digest, ImageConfig};
use ferry_stdx::time::Timestamp;
use serde::{Deserialize, Serialize};

/// An image that is here. Its layers are in the layer store under their diff ids.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Digest of `config_json`: Docker's image id.
    pub id: Digest,
    /// The configuration's exact bytes, as text.
    pub config_json: String,
    /// The manifest's descriptor and exact bytes, when it came from a registry or an OCI layout.
    pub manifest: Option<StoredManifest>,
    /// When it came here.
    pub stored: Timestamp,
    /// Bytes of all layers, unpacked.
    pub size: u64,
}

/// A manifest as it came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredManifest {
    /// Digest, size and media type.
    pub descriptor: Descriptor,
    /// Exact bytes, as text.
    pub json: String,
}

/// An image with its names and parsed configuration.
#[derive(Debug, Clone)]
pub struct ImageView {
    /// The image.
    pub image: Image,
    /// The parsed configuration.
    pub config: ImageConfig,
    /// `name:tag`, familiar form, sorted.
    pub repo_tags: Vec<String>,
    /// `name@sha256:…`, familiar form, sorted.
    pub repo_digests: Vec<String>,
    /// Containers made from it, when asked; -1 when not.
    pub containers: i64,
    /// Bytes shared with other images, when asked; -1 when not.
    pub shared_size: i64,
    /// When it was last tagged or pulled here.
    pub last_tagged: Option<Timestamp>,
    /// Directories of its layers, top first.
    pub lower_dirs: Vec<String>,
}

/// `images`' conditions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListImages {
    /// Intermediate ones, too.
    pub all: bool,
    /// Compute `shared_size`.
    pub shared_size: bool,
    /// Docker's filters by name, checked before they come here.
    pub filters: BTreeMap<String, Vec<String>>,
}

/// One line of what `rmi` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageRemoval {
    /// A name or digest reference is gone.
    Untagged(String),
    /// An image or a layer is gone.
    Deleted(String),
}

/// One line of `history`, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The image's id for the newest line, else `<missing>`.
    pub id: String,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// The command.
    pub created_by: String,
    /// Tags, for the newest line.
    pub tags: Vec<String>,
    /// Bytes of its layer.
    pub size: i64,
    /// Comment.
    pub comment: String,
}
