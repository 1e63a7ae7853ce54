//! What is sent to the daemon: a file, or standard input.

use std::os::fd::AsFd;

use tokio::{fs::File, io::AsyncRead};

use super::options::go_words;
use crate::framework::CliError;

/// Something to read and its length, where that is known.
pub(crate) type Input = (Box<dyn AsyncRead + Send + Sync + Unpin>, Option<u64>);

/// Opens a file; standard input for `-`.
pub(crate) async fn open(path: &str) -> Result<Input, CliError> {
    let wrong = |error: std::io::Error| CliError::new(format!("open {path}: {}", go_words(&error)));
    if path == "-" {
        let stdin = rustix::stdio::stdin().as_fd().try_clone_to_owned().map_err(wrong)?;
        return Ok((Box::new(File::from_std(stdin.into())), None));
    }
    let file = File::open(path).await.map_err(wrong)?;
    let status = file.metadata().await.map_err(wrong)?;
    Ok((Box::new(file), status.is_file().then_some(status.len())))
}
