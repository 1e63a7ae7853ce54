//! The archive, member by member: layers to the store, documents to memory.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read},
};

use ferry_archive::{
    Kind, Limits, Member, TarReader,
    compress::{Codec, Decoder},
};
use ferry_errkind::{ErrorKind, Failure};
use ferry_oci::Digest;

use super::super::PullProgress;
use crate::{Shared, shared::Lease};

/// Most members of an archive of images.
const MAX_MEMBERS: u64 = 100_000;

/// Largest document that is kept, in bytes.
const MAX_DOCUMENT: u64 = 4 << 20;

/// Most bytes of documents together.
const MAX_DOCUMENTS: usize = 64 << 20;

/// How many bytes of a layer pass between two messages.
const STRIDE: u64 = 8 << 20;

/// What an archive holds, by cleaned path.
pub(super) struct Contents<'a> {
    pub(super) documents: BTreeMap<String, Vec<u8>>,
    /// Diff ids of the layers that are in the store now, or why one did not get there.
    pub(super) layers: BTreeMap<String, Result<Digest, Failure>>,
    /// Symbolic links: old archives share layers by them.
    pub(super) links: BTreeMap<String, String>,
    /// Nobody may sweep the layers while no image has them yet.
    leases: Vec<Lease<'a>>,
}

impl<'a> Contents<'a> {
    /// Reads to the end of the archive.
    pub(super) fn read(
        shared: &'a Shared,
        mut stream: impl BufRead,
        tell: impl Fn(PullProgress),
    ) -> Result<Contents<'a>, Failure> {
        let start = stream.fill_buf().map_err(broken)?;
        let codec = Codec::detect(start)
            .map_err(|error| Failure::new(ErrorKind::InvalidArgument, error.to_string()))?;
        let plain = BufReader::with_capacity(1 << 18, Decoder::new(codec, stream).map_err(broken)?);
        let limits = Limits { entries: MAX_MEMBERS, ..Limits::default() };
        let mut tar = TarReader::new(plain, limits);
        let mut contents = Contents {
            documents: BTreeMap::new(),
            layers: BTreeMap::new(),
            links: BTreeMap::new(),
            leases: Vec::new(),
        };
        let mut held = 0;
        while let Some(member) = tar.next_member().map_err(Failure::of)? {
            contents.take(shared, member, &mut held, &tell)?;
        }
        Ok(contents)
    }

    fn take<R: BufRead>(
        &mut self,
        shared: &'a Shared,
        mut member: Member<'_, R>,
        held: &mut usize,
        tell: &impl Fn(PullProgress),
    ) -> Result<(), Failure> {
        // A name that leads out of the archive is nothing that a manifest could mean.
        let Some(path) = path_of(&member.entry.path) else { return Ok(()) };
        match member.entry.kind {
            Kind::Symlink | Kind::HardLink => {
                let target = String::from_utf8_lossy(&member.entry.link).into_owned();
                let from = if member.entry.kind == Kind::Symlink { parent(&path) } else { "" };
                if let Some(target) = path_of(format!("{from}/{target}").as_bytes()) {
                    self.links.insert(path, target);
                }
                return Ok(());
            }
            Kind::File => {}
            _ => return Ok(()),
        }
        let mut first = [0_u8; 1];
        if member.read(&mut first).map_err(broken)? == 0 {
            return Ok(());
        }
        let size = member.entry.size;
        let whole = io::Cursor::new(first).chain(&mut member);
        if matches!(first[0], b'{' | b'[') && size <= MAX_DOCUMENT {
            *held += usize::try_from(size).unwrap_or(MAX_DOCUMENTS);
            if *held > MAX_DOCUMENTS {
                let words = "the archive holds more than 64 MiB of documents";
                return Err(Failure::new(ErrorKind::TooLarge, words));
            }
            let mut document = Vec::new();
            whole.take(MAX_DOCUMENT).read_to_end(&mut document).map_err(broken)?;
            self.documents.insert(path, document);
        } else if may_be_layer(&path) {
            self.take_layer(shared, path, size, whole, tell);
        }
        Ok(())
    }

    fn take_layer(
        &mut self,
        shared: &'a Shared,
        path: String,
        size: u64,
        stream: impl Read,
        tell: &impl Fn(PullProgress),
    ) {
        let name = path.rsplit('/').next().unwrap_or_default();
        let named: Option<Digest> = format!("sha256:{name}").parse().ok();
        if let Some(known) = named.filter(|digest| shared.layers.contains(digest)) {
            self.leases.push(shared.lease(std::slice::from_ref(&known)));
            self.layers.insert(path, Ok(known));
            return;
        }
        let id: String = name.chars().take(12).collect();
        let counted = Counted { stream, id, size, done: 0, told: 0, tell };
        let layer = shared.layers.ingest(counted, None);
        let layer = layer.map(|layer| layer.diff_id).map_err(Failure::of);
        if let Ok(diff_id) = &layer {
            self.leases.push(shared.lease(std::slice::from_ref(diff_id)));
        }
        self.layers.insert(path, layer);
    }

    /// Follows links to where something is.
    pub(super) fn resolve<'p>(&'p self, path: &'p str) -> &'p str {
        let mut path = path;
        // As many as the kernel follows.
        for _ in 0..40 {
            match self.links.get(path) {
                Some(target) => path = target,
                None => break,
            }
        }
        path
    }

    /// A document that must be there.
    pub(super) fn document(&self, path: &str) -> Result<&[u8], Failure> {
        self.documents.get(self.resolve(path)).map(Vec::as_slice).ok_or_else(|| {
            let words = format!(
                "the archive is not whole: it names {path}, which is not in it or no JSON document"
            );
            Failure::new(ErrorKind::InvalidArgument, words)
        })
    }

    /// A layer that must be there.
    pub(super) fn layer(&self, path: &str) -> Result<Digest, Failure> {
        match self.layers.get(self.resolve(path)) {
            Some(Ok(diff_id)) => Ok(diff_id.clone()),
            Some(Err(failure)) => Err(failure.clone().context(format!("layer {path}"))),
            None => {
                let words =
                    format!("the archive is not whole: it names layer {path}, which is not in it");
                Err(Failure::new(ErrorKind::InvalidArgument, words))
            }
        }
    }
}

/// A path without `.`, `..` and double slashes; `None` where it leads out or is no text.
fn path_of(raw: &[u8]) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in std::str::from_utf8(raw).ok()?.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Everything else in an archive (`VERSION`, `oci-layout`, a README) is no layer and is passed over.
fn may_be_layer(path: &str) -> bool {
    path.starts_with("blobs/")
        || [".tar", ".tar.gz", ".tgz", ".tar.zst"].iter().any(|end| path.ends_with(end))
}

fn broken(error: io::Error) -> Failure {
    Failure::new(ErrorKind::InvalidArgument, format!("cannot read the archive: {error}"))
}

/// Tells how much of a layer has come by.
struct Counted<'t, R, T> {
    stream: R,
    id: String,
    size: u64,
    done: u64,
    told: u64,
    tell: &'t T,
}

impl<R: Read, T: Fn(PullProgress)> Read for Counted<'_, R, T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.done += count as u64;
        if self.done - self.told >= STRIDE || (count == 0 && self.told < self.done) {
            self.told = self.done;
            (self.tell)(PullProgress {
                id: Some(self.id.clone()),
                status: "Loading layer".to_owned(),
                current: Some(self.done),
                total: Some(self.size),
            });
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::path_of;

    #[test]
    fn paths_stay_inside() {
        assert_eq!(path_of(b"./a//b/../c").as_deref(), Some("a/c"));
        assert_eq!(path_of(b"a/../../etc"), None);
        assert_eq!(path_of(b"./"), None);
    }
}
