//! The archive, member by member: layers to the store, documents to memory.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek},
    os::unix::fs::FileExt,
    sync::{Mutex, PoisonError},
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

const LIMITS: Limits = Limits { entries: MAX_MEMBERS, ..Limits::DEFAULT };

/// Largest document that is kept, in bytes.
const MAX_DOCUMENT: u64 = 4 << 20;

/// Most bytes of documents together.
const MAX_DOCUMENTS: usize = 64 << 20;

/// How many bytes of a layer pass between two messages.
const STRIDE: u64 = 8 << 20;

/// Layers of a file that are unpacked at once: each keeps up to two cores busy, one with digests and one with files.
const AT_ONCE: usize = 4;

/// What an archive holds, by cleaned path.
pub(super) struct Contents<'a> {
    pub(super) documents: BTreeMap<String, Vec<u8>>,
    /// Diff ids of the layers that are in the store now, or why one did not get there.
    pub(super) layers: BTreeMap<String, Result<Digest, Failure>>,
    /// Symbolic links: old archives share layers by them.
    pub(super) links: BTreeMap<String, String>,
    /// Bytes of documents so far.
    held: usize,
    /// Nobody may sweep the layers while no image has them yet.
    leases: Vec<Lease<'a>>,
    shared: &'a Shared,
}

/// A member that may be a layer.
struct Found {
    path: String,
    size: u64,
    offset: u64,
    /// What was read of it.
    first: [u8; 1],
}

impl<'a> Contents<'a> {
    fn new(shared: &'a Shared) -> Contents<'a> {
        Contents {
            documents: BTreeMap::new(),
            layers: BTreeMap::new(),
            links: BTreeMap::new(),
            held: 0,
            leases: Vec::new(),
            shared,
        }
    }

    /// Reads a stream to the end of the archive: its layers one after the other, as they come by.
    pub(super) fn read(
        shared: &'a Shared,
        mut stream: impl BufRead,
        tell: impl Fn(PullProgress),
    ) -> Result<Contents<'a>, Failure> {
        let codec = codec_of(stream.fill_buf().map_err(broken)?)?;
        let plain = BufReader::with_capacity(1 << 18, Decoder::new(codec, stream).map_err(broken)?);
        let mut tar = TarReader::new(plain, LIMITS);
        let mut contents = Contents::new(shared);
        while let Some(mut member) = tar.next_member().map_err(Failure::of)? {
            if let Some(found) = contents.note(&mut member)? {
                let whole = io::Cursor::new(found.first).chain(&mut member);
                let kept = keep_layer(shared, &found, whole, &tell);
                contents.add(found.path, kept);
            }
        }
        Ok(contents)
    }

    /// Reads a file: first what is in it, then its layers, several at once.
    pub(super) fn read_file(
        shared: &'a Shared,
        file: &File,
        tell: impl Fn(PullProgress) + Sync,
    ) -> Result<Contents<'a>, Failure> {
        let length = file.metadata().map_err(broken)?.len();
        let mut start = BufReader::with_capacity(512, Part::new(file, 0, length));
        if codec_of(start.fill_buf().map_err(broken)?)? != Codec::Plain {
            let whole = BufReader::with_capacity(1 << 18, Part::new(file, 0, length));
            return Contents::read(shared, whole, tell);
        }
        let mut tar = TarReader::new(start, LIMITS);
        let mut contents = Contents::new(shared);
        let mut found = Vec::new();
        while let Some(mut member) = tar.next_member().map_err(Failure::of)? {
            found.extend(contents.note(&mut member)?);
            tar.seek_over().map_err(Failure::of)?;
        }
        let workers = found.len().min(AT_ONCE);
        let (queue, kept) = (Mutex::new(found.into_iter()), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    loop {
                        // The guard must be gone before the work begins.
                        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                        let Some(layer) = next else { break };
                        let part = Part::new(file, layer.offset, layer.size);
                        let done = keep_layer(shared, &layer, part, &tell);
                        kept.lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push((layer.path, done));
                    }
                });
            }
        });
        for (path, done) in kept.into_inner().unwrap_or_else(PoisonError::into_inner) {
            contents.add(path, done);
        }
        Ok(contents)
    }

    /// Takes a document or a link down; answers what may be a layer.
    fn note<R: BufRead>(&mut self, member: &mut Member<'_, R>) -> Result<Option<Found>, Failure> {
        // A name that leads out of the archive is nothing that a manifest could mean.
        let Some(path) = path_of(&member.entry.path) else { return Ok(None) };
        match member.entry.kind {
            Kind::Symlink | Kind::HardLink => {
                let target = String::from_utf8_lossy(&member.entry.link).into_owned();
                let from = if member.entry.kind == Kind::Symlink { parent(&path) } else { "" };
                if let Some(target) = path_of(format!("{from}/{target}").as_bytes()) {
                    self.links.insert(path, target);
                }
                return Ok(None);
            }
            Kind::File => {}
            _ => return Ok(None),
        }
        let mut first = [0_u8; 1];
        if member.read(&mut first).map_err(broken)? == 0 {
            return Ok(None);
        }
        let size = member.entry.size;
        if matches!(first[0], b'{' | b'[') && size <= MAX_DOCUMENT {
            self.held += usize::try_from(size).unwrap_or(MAX_DOCUMENTS);
            if self.held > MAX_DOCUMENTS {
                let words = "the archive holds more than 64 MiB of documents";
                return Err(Failure::new(ErrorKind::TooLarge, words));
            }
            let mut document = first.to_vec();
            member.take(MAX_DOCUMENT).read_to_end(&mut document).map_err(broken)?;
            self.documents.insert(path, document);
            return Ok(None);
        }
        let offset = member.offset;
        Ok(may_be_layer(&path).then_some(Found { path, size, offset, first }))
    }

    fn add(&mut self, path: String, (layer, lease): (Result<Digest, Failure>, Option<Lease<'a>>)) {
        self.leases.extend(lease);
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

    /// A layer that must be there: in the archive, or here already. An archive may lack what its receiver has, as with Docker.
    pub(super) fn layer(&self, path: &str, wanted: &Digest) -> Result<Digest, Failure> {
        match self.layers.get(self.resolve(path)) {
            Some(Ok(diff_id)) => Ok(diff_id.clone()),
            Some(Err(failure)) => Err(failure.clone().context(format!("layer {path}"))),
            // Whoever takes it away before the image is kept is noticed there.
            None if self.shared.layers.contains(wanted) => Ok(wanted.clone()),
            None => {
                let words =
                    format!("the archive is not whole: it names layer {path}, which is not in it");
                Err(Failure::new(ErrorKind::InvalidArgument, words))
            }
        }
    }
}

/// Puts a layer into the store, unless it is there under its name already.
fn keep_layer<'a>(
    shared: &'a Shared,
    found: &Found,
    stream: impl Read,
    tell: &impl Fn(PullProgress),
) -> (Result<Digest, Failure>, Option<Lease<'a>>) {
    let name = found.path.rsplit('/').next().unwrap_or_default();
    let named: Option<Digest> = format!("sha256:{name}").parse().ok();
    if let Some(known) = named.and_then(|digest| shared.layers.get(&digest)) {
        let lease = shared.lease(std::slice::from_ref(&known.diff_id));
        return (Ok(known.diff_id), Some(lease));
    }
    let id: String = name.chars().take(12).collect();
    let counted = Counted { stream, id, size: found.size, done: 0, told: 0, tell };
    match shared.layers.ingest(counted, None) {
        Ok(layer) => {
            let lease = shared.lease(std::slice::from_ref(&layer.diff_id));
            (Ok(layer.diff_id), Some(lease))
        }
        Err(error) => (Err(Failure::of(error)), None),
    }
}

fn codec_of(start: &[u8]) -> Result<Codec, Failure> {
    Codec::detect(start)
        .map_err(|error| Failure::new(ErrorKind::InvalidArgument, error.to_string()))
}

/// A stretch of a file, whatever the file's own position: the client that handed it over shares that one.
struct Part<'f> {
    file: &'f File,
    at: u64,
    end: u64,
}

impl<'f> Part<'f> {
    fn new(file: &'f File, at: u64, length: u64) -> Part<'f> {
        Part { file, at, end: at.saturating_add(length) }
    }
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.end.saturating_sub(self.at);
        let wanted = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = self.file.read_at(&mut buffer[..wanted], self.at)?;
        if read == 0 && wanted > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "archive is truncated"));
        }
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Part<'_> {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        let at = match to {
            io::SeekFrom::Start(at) => Some(at),
            io::SeekFrom::Current(distance) => self.at.checked_add_signed(distance),
            io::SeekFrom::End(distance) => self.end.checked_add_signed(distance),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
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
