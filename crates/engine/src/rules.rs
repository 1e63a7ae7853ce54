//! Our firewall rules while others change theirs: `nft flush ruleset`, a reload of firewalld or of a rules file takes ours away, too, and
//! firewalld forgets our bridges. The kernel tells of every change; when things have settled, what is missing is put back.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use ferry_network::FirewallWatch;

use crate::{Shared, net};

/// Whoever reloads a firewall changes it many times.
const QUIET: Duration = Duration::from_millis(100);
/// After a failure.
const PAUSE: Duration = Duration::from_secs(5);
/// How often firewalld is asked that does not answer, and after what time.
const TRIES: u32 = 10;
const AGAIN: Duration = Duration::from_secs(1);

/// Watches for as long as the engine lives, on a thread of its own: it waits in the kernel.
pub(crate) fn watch(shared: &Arc<Shared>) {
    let shared = Arc::downgrade(shared);
    let thread = std::thread::Builder::new().name("firewall".to_owned());
    if let Err(error) = thread.spawn(move || follow(&shared)) {
        tracing::warn!(%error, "nobody watches the firewall");
    }
}

fn follow(shared: &Weak<Shared>) {
    let mut socket = match FirewallWatch::of_nftables_changes() {
        Ok(socket) => socket,
        Err(error) => {
            let error = ferry_errkind::chain(&error);
            return tracing::warn!(error, "nobody watches the firewall");
        }
    };
    let mut told = String::new();
    loop {
        // Before the first change, too: firewalld may have read its rules again while no engine was there to see it.
        match shared.upgrade() {
            Some(shared) => check(&shared, &mut told),
            None => return,
        }
        if let Err(error) = socket.await_changes(QUIET) {
            tracing::warn!(
                error = ferry_errkind::chain(&error),
                "the firewall's changes are not seen"
            );
            std::thread::sleep(PAUSE);
        }
    }
}

/// `told` is what was last said of firewalld: said once, and not waited for again.
fn check(shared: &Shared, told: &mut String) {
    mend(shared);
    // Its rules are there before it listens.
    for attempt in 1..=TRIES {
        let words = match shared.networks.trust_bridges() {
            Ok(()) => return told.clear(),
            Err(error) => error.to_string(),
        };
        if words == *told {
            return;
        }
        if attempt == TRIES {
            tracing::warn!(error = words, "firewalld may reject what containers send out");
            *told = words;
            return;
        }
        std::thread::sleep(AGAIN);
        mend(shared);
    }
}

fn mend(shared: &Shared) {
    if !shared.networks.mend_rules() {
        return;
    }
    tracing::warn!("somebody has flushed our firewall rules; they are back");
    net::links::reopen(shared);
    let containers = shared.containers.all();
    let running = containers.iter().map(|handle| handle.container());
    let ports: Vec<_> = running
        .filter(|container| container.state.phase.is_running())
        .flat_map(|container| net::own_ports(shared, &container))
        .collect();
    if !ports.is_empty()
        && let Err(failure) = shared.publish(&ports)
    {
        tracing::warn!(%failure, "published ports are missing");
    }
}
