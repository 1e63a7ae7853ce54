//! An OCI layout: a directory with `blobs/sha256/…`, `index.json` and `oci-layout`.

use std::{
    cell::RefCell,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use ferry_oci::{Descriptor, Digest, Index, MAX_MANIFEST, media};
use ferry_transfer::RawManifest;
use serde_json::{Value, json};

use super::{
    error::CopyError,
    stream::{Section, Stream},
};

/// The annotation that names what is in a layout.
const NAME: &str = "org.opencontainers.image.ref.name";

/// A layout, and the image of it that is meant.
#[derive(Debug)]
pub(super) struct Layout {
    root: PathBuf,
    name: Option<String>,
    index: RefCell<Value>,
}

impl Layout {
    /// Opens one that is there.
    pub(super) fn open(root: &Path, name: Option<String>) -> Result<Layout, CopyError> {
        let path = root.join("index.json");
        let bytes = fs::read(&path).map_err(CopyError::file("read", &path))?;
        let index = serde_json::from_slice(&bytes).map_err(|error| CopyError::Wrong {
            place: path.display().to_string(),
            what: error.to_string(),
        })?;
        Ok(Layout { root: root.to_owned(), name, index: RefCell::new(index) })
    }

    /// Opens one, or makes it.
    pub(super) fn create(root: &Path, name: Option<String>) -> Result<Layout, CopyError> {
        if root.join("index.json").is_file() {
            return Layout::open(root, name);
        }
        let blobs = root.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(CopyError::file("make directory", &blobs))?;
        let marker = root.join("oci-layout");
        fs::write(&marker, br#"{"imageLayoutVersion":"1.0.0"}"#)
            .map_err(CopyError::file("write", &marker))?;
        let index = json!({ "schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": [] });
        Ok(Layout { root: root.to_owned(), name, index: RefCell::new(index) })
    }

    fn place(&self) -> String {
        format!("oci:{}", self.root.display())
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.algorithm()).join(digest.hex())
    }

    fn entries(&self) -> Result<Vec<Descriptor>, CopyError> {
        let index: Index =
            serde_json::from_value(self.index.borrow().clone()).map_err(|error| {
                CopyError::Wrong { place: self.place(), what: format!("index.json: {error}") }
            })?;
        Ok(index.manifests)
    }

    /// The image that is meant: that of the name, or the only one.
    pub(super) fn top(&self) -> Result<RawManifest, CopyError> {
        let entries = self.entries()?;
        let named = |entry: &&Descriptor| match &self.name {
            Some(name) => entry.annotations.get(NAME) == Some(name),
            None => true,
        };
        let mut found = entries.iter().filter(named);
        let missing = |what: String| CopyError::Missing { place: self.place(), what };
        let first = found.next().ok_or_else(|| match &self.name {
            Some(name) => missing(format!("image {name}")),
            None => missing("image".to_owned()),
        })?;
        if self.name.is_none() && found.any(|other| other.digest != first.digest) {
            let names: Vec<&str> = entries
                .iter()
                .filter_map(|it| it.annotations.get(NAME))
                .map(String::as_str)
                .collect();
            return Err(CopyError::Wrong {
                place: self.place(),
                what: format!("it has several images: name one of {}", names.join(", ")),
            });
        }
        let found = self.manifest(first)?;
        found.ok_or_else(|| missing(format!("manifest {}", first.digest)))
    }

    /// A manifest by what lists it, which also says what it is: the manifest itself need not.
    pub(super) fn manifest(&self, entry: &Descriptor) -> Result<Option<RawManifest>, CopyError> {
        let digest = &entry.digest;
        let path = self.path(digest);
        let json = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Ok(metadata) if metadata.len() > MAX_MANIFEST as u64 => {
                let what = format!("manifest {digest} is too large");
                return Err(CopyError::Wrong { place: self.place(), what });
            }
            _ => fs::read(&path).map_err(CopyError::file("read", &path))?,
        };
        if Digest::sha256_of(&json) != *digest {
            return Err(CopyError::Digest(digest.clone()));
        }
        let value: Value = serde_json::from_slice(&json).unwrap_or_default();
        let media_type = value["mediaType"].as_str().unwrap_or(&entry.media_type).to_owned();
        Ok(Some(RawManifest { media_type, json: json.into(), digest: digest.clone() }))
    }

    /// A blob.
    pub(super) fn blob(&self, digest: &Digest) -> Result<Stream, CopyError> {
        let path = self.path(digest);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(CopyError::Missing {
                    place: self.place(),
                    what: format!("blob {digest}"),
                });
            }
            file => file.map_err(CopyError::file("open", &path))?,
        };
        let size = file.metadata().map_err(CopyError::file("read", &path))?.len();
        Ok(Stream::Local(Section::open(file, path, (0, size), digest.clone())?))
    }

    /// What is listed and about a manifest.
    pub(super) fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>, CopyError> {
        let mut about = Vec::new();
        for entry in self.entries()? {
            let Some(manifest) = self.manifest(&entry)? else { continue };
            let value: Value = serde_json::from_slice(&manifest.json).unwrap_or_default();
            if value["subject"]["digest"].as_str() == Some(digest.to_string().as_str()) {
                about.push(entry);
            }
        }
        Ok(about)
    }

    /// What is listed under a name.
    pub(super) fn named(&self, name: &str) -> Result<Option<RawManifest>, CopyError> {
        let entries = self.entries()?;
        let found = entries.iter().find(|it| it.annotations.get(NAME).is_some_and(|it| it == name));
        found.map_or(Ok(None), |entry| self.manifest(entry))
    }

    /// Whether a blob is there.
    pub(super) fn has(&self, digest: &Digest, size: u64) -> bool {
        fs::metadata(self.path(digest)).is_ok_and(|metadata| metadata.len() == size)
    }

    /// Keeps a blob, all of it or nothing.
    pub(super) async fn put(&self, digest: &Digest, mut from: Stream) -> Result<(), CopyError> {
        let path = self.path(digest);
        // Another copy may bring the same blob.
        let temporary = path.with_extension(format!("{}.partial", std::process::id()));
        let kept = async {
            let mut file = File::create(&temporary).map_err(CopyError::file("make", &temporary))?;
            while let Some(piece) = from.next().await? {
                file.write_all(&piece).map_err(CopyError::file("write", &temporary))?;
            }
            fs::rename(&temporary, &path).map_err(CopyError::file("write", &path))
        };
        let kept = kept.await;
        if kept.is_err() {
            // What is left of it helps nobody.
            drop(fs::remove_file(&temporary));
        }
        kept
    }

    /// Keeps a manifest; a listed one is an image of its own, under a name or none.
    pub(super) fn put_manifest(
        &self,
        manifest: &RawManifest,
        listed: Option<Option<&str>>,
    ) -> Result<(), CopyError> {
        let path = self.path(&manifest.digest);
        fs::write(&path, &manifest.json).map_err(CopyError::file("write", &path))?;
        let Some(name) = listed else { return Ok(()) };
        let digest = manifest.digest.to_string();
        let mut entry = json!({
            "mediaType": manifest.media_type,
            "digest": digest,
            "size": manifest.json.len(),
        });
        if let Some(name) = name {
            entry["annotations"] = json!({ NAME: name });
        }
        // Until it is written: others may copy into this layout, too.
        let _locked = self.lock()?;
        self.read_again()?;
        {
            let mut index = self.index.borrow_mut();
            let Some(entries) = index["manifests"].as_array_mut() else {
                let what = "index.json lists no manifests".to_owned();
                return Err(CopyError::Wrong { place: self.place(), what });
            };
            entries.retain(|other| match other["annotations"][NAME].as_str() {
                Some(theirs) => Some(theirs) != name,
                None => name.is_some() || other["digest"] != digest.as_str(),
            });
            entries.push(entry);
        }
        self.write_index()
    }

    /// Waits until nobody else changes the list.
    fn lock(&self) -> Result<File, CopyError> {
        let path = self.root.join("oci-layout");
        let file = File::open(&path).map_err(CopyError::file("open", &path))?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)
            .map_err(|error| CopyError::file("lock", &path)(error.into()))?;
        Ok(file)
    }

    /// Takes in what others have listed meanwhile.
    fn read_again(&self) -> Result<(), CopyError> {
        let path = self.root.join("index.json");
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(CopyError::file("read", &path)(error)),
            Ok(bytes) => {
                let index = serde_json::from_slice(&bytes).map_err(|error| CopyError::Wrong {
                    place: path.display().to_string(),
                    what: error.to_string(),
                })?;
                self.index.replace(index);
                Ok(())
            }
        }
    }

    /// The name of the image that is to come.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn write_index(&self) -> Result<(), CopyError> {
        let path = self.root.join("index.json");
        let temporary = self.root.join(".index.json");
        fs::write(&temporary, self.index.borrow().to_string())
            .map_err(CopyError::file("write", &temporary))?;
        fs::rename(&temporary, &path).map_err(CopyError::file("write", &path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_what_its_entry_says_that_it_is() {
        let root = std::env::temp_dir().join(format!("ferry-layout-{}", std::process::id()));
        drop(fs::remove_dir_all(&root));
        let layout = Layout::create(&root, None).unwrap();
        // OCI has the field since 1.1 only.
        let json = bytes::Bytes::from_static(br#"{"schemaVersion":2,"layers":[]}"#);
        let digest = Digest::sha256_of(&json);
        let media_type = media::OCI_MANIFEST.to_owned();
        let manifest = RawManifest { media_type, json, digest };
        layout.put_manifest(&manifest, Some(Some("v1"))).unwrap();
        assert_eq!(layout.top().unwrap(), manifest);
        assert_eq!(layout.named("v1").unwrap(), Some(manifest));
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn two_copies_at_once_are_both_listed() {
        let root = std::env::temp_dir().join(format!("ferry-layout-two-{}", std::process::id()));
        drop(fs::remove_dir_all(&root));
        // Each has seen the list before the others wrote it.
        let layouts: Vec<Layout> =
            (0..8).map(|at| Layout::create(&root, Some(format!("v{at}"))).unwrap()).collect();
        std::thread::scope(|scope| {
            for (at, layout) in layouts.into_iter().enumerate() {
                scope.spawn(move || {
                    let json = bytes::Bytes::from(format!("{{\"schemaVersion\":2,\"n\":{at}}}"));
                    let digest = Digest::sha256_of(&json);
                    let media_type = media::OCI_MANIFEST.to_owned();
                    let manifest = RawManifest { media_type, json, digest };
                    layout.put_manifest(&manifest, Some(layout.name())).unwrap();
                });
            }
        });
        let layout = Layout::open(&root, None).unwrap();
        assert_eq!(layout.entries().unwrap().len(), 8);
        fs::remove_dir_all(&root).unwrap();
    }
}
