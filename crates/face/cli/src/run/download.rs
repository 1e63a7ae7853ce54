//! Answers that go to a file or to standard output: exported containers, saved images.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::PathBuf,
};

use ferry_client::Answer;

use super::options::go_words;
use crate::framework::{CliError, write_fd};

/// Where an answer goes.
#[derive(Debug)]
pub(crate) enum Target {
    /// Standard output.
    Stdout,
    /// A file that appears when it is whole.
    File {
        /// Its name.
        path: PathBuf,
        /// What it is called before.
        temporary: PathBuf,
        /// What is written to.
        file: File,
    },
    /// A device or a pipe, which is written to as it is.
    Special(File),
}

impl Target {
    /// A file; standard output for an empty path.
    pub(crate) fn new(path: &str) -> Result<Self, CliError> {
        if path.is_empty() {
            return Ok(Target::Stdout);
        }
        let wrong =
            |error: std::io::Error| CliError::new(format!("open {path}: {}", go_words(&error)));
        let path_buf = PathBuf::from(path);
        let parent = path_buf.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent.filter(|parent| !parent.is_dir()) {
            return Err(CliError::new(format!(
                "invalid output path: stat {}: no such file or directory",
                parent.display()
            )));
        }
        if let Ok(found) = fs::metadata(&path_buf) {
            let kind = found.file_type();
            if kind.is_dir() {
                return Err(CliError::new(format!("open {path}: is a directory")));
            }
            if kind.is_char_device() || kind.is_fifo() {
                return OpenOptions::new()
                    .write(true)
                    .open(path)
                    .map(Target::Special)
                    .map_err(wrong);
            }
        }
        let temporary = PathBuf::from(format!("{path}.{}.tmp", std::process::id()));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(wrong)?;
        Ok(Target::File { path: path_buf, temporary, file })
    }

    /// Writes the whole answer. What is not whole is removed.
    pub(crate) async fn save(self, mut answer: Answer) -> Result<(), CliError> {
        match self {
            Target::Stdout => {
                while let Some(piece) = answer.chunk().await? {
                    write_fd(rustix::stdio::stdout(), &piece)?;
                }
                Ok(())
            }
            Target::Special(mut file) => copy(&mut answer, &mut file).await,
            Target::File { path, temporary, mut file } => {
                let copied = copy(&mut answer, &mut file).await.and_then(|()| {
                    fs::rename(&temporary, &path).map_err(|error| {
                        CliError::new(format!(
                            "rename {}: {}",
                            temporary.display(),
                            go_words(&error)
                        ))
                    })
                });
                if copied.is_err() {
                    // Half of it is of no use.
                    drop(fs::remove_file(&temporary));
                }
                copied
            }
        }
    }
}

async fn copy(answer: &mut Answer, file: &mut File) -> Result<(), CliError> {
    while let Some(piece) = answer.chunk().await? {
        file.write_all(&piece)
            .map_err(|error| CliError::new(format!("write: {}", go_words(&error))))?;
    }
    Ok(())
}
