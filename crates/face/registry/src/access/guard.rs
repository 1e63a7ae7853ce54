//! How often an address may ask.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::header;

use crate::fault::{Code, Fault};

/// Wrong passwords of an address in a minute, and no more.
const MAX_FAILURES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// More addresses are not remembered: the windows that are over are forgotten, or else all.
const MAX_ADDRESSES: usize = 10_000;

/// Counts what each address does.
#[derive(Debug)]
pub(crate) struct Guard {
    /// Requests of an address in a second; 0 for any number.
    rate: u32,
    requests: Mutex<HashMap<IpAddr, (Instant, u32)>>,
    failures: Mutex<HashMap<IpAddr, (Instant, u32)>>,
}

impl Guard {
    pub(crate) fn new(rate: u32) -> Guard {
        Guard { rate, requests: Mutex::default(), failures: Mutex::default() }
    }

    /// Counts a request, and refuses it when there were too many in this second.
    pub(crate) fn may_ask(&self, peer: IpAddr) -> Result<(), Fault> {
        if self.rate == 0 || count(&self.requests, peer, Duration::from_secs(1), 1) <= self.rate {
            return Ok(());
        }
        Err(too_many("1"))
    }

    /// Refuses an address that guesses passwords.
    pub(crate) fn may_log_in(&self, peer: IpAddr) -> Result<(), Fault> {
        if count(&self.failures, peer, WINDOW, 0) < MAX_FAILURES {
            return Ok(());
        }
        Err(too_many("60"))
    }

    pub(crate) fn login_failed(&self, peer: IpAddr) {
        count(&self.failures, peer, WINDOW, 1);
    }
}

fn too_many(seconds: &str) -> Fault {
    Fault::new(Code::TooManyRequests, "too many requests")
        .header(header::RETRY_AFTER, seconds.to_owned())
}

/// Adds to an address's count in the present window; the count.
fn count(
    counts: &Mutex<HashMap<IpAddr, (Instant, u32)>>,
    peer: IpAddr,
    window: Duration,
    more: u32,
) -> u32 {
    let now = Instant::now();
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    if counts.len() >= MAX_ADDRESSES {
        counts.retain(|_, (since, _)| now.duration_since(*since) < window);
        if counts.len() >= MAX_ADDRESSES {
            // Whoever has so many addresses is not held off by their counts.
            counts.clear();
        }
    }
    let (since, count) = counts.entry(peer).or_insert((now, 0));
    if now.duration_since(*since) >= window {
        (*since, *count) = (now, 0);
    }
    *count = count.saturating_add(more);
    *count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessing_ends() {
        let guard = Guard::new(2);
        let peer: IpAddr = [127, 0, 0, 1].into();
        for _ in 0..MAX_FAILURES {
            assert!(guard.may_log_in(peer).is_ok());
            guard.login_failed(peer);
        }
        assert!(guard.may_log_in(peer).is_err());
        assert!(guard.may_log_in([127, 0, 0, 2].into()).is_ok(), "others are not concerned");
        assert!(guard.may_ask(peer).is_ok() && guard.may_ask(peer).is_ok());
        assert!(guard.may_ask(peer).is_err());
    }

    #[test]
    fn addresses_without_end_are_not_all_remembered() {
        let guard = Guard::new(1);
        for number in 0..3 * u32::try_from(MAX_ADDRESSES).unwrap() {
            let peer: IpAddr = std::net::Ipv6Addr::from(u128::from(number)).into();
            assert!(guard.may_ask(peer).is_ok());
        }
        assert!(guard.requests.lock().unwrap().len() <= MAX_ADDRESSES);
    }
}
