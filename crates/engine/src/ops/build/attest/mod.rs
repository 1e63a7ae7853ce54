//! `--provenance` and `--sbom`: what is said of an image that was built, kept beside it until the image is exported.

mod packages;
mod provenance;
mod spdx;

use std::sync::{Arc, PoisonError};

use ferry_errkind::Failure;
use ferry_image::Attestation;
use ferry_oci::Digest;

use super::{current::Current, graph::Build, steps::view};

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
        let mut said = Vec::new();
        if let Some(asked) = self.request.attest.provenance {
            let (kind, predicate) = provenance::of(self, asked);
            said.push(Attestation {
                predicate_type: kind.to_owned(),
                predicate: predicate.to_string(),
            });
        }
        let shared = Arc::clone(&self.engine.shared);
        let (image, layers) = (image.clone(), outcome.layers().to_vec());
        let sbom = self.request.attest.sbom;
        let (name, created) = (self.name(), self.now());
        crate::blocking(move || {
            if sbom {
                let found = packages::of(&view(&shared, &layers)?)?;
                let document = spdx::document(&name, &image, &created, &found);
                let predicate_type = spdx::PREDICATE.to_owned();
                said.push(Attestation { predicate_type, predicate: document.to_string() });
            }
            // What was said of it was said of another build.
            if said.is_empty() && shared.images.attestations(&image)?.is_empty() {
                return Ok(());
            }
            Ok(shared.images.attest(&image, said)?)
        })
        .await
    }

    /// What the image is called first.
    fn name(&self) -> String {
        let first = self.request.tags.iter().find(|tag| !tag.is_empty());
        first.cloned().unwrap_or_else(|| "image".to_owned())
    }
}
