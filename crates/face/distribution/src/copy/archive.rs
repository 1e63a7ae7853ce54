//! What `save` writes, and `docker save` of all times: a tar with `manifest.json`, configurations and layers.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use ferry_archive::{
    Kind, Limits, TarReader,
    compress::{Codec, Gzip, MAGIC_LENGTH},
};
use ferry_oci::{Descriptor, Digest, Hasher, ImageConfig, Manifest, Reference, media};
use ferry_transfer::{RawManifest, composed};
use serde::Deserialize;
use serde_json::Value;

use super::{
    error::CopyError,
    stream::{Hashed, Section, Stream, nameless},
};

/// Documents of an archive are never larger.
const MAX_DOCUMENT: u64 = 8 << 20;
/// Members of an archive: an image with a hundred layers has a few hundred.
const MAX_MEMBERS: u64 = 100_000;

/// An image of `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Where a blob's bytes are.
#[derive(Debug)]
enum Bytes {
    /// In the archive.
    Member(u64, u64),
    /// Compressed from there into a file without a name.
    Made(File, u64),
}

/// An image in an archive, with the manifest that it has as blobs.
#[derive(Debug)]
pub(super) struct Archive {
    file: File,
    path: PathBuf,
    members: HashMap<String, (u64, u64)>,
    blobs: HashMap<Digest, Bytes>,
    manifest: Option<RawManifest>,
}

impl Archive {
    /// Opens the image of this name, or the only one. With `compress`, layers that are not compressed are, in the way in which `push`
    /// does it: a registry has them as the same blobs then.
    pub(super) fn open(
        file: File,
        path: &Path,
        name: Option<&Reference>,
        compress: bool,
    ) -> Result<Archive, CopyError> {
        let members = members(&file, path)?;
        let mut archive =
            Archive { file, path: path.to_owned(), members, blobs: HashMap::new(), manifest: None };
        let items: Vec<Item> = serde_json::from_slice(&archive.document("manifest.json")?)
            .map_err(|error| archive.wrong(format!("manifest.json: {error}")))?;
        let item = archive.choose(items, name)?;
        archive.read(&item, compress)?;
        Ok(archive)
    }

    fn wrong(&self, what: impl Into<String>) -> CopyError {
        CopyError::Wrong { place: self.place(), what: what.into() }
    }

    fn missing(&self, what: &str) -> CopyError {
        CopyError::Missing { place: self.place(), what: what.to_owned() }
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn choose(&self, items: Vec<Item>, name: Option<&Reference>) -> Result<Item, CopyError> {
        let tags = |item: &Item| item.repo_tags.clone().unwrap_or_default();
        let all: Vec<String> = items.iter().flat_map(tags).collect();
        let is = |tag: &String, name: &Reference| {
            Reference::parse(tag).is_ok_and(|tag| tag.with_default_tag() == *name)
        };
        let count = items.len();
        let mut fitting = items.into_iter().filter(|item| match name {
            Some(name) => tags(item).iter().any(|tag| is(tag, name)),
            None => true,
        });
        match (fitting.next(), name) {
            (Some(_), None) if count > 1 => {
                Err(self.wrong(format!("it has several images: name one of {}", all.join(", "))))
            }
            (Some(item), _) => Ok(item),
            (None, Some(name)) => Err(self.missing(&format!("image {}", name.familiar()))),
            (None, None) => Err(self.missing("image")),
        }
    }

    fn read(&mut self, item: &Item, compress: bool) -> Result<(), CopyError> {
        let config_json = self.document(&item.config)?;
        let config = ImageConfig::parse(&config_json)
            .map_err(|error| self.wrong(format!("{}: {error}", item.config)))?;
        let digest = Digest::sha256_of(&config_json);
        let size = config_json.len() as u64;
        let (at, _) = self.member(&item.config)?;
        self.blobs.insert(digest.clone(), Bytes::Member(at, size));
        if config.rootfs.diff_ids.len() != item.layers.len() {
            return Err(self.wrong("configuration and list of layers differ"));
        }
        let mut layers = Vec::new();
        for (path, diff_id) in item.layers.iter().zip(&config.rootfs.diff_ids) {
            layers.push(self.layer(path, diff_id, compress)?);
        }
        let own = self.own_manifest(&digest, &layers)?;
        self.manifest = Some(match own {
            Some(own) => own,
            None => {
                let (media_type, json) =
                    composed(digest, size, &layers).map_err(CopyError::Compose)?;
                let digest = Digest::sha256_of(&json);
                RawManifest { media_type, json, digest }
            }
        });
        Ok(())
    }

    /// A layer as a blob, compressed if that is asked for.
    fn layer(
        &mut self,
        path: &str,
        diff_id: &Digest,
        compress: bool,
    ) -> Result<Descriptor, CopyError> {
        let (at, size) = self.member(path)?;
        let mut start = Vec::new();
        let few = size.min(MAGIC_LENGTH as u64);
        self.section(at, few)?.read_to_end(&mut start).map_err(self.broken())?;
        let codec =
            Codec::detect(&start).map_err(|error| self.wrong(format!("{path}: {error}")))?;
        let media_type = match codec {
            Codec::Plain if !compress => {
                self.blobs.insert(diff_id.clone(), Bytes::Member(at, size));
                return Ok(described(media::OCI_LAYER, diff_id.clone(), size));
            }
            Codec::Plain => return self.compressed(at, size),
            Codec::Gzip => media::DOCKER_LAYER_GZIP,
            Codec::Zstd => media::OCI_LAYER_ZSTD,
            Codec::Xz | Codec::Bzip2 => {
                return Err(self.wrong(format!("{path} is compressed as no registry has it")));
            }
        };
        let mut hashed = Hashed { out: std::io::sink(), hasher: Hasher::new(), size: 0 };
        std::io::copy(&mut self.section(at, size)?, &mut hashed).map_err(self.broken())?;
        let digest = hashed.hasher.finish();
        self.blobs.insert(digest.clone(), Bytes::Member(at, size));
        Ok(described(media_type, digest, size))
    }

    fn compressed(&mut self, at: u64, size: u64) -> Result<Descriptor, CopyError> {
        let out = std::io::BufWriter::new(nameless()?);
        let mut hashed = Hashed { out, hasher: Hasher::new(), size: 0 };
        let mut gzip = Gzip::new(BufReader::with_capacity(128 << 10, self.section(at, size)?));
        std::io::copy(&mut gzip, &mut hashed).map_err(self.broken())?;
        let Hashed { out, hasher, size } = hashed;
        let made = out.into_inner().map_err(std::io::IntoInnerError::into_error);
        let made = made.map_err(self.broken())?;
        let digest = hasher.finish();
        self.blobs.insert(digest.clone(), Bytes::Made(made, size));
        Ok(described(media::DOCKER_LAYER_GZIP, digest, size))
    }

    /// The manifest that the archive has of just these blobs: an image keeps its digest then.
    fn own_manifest(
        &mut self,
        config: &Digest,
        layers: &[Descriptor],
    ) -> Result<Option<RawManifest>, CopyError> {
        if !self.members.contains_key("index.json") {
            return Ok(None);
        }
        let index: Value =
            serde_json::from_slice(&self.document("index.json")?).unwrap_or_default();
        let entries = index["manifests"].as_array().cloned().unwrap_or_default();
        for entry in entries {
            let parsed: Result<Digest, _> = entry["digest"].as_str().unwrap_or_default().parse();
            let Ok(digest) = parsed else { continue };
            let path = format!("blobs/sha256/{}", digest.hex());
            let Ok(json) = self.document(&path) else { continue };
            let Ok(manifest) = serde_json::from_slice::<Manifest>(&json) else { continue };
            let same = manifest.config.digest == *config
                && manifest.layers.len() == layers.len()
                && manifest
                    .layers
                    .iter()
                    .zip(layers)
                    .all(|(one, other)| one.digest == other.digest);
            if same && Digest::sha256_of(&json) == digest {
                let media_type = entry["mediaType"].as_str().unwrap_or(media::OCI_MANIFEST);
                let media_type = media_type.to_owned();
                return Ok(Some(RawManifest { media_type, json: json.into(), digest }));
            }
        }
        Ok(None)
    }

    /// The image's manifest.
    pub(super) fn top(&self) -> Result<RawManifest, CopyError> {
        self.manifest.clone().ok_or_else(|| self.missing("image"))
    }

    /// A blob of it.
    pub(super) fn blob(&self, digest: &Digest) -> Result<Stream, CopyError> {
        let (file, place) = match self.blobs.get(digest) {
            Some(Bytes::Member(at, size)) => (&self.file, (*at, *size)),
            Some(Bytes::Made(file, size)) => (file, (0, *size)),
            None => return Err(self.missing(&format!("blob {digest}"))),
        };
        // Readers at the same time would share a position.
        let file = reopened(file).map_err(CopyError::file("open", &self.path))?;
        Ok(Stream::Local(Section::open(file, self.path.clone(), place, digest.clone())?))
    }

    fn document(&self, path: &str) -> Result<Vec<u8>, CopyError> {
        let (at, size) = self.member(path)?;
        if size > MAX_DOCUMENT {
            return Err(self.wrong(format!("{path} is too large")));
        }
        let mut bytes = Vec::new();
        self.section(at, size)?.read_to_end(&mut bytes).map_err(self.broken())?;
        Ok(bytes)
    }

    fn member(&self, path: &str) -> Result<(u64, u64), CopyError> {
        self.members.get(path).copied().ok_or_else(|| self.missing(path))
    }

    fn section(&self, at: u64, size: u64) -> Result<impl Read + use<>, CopyError> {
        let mut file = reopened(&self.file).map_err(CopyError::file("open", &self.path))?;
        file.seek(SeekFrom::Start(at)).map_err(self.broken())?;
        Ok(file.take(size))
    }

    fn broken(&self) -> impl FnOnce(std::io::Error) -> CopyError + use<> {
        CopyError::file("read", self.path.clone())
    }
}

/// The same file with a position of its own, also where it has no name any more.
fn reopened(file: &File) -> std::io::Result<File> {
    use std::os::fd::AsRawFd;
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn described(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        urls: Vec::new(),
        annotations: BTreeMap::new(),
        platform: None,
        artifact_type: None,
    }
}

/// Where the members of an archive are, by their names. Old archives have links among them, for layers that images share.
fn members(file: &File, path: &Path) -> Result<HashMap<String, (u64, u64)>, CopyError> {
    let broken = |source| CopyError::Archive { path: path.to_owned(), source };
    let mut reader = BufReader::new(reopened(file).map_err(CopyError::file("open", path))?);
    let mut magic = [0; 2];
    let compressed = reader.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
    if compressed {
        return Err(CopyError::Wrong {
            place: path.display().to_string(),
            what: "it is compressed: unpack it with gunzip first".to_owned(),
        });
    }
    reader.seek(SeekFrom::Start(0)).map_err(CopyError::file("read", path))?;
    let mut tar = TarReader::new(reader, Limits { entries: MAX_MEMBERS, ..Limits::default() });
    let (mut found, mut links) = (HashMap::new(), Vec::new());
    while let Some(member) = tar.next_member().map_err(broken)? {
        let name = clean(&String::from_utf8_lossy(&member.entry.path));
        match member.entry.kind {
            Kind::File if member.entry.sparse.is_none() => {
                found.insert(name, (member.offset, member.entry.stored));
            }
            kind @ (Kind::Symlink | Kind::HardLink) => {
                let target = String::from_utf8_lossy(&member.entry.link).into_owned();
                // A hard link's target is a name of the archive, a symbolic link's begins beside the link.
                let from = match kind {
                    Kind::Symlink => name.rsplit_once('/').map_or("", |(directory, _)| directory),
                    _ => "",
                };
                links.push((clean(&format!("{from}/{target}")), name));
            }
            _ => {}
        }
        tar.seek_over().map_err(broken)?;
    }
    for (target, name) in links {
        if let Some(place) = found.get(&target).copied() {
            found.entry(name).or_insert(place);
        }
    }
    Ok(found)
}

/// A path without `.`, `..` and empty parts.
fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn paths_of_members() {
        for (path, expected) in
            [("./a//b", "a/b"), ("x/../y/layer.tar", "y/layer.tar"), ("../../etc", "etc"), ("", "")]
        {
            assert_eq!(clean(path), expected);
        }
    }
}
