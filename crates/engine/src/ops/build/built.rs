//! What comes of a build, and how it leaves: as an image, or as files.

use std::sync::Arc;

use bytes::Bytes;
use ferry_archive::{Source, TarWriter, TreeOptions};
use ferry_errkind::{ErrorKind, Failure};
use ferry_oci::{Digest, ImageConfig, Reference};
use tokio::sync::mpsc;

use super::{BuildError, BuildProgress, current::Current, export, graph::Build, persist, steps};
use crate::bridge;

/// What a build came to. Its files stay as long as this is there.
#[derive(Debug)]
pub struct Built {
    /// One for each platform.
    pub(super) parts: Vec<Part>,
    /// Which of them has the names.
    pub(super) main: usize,
    pub(super) names: Vec<Reference>,
}

/// What it came to for a platform.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) build: Arc<Build>,
    pub(super) outcome: Arc<Current>,
}

impl Built {
    pub(super) fn main(&self) -> &Part {
        &self.parts[self.main]
    }

    /// The image's configuration: that of the image that this machine runs, where there are several.
    pub fn config(&self) -> &ImageConfig {
        &self.main().outcome.config
    }

    /// The image's id.
    ///
    /// # Errors
    /// None that is known.
    pub fn id(&self) -> Result<Digest, Failure> {
        self.main().outcome.id()
    }

    /// Records the image under its names, and those of other platforms beside it.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn record(&self) -> Result<Digest, BuildError> {
        let mut others = Vec::new();
        for (at, Part { build, outcome }) in self.parts.iter().enumerate() {
            if at != self.main {
                let other = export(build, outcome, Vec::new()).await?;
                if !others.contains(&other) {
                    others.push(other);
                }
            }
        }
        let Part { build, outcome } = self.main();
        let id = export(build, outcome, self.names.clone()).await?;
        // Where every stage names a platform of its own, several platforms are one image.
        others.retain(|other| *other != id);
        let (shared, image, names) = (build.engine.shared.clone(), id.clone(), self.names.clone());
        crate::blocking(move || Ok(shared.images.put_variants(&image, &names, &others)?)).await?;
        build.teller.send(BuildProgress::Image(id.to_string())).await?;
        build.teller.save(&build.engine);
        Ok(id)
    }

    /// The only one: files of several platforms have no place for each.
    pub(super) fn only(&self) -> Result<&Part, Failure> {
        match self.parts.as_slice() {
            [only] => Ok(only),
            many => {
                let words = format!(
                    "the files of {} platforms as one result are not supported",
                    many.len()
                );
                Err(Failure::new(ErrorKind::InvalidArgument, words).with_hint(
                    "build one platform, or ask for an image: --output type=oci,dest=FILE",
                ))
            }
        }
    }

    /// Waits until what was done is on disk: it is to be remembered, also where nothing comes of it.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn settle(&self) -> Result<(), Failure> {
        persist(&self.main().build.engine).await
    }

    /// All its files as a tar.
    ///
    /// # Errors
    /// When a layer is not there any more.
    pub async fn files(&self) -> Result<mpsc::Receiver<Result<Bytes, Failure>>, Failure> {
        let Part { build, outcome } = self.only()?;
        let shared = build.engine.shared.clone();
        let (layers, times) = (outcome.layers().to_vec(), build.request.times());
        let (mut writer, pieces) = bridge::pipe();
        crate::blocking(move || {
            shared.builds.persist(&shared.layers)?;
            // Its layers are held as long as they are read, and only they: whoever waits for the last word of the build would wait
            // for its files to be taken.
            let held = shared.hold(&layers);
            let root = steps::view(&shared, &layers)?;
            tokio::task::spawn_blocking(move || {
                let _held = held;
                let options = TreeOptions::layer(Source::Plain);
                let mut tar = TarWriter::new(&mut writer).timed(times);
                let written = ferry_archive::write_tree(root.as_dir(), &options, &mut tar)
                    .map_err(|error| ferry_errkind::chain(&error))
                    .and_then(|()| tar.finish().map(drop).map_err(|error| error.to_string()));
                if let Err(why) = written {
                    let words = format!("cannot write the files of the build: {why}");
                    writer.fail(Failure::new(ErrorKind::Internal, words));
                }
            });
            Ok(())
        })
        .await?;
        Ok(pieces)
    }
}
