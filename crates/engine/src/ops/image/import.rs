//! `import`: a tar of a root file system becomes an image of one layer.

use std::sync::Arc;

use ferry_errkind::{ErrorKind, Failure};
use ferry_oci::{ContainerDefaults, Digest, History, ImageConfig, Platform, Reference, RootFs};
use tokio::io::AsyncRead;

use super::{bad_reference, changes, event, keep::keep};
use crate::{Engine, Shared, bridge};

/// What `import` is asked for.
#[derive(Debug, Clone, Default)]
pub struct ImportRequest {
    /// What the image is to be called.
    pub reference: Option<String>,
    /// The comment of its history.
    pub message: String,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
    /// `os/architecture`, when it is not this machine's.
    pub platform: Option<String>,
}

/// Makes an image of one layer from a tar, compressed or not.
///
/// # Errors
/// A change or a name does not read, or the stream is no tar.
pub async fn import(
    engine: &Engine,
    request: ImportRequest,
    body: impl AsyncRead + Send + Unpin + 'static,
) -> Result<Digest, Failure> {
    let shared = engine.shared.clone();
    let reader = bridge::reader_of(body);
    crate::blocking(move || import_blocking(&shared, &request, reader)).await
}

fn import_blocking(
    shared: &Arc<Shared>,
    request: &ImportRequest,
    reader: bridge::PieceReader,
) -> Result<Digest, Failure> {
    let reference = request.reference.as_deref().map(name).transpose()?;
    let platform = match &request.platform {
        Some(text) => text
            .parse::<Platform>()
            .map_err(|error| Failure::new(ErrorKind::InvalidArgument, error.to_string()))?,
        None => Platform::host(),
    };
    let mut defaults = ContainerDefaults::default();
    for change in &request.changes {
        changes::apply(&mut defaults, change)?;
    }
    let layer = shared.layers.ingest(reader, None)?;
    let _lease = shared.lease(std::slice::from_ref(&layer.diff_id));
    let created = Some(shared.now().format_rfc3339_nano());
    let config = ImageConfig {
        architecture: platform.architecture,
        os: platform.os,
        variant: platform.variant,
        created: created.clone(),
        config: Some(defaults),
        rootfs: RootFs { diff_ids: vec![layer.diff_id.clone()], ..RootFs::default() },
        history: vec![History {
            created,
            comment: Some(request.message.clone()),
            ..History::default()
        }],
        comment: Some(request.message.clone()).filter(|message| !message.is_empty()),
        ..ImageConfig::default()
    };
    let json = serde_json::to_vec(&config)
        .map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))?;
    let names: Vec<Reference> = reference.into_iter().collect();
    let id = keep(shared, &json, None, &names)?;
    event(
        shared,
        "import",
        &id,
        names.first().map(Reference::familiar).as_deref().unwrap_or_default(),
    );
    Ok(id)
}

/// An image cannot be given a name by digest before it has one.
fn name(text: &str) -> Result<Reference, Failure> {
    let reference = Reference::parse(text).map_err(bad_reference)?;
    if reference.digest().is_some() {
        return Err(Failure::new(ErrorKind::InvalidArgument, "cannot import digest reference"));
    }
    Ok(reference.with_default_tag())
}
