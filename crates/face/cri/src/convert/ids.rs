//! User namespaces and id maps, as a pod, its containers and their mounts ask for them. What containerd refuses is refused.

use ferry_model::container::IdMaps;
use ferry_oci::runtime::LinuxIdMapping;
use tonic::Status;

use crate::{answer::invalid, api, record::Sandbox};

/// The most ranges that the kernel takes in a map.
const MAX_RANGES: usize = 340;

/// The kernel takes a map in one write, which is shorter than the smallest page.
const MAX_TEXT: usize = 4096;

/// The ids of a pod; `None`: the host's.
pub(crate) fn of_pod(options: &api::NamespaceOption) -> Result<Option<IdMaps>, Status> {
    let maps = maps(options)?;
    if maps.is_some() {
        let shared =
            [(options.network(), "network"), (options.pid(), "process id"), (options.ipc(), "IPC")];
        if let Some((_, name)) = shared.iter().find(|(mode, _)| *mode == api::NamespaceMode::Node) {
            return Err(invalid(format!(
                "namespace_options.userns_options: a pod with a user namespace cannot share the host's {name} namespace"
            )));
        }
    }
    Ok(maps)
}

/// The ids of a container, which must be those of its pod.
pub(crate) fn of_container(
    options: &api::NamespaceOption,
    sandbox: &Sandbox<'_>,
) -> Result<Option<IdMaps>, Status> {
    let own = maps(options)?;
    let pod = maps(&sandbox.namespaces())?;
    if own == pod {
        return Ok(own);
    }
    let show = |maps: &Option<IdMaps>| maps.as_ref().map_or("the host's ids".to_owned(), words);
    Err(invalid(format!(
        "user namespace config for sandbox is different from container: the sandbox has {}, the container {}",
        show(&pod),
        show(&own)
    )))
}

/// The ids that a mount asks for; `None`: as they are on the disk.
pub(crate) fn of_mount(
    path: &str,
    uids: &[api::IdMapping],
    gids: &[api::IdMapping],
) -> Result<Option<IdMaps>, Status> {
    if uids.is_empty() && gids.is_empty() {
        return Ok(None);
    }
    let what = format!("mounts ({path})");
    Ok(Some(IdMaps {
        uids: ranges(uids, &format!("{what}.uid_mappings"))?,
        gids: ranges(gids, &format!("{what}.gid_mappings"))?,
    }))
}

fn maps(options: &api::NamespaceOption) -> Result<Option<IdMaps>, Status> {
    let Some(userns) = &options.userns_options else { return Ok(None) };
    let what = "namespace_options.userns_options";
    match userns.mode() {
        api::NamespaceMode::Node if userns.uids.is_empty() && userns.gids.is_empty() => Ok(None),
        api::NamespaceMode::Node => Err(invalid(format!("{what}: mode NODE has no id mappings"))),
        api::NamespaceMode::Pod => {
            let uids = ranges(&userns.uids, &format!("{what}.uids"))?;
            let gids = ranges(&userns.gids, &format!("{what}.gids"))?;
            let has_root = |map: &[LinuxIdMapping]| map.iter().any(|range| range.container_id == 0);
            if !has_root(&uids) || !has_root(&gids) {
                return Err(invalid(format!("{what}: nobody is root (0) in the pod")));
            }
            Ok(Some(IdMaps { uids, gids }))
        }
        mode => Err(invalid(format!("{what}: unsupported mode {}", mode.as_str_name()))),
    }
}

/// A map as the kernel takes it: some ranges, none of them empty, beyond the last id, or twice on either side.
fn ranges(map: &[api::IdMapping], what: &str) -> Result<Vec<LinuxIdMapping>, Status> {
    if map.is_empty() || map.len() > MAX_RANGES {
        let count = map.len();
        return Err(invalid(format!("{what}: {count} id mappings, must be 1 to {MAX_RANGES}")));
    }
    let range = |range: &api::IdMapping| LinuxIdMapping {
        container_id: range.container_id,
        host_id: range.host_id,
        size: range.length,
    };
    let ranges: Vec<LinuxIdMapping> = map.iter().map(range).collect();
    let line = |it: &LinuxIdMapping| format!("{} {} {}\n", it.container_id, it.host_id, it.size);
    let text: usize = ranges.iter().map(|range| line(range).len()).sum();
    if text >= MAX_TEXT {
        let words = format!("{} id mappings are {text} bytes of text", ranges.len());
        return Err(invalid(format!("{what}: {words}, the kernel takes less than {MAX_TEXT}")));
    }
    for side in
        [|range: &LinuxIdMapping| range.container_id, |range: &LinuxIdMapping| range.host_id]
    {
        let mut ends: Vec<(u64, u64)> = ranges
            .iter()
            .map(|range| (u64::from(side(range)), u64::from(side(range)) + u64::from(range.size)))
            .collect();
        ends.sort_unstable();
        let wrong = ends.iter().any(|(first, end)| first == end || *end > u64::from(u32::MAX));
        if wrong || ends.windows(2).any(|pair| pair[0].1 > pair[1].0) {
            let words = "a range is empty, overlaps another one or goes beyond the last id";
            return Err(invalid(format!("{what}: {words}")));
        }
    }
    Ok(ranges)
}

fn words(maps: &IdMaps) -> String {
    let of = |map: &[LinuxIdMapping]| -> String {
        let each = map.iter().map(|it| format!("{}:{}:{}", it.container_id, it.host_id, it.size));
        each.collect::<Vec<_>>().join(",")
    };
    format!("uids {} gids {}", of(&maps.uids), of(&maps.gids))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(mode: api::NamespaceMode, map: &[(u32, u32, u32)]) -> api::NamespaceOption {
        let range = |(container_id, host_id, length): &(u32, u32, u32)| api::IdMapping {
            container_id: *container_id,
            host_id: *host_id,
            length: *length,
        };
        let map: Vec<_> = map.iter().map(range).collect();
        api::NamespaceOption {
            userns_options: Some(api::UserNamespace {
                mode: mode.into(),
                uids: map.clone(),
                gids: map,
            }),
            ..api::NamespaceOption::default()
        }
    }

    #[test]
    fn what_a_pod_s_ids_may_be() {
        use api::NamespaceMode::{Container, Node, Pod};
        assert_eq!(of_pod(&api::NamespaceOption::default()).unwrap(), None);
        assert_eq!(of_pod(&asked(Node, &[])).unwrap(), None);
        let one = of_pod(&asked(Pod, &[(0, 65536, 65536)])).unwrap();
        assert_eq!(one, Some(IdMaps::from_first(65536)));
        assert!(of_pod(&asked(Pod, &[(0, 5000, 10), (10, 9000, 5)])).unwrap().is_some());
        for (mode, map) in [
            (Node, &[(0, 65536, 65536)][..]),
            (Container, &[(0, 65536, 65536)]),
            (Pod, &[]),
            (Pod, &[(1, 65536, 65536)]),
            (Pod, &[(0, 65536, 0)]),
            (Pod, &[(0, u32::MAX, 2)]),
            (Pod, &[(0, 5000, 10), (5, 9000, 5)]),
            (Pod, &[(0, 5000, 10), (10, 5009, 5)]),
        ] {
            of_pod(&asked(mode, map)).expect_err(&format!("{mode:?} {map:?}"));
        }
        // As many ranges as the kernel takes, and too many digits.
        let many = |first: u32| -> Vec<(u32, u32, u32)> {
            (0..300).map(|it| (it, first + it, 1)).collect()
        };
        assert!(of_pod(&asked(Pod, &many(5000))).unwrap().is_some());
        let refused = of_pod(&asked(Pod, &many(1_000_000_000))).unwrap_err();
        assert!(refused.message().contains("300 id mappings are 4990 bytes"), "{refused}");
        let mut hosted = asked(Pod, &[(0, 65536, 65536)]);
        hosted.set_ipc(Node);
        assert!(of_pod(&hosted).unwrap_err().message().contains("host's IPC namespace"));
    }
}
