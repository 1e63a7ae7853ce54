//! A container's name server, and what it sees.

use std::{fs, net::IpAddr};

use ferry_dns::{Link, View};
use ferry_errkind::Failure;
use ferry_model::container::{Container, HEALTHY_NAMES_LABEL, HealthStatus, OTHERS_NAMES_LABEL};

use super::order;
use crate::{
    Shared,
    launch::{self, DnsSettings},
    resolver::{Seen, Wishes},
};

/// True if names are to be found on one of the container's networks: on all but those that are always there.
pub(crate) fn are_wanted(shared: &Shared, container: &Container) -> bool {
    container
        .endpoints
        .keys()
        .any(|name| shared.networks.find(name).is_ok_and(|network| !network.builtin))
}

/// Makes the names of an endpoint known, on a network that has names.
pub(super) fn join(shared: &Shared, container: &Container, network: &str) {
    if shared.networks.is_aside(&container.id) {
        return;
    }
    let builtin = shared.networks.find(network).is_ok_and(|network| network.builtin);
    if let Some(endpoint) = container.endpoints.get(network).filter(|_| !builtin) {
        shared.resolvers.join(network, endpoint, &hidden(container));
    }
}

/// Names of a container that do not lead to it: those of others, and while it is not healthy those that lead to it only when it is.
pub(crate) fn hidden(container: &Container) -> Vec<String> {
    let healthy = match &container.state.health {
        Some(health) => health.status == HealthStatus::Healthy,
        // Before its first start it only is to be asked.
        None => ferry_container::probe_command(&container.spec).is_none(),
    };
    let labels = [Some(OTHERS_NAMES_LABEL), (!healthy).then_some(HEALTHY_NAMES_LABEL)];
    let names = labels.into_iter().flatten().filter_map(|key| container.spec.labels.get(key));
    names.flat_map(|names| names.split(',')).map(|name| name.trim().to_owned()).collect()
}

/// Makes names right after a container's health has changed.
pub(crate) fn follow_health(shared: &Shared, container: &Container) {
    if container.spec.labels.contains_key(HEALTHY_NAMES_LABEL) {
        let hidden = hidden(container);
        for endpoint in container.endpoints.values() {
            shared.resolvers.hide(endpoint, &hidden);
        }
    }
}

/// Makes the name server of a container that runs right: it is there if it is wanted, and sees what it is to see. What was
/// started once stays, as in Docker, for the sake of `resolv.conf`.
pub(crate) fn update(shared: &Shared, container: &Container, pid: i32) -> Result<(), Failure> {
    let seen = seen(shared, container);
    if shared.resolvers.runs(&container.id) {
        shared.resolvers.look(&container.id, seen);
        return Ok(());
    }
    let resolv_conf = shared.dirs.data(&container.id).join("resolv.conf");
    let points_here = || {
        let text = fs::read_to_string(&resolv_conf).unwrap_or_default();
        crate::resolver::host_servers(&text).contains(&IpAddr::V4(ferry_network::RESOLVER))
    };
    // A container that left its own networks still asks here.
    if !are_wanted(shared, container) && !points_here() {
        return Ok(());
    }
    let settings = DnsSettings::of(shared, &container.spec);
    let wishes = Wishes {
        servers: settings.servers.iter().filter_map(|server| server.parse().ok()).collect(),
        dots_needed: settings.options.iter().any(|option| {
            option.strip_prefix("ndots:").and_then(|dots| dots.parse().ok()).unwrap_or(0) > 0_u32
        }),
    };
    shared.resolvers.start(&container.id, pid, seen, wishes)?;
    launch::point_to_resolver(shared, container, &resolv_conf)
}

fn seen(shared: &Shared, container: &Container) -> Seen {
    let mut names = order::of_links(&container.endpoints, &container.spec.host.network_mode);
    let way_out = order::gateway(&container.endpoints).map(|(name, _)| name.clone());
    names.sort_by_key(|name| way_out.as_ref() != Some(name));
    let mut view = View::default();
    for name in &names {
        let Some(endpoint) = container.endpoints.get(name) else { continue };
        if shared.networks.find(name).is_ok_and(|network| network.builtin) {
            continue;
        }
        view.networks.push(endpoint.network_id.clone());
        for link in &endpoint.request.links {
            let (target, alias) = super::links::parts(link);
            // Names have ids at most in their short form.
            let target = shared.containers.find(target).map_or_else(
                |_| target.to_owned(),
                |other| ferry_stdx::id::short(&other.id).to_owned(),
            );
            let (network, alias) = (endpoint.network_id.clone(), alias.to_owned());
            view.links.push(Link { network, alias, target });
        }
    }
    Seen { view, leads_out: way_out.is_some() }
}
