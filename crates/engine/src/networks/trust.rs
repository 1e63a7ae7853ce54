//! Our bridges in firewalld, a firewall of the host that forwards between the zones of its links only. It is asked without the lock on
//! networks: it may take its time, or not answer at all.

use std::io;

use super::{Ground, Networks, State};

impl State {
    fn links(&self) -> impl Iterator<Item = &str> {
        self.bridges.values().filter_map(|live| match &live.ground {
            Ground::Bridge(bridge) => Some(bridge.link()),
            Ground::Parent(_) => None,
        })
    }
}

impl Networks {
    /// Has firewalld know our bridges, which it does not when it has begun or read its rules again.
    ///
    /// # Errors
    /// It did not answer, or refused.
    pub(crate) fn trust_bridges(&self) -> io::Result<()> {
        let links = self.lock().links().map(str::to_owned).collect();
        self.trust(links)
    }

    /// Has firewalld know the bridges that have come up since this was called last: before anybody sends something over them.
    pub(super) fn trust_fresh(&self) {
        let links = std::mem::take(&mut self.lock().fresh);
        if let Err(error) = self.trust(links) {
            // Whoever follows the firewall's changes asks again, and says what it costs.
            tracing::debug!(%error, "firewalld does not know a bridge yet");
        }
    }

    fn trust(&self, links: Vec<String>) -> io::Result<()> {
        let mut added = Vec::new();
        let asked = ferry_network::trust_in_firewalld(&links, &mut added);
        if added.is_empty() {
            return asked;
        }
        tracing::info!(links = ?added, "firewalld has them in its zone \"trusted\" now");
        let mut state = self.lock();
        // Somebody may have removed one meanwhile; whoever makes a link of its name is not trusted for that.
        let gone: Vec<String> =
            added.iter().filter(|link| !state.links().any(|it| it == *link)).cloned().collect();
        state.trusted.extend(added);
        drop(state);
        gone.iter().for_each(|link| self.forget_link(link));
        asked
    }

    /// Has firewalld forget a link that is no bridge of ours any more.
    pub(super) fn forget_link(&self, link: &str) {
        self.lock().trusted.remove(link);
        if let Err(error) = ferry_network::forget_in_firewalld(link) {
            tracing::warn!(link, %error, "firewalld still trusts a link that is no bridge of ours any more");
        }
    }
}
