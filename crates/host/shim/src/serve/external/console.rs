//! The socket over which a runtime hands out the master of a terminal.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixListener,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use ferry_sys::fdpass;

/// A runtime sends the master before it ends, so that it is there when it is looked for.
const PATIENCE: Duration = Duration::from_secs(10);

/// The name that a runtime sends along is cut off here.
const MAX_NAME: usize = 4096;

/// A listening socket.
#[derive(Debug)]
pub(super) struct ConsoleSocket {
    listener: UnixListener,
    /// A socket's path has at most 107 bytes, a run directory may have more: it is named by its descriptor.
    directory: fs::File,
    file: PathBuf,
}

impl ConsoleSocket {
    pub(super) fn listen(run_dir: &Path) -> Result<ConsoleSocket, String> {
        let file = run_dir.join("console.sock");
        let failed = |error: io::Error| format!("cannot listen on {}: {error}", file.display());
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let directory = fs::File::open(run_dir).map_err(failed)?;
        let listener = UnixListener::bind(path(&directory)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(ConsoleSocket { listener, directory, file })
    }

    /// How another process of this machine names it.
    pub(super) fn path(&self) -> String {
        path(&self.directory)
    }

    /// The master that the runtime sent.
    pub(super) fn receive(self) -> Result<OwnedFd, String> {
        let failed = |error: io::Error| format!("the runtime sent no terminal: {error}");
        let (stream, _) = self.listener.accept().map_err(failed)?;
        stream.set_nonblocking(false).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        let (_, mut fds) =
            fdpass::receive(&stream, &mut [0; MAX_NAME]).map_err(|errno| failed(errno.into()))?;
        fds.pop().ok_or_else(|| "the runtime sent no terminal".to_owned())
    }
}

impl Drop for ConsoleSocket {
    fn drop(&mut self) {
        // It goes with the run directory if not now.
        fs::remove_file(&self.file).ok();
    }
}

fn path(directory: &fs::File) -> String {
    format!("/proc/{}/fd/{}/console.sock", std::process::id(), directory.as_raw_fd())
}
