//! `ps`: which containers there are.

use std::{collections::BTreeMap, sync::Arc};

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::{Container, ListContainers, ListedContainer, NetworkMode, Phase};
use ferry_stdx::time::Timestamp;

use crate::{Engine, Shared, filter};

use super::inspect::disk_use;

/// The containers that fulfil all conditions, newest first.
///
/// # Errors
/// A filter's value does not read, or names what is not there.
pub async fn list(
    engine: &Engine,
    request: ListContainers,
) -> Result<Vec<ListedContainer>, Failure> {
    let shared = engine.shared.clone();
    crate::blocking(move || {
        let mut containers: Vec<Arc<Container>> =
            shared.containers.all().iter().map(|handle| handle.container()).collect();
        containers.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        let filter = Filter::read(&shared, &request)?;
        containers.retain(|container| request.pods || container.spec.pod.is_none());
        containers.retain(|container| filter.accepts(container));
        containers.truncate(request.limit.unwrap_or(usize::MAX));
        let listed = containers.into_iter().map(|container| {
            let size = request.size.then(|| disk_use(&shared, &container));
            ListedContainer { container, size }
        });
        Ok(listed.collect())
    })
    .await
}

struct Filter<'a> {
    filters: &'a BTreeMap<String, Vec<String>>,
    /// Ended ones, too.
    all: bool,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    ancestors: Option<Vec<ferry_oci::Digest>>,
    names: filter::Names,
}

impl<'a> Filter<'a> {
    fn read(shared: &Shared, request: &'a ListContainers) -> Result<Self, Failure> {
        let filters = &request.filters;
        let time = |key: &str| -> Result<Option<Timestamp>, Failure> {
            match filters.get(key).and_then(|names| names.first()) {
                Some(name) => Ok(Some(shared.containers.find(name)?.container().created)),
                None => Ok(None),
            }
        };
        if let Some(word) =
            filters.get("status").into_iter().flatten().find(|word| !is_status(word))
        {
            return Err(Failure::new(
                ErrorKind::InvalidArgument,
                format!("invalid filter 'status={word}'"),
            ));
        }
        if let Some(code) =
            filters.get("exited").into_iter().flatten().find(|code| code.parse::<i32>().is_err())
        {
            return Err(Failure::new(
                ErrorKind::InvalidArgument,
                format!(
                    "invalid filter 'exited={code}': strconv.Atoi: parsing \"{code}\": invalid syntax"
                ),
            ));
        }
        if let Some(task) = filters.get("is-task").and_then(|values| values.first()) {
            crate::filter::flag("is-task", task)?;
        }
        for name in ["publish", "expose"] {
            for text in filters.get(name).into_iter().flatten() {
                check_ports(name, text)?;
            }
        }
        let ancestors = filters.get("ancestor").map(|names| {
            names
                .iter()
                .filter_map(|name| shared.images.get(name).ok())
                .map(|named| named.entry.image.id.clone())
                .collect()
        });
        Ok(Filter {
            filters,
            all: request.all
                || request.limit.is_some()
                || ["status", "exited"].iter().any(|key| filters.contains_key(*key)),
            before: time("before")?,
            since: time("since")?,
            ancestors,
            names: filter::Names::read(filters.get("name")),
        })
    }

    fn accepts(&self, container: &Container) -> bool {
        let any = |key: &str, matches: &dyn Fn(&str) -> bool| {
            self.filters.get(key).is_none_or(|values| values.iter().any(|value| matches(value)))
        };
        let labels = self.filters.get("label").into_iter().flatten().all(|wanted| {
            match wanted.split_once('=') {
                Some((key, value)) => {
                    container.spec.labels.get(key).is_some_and(|own| own == value)
                }
                None => container.spec.labels.contains_key(wanted.as_str()),
            }
        });
        let phase = container.state.phase;
        (self.all || phase.is_running() || phase == Phase::Restarting)
            && labels
            && any("id", &|id| container.id.starts_with(id))
            && self.names.matches(&container.name)
            && any("status", &|status| phase.as_str() == status)
            && any("exited", &|code| {
                matches!(phase, Phase::Exited | Phase::Dead)
                    && code == container.state.exit_code.to_string()
            })
            && any("volume", &|volume| {
                container.mounts.iter().any(|mount| {
                    mount.name.as_deref() == Some(volume)
                        || mount.destination == volume
                        || mount.source == volume
                })
            })
            && any("network", &|network| on_network(container, network))
            && any("publish", &|port| {
                port_in(port, |key, host| {
                    container.ports.iter().any(|(own, bindings)| {
                        key.is_none_or(|proto| own.protocol.as_str() == proto)
                            && bindings.iter().any(|binding| host.contains(&binding.host_port))
                    })
                })
            })
            && any("expose", &|port| {
                port_in(port, |key, range| {
                    container.spec.exposed_ports.iter().any(|own| {
                        key.is_none_or(|proto| own.protocol.as_str() == proto)
                            && range.contains(&own.port)
                    })
                })
            })
            && any("health", &|health| {
                let own = container.state.health.as_ref();
                health == own.map_or("none", |own| own.status.as_str())
            })
            && any("is-task", &|task| matches!(task, "false" | "0"))
            && self.before.is_none_or(|time| container.created < time)
            && self.since.is_none_or(|time| container.created > time)
            && self.ancestors.as_ref().is_none_or(|images| images.contains(&container.image_id))
    }
}

fn is_status(word: &str) -> bool {
    ["created", "running", "paused", "restarting", "removing", "exited", "dead"].contains(&word)
}

fn on_network(container: &Container, network: &str) -> bool {
    let mode = match &container.spec.host.network_mode {
        NetworkMode::None => "none",
        NetworkMode::Host => "host",
        _ => "",
    };
    mode == network
        || container
            .endpoints
            .iter()
            .any(|(name, endpoint)| name == network || endpoint.network_id.starts_with(network))
}

/// `80`, `80/udp`, `8000-8010/tcp`.
fn port_in(
    text: &str,
    check: impl Fn(Option<&str>, std::ops::RangeInclusive<u16>) -> bool,
) -> bool {
    let (range, protocol) = match text.split_once('/') {
        Some((range, protocol)) => (range, Some(protocol)),
        None => (text, None),
    };
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) => check(protocol, first..=last),
        _ => false,
    }
}

/// `80`, `80/tcp`, `80-90/udp`: in Docker's words if not.
fn check_ports(filter: &str, text: &str) -> Result<(), Failure> {
    let range = text.split_once('/').map_or(text, |(range, _)| range);
    match range.split('-').find(|port| port.parse::<u16>().is_err()) {
        None => Ok(()),
        Some(port) => Err(Failure::new(
            ErrorKind::InvalidArgument,
            format!(
                "error while looking up for {filter} {text}: strconv.ParseUint: parsing \"{port}\": invalid syntax"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_ranges() {
        let is = |text: &str, port: u16, proto: &str| {
            port_in(text, |wanted, range| {
                wanted.is_none_or(|w| w == proto) && range.contains(&port)
            })
        };
        assert!(is("80", 80, "udp"));
        assert!(is("8000-8010/tcp", 8005, "tcp"));
        assert!(!is("80/udp", 80, "tcp"));
        assert!(!is("x", 80, "tcp"));
    }
}
