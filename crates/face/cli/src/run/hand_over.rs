//! A file or directory that the daemon takes out of this process.

use std::{
    fs::File,
    io,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::Path,
};

use ferry_docker_api::handed::Handed;

use crate::framework::{Cli, CliError};

/// Whether the daemon can be handed anything: it is Ferry's, and on this machine.
pub(crate) fn is_possible(cli: &Cli) -> Result<bool, CliError> {
    let local = matches!(cli.client()?.endpoint(), ferry_client::Endpoint::Unix(_));
    Ok(local && is_ours(cli)?)
}

/// Whether the daemon understands what only our own says.
pub(crate) fn is_ours(cli: &Cli) -> Result<bool, CliError> {
    let client = cli.client()?;
    let answer = cli.wait(client.get("/_ping").unversioned().send())?;
    Ok(answer.header("server").is_some_and(|server| server.starts_with("Ferry")))
}

/// Opens what is at a path; the file has to stay open until the daemon has answered.
pub(crate) fn open(path: &Path) -> io::Result<(File, std::fs::Metadata, Handed)> {
    let file = File::open(path)?;
    let found = file.metadata()?;
    let handed = Handed { descriptor: file.as_raw_fd(), device: found.dev(), inode: found.ino() };
    Ok((file, found, handed))
}
