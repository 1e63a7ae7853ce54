//! What has come of a layer, on disk for the next attempt.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use ferry_oci::Digest;

/// Smaller layers are fetched again rather than kept: a file costs more than their bytes.
const WORTH_KEEPING: u64 = 1 << 20;

/// Removes partial files that nobody has written to for a while: what is not fetched again within days never is.
pub fn sweep_partials(directory: &Path, older_than: Duration) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let age = entry.metadata().and_then(|meta| meta.modified()).ok();
        let age = age.and_then(|modified| modified.elapsed().ok());
        if path.extension().is_some_and(|extension| extension == "partial")
            && age.is_some_and(|age| age > older_than)
            && let Err(error) = fs::remove_file(&path)
        {
            tracing::warn!(?path, %error, "an old partial file of a layer stays");
        }
    }
}

/// A file that grows with the layer. It is only ever an advantage: when it cannot be written, the pull goes on without.
#[derive(Debug)]
pub(crate) struct Partial {
    path: PathBuf,
    file: Option<File>,
    /// Bytes that an earlier attempt left and nobody has read yet.
    left: u64,
}

impl Partial {
    /// Opens what an earlier attempt left, or starts anew.
    pub(crate) fn open(directory: &Path, digest: &Digest, size: u64) -> Partial {
        let path = directory.join(format!("{}.partial", digest.hex()));
        if size < WORTH_KEEPING {
            return Partial { path, file: None, left: 0 };
        }
        let opened = fs::create_dir_all(directory).and_then(|()| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            let file = options.open(&path)?;
            let mut left = file.metadata()?.len();
            if left > size {
                file.set_len(0)?;
                left = 0;
            }
            Ok((file, left))
        });
        match opened {
            Ok((file, left)) => Partial { path, file: Some(file), left },
            Err(error) => {
                tracing::warn!(?path, %error, "what comes of a layer cannot be kept");
                Partial { path, file: None, left: 0 }
            }
        }
    }

    /// Bytes that [`Partial::read`] still gives.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Reads what an earlier attempt left.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::UnexpectedEof.into()) };
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = file.read(&mut buffer[..most])?;
        if read == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        Ok(read)
    }

    /// Adds what came. Everything left was read before, so the file's position is its end.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let Some(file) = &mut self.file else { return };
        if let Err(error) = file.write_all(bytes) {
            // A torn end would be found by the digest, but only after everything came again.
            tracing::warn!(path = ?self.path, %error, "what comes of a layer cannot be kept any more");
            self.remove();
        }
    }

    /// The layer is complete, or what is here is wrong.
    pub(crate) fn remove(&mut self) {
        if self.file.take().is_some()
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = ?self.path, %error, "the partial file of a layer stays");
        }
    }
}
