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

/// How soon we look whether it is gone, and how seldom at last: others may hold the kernel's lock on links for long.
const SOON: Duration = Duration::from_micros(200);
const SELDOM: Duration = Duration::from_millis(5);

/// Removes a link of this thread's network, if there is one of that name. When this returns it is down and nobody finds it any more (what
/// sysfs has of it goes a moment later), and its name and addresses are free; if we are killed meanwhile the kernel goes on.
pub(crate) fn remove_link(name: &str) -> Result<(), NetlinkError> {
    let mut look = Socket::open(Family::Route)?;
    // Where it cannot be asked that way, by one that waits.
    let found = match link::number(&look, name) {
        Ok(number) => number,
        Err(_) => link::find(&mut look, name)?.map(|link| link.index),
    };
    let Some(index) = found else { return Ok(()) };
    let mut socket = Socket::open(Family::Route)?;
    let (answer, answered) = mpsc::sync_channel(1);
    let removal = std::thread::Builder::new().name("link-removal".to_owned()).spawn(move || {
        // Whoever saw that it is gone does not wait for the answer.
        answer.send(socket.exchange(&[link::delete_index(index)], |_| ())).ok();
    });
    if removal.is_err() {
        return or_absent(look.exchange(&[link::delete_index(index)], |_| ()));
    }
    let mut pause = SOON;
    loop {
        match answered.recv_timeout(pause) {
            Ok(result) => return or_absent(result),
            Err(RecvTimeoutError::Disconnected) => return Err(NetlinkError::NoThread),
            Err(RecvTimeoutError::Timeout) => {}
        }
        // The number is never given to another link; the name may be already.
        if link::number(&look, name).is_ok_and(|number| number != Some(index)) {
            return Ok(());
        }
        pause = (pause * 2).min(SELDOM);
    }
}

/// Whether there is a link of that name in this thread's network.
pub(crate) fn is_there(name: &str) -> Result<bool, NetlinkError> {
    let mut socket = Socket::open(Family::Route)?;
    Ok(link::find(&mut socket, name)?.is_some())
}

fn or_absent(result: Result<(), NetlinkError>) -> Result<(), NetlinkError> {
    match result {
        Err(error) if !error.is_absent() => Err(error),
        _ => Ok(()),
    }
}
