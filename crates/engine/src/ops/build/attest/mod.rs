//! `--provenance` and `--sbom`: what is said of an image that was built, kept beside it until the image is exported.

mod languages;
mod packages;
mod provenance;
mod spdx;

use std::sync::{Arc, PoisonError};

use ferry_errkind::Failure;
use ferry_image::Attestation;
use ferry_oci::{Digest, ImageConfig, Platform};

use super::{current::Current, graph::Build, steps::view};
use crate::ops::image::ImageTree;

/// The kind of what is said of packages.
pub(super) const SPDX: &str = spdx::PREDICATE;

/// What is to be said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attest {
    /// How it was made, after SLSA.
    pub provenance: Option<Provenance>,
    /// What packages are in it, after SPDX.
    pub sbom: bool,
}

/// How much is said of how an image was made, and in which version's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Provenance {
    /// With arguments and the Dockerfile.
    pub max: bool,
    /// In the words of SLSA 1, not of 0.2.
    pub v1: bool,
}

/// An image that a build used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Material {
    pub(super) uri: String,
    pub(super) digest: Digest,
}

impl Build {
    /// Notes an image that is used.
    pub(super) fn note_material(&self, material: Material) {
        self.materials.lock().unwrap_or_else(PoisonError::into_inner).insert(material);
    }

    /// Says of the image what was asked for, and nothing else.
    pub(super) async fn attest(&self, image: &Digest, outcome: &Current) -> Result<(), Failure> {
        let said = self.said(image, outcome).await?;
        let (shared, image) = (Arc::clone(&self.engine.shared), image.clone());
        crate::blocking(move || {
            // What was said of it was said of another build.
            if said.is_empty() && shared.images.attestations(&image)?.is_empty() {
                return Ok(());
            }
            Ok(shared.images.attest(&image, said)?)
        })
        .await
    }

    /// What was asked to be said of an image.
    pub(super) async fn said(
        &self,
        image: &Digest,
        outcome: &Current,
    ) -> Result<Vec<Attestation>, Failure> {
        let mut said = Vec::new();
        if let Some(asked) = self.request.attest.provenance {
            let (kind, predicate) = provenance::of(self, asked);
            said.push(Attestation {
                predicate_type: kind.to_owned(),
                predicate: predicate.to_string(),
            });
        }
        if !self.request.attest.sbom {
            return Ok(said);
        }
        let shared = Arc::clone(&self.engine.shared);
        let (image, layers) = (image.clone(), outcome.layers().to_vec());
        let (name, created) = (self.name(), self.now());
        crate::blocking(move || {
            let mut found = packages::of(&view(&shared, &layers)?)?;
            found.all.extend(languages::of(&ImageTree::of(&shared, &layers)?)?);
            let document = spdx::document(&name, &image, &created, &found);
            let predicate_type = SPDX.to_owned();
            said.push(Attestation { predicate_type, predicate: document.to_string() });
            Ok(said)
        })
        .await
    }

    /// What the image is called first.
    fn name(&self) -> String {
        let first = self.request.tags.iter().find(|tag| !tag.is_empty());
        first.cloned().unwrap_or_else(|| "image".to_owned())
    }
}

/// What an image is for.
pub(super) fn platform_of(config: &ImageConfig) -> Platform {
    Platform {
        os: config.os.clone(),
        architecture: config.architecture.clone(),
        variant: config.variant.clone(),
        ..Platform::default()
    }
}
