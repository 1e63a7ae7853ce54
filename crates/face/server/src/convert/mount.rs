//! `--mount`s and the mounts that a container has.

use ferry_docker_api::{
    BindOptions, ImageOptions, Mount, MountDriver, MountPoint as WirePoint, TmpfsOptions,
    VolumeOptions,
};
use ferry_errkind::Failure;
use ferry_model::container::{BindRecursion, MountKind, MountPoint, MountRequest};

use crate::{refuse::invalid, request::Peer};

/// Reads a `--mount`.
pub(super) fn request(wire: Mount) -> Result<MountRequest, Failure> {
    let Mount {
        kind,
        source,
        target,
        read_only,
        consistency,
        bind_options,
        volume_options,
        image_options,
        tmpfs_options,
        cluster_options,
    } = wire;
    let mount_kind = parse_kind(&kind)?;
    let misplaced = [
        (bind_options.is_some() && mount_kind != MountKind::Bind, "BindOptions"),
        (volume_options.is_some() && mount_kind != MountKind::Volume, "VolumeOptions"),
        (tmpfs_options.is_some() && mount_kind != MountKind::Tmpfs, "TmpfsOptions"),
        (image_options.is_some() && mount_kind != MountKind::Image, "ImageOptions"),
        (cluster_options.is_some(), "ClusterOptions"),
    ];
    if let Some((_, name)) = misplaced.into_iter().find(|(misplaced, _)| *misplaced) {
        return Err(invalid(format!("{name} must not be specified on mount type \"{kind}\"")));
    }
    let bind = bind_options.unwrap_or_default();
    let recursion = recursion(&bind)?;
    let BindOptions { propagation, create_mountpoint, id_map, .. } = bind;
    let VolumeOptions { no_copy, labels, subpath, driver_config } =
        volume_options.unwrap_or_default();
    let ImageOptions { subpath: image_subpath } = image_options.unwrap_or_default();
    let subpath = if mount_kind == MountKind::Image { image_subpath } else { subpath };
    let MountDriver { name, options } = driver_config.unwrap_or_default();
    let TmpfsOptions { size_bytes, mode, options: tmpfs } = tmpfs_options.unwrap_or_default();
    Ok(MountRequest {
        kind: mount_kind,
        source,
        target,
        read_only,
        consistency,
        propagation,
        recursion,
        create_source: create_mountpoint,
        idmap: id_map,
        root: None,
        maps: None,
        relabel: false,
        no_copy,
        volume_labels: labels,
        volume_driver: name,
        volume_options: options,
        subpath,
        tmpfs_size: size_bytes,
        tmpfs_mode: mode,
        tmpfs_options: tmpfs,
    })
}

fn parse_kind(kind: &str) -> Result<MountKind, Failure> {
    match kind {
        "bind" => Ok(MountKind::Bind),
        "volume" => Ok(MountKind::Volume),
        "tmpfs" => Ok(MountKind::Tmpfs),
        "image" => Ok(MountKind::Image),
        other => {
            Err(invalid(format!("invalid mount config for type \"{other}\": mount type unknown")))
        }
    }
}

fn recursion(options: &BindOptions) -> Result<BindRecursion, Failure> {
    let BindOptions {
        propagation: _,
        non_recursive,
        create_mountpoint: _,
        read_only_non_recursive,
        read_only_force_recursive,
        id_map: _,
    } = *options;
    match (non_recursive, read_only_non_recursive, read_only_force_recursive) {
        (_, true, true) => Err(invalid(
            "invalid mount config for type \"bind\": ReadOnlyForceRecursive conflicts with ReadOnlyNonRecursive",
        )),
        (true, _, true) => Err(invalid(
            "invalid mount config for type \"bind\": NonRecursive conflicts with ReadOnlyForceRecursive",
        )),
        (true, _, false) => Ok(BindRecursion::Disabled),
        (false, true, false) => Ok(BindRecursion::Writable),
        (false, false, true) => Ok(BindRecursion::Readonly),
        (false, false, false) => Ok(BindRecursion::Enabled),
    }
}

/// With `idmap` what root in the container makes belongs to whoever asks for it. The host's root needs no such bind for that, and a
/// client elsewhere is nobody here: with those it is the owner of the source.
pub(crate) fn of_caller(mounts: &mut [MountRequest], peer: Option<Peer>) {
    let caller = peer.map(|peer| (peer.user, peer.group)).filter(|(user, _)| *user != 0);
    for mount in mounts.iter_mut().filter(|mount| mount.idmap) {
        mount.root = caller;
    }
}

/// Writes a `--mount` again, as it was asked for.
pub(super) fn to_wire(request: &MountRequest) -> Mount {
    let MountRequest {
        kind,
        source,
        target,
        read_only,
        consistency,
        propagation,
        recursion,
        create_source,
        idmap,
        // Who asked is not part of what was asked for.
        root: _,
        // Docker has no word for it.
        maps: _,
        // Docker's clients ask by `:z` and `:Z` alone.
        relabel: _,
        no_copy,
        volume_labels,
        volume_driver,
        volume_options,
        subpath,
        tmpfs_size,
        tmpfs_mode,
        tmpfs_options,
    } = request.clone();
    let bind = BindOptions {
        propagation,
        non_recursive: recursion == BindRecursion::Disabled,
        create_mountpoint: create_source,
        read_only_non_recursive: recursion == BindRecursion::Writable,
        read_only_force_recursive: recursion == BindRecursion::Readonly,
        id_map: idmap,
    };
    let driver = MountDriver { name: volume_driver, options: volume_options };
    let is_image = kind == MountKind::Image;
    let image = ImageOptions { subpath: if is_image { subpath.clone() } else { String::new() } };
    let subpath = if is_image { String::new() } else { subpath };
    let volume = VolumeOptions {
        no_copy,
        labels: volume_labels,
        subpath,
        driver_config: (driver != MountDriver::default()).then_some(driver),
    };
    let tmpfs = TmpfsOptions { size_bytes: tmpfs_size, mode: tmpfs_mode, options: tmpfs_options };
    Mount {
        kind: word(kind).to_owned(),
        source,
        target,
        read_only,
        consistency,
        bind_options: (bind != BindOptions::default()).then_some(bind),
        volume_options: (volume != VolumeOptions::default()).then_some(volume),
        image_options: (image != ImageOptions::default()).then_some(image),
        tmpfs_options: (tmpfs != TmpfsOptions::default()).then_some(tmpfs),
        cluster_options: None,
    }
}

/// Writes a mount that a container has.
pub(super) fn point(point: &MountPoint) -> WirePoint {
    let MountPoint {
        kind,
        name,
        source,
        destination,
        driver,
        mode,
        rw,
        propagation,
        anonymous,
        // How it was asked for, which `HostConfig` shows.
        no_copy: _,
        subpath,
        create_source: _,
        idmap: _,
        root: _,
        maps: _,
        recursion: _,
        tmpfs_size: _,
        tmpfs_mode: _,
        tmpfs_options: _,
        filesystem: _,
    } = point.clone();
    // Of a part of a volume the whole is shown.
    let whole = source.strip_suffix(&subpath).filter(|_| kind == MountKind::Volume);
    let source = match whole {
        Some(whole) if !subpath.is_empty() => whole.trim_end_matches('/').to_owned(),
        _ => source,
    };
    // Docker's way to say that nothing was said of a volume that has a name.
    let unnamed = anonymous || name.as_ref().is_some_and(|name| name.len() == 64);
    let is_default = kind == MountKind::Volume && mode.is_empty() && !unnamed;
    let mode = if is_default { "z".to_owned() } else { mode };
    WirePoint {
        kind: word(kind).to_owned(),
        name: name.unwrap_or_default(),
        source,
        destination,
        driver: driver.unwrap_or_default(),
        mode,
        rw,
        propagation,
    }
}

fn word(kind: MountKind) -> &'static str {
    match kind {
        MountKind::Bind => "bind",
        MountKind::Volume => "volume",
        MountKind::Tmpfs => "tmpfs",
        MountKind::Image => "image",
    }
}
