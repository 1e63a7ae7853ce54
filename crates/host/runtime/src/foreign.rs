//! What a caller needs of this crate when it lets another OCI runtime start the container: the root file system as a mount
//! that is nowhere yet, ids for names, and dockerd's reading of a runtime's words.

use std::os::fd::OwnedFd;

use ferry_oci::runtime::{Process, Spec};
use ferry_sys::root::InRoot;

use crate::bundle::Rootfs;
use crate::error::{self, CreateError};
use crate::{child, user};

/// The root file system as a detached mount. Whoever attaches it says where; dropped before that, it is gone.
pub fn detached_rootfs(rootfs: &Rootfs, spec: &Spec) -> Result<OwnedFd, CreateError> {
    child::detached_rootfs(rootfs, spec).map_err(|failure| CreateError::Config(failure.message))
}

/// Replaces `process.user.username`, which only Ferry reads on Linux, by the ids that the files in `root` have for it.
pub fn resolve_user(root: &InRoot, process: &mut Process) -> Result<(), CreateError> {
    let user = &mut process.user;
    let Some(name) = user.username.take().filter(|name| !name.is_empty()) else { return Ok(()) };
    let identity = user::resolve(root, &name, &user.additional_gids)
        .map_err(|failure| CreateError::Config(failure.message))?;
    (user.uid, user.gid, user.additional_gids) = (identity.uid, identity.gid, identity.groups);
    Ok(())
}

/// The exit code that dockerd records for a container whose runtime said this when it could not start it, and the words
/// with what dockerd adds.
pub fn judge(message: String) -> (u8, String) {
    error::as_docker(message)
}

/// An error of the system as Go, and so every other runtime, words it.
pub fn io_words(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => error::words(ferry_sys::Errno::from_raw_os_error(number)),
        None => error.to_string(),
    }
}
