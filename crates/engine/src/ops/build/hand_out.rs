//! What a face hands in beyond one context: directories that a client fills.

use std::{os::fd::OwnedFd, sync::Arc};

use ferry_errkind::Failure;
use tokio::io::AsyncRead;

use super::{NamedContext, context::Place};
use crate::{Engine, bridge, records::failed};

/// A directory that a client filled; goes when nobody has it any more.
#[derive(Debug)]
pub struct Filled {
    _place: Place,
    directory: Arc<OwnedFd>,
}

impl Filled {
    /// As a context of a build, which must end before this goes.
    pub fn context(&self) -> NamedContext {
        NamedContext::Directory(Arc::clone(&self.directory))
    }
}

/// Unpacks a tar into a directory for one build.
///
/// # Errors
/// The tar does not read, or the disk fails.
pub async fn fill(
    engine: &Engine,
    tar: impl AsyncRead + Send + Unpin + 'static,
) -> Result<Filled, Failure> {
    let shared = engine.shared.clone();
    let tar = bridge::reader_of(tar);
    crate::blocking(move || {
        let place = Place::new(&shared)?;
        let root = place.unpacked()?;
        place.unpack(tar, &root)?;
        let path = place.named("context");
        let opened = std::fs::File::open(&path).map_err(|source| failed("open", &path, source))?;
        Ok(Filled { _place: place, directory: Arc::new(opened.into()) })
    })
    .await
}
