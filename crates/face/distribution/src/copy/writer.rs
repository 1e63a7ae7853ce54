//! An archive to be: what `load` reads, docker's and ours, and an OCI layout at the same time.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use ferry_archive::{Entry, Kind, TarWriter};
use ferry_oci::{Digest, Manifest, Reference, media};
use ferry_transfer::RawManifest;
use serde_json::{Value, json};

use super::{error::CopyError, stream::Stream};

/// A tar that blobs are appended to.
#[derive(Debug)]
pub(super) struct Writer {
    tar: TarWriter<BufWriter<File>>,
    path: PathBuf,
    written: HashSet<Digest>,
}

impl Writer {
    pub(super) fn new(file: File, path: &Path) -> Writer {
        let tar = TarWriter::new(BufWriter::with_capacity(256 << 10, file));
        Writer { tar, path: path.to_owned(), written: HashSet::new() }
    }

    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.written.contains(digest)
    }

    fn broken(&self) -> impl FnOnce(io::Error) -> CopyError + use<> {
        CopyError::file("write", self.path.clone())
    }

    /// Appends a blob of this size.
    pub(super) async fn blob(
        &mut self,
        digest: &Digest,
        size: u64,
        mut from: Stream,
    ) -> Result<(), CopyError> {
        let broken = self.broken();
        self.tar.begin(&file(&blob(digest), size)).map_err(broken)?;
        let mut came = 0;
        while let Some(piece) = from.next().await? {
            came += piece.len() as u64;
            let broken = self.broken();
            self.tar.piece(&piece).map_err(broken)?;
        }
        if came != size {
            return Err(CopyError::Digest(digest.clone()));
        }
        self.written.insert(digest.clone());
        let broken = self.broken();
        self.tar.end(size).map_err(broken)
    }

    fn document(&mut self, name: &str, bytes: &[u8]) -> Result<(), CopyError> {
        let broken = self.broken();
        self.tar.append_file(&file(name, bytes.len() as u64), bytes).map_err(broken)
    }

    /// Ends the archive of one image; its file.
    pub(super) fn finish(
        mut self,
        manifest: &RawManifest,
        name: Option<&Reference>,
    ) -> Result<File, CopyError> {
        let read: Manifest = serde_json::from_slice(&manifest.json).map_err(|error| {
            CopyError::Wrong { place: manifest.digest.to_string(), what: error.to_string() }
        })?;
        self.document(&blob(&manifest.digest), &manifest.json)?;
        let mut entry = json!({
            "mediaType": manifest.media_type,
            "digest": manifest.digest,
            "size": manifest.json.len(),
        });
        if let Some(name) = name {
            entry["annotations"] = json!({
                "io.containerd.image.name": name.canonical(),
                "org.opencontainers.image.ref.name": name.tag().unwrap_or_default(),
            });
        }
        let index =
            json!({ "schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": [entry] });
        let tags = name.map_or(Value::Null, |name| json!([name.familiar()]));
        let layers: Vec<String> = read.layers.iter().map(|layer| blob(&layer.digest)).collect();
        let item = json!([
            { "Config": blob(&read.config.digest), "RepoTags": tags, "Layers": layers }
        ]);
        self.document("index.json", index.to_string().as_bytes())?;
        self.document("manifest.json", item.to_string().as_bytes())?;
        self.document("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let broken = self.broken();
        let ended = self.tar.finish().and_then(|mut out| {
            out.flush()?;
            out.into_inner().map_err(io::IntoInnerError::into_error)
        });
        ended.map_err(broken)
    }
}

fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn file(name: &str, size: u64) -> Entry {
    Entry {
        path: name.as_bytes().to_vec(),
        kind: Kind::File,
        mode: 0o644,
        size,
        stored: size,
        ..Entry::default()
    }
}
