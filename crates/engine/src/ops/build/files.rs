//! A result as files: those of the image, of several platforms each in a directory, and what is said of them as documents beside them.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Seek, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use ferry_archive::{Entry, Kind, Mtime, Source, TarWriter, Times, TreeOptions};
use ferry_errkind::{ErrorKind, Failure};
use ferry_image::Attestation;
use ferry_oci::{Digest, Hasher};
use ferry_stdx::time::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Built, attest, built::Part};
use crate::{
    bridge,
    ops::image::{ImageTree, TreeEntry},
};

/// What documents about files are called, by what they say.
const NAMES: [(&str, &str); 2] =
    [("https://slsa.dev/provenance/", "provenance.json"), (attest::SPDX, "sbom.spdx.json")];

/// Bits of `st_mode` that say what it is.
const DIRECTORY: u32 = 0o040_000;
const PLAIN: u32 = 0o100_000;

/// How the files of a result are laid out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// `platform-split`: each platform in a directory of its own (`linux_amd64`); otherwise where there are several.
    pub split: Option<bool>,
    /// `attestation-prefix`: begins the names of documents.
    pub prefix: String,
}

/// The files of a result, to be read. What they are in stays as long as this.
#[derive(Debug)]
pub struct ResultTree {
    parts: Vec<Files>,
    times: Times,
    /// When what is in no image was made, in seconds.
    made: i64,
}

/// The files of a platform.
#[derive(Debug)]
struct Files {
    /// `linux/amd64`.
    platform: String,
    /// The directory that they are in; empty is none.
    directory: String,
    tree: ImageTree,
    documents: BTreeMap<String, Vec<u8>>,
}

impl Built {
    /// All its files, one by one.
    ///
    /// # Errors
    /// When a layer is not there any more, or two platforms have the same file in one directory.
    pub async fn tree(&self, layout: &Layout) -> Result<ResultTree, Failure> {
        let several = self.parts.len() > 1;
        let split = layout.split.unwrap_or(several);
        let mut parts = Vec::new();
        for part in &self.parts {
            let named = several && !split;
            parts.push(part.files(layout, split, named).await?);
        }
        // Whatever platform was named first.
        parts.sort_by(|one: &Files, other| one.directory.cmp(&other.directory));
        let build = &self.main().build;
        let made = Timestamp::parse_rfc3339(&build.now()).unwrap_or_default().seconds();
        let tree = ResultTree { parts, times: build.request.times(), made };
        if !several || split {
            return Ok(tree);
        }
        crate::blocking(move || tree.entries().map(|_| tree)).await
    }

    /// All its files as a tar.
    ///
    /// # Errors
    /// As for [`Built::tree`].
    pub async fn files(
        &self,
        layout: &Layout,
    ) -> Result<mpsc::Receiver<Result<Bytes, Failure>>, Failure> {
        // Its layers are held as long as they are read, and only they: whoever waits for the last word of the build would wait for its
        // files to be taken.
        let tree = self.tree(layout).await?;
        let (mut writer, pieces) = bridge::pipe();
        tokio::task::spawn_blocking(move || {
            if let Err(why) = tree.write(&mut writer) {
                let words = format!("cannot write the files of the build: {why}");
                writer.fail(Failure::new(ErrorKind::Internal, words));
            }
        });
        Ok(pieces)
    }
}

impl Part {
    async fn files(&self, layout: &Layout, split: bool, named: bool) -> Result<Files, Failure> {
        let Part { build, outcome } = self;
        let platform = attest::platform_of(&outcome.config).to_string();
        let said = build.said(&outcome.id()?, outcome).await?;
        let shared = Arc::clone(&build.engine.shared);
        let (layers, prefix) = (outcome.layers().to_vec(), layout.prefix.clone());
        crate::blocking(move || {
            shared.builds.persist(&shared.layers)?;
            let tree = ImageTree::of(&shared, &layers)?;
            let subjects = if said.is_empty() { Value::Null } else { subjects(&tree)? };
            let mut documents = BTreeMap::new();
            for one in &said {
                let mut name = format!("{prefix}{}", document_name(&one.predicate_type));
                if named && let Some((stem, ending)) = name.rsplit_once('.') {
                    name = format!("{stem}.{}.{ending}", platform.replace('/', "_"));
                }
                documents.insert(name, statement(one, &subjects)?);
            }
            let directory = if split { platform.replace('/', "_") } else { String::new() };
            Ok(Files { platform, directory, tree, documents })
        })
        .await
    }
}

fn document_name(kind: &str) -> &'static str {
    let found = NAMES.iter().find(|(start, _)| kind.starts_with(start));
    found.map_or("attestation.json", |(_, name)| name)
}

/// Every plain file with its digest: what is said is said of them.
fn subjects(tree: &ImageTree) -> Result<Value, Failure> {
    let mut all = Vec::new();
    for entry in tree.entries()? {
        if entry.mode & 0o170_000 != PLAIN {
            continue;
        }
        let mut hasher = Hasher::new();
        let mut file = tree.file(&entry.path)?;
        let read = std::io::copy(&mut file, &mut HashedBy(&mut hasher));
        read.map_err(|error| broken(&entry.path, &error))?;
        let digest: Digest = hasher.finish();
        let name = entry.path.to_string_lossy();
        all.push(json!({ "name": name, "digest": { digest.algorithm(): digest.hex() } }));
    }
    Ok(Value::Array(all))
}

struct HashedBy<'a>(&'a mut Hasher);

impl Write for HashedBy<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn statement(one: &Attestation, subjects: &Value) -> Result<Vec<u8>, Failure> {
    let unreadable = |error: serde_json::Error| {
        Failure::new(ErrorKind::Internal, format!("an attestation does not read: {error}"))
    };
    let predicate: Value = serde_json::from_str(&one.predicate).map_err(unreadable)?;
    let statement = json!({
        "_type": crate::ops::image::STATEMENT,
        "predicateType": one.predicate_type,
        "subject": subjects,
        "predicate": predicate,
    });
    serde_json::to_vec_pretty(&statement).map_err(unreadable)
}

fn broken(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(ErrorKind::Internal, format!("cannot read {}: {error}", path.display()))
}

impl ResultTree {
    /// All files, parents before children, names in order. Blocks.
    ///
    /// # Errors
    /// When the disk fails, or two platforms have the same file in one directory.
    pub fn entries(&self) -> Result<Vec<TreeEntry>, Failure> {
        let mut all: BTreeMap<PathBuf, (TreeEntry, &str)> = BTreeMap::new();
        for part in &self.parts {
            let top = (!part.directory.is_empty()).then(|| self.made(&part.directory, None));
            let documents =
                part.documents.iter().map(|(name, bytes)| self.made(name, Some(bytes.len())));
            let own = documents.chain(part.shown()?).map(|entry| part.below(entry));
            for entry in top.into_iter().chain(own) {
                let directory = entry.mode & 0o170_000 == DIRECTORY;
                if let Some((_, other)) = all.get(&entry.path) {
                    if directory {
                        continue;
                    }
                    let words = format!(
                        "cannot overwrite {} from {other} with {} when split option is disabled",
                        entry.path.display(),
                        part.platform
                    );
                    return Err(Failure::new(ErrorKind::InvalidArgument, words));
                }
                all.insert(entry.path.clone(), (entry, &part.platform));
            }
        }
        // Paths sort by their components.
        Ok(all.into_values().map(|(entry, _)| entry).collect())
    }

    /// Opens a plain file. Blocks.
    ///
    /// # Errors
    /// It is none, or cannot be read.
    pub fn file(&self, path: &Path) -> Result<File, Failure> {
        let mut last = None;
        for part in &self.parts {
            let Ok(own) = path.strip_prefix(&part.directory) else { continue };
            if let Some(bytes) = own.to_str().and_then(|name| part.documents.get(name)) {
                return in_memory(bytes).map_err(|error| broken(path, &error));
            }
            match part.tree.file(own) {
                Ok(file) => return Ok(file),
                Err(failure) => last = Some(failure),
            }
        }
        Err(last.unwrap_or_else(|| {
            Failure::new(ErrorKind::NotFound, format!("there is no {}", path.display()))
        }))
    }

    /// Something that is in no image.
    fn made(&self, name: &str, length: Option<usize>) -> TreeEntry {
        TreeEntry {
            path: PathBuf::from(name),
            mode: if length.is_some() { PLAIN | 0o600 } else { DIRECTORY | 0o755 },
            uid: 0,
            gid: 0,
            size: length.unwrap_or_default() as u64,
            modified: self.made.saturating_mul(1_000_000_000),
            link: None,
            device: (0, 0),
        }
    }

    fn write(&self, out: &mut impl Write) -> Result<(), String> {
        let mut tar = TarWriter::new(out).timed(self.times);
        let mtime = Mtime { seconds: self.made, nanos: 0 };
        for part in &self.parts {
            let directory = part.directory.as_bytes();
            let directory = (!directory.is_empty()).then_some(directory);
            if let Some(path) = directory {
                let path = path.to_vec();
                let top =
                    Entry { path, kind: Kind::Directory, mode: 0o755, mtime, ..Entry::default() };
                tar.append(&top).map_err(|error| error.to_string())?;
            }
            let skip = |path: &[u8]| {
                std::str::from_utf8(path).is_ok_and(|path| part.documents.contains_key(path))
            };
            let options = TreeOptions { skip: &skip, ..TreeOptions::layer(Source::Plain) };
            ferry_archive::write_tree_in(part.tree.as_dir(), directory, &options, &mut tar)
                .map_err(|error| ferry_errkind::chain(&error))?;
            for (name, bytes) in &part.documents {
                let path = Path::new(&part.directory).join(name);
                let size = bytes.len() as u64;
                let path = path.as_os_str().as_bytes().to_vec();
                let entry =
                    Entry { path, mode: 0o600, mtime, size, stored: size, ..Entry::default() };
                tar.append_file(&entry, bytes.as_slice()).map_err(|error| error.to_string())?;
            }
        }
        tar.finish().map(drop).map_err(|error| error.to_string())
    }
}

impl Files {
    /// Those of the image that no document takes the place of.
    fn shown(&self) -> Result<impl Iterator<Item = TreeEntry>, Failure> {
        let hidden = |entry: &TreeEntry| {
            let mut names = self.documents.keys();
            names.any(|name| entry.path.starts_with(name))
        };
        Ok(self.tree.entries()?.into_iter().filter(move |entry| !hidden(entry)))
    }

    fn below(&self, entry: TreeEntry) -> TreeEntry {
        TreeEntry { path: Path::new(&self.directory).join(&entry.path), ..entry }
    }
}

/// Bytes as a file.
fn in_memory(bytes: &[u8]) -> std::io::Result<File> {
    let made = rustix::fs::memfd_create("document", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = File::from(made);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}
