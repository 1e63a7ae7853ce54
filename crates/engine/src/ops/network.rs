//! Networks.

use std::collections::BTreeMap;

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::{
    container::Pruned,
    event::Subject,
    network::{CreateNetwork, EndpointRequest, Network, NetworkView},
};

use crate::{
    Engine, Shared,
    actor::Command,
    filter,
    networks::{check_nobody, check_removable},
    ops::container::ask,
};

/// The networks that fulfil all filters (`name`, `id`, `driver`, `label`, `type`, `dangling`, `scope`), by name.
///
/// # Errors
/// A filter's value does not read.
pub async fn list(
    engine: &Engine,
    filters: &BTreeMap<String, Vec<String>>,
) -> Result<Vec<NetworkView>, Failure> {
    let shared = &engine.shared;
    let any = |key: &str, matches: &dyn Fn(&str) -> bool| {
        filters.get(key).is_none_or(|values| values.iter().any(|value| matches(value)))
    };
    let names = filter::Names::read(filters.get("name"));
    let mut views = Vec::new();
    for network in shared.networks.list() {
        let fits = names.matches(&network.name)
            && any("id", &|id| network.id.starts_with(id))
            && any("driver", &|driver| network.driver == driver)
            && any("scope", &|scope| scope == "local")
            && any("type", &|kind| (kind == "builtin") == network.builtin)
            && filters
                .get("label")
                .into_iter()
                .flatten()
                .all(|wanted| filter::has_label(&network.labels, wanted));
        if !fits {
            continue;
        }
        let view = view(shared, network);
        let dangling = match filters.get("dangling").and_then(|values| values.first()) {
            Some(text) => Some(filter::flag("dangling", text)?),
            None => None,
        };
        let unused = view.containers.is_empty() && !view.network.builtin;
        if dangling.is_none_or(|wanted| wanted == unused) {
            views.push(view);
        }
    }
    Ok(views)
}

/// One network with the containers on it.
///
/// # Errors
/// There is none of that name.
pub async fn inspect(engine: &Engine, name: &str) -> Result<NetworkView, Failure> {
    Ok(view(&engine.shared, engine.shared.networks.find(name)?))
}

/// Makes a network. Answers its id and warnings.
///
/// # Errors
/// The name is taken, the driver is not supported, the range overlaps.
pub async fn create(
    engine: &Engine,
    request: CreateNetwork,
) -> Result<(String, Vec<String>), Failure> {
    let network = request.network;
    if network.name.is_empty() {
        return Err(Failure::new(ErrorKind::InvalidArgument, "network name cannot be empty"));
    }
    if ["bridge", "host", "none", "default"].contains(&network.name.as_str()) {
        let words = format!("operation is not permitted on predefined {} network", network.name);
        return Err(Failure::new(ErrorKind::Forbidden, words));
    }
    match network.driver.as_str() {
        "" | "bridge" | "macvlan" | "ipvlan" => {}
        driver @ ("host" | "null") => {
            let words = format!("only one instance of \"{driver}\" network is allowed");
            return Err(Failure::new(ErrorKind::Forbidden, words));
        }
        driver @ "overlay" => {
            let words = format!("network driver \"{driver}\" is not supported: there is no Swarm");
            return Err(Failure::new(ErrorKind::NotImplemented, words));
        }
        other => {
            let words = format!("plugin \"{other}\" not found");
            return Err(Failure::new(ErrorKind::NotFound, words));
        }
    }
    let shared = engine.shared.clone();
    crate::blocking(move || {
        let driver = if network.driver.is_empty() { "bridge".to_owned() } else { network.driver };
        let mut network = Network { driver, ..network };
        // As dockerd: a network that is made from another's configuration has its options only.
        if network.config_from.is_empty() && !network.config_only {
            for (key, value) in shared.config.bridge.options_of(&network.driver) {
                network.options.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        let network = shared.networks.create(network, shared.now())?;
        event(&shared, "create", &network);
        Ok((network.id, Vec::new()))
    })
    .await
}

/// Removes a network.
///
/// # Errors
/// Containers are on it, or it is one of those that are always there.
pub async fn remove(engine: &Engine, name: &str) -> Result<(), Failure> {
    let shared = engine.shared.clone();
    let name = name.to_owned();
    crate::blocking(move || {
        let network = shared.networks.find(&name)?;
        check_removable(&network)?;
        let users = view(&shared, network.clone()).containers;
        let users: Vec<(&str, &str)> =
            users.iter().map(|(id, (name, _))| (name.as_str(), id.as_str())).collect();
        check_nobody(&network, &users)?;
        shared.networks.remove(&network)?;
        event(&shared, "destroy", &network);
        Ok(())
    })
    .await
}

/// Removes the networks that nobody is on.
///
/// # Errors
/// A filter's value does not read.
pub async fn prune(
    engine: &Engine,
    filters: &BTreeMap<String, Vec<String>>,
) -> Result<Pruned, Failure> {
    let filter = filter::Prune::read(filters, engine.shared.now())?;
    let mut pruned = Pruned::default();
    for network in engine.shared.networks.list() {
        // Nobody can be on a configuration: that nobody is says nothing.
        if network.builtin
            || network.config_only
            || !filter.accepts(network.created, &network.labels)
        {
            continue;
        }
        match remove(engine, &network.id).await {
            Ok(()) => pruned.deleted.push(network.name),
            Err(failure) => tracing::debug!(network = %network.name, %failure, "not pruned"),
        }
    }
    let shared = &engine.shared;
    shared.events.pruned(Subject::Network, pruned.reclaimed, shared.now());
    Ok(pruned)
}

/// Puts a container on a further network; one that does not run when it is started.
///
/// # Errors
/// No such network or container, settings that do not fit, no free address.
pub async fn connect(
    engine: &Engine,
    network: &str,
    container: &str,
    endpoint: EndpointRequest,
) -> Result<(), Failure> {
    // In Docker's order: whoever names two things that there are not hears of the container.
    engine.shared.containers.find(container)?;
    let network = engine.shared.networks.find(network)?.name;
    let request = Box::new(endpoint);
    ask(engine, container, |reply| Command::Connect { network, request, reply }).await
}

/// Takes a container off a network. `force` does not fail when there is no such container.
///
/// # Errors
/// No such network or container, or it is not on that network.
pub async fn disconnect(
    engine: &Engine,
    network: &str,
    container: &str,
    force: bool,
) -> Result<(), Failure> {
    let found = engine.shared.networks.find(network);
    if let (Ok(network), true) = (&found, force)
        && engine.shared.containers.find(container).is_err()
    {
        let words = format!("endpoint {container} not found");
        return Err(Failure::new(ErrorKind::NotFound, words)
            .with_hint(format!("no container {container} is on network {}", network.name)));
    }
    // A network that is gone may still be on the record of a container that does not run.
    let handle = engine.shared.containers.find(container)?;
    let network = match found {
        Ok(network) => network.name,
        Err(_) if handle.container().endpoints.contains_key(network) => network.to_owned(),
        Err(failure) => return Err(failure),
    };
    ask(engine, container, |reply| Command::Disconnect { network, reply }).await
}

fn view(shared: &Shared, network: Network) -> NetworkView {
    let mut containers = BTreeMap::new();
    for handle in shared.containers.all() {
        let container = handle.container();
        if !container.state.phase.is_running() || handle.is_of_pod() {
            continue;
        }
        if let Some(endpoint) = container.endpoints.get(&network.name) {
            containers.insert(container.id.clone(), (container.name.clone(), endpoint.clone()));
        }
    }
    NetworkView { network, containers }
}

fn event(shared: &Shared, action: &str, network: &Network) {
    let attributes = [("name", network.name.clone()), ("type", network.driver.clone())];
    shared.events.plain(Subject::Network, action, &network.id, &attributes, shared.now());
}
