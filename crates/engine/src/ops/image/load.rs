//! `load`: archives of `docker save` (old and new form) and OCI layouts, read once: a stream from front to end, a file where its layers are.
//!
//! Nothing is stored twice: what is a layer is unpacked into the layer store while it comes by, what is JSON stays in
//! memory, and the manifest, which may stand anywhere, decides at the end what belongs together.

mod archive;
mod plan;

use std::{fs::File, sync::Arc};

use ferry_errkind::Failure;
use tokio::{io::AsyncRead, sync::mpsc};

use self::archive::Contents;
use super::{PullProgress, event, keep::keep};
use crate::{Engine, Shared, bridge};

/// Where an archive is.
pub enum LoadSource {
    /// It comes by.
    Stream(Box<dyn AsyncRead + Send + Unpin>),
    /// On this machine: its layers are read where they are, several at once.
    File(File),
}

impl std::fmt::Debug for LoadSource {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LoadSource::Stream(_) => out.write_str("Stream"),
            LoadSource::File(file) => out.debug_tuple("File").field(file).finish(),
        }
    }
}

/// Loads the images of an archive, and says what was loaded.
///
/// # Errors
/// It is no archive of images, or what it holds does not fit together: then nothing is loaded.
pub async fn load(
    engine: &Engine,
    archive: LoadSource,
    quiet: bool,
    progress: mpsc::Sender<PullProgress>,
) -> Result<(), Failure> {
    let shared = engine.shared.clone();
    let archive = match archive {
        LoadSource::Stream(body) => Archive::Stream(bridge::reader_of(body)),
        LoadSource::File(file) => Archive::File(file),
    };
    crate::blocking(move || load_blocking(&shared, archive, quiet, &progress)).await
}

/// A source as blocking code reads it.
enum Archive {
    Stream(bridge::PieceReader),
    File(File),
}

fn load_blocking(
    shared: &Arc<Shared>,
    archive: Archive,
    quiet: bool,
    progress: &mpsc::Sender<PullProgress>,
) -> Result<(), Failure> {
    // Whoever asked may have left: the images are loaded all the same, as every part of them is here by then.
    let tell = |message: PullProgress| drop(progress.blocking_send(message));
    let told = |message: PullProgress| {
        if !quiet {
            tell(message);
        }
    };
    let contents = match archive {
        Archive::Stream(reader) => Contents::read(shared, reader, told)?,
        Archive::File(file) => Contents::read_file(shared, &file, told)?,
    };
    let images = plan::images(&contents)?;
    for image in images {
        let id = keep(shared, &image.config_json, image.manifest, &image.names)?;
        event(shared, "load", &id, &id.to_string());
        if image.names.is_empty() {
            tell(PullProgress::status(format!("Loaded image ID: {id}")));
        }
        for name in &image.names {
            tell(PullProgress::status(format!("Loaded image: {}", name.familiar())));
        }
    }
    Ok(())
}
