//! What comes of a build, and how it leaves as an image.

use std::sync::Arc;

use ferry_errkind::Failure;
use ferry_oci::{Digest, ImageConfig, Reference};

use super::{BuildError, BuildProgress, current::Current, export, graph::Build, persist};

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

    /// Waits until what was done is on disk: it is to be remembered, also where nothing comes of it.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn settle(&self) -> Result<(), Failure> {
        persist(&self.main().build.engine).await
    }
}
