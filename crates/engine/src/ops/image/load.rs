//! `load`: archives of `docker save` (old and new form) and OCI layouts, read once from front to end.
//!
//! Nothing is stored twice: what is a layer is unpacked into the layer store while it comes by, what is JSON stays in
//! memory, and the manifest, which may stand anywhere, decides at the end what belongs together.

mod archive;
mod plan;

use std::sync::Arc;

use ferry_errkind::Failure;
use tokio::{io::AsyncRead, sync::mpsc};

use self::archive::Contents;
use super::{PullProgress, event, keep::keep};
use crate::{Engine, Shared, bridge};

/// Loads the images of an archive, and says what was loaded.
///
/// # Errors
/// It is no archive of images, or what it holds does not fit together: then nothing is loaded.
pub async fn load(
    engine: &Engine,
    body: impl AsyncRead + Send + Unpin + 'static,
    quiet: bool,
    progress: mpsc::Sender<PullProgress>,
) -> Result<(), Failure> {
    let shared = engine.shared.clone();
    let reader = bridge::reader_of(body);
    crate::blocking(move || load_blocking(&shared, reader, quiet, &progress)).await
}

fn load_blocking(
    shared: &Arc<Shared>,
    reader: bridge::PieceReader,
    quiet: bool,
    progress: &mpsc::Sender<PullProgress>,
) -> Result<(), Failure> {
    // Whoever asked may have left: the images are loaded all the same, as every part of them is here by then.
    let tell = |message: PullProgress| drop(progress.blocking_send(message));
    let contents = Contents::read(shared, reader, |message| {
        if !quiet {
            tell(message);
        }
    })?;
    let images = plan::images(&contents)?;
    for image in images {
        let id = keep(shared, &image.config_json, image.manifest, &image.names)?;
        event(shared, "load", &id, &id.to_string());
        if image.names.is_empty() {
            tell(PullProgress::status(format!("Loaded image ID: {id}")));
        }
        for name in &image.names {
            event(shared, "tag", &id, &name.familiar());
            tell(PullProgress::status(format!("Loaded image: {}", name.familiar())));
        }
    }
    Ok(())
}
