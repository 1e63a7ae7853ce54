//! A service's mounts, with the configs and secrets that are files of this machine.

use ferry_cli::face::CliError;
use ferry_docker_api::{BindOptions, ImageOptions, Mount, TmpfsOptions, VolumeOptions};

use super::Want;
use crate::model::{self, Project};

pub(super) fn volumes_from(want: &Want<'_>) -> Result<Option<Vec<String>>, CliError> {
    let mut all = Vec::new();
    for from in &want.service.volumes_from {
        if let Some(container) = from.strip_prefix("container:") {
            all.push(container.to_owned());
            continue;
        }
        let (name, access) = from.split_once(':').unwrap_or((from, "rw"));
        let id = (want.container_of)(name).ok_or_else(|| {
            CliError::new(format!("cannot share volume with service {name}: container missing"))
        })?;
        all.push(format!("{id}:{access}"));
    }
    Ok((!all.is_empty()).then_some(all))
}

pub(super) fn mounts(want: &Want<'_>) -> Result<(Vec<String>, Vec<Mount>), CliError> {
    let mut binds = Vec::new();
    let mut mounts: Vec<Mount> = Vec::new();
    let mut targets: Vec<&str> = Vec::new();
    for mount in &want.service.volumes {
        let anonymous = mount.r#type == "volume" && mount.source.is_empty();
        let inherited = want.inherited.iter().any(|old| old.destination == mount.target);
        if anonymous && inherited {
            continue;
        }
        targets.push(&mount.target);
        match as_bind(want.project, mount) {
            Some(bind) => binds.push(bind),
            None => mounts.push(as_mount(want.project, mount)?),
        }
    }
    for old in want.inherited.iter().filter(|old| old.kind == "volume") {
        if !targets.contains(&old.destination.as_str()) {
            binds.push(format!("{}:{}:rw", old.name, old.destination));
        }
    }
    for (what, reference) in want
        .service
        .configs
        .iter()
        .map(|reference| ("config", reference))
        .chain(want.service.secrets.iter().map(|reference| ("secret", reference)))
    {
        let all = if what == "config" { &want.project.configs } else { &want.project.secrets };
        let object = all.get(&reference.source).cloned().unwrap_or_default();
        if object.external {
            return Err(CliError::new(format!("unsupported external {what} {}", reference.source)));
        }
        for (key, value) in
            [("driver", &object.driver), ("template_driver", &object.template_driver)]
        {
            if !value.is_empty() {
                return Err(CliError::new(format!(
                    "Docker Compose does not support {what}s.*.{key}"
                )));
            }
        }
        if !object.file.is_empty() {
            mounts.push(Mount {
                kind: "bind".to_owned(),
                source: object.file,
                target: target_of(what, reference),
                read_only: true,
                ..Mount::default()
            });
        }
    }
    binds.sort();
    Ok((binds, mounts))
}

/// Where a config or secret appears. What is relative is below the root for a config, and below `/run/secrets` for a secret.
pub(crate) fn target_of(kind: &str, reference: &model::FileReference) -> String {
    let below = if kind == "secret" { "/run/secrets/" } else { "/" };
    match reference.target.as_str() {
        "" => format!("{below}{}", reference.source),
        target if target.starts_with('/') => target.to_owned(),
        target => format!("{below}{target}"),
    }
}

/// As one string, where that says all.
fn as_bind(project: &Project, mount: &model::Mount) -> Option<String> {
    let mut options = vec![if mount.read_only { "ro" } else { "rw" }.to_owned()];
    let source = match mount.r#type.as_str() {
        "bind" => {
            let bind = mount.bind.clone().unwrap_or_default();
            if !bind.create_host_path || !bind.recursive.is_empty() {
                return None;
            }
            options.extend([bind.selinux, bind.propagation].into_iter().filter(|o| !o.is_empty()));
            mount.source.clone()
        }
        "volume" if !mount.source.is_empty() => {
            let volume = mount.volume.clone().unwrap_or_default();
            if !volume.subpath.is_empty() || !volume.labels.is_empty() {
                return None;
            }
            if volume.nocopy {
                options.push("nocopy".to_owned());
            }
            let selinux = mount.bind.as_ref().map_or("", |bind| bind.selinux.as_str());
            options.extend(Some(selinux.to_owned()).filter(|option| !option.is_empty()));
            project.volumes.get(&mount.source)?.name.clone()
        }
        _ => return None,
    };
    Some(format!("{source}:{}:{}", mount.target, options.join(",")))
}

fn as_mount(project: &Project, mount: &model::Mount) -> Result<Mount, CliError> {
    let named = project.volumes.get(&mount.source).map(|volume| volume.name.clone());
    let bind = mount.bind.as_ref().map(|bind| BindOptions {
        propagation: bind.propagation.clone(),
        create_mountpoint: bind.create_host_path,
        non_recursive: bind.recursive == "disabled",
        read_only_non_recursive: bind.recursive == "writable",
        read_only_force_recursive: bind.recursive == "readonly",
        id_map: false,
    });
    let kind = mount.r#type.as_str();
    if !matches!(kind, "bind" | "volume" | "tmpfs" | "image") {
        return Err(CliError::new(format!("not supported yet: a volume of type {kind}")));
    }
    Ok(Mount {
        kind: kind.to_owned(),
        source: if kind == "volume" { named.unwrap_or_default() } else { mount.source.clone() },
        target: mount.target.clone(),
        read_only: mount.read_only,
        consistency: mount.consistency.clone(),
        bind_options: bind.filter(|_| kind == "bind"),
        volume_options: mount.volume.as_ref().filter(|_| kind == "volume").map(|volume| {
            VolumeOptions {
                no_copy: volume.nocopy,
                labels: volume.labels.clone(),
                subpath: volume.subpath.clone(),
                driver_config: None,
            }
        }),
        image_options: mount
            .image
            .as_ref()
            .map(|image| ImageOptions { subpath: image.subpath.clone() }),
        tmpfs_options: mount.tmpfs.as_ref().map(|tmpfs| TmpfsOptions {
            size_bytes: tmpfs.size.0,
            mode: tmpfs.mode,
            options: Vec::new(),
        }),
        ..Mount::default()
    })
}
