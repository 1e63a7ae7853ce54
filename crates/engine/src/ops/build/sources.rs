//! Images that a build stands on or copies from.

use ferry_errkind::{ErrorKind, Failure};
use ferry_image::Named;
use ferry_oci::{Digest, Platform, Reference};
use tokio::sync::mpsc;

use super::{
    BuildError, BuildProgress, NamedContext, Status, Vertex, VertexKind, attest::Material,
    current::Current, graph::Build,
};
use crate::ops::image::{PullProgress, PullRequest, package_url, pull};

impl Build {
    /// An image that is here, or is fetched.
    pub(super) async fn image(
        &self,
        name: &str,
        platform: Option<String>,
        newer: bool,
    ) -> Result<Current, BuildError> {
        let name = match self.request.contexts.get(name) {
            Some(NamedContext::Image(other)) => other.as_str(),
            _ => name,
        };
        let reference = Reference::parse(name).map_err(crate::ops::image::bad_reference);
        let shown = match &reference {
            Ok(reference) => reference.clone().with_default_tag().canonical(),
            Err(_) => name.to_owned(),
        };
        let words = format!("[{}internal] load metadata for {shown}", self.prefix());
        let mut vertex = Vertex::new(&self.id, VertexKind::Internal, words);
        self.start(&mut vertex).await?;
        // For another platform its name may mean another image for a moment: nobody else looks it up meanwhile.
        let _turn = match &platform {
            Some(_) => {
                let key = Digest::sha256_of(format!("image {shown}").as_bytes());
                Some(self.engine.shared.builds.turn(&key).await)
            }
            None => None,
        };
        let found = self.look_up(name, &reference, platform, newer, &vertex).await;
        if let Err(error) = &found {
            vertex.error = Some(error.failure.message().to_owned());
        }
        self.complete(&mut vertex).await?;
        let mut found = found?;
        found.name = shown;
        self.hold(found.layers());
        Ok(found)
    }

    async fn look_up(
        &self,
        name: &str,
        reference: &Result<Reference, Failure>,
        platform: Option<String>,
        newer: bool,
        vertex: &Vertex,
    ) -> Result<Current, BuildError> {
        let shared = &self.engine.shared;
        let wanted = platform.as_deref().map(str::parse::<Platform>).transpose();
        let wanted =
            wanted.map_err(|error| Failure::new(ErrorKind::InvalidArgument, error.to_string()))?;
        let before = shared.images.get(name).ok();
        let fits = |named: &Named| {
            let config = &named.entry.config;
            wanted.as_ref().is_none_or(|wanted| {
                config.os == wanted.os && config.architecture == wanted.architecture
            })
        };
        let here = before.as_ref().is_some_and(fits);
        let key = |reference: &Reference| {
            let name = reference.clone().with_default_tag().canonical();
            format!("{name} {}", platform.as_deref().unwrap_or_default())
        };
        if let (false, false, Ok(reference)) = (here, newer, reference) {
            // The name may mean another machine's image, and this one have been fetched before.
            let kept = shared.builds.base(&key(reference))?;
            let kept = kept.and_then(|id| shared.images.get(&id).ok()).filter(fits);
            if let Some(found) = kept {
                return Ok(self.found(reference, &found));
            }
        }
        if !here || newer && reference.is_ok() {
            let reference = reference.clone()?.with_default_tag();
            let fetched = self.fetch(&reference, platform.clone(), vertex).await;
            if let Err(failure) = fetched {
                // What is only here, no registry has a newer one of.
                if !here || failure.kind() != ErrorKind::NotFound {
                    return Err(failure.into());
                }
            }
        }
        let found = shared.images.get(name).map_err(Failure::from)?;
        if let (Some(before), Ok(reference), false) = (before, reference, here)
            && self.give_back(reference, before, &found).await?
        {
            let (key, id) = (key(reference), found.entry.image.id.to_string());
            let shared = std::sync::Arc::clone(shared);
            crate::blocking(move || shared.builds.learn_base(&key, &id)).await?;
        }
        Ok(match reference {
            Ok(reference) => self.found(reference, &found),
            Err(_) => current(&found),
        })
    }

    /// An image that a name means.
    fn found(&self, reference: &Reference, found: &Named) -> Current {
        self.note_material(material(reference, found));
        current(found)
    }

    /// Lets names mean again what they meant before an image of another machine was fetched: a build changes no image. Whether that
    /// image has no name now.
    async fn give_back(
        &self,
        reference: &Reference,
        before: Named,
        found: &Named,
    ) -> Result<bool, Failure> {
        let is_of_host = |named: &Named| {
            let (config, host) = (&named.entry.config, Platform::host());
            config.os == host.os && config.architecture == host.architecture
        };
        if is_of_host(found) || before.entry.image.id == found.entry.image.id {
            return Ok(false);
        }
        let shared = std::sync::Arc::clone(&self.engine.shared);
        let digests = before.digests.iter().filter_map(|name| Reference::parse(name).ok());
        let names: Vec<Reference> = digests.chain([reference.clone().with_default_tag()]).collect();
        let id = before.entry.image.id.to_string();
        self.hold(found.entry.layers());
        crate::blocking(move || {
            for name in names {
                shared.images.tag(&id, &name, shared.now())?;
            }
            Ok(true)
        })
        .await
    }

    async fn fetch(
        &self,
        reference: &Reference,
        platform: Option<String>,
        vertex: &Vertex,
    ) -> Result<(), Failure> {
        let (sender, mut messages) = mpsc::channel::<PullProgress>(64);
        let auth = self.credentials(reference);
        let wanted = PullRequest { image: reference.canonical(), tag: None, platform, auth };
        let forward = async {
            while let Some(progress) = messages.recv().await {
                let (at, vertex) = (self.engine.shared.now(), vertex.digest.clone());
                let status = Status { vertex, at, progress };
                self.teller.send(BuildProgress::Status(status)).await.ok();
            }
        };
        let (pulled, ()) = tokio::join!(pull(&self.engine, wanted, sender), forward);
        pulled
    }

    /// What the client has for a registry.
    pub(super) fn credentials(
        &self,
        reference: &Reference,
    ) -> Option<ferry_transfer::RegistryAuth> {
        let auths = &self.request.auths;
        let domain = reference.domain();
        let hub = || (domain == "docker.io").then(|| auths.get("https://index.docker.io/v1/"));
        auths.get(domain).or_else(|| hub().flatten()).cloned()
    }
}

fn current(found: &Named) -> Current {
    let json = Some(found.entry.image.config_json.clone());
    let config = found.entry.config.clone();
    Current { config, name: String::new(), json, args: Vec::new() }
}

/// An image as provenance names it: by the digest that its registry has, if it came from one.
fn material(reference: &Reference, found: &Named) -> Material {
    let config = &found.entry.config;
    let reference = reference.clone().with_default_tag();
    let name = reference.familiar_name();
    let of_name = |digest: &String| {
        let parsed = Reference::parse(digest).ok()?;
        let own = parsed.familiar_name() == name;
        parsed.digest().filter(|_| own).cloned()
    };
    let digest: Option<Digest> = found.digests.iter().find_map(of_name);
    let manifest = found.entry.image.manifest.as_ref();
    let digest = digest.or_else(|| manifest.map(|manifest| manifest.descriptor.digest.clone()));
    Material {
        uri: package_url(&reference, &format!("{}/{}", config.os, config.architecture)),
        digest: digest.unwrap_or_else(|| found.entry.image.id.clone()),
    }
}
