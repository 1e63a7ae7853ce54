//! The two ends of a copy: what an image is read from, and what it is written to.

use std::{
    cell::RefCell,
    collections::HashSet,
    fs::{self, File},
    path::{Path, PathBuf},
};

use ferry_client::{Client as Daemon, ClientError};
use ferry_docker_api::JsonMessage;
use ferry_oci::{Descriptor, Digest, Manifest, Reference};
use ferry_transfer::{COSIGN_SUFFIXES, RawManifest, Repository, fallback_tag};

use super::{
    archive::Archive,
    daemon::{self, ServedImage},
    error::CopyError,
    layout::Layout,
    stream::Stream,
    writer::Writer,
};
use crate::registry::wanted;

/// Where an image comes from.
#[derive(Debug)]
pub(super) enum Source {
    Registry(Box<Repository>, Reference),
    Layout(Layout),
    Archive(Box<Archive>),
    Daemon(Box<ServedImage>),
}

/// Something that is about an image.
#[derive(Debug)]
pub(super) struct About {
    pub(super) manifest: RawManifest,
    /// The tag that it is found by, where it is not found by what it says of itself.
    pub(super) tag: Option<String>,
}

impl Source {
    /// The image that is meant, or its index.
    pub(super) async fn top(&self) -> Result<RawManifest, CopyError> {
        match self {
            Source::Registry(repository, name) => {
                let found = repository.manifest(&wanted(name)).await?;
                found.ok_or_else(|| CopyError::Missing {
                    place: name.clone().without_tag_and_digest().familiar(),
                    what: format!("manifest {}", wanted(name)),
                })
            }
            Source::Layout(layout) => layout.top(),
            Source::Archive(archive) => archive.top(),
            Source::Daemon(image) => Ok(image.top()),
        }
    }

    /// A manifest by what names it.
    pub(super) async fn manifest(&self, entry: &Descriptor) -> Result<RawManifest, CopyError> {
        let found = match self {
            Source::Registry(repository, _) => {
                repository.manifest(&entry.digest.to_string()).await?
            }
            Source::Layout(layout) => layout.manifest(entry)?,
            Source::Archive(_) | Source::Daemon(_) => None,
        };
        found.ok_or_else(|| CopyError::Missing {
            place: "the source".to_owned(),
            what: format!("manifest {}", entry.digest),
        })
    }

    /// A blob.
    pub(super) async fn blob(&self, digest: &Digest) -> Result<Stream, CopyError> {
        match self {
            Source::Registry(repository, name) => {
                let found = repository.blob(digest).await?;
                found.map(Stream::Remote).ok_or_else(|| CopyError::Missing {
                    place: name.familiar(),
                    what: format!("blob {digest}"),
                })
            }
            Source::Layout(layout) => layout.blob(digest),
            Source::Archive(archive) => archive.blob(digest),
            Source::Daemon(image) => image.blob(digest).await,
        }
    }

    /// Signatures, SBOMs and whatever else is about a manifest.
    pub(super) async fn about(&self, digest: &Digest) -> Result<Vec<About>, CopyError> {
        let referrers = match self {
            Source::Registry(repository, _) => repository.referrers(digest).await?,
            Source::Layout(layout) => layout.referrers(digest)?,
            Source::Archive(_) | Source::Daemon(_) => return Ok(Vec::new()),
        };
        let mut about = Vec::new();
        for entry in &referrers {
            about.push(About { manifest: self.manifest(entry).await?, tag: None });
        }
        for suffix in COSIGN_SUFFIXES {
            let tag = format!("{}.{suffix}", fallback_tag(digest));
            let found = match self {
                Source::Registry(repository, _) => repository.manifest(&tag).await?,
                Source::Layout(layout) => layout.named(&tag)?,
                Source::Archive(_) | Source::Daemon(_) => None,
            };
            about.extend(found.map(|manifest| About { manifest, tag: Some(tag) }));
        }
        Ok(about)
    }
}

/// Where an image goes.
#[derive(Debug)]
pub(super) enum Target {
    Registry {
        repository: Box<Repository>,
        name: Reference,
        /// The source's repository, where it is one of the same registry.
        beside: Option<String>,
    },
    Layout(Layout),
    /// An archive that becomes a file, or is loaded by a daemon.
    Archive {
        writer: Box<RefCell<Option<Writer>>>,
        end: End,
        name: Option<Reference>,
        /// Blobs that the daemon has already; `None` where nobody is to be asked.
        known: RefCell<Option<HashSet<Digest>>>,
    },
}

/// What becomes of an archive.
#[derive(Debug)]
pub(super) enum End {
    /// It is renamed from the first to the second.
    File(PathBuf, PathBuf),
    /// A daemon takes it.
    Load(Daemon),
}

/// How a manifest is to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum As<'a> {
    /// As the image that is copied.
    Top,
    /// By its digest, in an index.
    Child,
    /// By what it says that it is about, or by this tag.
    About(Option<&'a str>),
}

/// What happened to a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    There,
    Mounted,
    Copied,
}

impl Target {
    /// Whether it takes one image only, and no index.
    pub(super) fn is_single(&self) -> bool {
        matches!(self, Target::Archive { .. })
    }

    /// Blobs that may come at the same time.
    pub(super) fn at_once(&self) -> usize {
        if self.is_single() { 1 } else { 4 }
    }

    /// Before the blobs of an image come: a daemon is asked which of its layers it has.
    pub(super) async fn expect(&self, image: &Manifest, from: &Source) -> Result<(), CopyError> {
        let Target::Archive { end: End::Load(daemon), known, .. } = self else { return Ok(()) };
        if known.borrow().is_some() {
            let there = daemon::layers_of(daemon, image, from).await?;
            known.replace(Some(there));
        }
        Ok(())
    }

    /// Whether something did not travel because a daemon said that it has it.
    pub(super) fn has_left_out(&self) -> bool {
        match self {
            Target::Archive { known, .. } => {
                known.borrow().as_ref().is_some_and(|known| !known.is_empty())
            }
            _ => false,
        }
    }

    /// Has a blob, wherever it comes from.
    pub(super) async fn take(&self, blob: &Descriptor, from: &Source) -> Result<Done, CopyError> {
        let Descriptor { digest, size, .. } = blob;
        match self {
            Target::Registry { repository, beside, .. } => {
                if repository.blob_size(digest).await?.is_some() {
                    return Ok(Done::There);
                }
                if let Some(beside) = beside
                    && repository.mount(digest, beside).await?
                {
                    return Ok(Done::Mounted);
                }
                let mut stream = from.blob(digest).await?;
                repository.put_blob(digest, async || stream.next().await).await?;
            }
            Target::Layout(layout) if layout.has(digest, *size) => return Ok(Done::There),
            Target::Layout(layout) => layout.put(digest, from.blob(digest).await?).await?,
            Target::Archive { known, .. }
                if known.borrow().as_ref().is_some_and(|known| known.contains(digest)) =>
            {
                return Ok(Done::There);
            }
            Target::Archive { writer, .. } => {
                // Nobody else has it meanwhile: one blob comes at a time.
                let Some(mut tar) = writer.take() else { return Ok(Done::There) };
                let done = match tar.has(digest) {
                    true => Ok(Done::There),
                    false => match from.blob(digest).await {
                        Ok(stream) => tar.blob(digest, *size, stream).await.map(|()| Done::Copied),
                        Err(error) => Err(error),
                    },
                };
                writer.replace(Some(tar));
                return done;
            }
        }
        Ok(Done::Copied)
    }

    /// Has a manifest, all of whose content is there.
    pub(super) async fn manifest(
        &self,
        manifest: &RawManifest,
        found: As<'_>,
    ) -> Result<(), CopyError> {
        match self {
            Target::Registry { repository, name, .. } => {
                let by = match found {
                    As::Top => wanted(name),
                    As::About(Some(tag)) => tag.to_owned(),
                    As::Child | As::About(None) => manifest.digest.to_string(),
                };
                Ok(repository.put_listed(&by, manifest).await?)
            }
            Target::Layout(layout) => {
                let listed = match found {
                    As::Top => Some(layout.name()),
                    As::Child => None,
                    As::About(tag) => Some(tag),
                };
                layout.put_manifest(manifest, listed)
            }
            Target::Archive { writer, end, name, .. } => {
                let Some(tar) = writer.take().filter(|_| found == As::Top) else { return Ok(()) };
                finish(tar.finish(manifest, name.as_ref())?, end).await
            }
        }
    }
}

async fn finish(file: File, end: &End) -> Result<(), CopyError> {
    match end {
        End::File(from, to) => {
            file.sync_all().map_err(CopyError::file("sync", from))?;
            fs::rename(from, to).map_err(CopyError::file("write", to))
        }
        End::Load(daemon) => load(file, daemon).await,
    }
}

pub(super) async fn load(mut file: File, daemon: &Daemon) -> Result<(), CopyError> {
    use std::io::{Seek, SeekFrom};
    let failed =
        |source| CopyError::File { doing: "read", path: Path::new("archive").into(), source };
    let size = file.metadata().map_err(failed)?.len();
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let body = tokio::fs::File::from_std(file);
    let call = daemon.post("/images/load").query("quiet", 1);
    let call = call.upload("application/x-tar", body, Some(size));
    let mut lines = call.lines::<JsonMessage>().await.map_err(|error| match error {
        ClientError::Api { .. } => CopyError::Refused(error),
        other => CopyError::Daemon(other),
    })?;
    while let Some(message) = lines.next().await? {
        if !message.error.is_empty() {
            return Err(CopyError::Load(message.error));
        }
    }
    Ok(())
}

/// Saves an image of a daemon into a file without a name.
pub(super) async fn saved(daemon: &Daemon, name: &Reference) -> Result<File, CopyError> {
    use std::io::Write;
    let mut answer = daemon.get("/images/get").query("names", name.familiar()).send().await?;
    let mut file = super::stream::nameless()?;
    while let Some(piece) = answer.chunk().await? {
        file.write_all(&piece).map_err(CopyError::file("write", "archive of the daemon"))?;
    }
    Ok(file)
}
