//! Other people's firewalls.

use ferry_netlink::{
    Family, Socket,
    nft::{self, Hook, HookedChain},
};

/// `NFPROTO_INET`, `NFPROTO_IPV4`.
const FAMILIES: [(u8, &str); 2] = [(1, "inet"), (2, "ip")];

/// A warning if somebody's chain drops what is forwarded: containers then reach nobody, whatever our rules accept.
///
/// Looks at policies in nftables (and iptables on top of it), not at single rules, nor at legacy iptables.
pub fn forward_blocked() -> Option<String> {
    let mut socket = Socket::open(Family::Netfilter).ok()?;
    let chains = nft::hooked_chains(&mut socket).ok()?;
    warning(&chains)
}

fn warning(chains: &[HookedChain]) -> Option<String> {
    chains.iter().filter(|chain| chain.hook == Hook::Forward && chain.drops).find_map(|chain| {
        let (_, family) = FAMILIES.iter().find(|(number, _)| *number == chain.family)?;
        let HookedChain { table, name, .. } = chain;
        Some(format!(
            "WARNING: the firewall chain \"{family} {table} {name}\" drops forwarded packets: containers may not be \
             reachable, nor reach the network, until it accepts those of their bridges (with ufw: \"ufw default allow routed\", \
             or \"ufw route allow in on BRIDGE\" and \"out on BRIDGE\")"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropping_forward_chain_is_told_of() {
        let chain = |family, hook, drops| HookedChain {
            family,
            table: "filter".into(),
            name: "FORWARD".into(),
            hook,
            drops,
        };
        let harmless = [
            chain(2, Hook::Forward, false),
            chain(2, Hook::Input, true),
            chain(10, Hook::Forward, true),
        ];
        assert_eq!(warning(&harmless), None);
        let text = warning(&[chain(2, Hook::Forward, true)]).expect("a warning");
        assert!(text.contains("\"ip filter FORWARD\""), "{text}");
    }
}
