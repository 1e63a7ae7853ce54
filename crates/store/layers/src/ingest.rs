//! A stream becomes a layer.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

use ferry_archive::{Clones, DIFF, Options, RecipeWriter, apply};
use ferry_oci::Digest;
use rustix::fs::Mode;

use crate::error::IngestError;
use crate::meta::Meta;
use crate::scratch::Scratch;
use crate::store::{Layer, LayerStore};

impl LayerStore {
    /// Unpacks a layer stream (gzip, zstd or plain tar) and commits it under its diff id.
    ///
    /// Where `expect` names a layer that is here already, the stream is left unread. To abort, let the stream
    /// return an error. Whatever goes wrong, nothing stays behind; if the process dies on the way, the
    /// leftover is swept when the store is opened next.
    pub fn ingest(&self, stream: impl Read, expect: Option<&Digest>) -> Result<Layer, IngestError> {
        self.ingest_cloned(stream, expect, None)
    }

    /// The same of a stream some of whose files are there already, as [`LayerStore::clones`] made them.
    ///
    /// # Errors
    /// As for [`LayerStore::ingest`].
    pub fn ingest_cloned(
        &self,
        stream: impl Read,
        expect: Option<&Digest>,
        clones: Option<&Clones>,
    ) -> Result<Layer, IngestError> {
        if let Some(layer) = expect.and_then(|diff_id| self.get(diff_id)) {
            return Ok(layer);
        }
        let scratch = Scratch::create(&self.root).map_err(IngestError::Prepare)?;
        let (directory, diff) = prepare(&scratch).map_err(IngestError::Prepare)?;
        let recipe = RecipeWriter::create(directory.as_fd()).map_err(IngestError::Prepare)?;
        let options = Options { clones, ..Options::default() };
        let applied = apply(stream, diff.as_fd(), &options, recipe)?;
        let diff_id = applied.diff_id.clone();
        if let Some(expected) = expect.filter(|expected| **expected != diff_id) {
            return Err(IngestError::Mismatch { expected: expected.clone(), actual: diff_id });
        }
        if applied.unpacked.refused_xattrs > 0 {
            let count = applied.unpacked.refused_xattrs;
            tracing::warn!(%diff_id, count, "the kernel refused extended attributes of a layer");
        }
        let meta = Meta::new(&applied, &self.boot_id);
        meta.write(scratch.path()).map_err(IngestError::Commit)?;
        self.commit(scratch, diff_id, &meta).map_err(IngestError::Commit)
    }
}

impl LayerStore {
    /// For files that are to share their blocks with a layer's.
    ///
    /// # Errors
    /// The store cannot be opened.
    pub fn clones(&self) -> std::io::Result<Clones> {
        Clones::of(&self.root)
    }
}

fn prepare(scratch: &Scratch) -> std::io::Result<(File, File)> {
    let directory = File::open(scratch.path())?;
    rustix::fs::mkdirat(&directory, DIFF, Mode::from_raw_mode(0o755))?;
    let diff = File::open(scratch.path().join(DIFF))?;
    // The daemon's umask must not show in containers, whose root directory this may become.
    rustix::fs::fchmod(&diff, Mode::from_raw_mode(0o755))?;
    Ok((directory, diff))
}
