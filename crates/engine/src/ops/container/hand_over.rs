//! One container takes another one's place without a gap: ours, Docker has nothing like it.
//!
//! `start` with `aside`, then [`reveal`] with the old one's name, then `stop` of the old one. Each step can be the last: what was
//! started aside is known after the next start or the next engine.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufRead, BufReader},
    time::Duration,
};

use ferry_errkind::{ErrorKind, Failure};
use tokio::time::Instant;

use super::verbs::ask;
use crate::{Engine, actor::Command};

/// Whoever has looked a name up just before it was gone has connected by then.
const SETTLE: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(20);
/// Sockets of one container that are looked at.
const MAX_SOCKETS: usize = 1 << 20;

/// Starts a container so that nobody finds it: no name leads to it, and no port of the host. False when it ran already.
///
/// # Errors
/// As for [`start`](super::start).
pub async fn start_aside(engine: &Engine, name: &str) -> Result<bool, Failure> {
    ask(engine, name, |reply| Command::Start { aside: true, reply }).await
}

/// Makes a container known that was started aside. With `from`, it succeeds that one: ports move, then the other's names go, and
/// its connections may end for as long as `patience`. The number of those that are left.
///
/// # Errors
/// No such container, one does not run, or a port is somebody else's; then nothing has changed.
pub async fn reveal(
    engine: &Engine,
    name: &str,
    from: Option<&str>,
    patience: Duration,
) -> Result<usize, Failure> {
    let old = from.map(|from| engine.shared.containers.find(from)).transpose()?;
    let record = old.map(|handle| handle.container());
    ask(engine, name, |reply| Command::Reveal { from: record, reply }).await?;
    let Some(from) = from else { return Ok(0) };
    match withdraw(engine, from, patience).await {
        // It has ended by itself meanwhile.
        Err(failure) if failure.kind() == ErrorKind::Conflict => Ok(0),
        left => left,
    }
}

/// Takes a running container's names and ports away, and lets its connections end for as long as `patience`. The number of those
/// that are left.
///
/// # Errors
/// No such container, or it does not run.
pub async fn withdraw(engine: &Engine, name: &str, patience: Duration) -> Result<usize, Failure> {
    let pid = ask(engine, name, |reply| Command::Withdraw { reply }).await?;
    let deadline = Instant::now() + patience;
    tokio::time::sleep(SETTLE.min(patience)).await;
    loop {
        let left = crate::blocking(move || Ok(connections(pid))).await?;
        if left == 0 || Instant::now() >= deadline {
            return Ok(left);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The connections that others have made to servers in the network namespace of a process.
fn connections(pid: i32) -> usize {
    let tables = ["tcp", "tcp6"].map(|table| format!("/proc/{pid}/net/{table}"));
    let sockets: Vec<(u16, u8)> = tables
        .iter()
        .filter_map(|path| File::open(path).ok())
        .flat_map(|file| BufReader::new(file).lines().map_while(Result::ok).take(MAX_SOCKETS))
        .filter_map(|line| socket(&line))
        .collect();
    served(&sockets)
}

/// Local port and state of a line of `/proc/net/tcp`.
fn socket(line: &str) -> Option<(u16, u8)> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (_, port) = words.next()?.rsplit_once(':')?;
    let state = words.nth(1)?;
    Some((u16::from_str_radix(port, 16).ok()?, u8::from_str_radix(state, 16).ok()?))
}

fn served(sockets: &[(u16, u8)]) -> usize {
    const ESTABLISHED: u8 = 1;
    const SYN_RECV: u8 = 3;
    const CLOSE_WAIT: u8 = 8;
    const LISTEN: u8 = 10;
    let listening: BTreeSet<u16> =
        sockets.iter().filter(|(_, state)| *state == LISTEN).map(|(port, _)| *port).collect();
    let open = |state: u8| matches!(state, ESTABLISHED | SYN_RECV | CLOSE_WAIT);
    sockets.iter().filter(|(port, state)| open(*state) && listening.contains(port)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_to_servers_are_counted() {
        let table =
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0
   1: 020011AC:1F90 030011AC:C001 01 00000000:00000000 00:00000000 00000000     0
   2: 020011AC:1F90 030011AC:C002 06 00000000:00000000 00:00000000 00000000     0
   3: 020011AC:1F90 030011AC:C003 08 00000000:00000000 00:00000000 00000000     0
   4: 020011AC:A001 040011AC:1538 01 00000000:00000000 00:00000000 00000000     0
garbage
";
        let sockets: Vec<(u16, u8)> = table.lines().filter_map(socket).collect();
        assert_eq!(sockets.len(), 5);
        assert_eq!(served(&sockets), 2, "not what has ended, and not what it has opened itself");
    }
}
