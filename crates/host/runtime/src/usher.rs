//! Into a user namespace that is there already.
//!
//! Namespaces belong to the user namespace in which they are made, and only its root may mount in them. So whoever is to
//! have new ones in an existing user namespace must be made from inside of it: by a process that goes there first, has its
//! child, and ends. The child is made a child of the usher's own parent (`CLONE_PARENT`).

use std::os::fd::{AsFd, OwnedFd};

use ferry_sys::namespace::{self, flag};
use ferry_sys::process::{self, CloneFlags, Forked};
use ferry_sys::{fdpass, pidfd};

use crate::child::{self, Birth};
use crate::error::{CreateError, Failure};
use crate::fork;
use crate::message;

/// Forks the first process of a container in the user namespace of `birth.join`.
pub(crate) fn lead(
    mut birth: Birth<'_>,
    new: CloneFlags,
    join_pid: Option<OwnedFd>,
    theirs: OwnedFd,
) -> Result<(i32, OwnedFd), CreateError> {
    let told =
        |what: &'static str| move |source| CreateError::Prepare { what: what.to_owned(), source };
    let (answer, usher) = fdpass::pair().map_err(told("socketpair"))?;
    process::set_dumpable(false).map_err(told("prctl(SET_DUMPABLE)"))?;
    match fork::clone3(0, None).map_err(told("clone3"))? {
        Forked::Child => {
            drop(answer);
            let made = child::go_ahead(&mut birth, theirs.as_fd()).and_then(|()| {
                if let Some(target) = join_pid {
                    namespace::join(target.as_fd(), flag::PID)
                        .map_err(|errno| Failure::errno("join the pid namespace", errno))?;
                }
                fork::clone3(new | flag::PARENT, None)
                    .map_err(|errno| Failure::errno("clone3", errno))
            });
            match made {
                Ok(Forked::Child) => {
                    drop(usher);
                    child::be_born(birth, theirs)
                }
                Ok(Forked::Parent { pid, pidfd }) => {
                    // Its maker has died if this fails, and the child with it.
                    let _ = fdpass::send(&usher, &pid.to_ne_bytes(), &[pidfd.as_fd()]);
                    process::exit_now(0)
                }
                Err(failure) => {
                    let _ = message::send_failure(theirs.as_fd(), &failure);
                    process::exit_now(255)
                }
            }
        }
        Forked::Parent { pid: _, pidfd } => {
            drop(usher);
            drop(theirs);
            let mut bytes = [0; 4];
            let received = fdpass::receive(&answer, &mut bytes);
            let _ = pidfd::wait(pidfd.as_fd());
            let (length, mut fds) = received.map_err(told("reading from the usher"))?;
            match fds.pop() {
                Some(child) if length == bytes.len() => Ok((i32::from_ne_bytes(bytes), child)),
                _ => Err(CreateError::Config("cannot enter the user namespace".to_owned())),
            }
        }
    }
}
