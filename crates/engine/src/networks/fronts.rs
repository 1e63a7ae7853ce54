//! Ports of this machine that the daemon serves on itself, and that it gives up to containers which publish them.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// Whoever serves there has this long to stop.
const PATIENCE: Duration = Duration::from_secs(2);

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Fronts {
    places: Mutex<Vec<Place>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Place {
    address: SocketAddr,
    listens: bool,
    asked: Arc<Notify>,
}

/// One of them, for who serves there.
#[derive(Debug)]
pub struct Front {
    fronts: Arc<Fronts>,
    address: SocketAddr,
    asked: Arc<Notify>,
}

impl Fronts {
    /// Notes one. It does not listen yet.
    pub(crate) fn add(self: &Arc<Self>, address: SocketAddr) -> Front {
        let asked = Arc::new(Notify::new());
        self.lock().push(Place { address, listens: false, asked: Arc::clone(&asked) });
        Front { fronts: Arc::clone(self), address, asked }
    }

    /// Those that somebody else has the port of.
    pub(crate) fn aside(&self) -> Vec<SocketAddr> {
        let places = self.lock();
        places.iter().filter(|place| !place.listens).map(|place| place.address).collect()
    }

    /// Has all stop that are in the way of that port. True if there was one, and none is left. Blocks.
    pub(super) fn give_way(&self, ip: IpAddr, port: u16) -> bool {
        let in_the_way = |place: &&Place| {
            let at = place.address;
            let same = at.is_ipv4() == ip.is_ipv4() && (ip.is_unspecified() || at.ip() == ip);
            place.listens && at.port() == port && same
        };
        let mut places = self.lock();
        if !places.iter().any(|place| in_the_way(&place)) {
            return false;
        }
        for place in places.iter().filter(in_the_way) {
            place.asked.notify_one();
        }
        let until = Instant::now() + PATIENCE;
        while places.iter().any(|place| in_the_way(&place)) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let woken = self.changed.wait_timeout(places, left);
            places = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// A panic while the lock was held leaves entries that are whole.
    fn lock(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Front {
    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ready when a container wants the port: whoever listens stops, and says so with [`Front::listens`].
    pub async fn wanted(&self) {
        self.asked.notified().await;
    }

    /// Notes that somebody listens there now, or nobody does any more.
    pub fn listens(&self, listens: bool) {
        let mut places = self.fronts.lock();
        let own = places.iter_mut().find(|place| Arc::ptr_eq(&place.asked, &self.asked));
        if let Some(own) = own {
            own.listens = listens;
        }
        self.fronts.changed.notify_all();
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.fronts.lock().retain(|place| !Arc::ptr_eq(&place.asked, &self.asked));
        self.fronts.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_front_gives_way() {
        let fronts = Arc::new(Fronts::default());
        let address: SocketAddr = "127.0.0.1:80".parse().unwrap();
        let any = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        let front = fronts.add(address);
        assert!(!fronts.give_way(any, 80), "nobody listens");
        front.listens(true);
        assert!(fronts.aside().is_empty());
        assert!(!fronts.give_way(any, 81) && !fronts.give_way("10.0.0.1".parse().unwrap(), 80));
        let asking = Arc::clone(&fronts);
        let gave = tokio::task::spawn_blocking(move || asking.give_way(any, 80));
        front.wanted().await;
        front.listens(false);
        assert!(gave.await.unwrap());
        assert_eq!(fronts.aside(), [address]);
        drop(front);
        assert!(fronts.aside().is_empty());
    }
}
