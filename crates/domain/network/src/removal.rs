//! Removing a link without waiting for what only the kernel waits for.
//!
//! The kernel brings a link down and takes it out of its list within a few milliseconds. What it answers the request after is the end of
//! all that might still look at the link (grace periods of RCU, `rcu_barrier`): tens of milliseconds, in which nothing is left to be done by us. So
//! another thread waits for that answer.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    time::Duration,
};

use ferry_netlink::{Family, NetlinkError, Socket, link};

/// How often we look whether it is gone.
const PAUSE: Duration = Duration::from_micros(200);

/// Removes a link of this thread's network, if there is one of that name. When this returns it is down and nobody finds it any more (what
/// sysfs has of it goes a moment later), and its name and addresses are free; if we are killed meanwhile the kernel goes on.
pub(crate) fn remove_link(name: &str) -> Result<(), NetlinkError> {
    let mut look = Socket::open(Family::Route)?;
    let Some(found) = link::find(&mut look, name)? else { return Ok(()) };
    let mut socket = Socket::open(Family::Route)?;
    let (answer, answered) = mpsc::sync_channel(1);
    let index = found.index;
    let removal = std::thread::Builder::new().name("link-removal".to_owned()).spawn(move || {
        // Whoever saw that it is gone does not wait for the answer.
        answer.send(socket.exchange(&[link::delete_index(index)], |_| ())).ok();
    });
    if removal.is_err() {
        return or_absent(look.exchange(&[link::delete_index(index)], |_| ()));
    }
    loop {
        match answered.recv_timeout(PAUSE) {
            Ok(result) => return or_absent(result),
            Err(RecvTimeoutError::Disconnected) => return Err(NetlinkError::NoThread),
            Err(RecvTimeoutError::Timeout) => {}
        }
        // The number is never given to another link; the name may be already.
        if link::number(&look, name) != Some(index) {
            return Ok(());
        }
    }
}

fn or_absent(result: Result<(), NetlinkError>) -> Result<(), NetlinkError> {
    match result {
        Err(error) if !error.is_absent() => Err(error),
        _ => Ok(()),
    }
}
