//! What belongs to no container: in `/run`, on the bridges, among volumes and layers.

use std::{collections::BTreeSet, fs, sync::Arc, time::Duration};

use crate::{Shared, net};

/// A download that nobody went on with for so long is given up.
const PARTIAL_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Removes it.
pub(super) async fn leftovers(shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    let swept = crate::blocking(move || {
        let containers: Vec<_> =
            shared.containers.all().iter().map(|handle| handle.container()).collect();
        let ids: BTreeSet<&str> =
            containers.iter().map(|container| container.id.as_str()).collect();
        let run = shared.config.exec_root.join("c");
        for entry in fs::read_dir(&run).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let id = name.to_string_lossy();
            // One whose record does not read is left aside, and may run.
            if !ids.contains(id.as_ref()) && !shared.dirs.data(&id).exists() {
                fs::remove_dir_all(entry.path()).ok();
            }
        }
        let running: Vec<_> =
            containers.iter().filter(|container| container.state.phase.is_running()).collect();
        let links: Vec<String> = running
            .iter()
            .flat_map(|container| container.endpoints.values())
            .map(|endpoint| endpoint.host_link.clone())
            .filter(|link| !link.is_empty())
            .collect();
        let mut ports: Vec<_> =
            running.iter().flat_map(|container| net::own_ports(&shared, container)).collect();
        if shared.config.bridge.respect_firewall {
            ports.clear();
        }
        for link in shared
            .networks
            .list()
            .into_iter()
            .filter(|network| network.driver == "bridge")
            .map(|network| network.bridge)
            .filter(|link| !link.is_empty())
        {
            if let Err(error) = ferry_network::reconcile(&shared.table(), &link, &links, &ports) {
                tracing::warn!(
                    error = ferry_errkind::chain(&error),
                    "leftovers of the network stay"
                );
            }
        }
        net::links::reopen(&shared);
        // The daemon before may have carried them itself.
        if !ports.is_empty() {
            shared.publish(&ports)?;
        }
        crate::mounted::sweep(&shared);
        crate::ops::container::checkpoint::sweep(&shared);
        let used = crate::ops::volume::used_volumes(&shared);
        for volume in shared.dirs.doomed_volumes() {
            if !used.contains_key(&volume)
                && let Err(error) = shared.volumes.remove(&volume)
            {
                tracing::debug!(%volume, %error, "a volume of a crash is gone already");
            }
        }
        // Nobody waits for it: the disk may take minutes.
        let (dirs, discarded) = (shared.dirs.clone(), shared.dirs.in_trash());
        tokio::task::spawn_blocking(move || {
            discarded.iter().for_each(|id| dirs.empty_trash(id));
        });
        ferry_transfer::sweep_partials(&shared.config.data_root.join("ingest"), PARTIAL_AGE);
        crate::ops::image::sweep_layers(&shared);
        Ok(())
    });
    if let Err(failure) = swept.await {
        tracing::warn!(%failure, "sweep failed");
    }
}
