//! The one place that turns a system call's answer into a `Result`.

use crate::{Errno, Result};

/// `-1` is the errno of this thread, everything else the value.
pub(crate) fn check(answer: libc::c_long) -> Result<libc::c_long> {
    if answer == -1 { Err(last_errno()) } else { Ok(answer) }
}

/// The same for calls that answer with an `int`.
pub(crate) fn check_int(answer: libc::c_int) -> Result<libc::c_int> {
    if answer == -1 { Err(last_errno()) } else { Ok(answer) }
}

fn last_errno() -> Errno {
    let code = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    Errno::from_raw_os_error(code)
}
