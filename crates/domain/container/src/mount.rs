//! What is mounted where: `-v`, `--mount`, `--tmpfs`, `--volumes-from` and the image's `VOLUME`s become one list.

use std::collections::BTreeMap;

use ferry_errkind::{ErrorKind, Kinded};
use ferry_model::container::{
    BindMount, BindRecursion, ContainerSpec, MountKind, MountPoint, MountRequest,
};

#[cfg(test)]
mod tests;

/// A mount that Docker would not take either. The words are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    /// `-v` does not read.
    #[error("invalid volume specification: '{0}'")]
    Specification(String),
    /// A field of `-v` is wrong.
    #[error("invalid volume specification: '{text}': {why}")]
    InSpecification {
        /// What was given.
        text: String,
        /// What is wrong about it.
        why: Box<MountError>,
    },
    /// The path in the container is relative.
    #[error(
        "invalid mount config for type \"{kind}\": invalid mount path: '{path}' mount path must be absolute"
    )]
    RelativeTarget {
        /// Type of the mount.
        kind: &'static str,
        /// The path.
        path: String,
    },
    /// The path in the container is `/`.
    #[error(
        "invalid mount config for type \"{0}\": invalid specification: destination can't be '/'"
    )]
    RootTarget(&'static str),
    /// An option that there is not, or two that exclude each other.
    #[error("invalid mode: {0}")]
    Mode(String),
    /// A way to propagate mounts that there is not.
    #[error("invalid mount config for type \"bind\": invalid propagation mode: {0}")]
    Propagation(String),
    /// Two mounts on one path.
    #[error("Duplicate mount point: {0}")]
    Duplicate(String),
    /// A volume's name has a character that it may not have.
    #[error(
        "create {0}: \"{0}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )]
    VolumeName(String),
    /// A volume's name is a single character.
    #[error(
        "create {0}: volume name is too short, names should be at least two alphanumeric characters"
    )]
    ShortVolumeName(String),
    /// A field that the kind of mount needs is empty.
    #[error("invalid mount config for type \"{kind}\": field {field} must not be empty")]
    EmptyField {
        /// Type of the mount.
        kind: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A field that the kind of mount does not have.
    #[error("invalid mount config for type \"{kind}\": field {field} must not be specified")]
    ExtraField {
        /// Type of the mount.
        kind: &'static str,
        /// The field.
        field: &'static str,
    },
    /// An option that tmpfs does not have.
    #[error("invalid tmpfs option \"{0}\"")]
    TmpfsOption(String),
    /// `--tmpfs` with a relative path.
    #[error("invalid mount path: '{0}' mount path must be absolute")]
    RelativeTmpfs(String),
    /// A bind mount's source is relative.
    #[error(
        "invalid mount config for type \"bind\": invalid mount path: '{0}' mount path must be absolute"
    )]
    RelativeSource(String),
}

impl Kinded for MountError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// Propagation words of mount_namespaces(7), as Docker takes them.
const PROPAGATION: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

/// Reads `source:destination[:options]`, `volume:destination`, or a bare destination (an anonymous volume).
///
/// # Errors
/// When it does not read, or an option is unknown.
pub fn parse_bind(text: &str) -> Result<MountPoint, MountError> {
    let specification = || MountError::Specification(text.to_owned());
    let parts: Vec<&str> = text.split(':').collect();
    let (source, destination, options) = match parts[..] {
        [destination] => ("", destination, ""),
        // `name:ro` cannot be meant: a mode is no path.
        [source, destination] if is_absolute(destination) => (source, destination, ""),
        [_, second] if second.split(',').all(is_mode_word) => return Err(specification()),
        [source, destination] => (source, destination, ""),
        [source, destination, options] => (source, destination, options),
        _ => return Err(specification()),
    };
    if destination.is_empty() || (parts.len() > 1 && source.is_empty()) {
        return Err(specification());
    }
    let kind = if is_absolute(source) { MountKind::Bind } else { MountKind::Volume };
    let mut point = MountPoint {
        kind,
        name: None,
        source: String::new(),
        destination: clean_target(destination, kind).map_err(|why| {
            MountError::InSpecification { text: text.to_owned(), why: Box::new(why) }
        })?,
        driver: (kind == MountKind::Volume).then(|| "local".to_owned()),
        mode: options.to_owned(),
        rw: true,
        propagation: String::new(),
        anonymous: source.is_empty(),
        no_copy: false,
        subpath: String::new(),
        create_source: true,
        idmap: false,
        root: None,
        maps: None,
        recursion: BindRecursion::Enabled,
        tmpfs_size: 0,
        tmpfs_mode: 0,
        tmpfs_options: String::new(),
        filesystem: None,
    };
    match kind {
        MountKind::Bind => {
            point.source = clean_path(source);
            point.propagation = "rprivate".to_owned();
        }
        MountKind::Volume if !source.is_empty() => {
            check_volume_name(source)?;
            point.name = Some(source.to_owned());
        }
        MountKind::Volume | MountKind::Tmpfs | MountKind::Image => {}
    }
    apply_options(&mut point, options)?;
    Ok(point)
}

/// Reads a `--mount`.
///
/// # Errors
/// When a field is missing, does not belong to the kind, or is malformed.
pub fn parse_request(request: &MountRequest) -> Result<MountPoint, MountError> {
    let kind = kind_word(request.kind);
    if request.target.is_empty() {
        return Err(MountError::EmptyField { kind, field: "Target" });
    }
    let mut point = MountPoint {
        kind: request.kind,
        name: None,
        source: String::new(),
        destination: clean_target(&request.target, request.kind)?,
        driver: None,
        mode: String::new(),
        rw: !request.read_only,
        propagation: String::new(),
        anonymous: false,
        no_copy: request.no_copy,
        subpath: request.subpath.clone(),
        create_source: request.create_source,
        idmap: request.idmap,
        root: request.root,
        maps: request.maps.clone(),
        recursion: request.recursion,
        tmpfs_size: request.tmpfs_size,
        tmpfs_mode: request.tmpfs_mode,
        tmpfs_options: flat_options(&request.tmpfs_options),
        filesystem: None,
    };
    match request.kind {
        MountKind::Bind => {
            if request.source.is_empty() {
                return Err(MountError::EmptyField { kind, field: "Source" });
            }
            if !is_absolute(&request.source) {
                return Err(MountError::RelativeSource(request.source.clone()));
            }
            point.source = clean_path(&request.source);
            point.propagation = propagation_or_default(&request.propagation)?;
            if request.relabel {
                point.mode = "Z".to_owned();
            }
        }
        MountKind::Volume => {
            point.driver = Some(default_driver(&request.volume_driver));
            point.anonymous = request.source.is_empty();
            if !request.source.is_empty() {
                check_volume_name(&request.source)?;
                point.name = Some(request.source.clone());
            }
        }
        MountKind::Tmpfs => {
            if !request.source.is_empty() {
                return Err(MountError::ExtraField { kind, field: "Source" });
            }
            check_tmpfs(&point.tmpfs_options)?;
        }
        MountKind::Image => {
            if request.source.is_empty() {
                return Err(MountError::EmptyField { kind, field: "Source" });
            }
            point.source.clone_from(&request.source);
            point.rw = false;
        }
    }
    Ok(point)
}

/// All mounts of a container. `inherited` are those of `--volumes-from`, already with their mode applied. Volumes that have no
/// name yet are anonymous: the engine names and makes them.
///
/// # Errors
/// The first thing that Docker would refuse.
pub fn plan_mounts(
    spec: &ContainerSpec,
    inherited: Vec<MountPoint>,
) -> Result<Vec<MountPoint>, MountError> {
    let mut by_target: BTreeMap<String, MountPoint> =
        inherited.into_iter().map(|point| (point.destination.clone(), point)).collect();
    let mut given = std::collections::BTreeSet::new();
    let mut take = |point: MountPoint| {
        if !given.insert(point.destination.clone()) {
            return Err(MountError::Duplicate(point.destination));
        }
        by_target.insert(point.destination.clone(), point);
        Ok(())
    };
    for BindMount { text, .. } in &spec.host.binds {
        take(parse_bind(text)?)?;
    }
    for request in &spec.host.mounts {
        take(parse_request(request)?)?;
    }
    for (target, options) in &spec.host.tmpfs {
        take(parse_tmpfs(target, options)?)?;
    }
    for target in &spec.volumes {
        // `VOLUME data` in a Dockerfile is a place below the root.
        let relative = !target.is_empty() && !target.starts_with('/') && !target.contains(':');
        let mut point = match relative {
            true => parse_bind(&format!("/{target}"))?,
            false => parse_bind(target)?,
        };
        // `-v /path` without a source arrives here, beside the image's VOLUMEs: what is mounted there already wins.
        point.anonymous = point.name.is_none();
        by_target.entry(point.destination.clone()).or_insert(point);
    }
    Ok(by_target.into_values().collect())
}

fn parse_tmpfs(target: &str, options: &str) -> Result<MountPoint, MountError> {
    if !is_absolute(target) {
        return Err(MountError::RelativeTmpfs(target.to_owned()));
    }
    let mut point = parse_request(&MountRequest {
        kind: MountKind::Tmpfs,
        source: String::new(),
        target: target.to_owned(),
        read_only: false,
        consistency: String::new(),
        propagation: String::new(),
        recursion: BindRecursion::Enabled,
        create_source: false,
        idmap: false,
        root: None,
        maps: None,
        relabel: false,
        no_copy: false,
        volume_labels: BTreeMap::new(),
        volume_driver: String::new(),
        volume_options: BTreeMap::new(),
        subpath: String::new(),
        tmpfs_size: 0,
        tmpfs_mode: 0,
        tmpfs_options: Vec::new(),
    })?;
    check_tmpfs(options)?;
    point.rw = !options.split(',').any(|option| option == "ro");
    point.mode = options.to_owned();
    point.tmpfs_options = options.to_owned();
    Ok(point)
}

/// Options that tmpfs and every mount know (moby `volume/mounts/linux_parser.go`, sys/mountinfo's table).
const TMPFS_FLAGS: [&str; 29] = [
    "defaults",
    "ro",
    "rw",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "sync",
    "async",
    "dirsync",
    "remount",
    "mand",
    "nomand",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "bind",
    "rbind",
    "unbindable",
    "runbindable",
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
];
const TMPFS_MORE: [&str; 4] = ["relatime", "norelatime", "strictatime", "nostrictatime"];
const TMPFS_VALUES: [&str; 6] = ["mode", "uid", "gid", "size", "nr_inodes", "mpol"];

fn check_tmpfs(options: &str) -> Result<(), MountError> {
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let known = match option.split_once('=') {
            Some((name, _)) => TMPFS_VALUES.contains(&name),
            None => TMPFS_FLAGS.contains(&option) || TMPFS_MORE.contains(&option),
        };
        if !known {
            let name = option.split_once('=').map_or(option, |(name, _)| name);
            return Err(MountError::TmpfsOption(name.to_owned()));
        }
    }
    Ok(())
}

fn apply_options(point: &mut MountPoint, options: &str) -> Result<(), MountError> {
    let mode = || MountError::Mode(options.to_owned());
    let mut seen = [false; 4];
    let mut once =
        |kind: usize| if std::mem::replace(&mut seen[kind], true) { Err(mode()) } else { Ok(()) };
    for option in options.split(',').filter(|_| !options.is_empty()) {
        match option {
            "ro" => {
                once(0)?;
                point.rw = false;
            }
            "rw" => once(0)?,
            // SELinux labels: kept in `mode`; applied where the host has SELinux.
            "z" | "Z" => once(1)?,
            "nocopy" if point.kind == MountKind::Volume => {
                once(2)?;
                point.no_copy = true;
            }
            // Docker Desktop's consistency words, without meaning on Linux.
            "consistent" | "cached" | "delegated" => once(2)?,
            word if PROPAGATION.contains(&word) && point.kind == MountKind::Bind => {
                once(3)?;
                point.propagation = word.to_owned();
            }
            _ => return Err(mode()),
        }
    }
    Ok(())
}

fn propagation_or_default(word: &str) -> Result<String, MountError> {
    match word {
        "" => Ok("rprivate".to_owned()),
        word if PROPAGATION.contains(&word) => Ok(word.to_owned()),
        word => Err(MountError::Propagation(word.to_owned())),
    }
}

fn check_volume_name(name: &str) -> Result<(), MountError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    match name.as_bytes() {
        [_] => Err(MountError::ShortVolumeName(name.to_owned())),
        [first, rest @ ..]
            if first.is_ascii_alphanumeric() && rest.iter().all(|byte| allowed(*byte)) =>
        {
            Ok(())
        }
        _ => Err(MountError::VolumeName(name.to_owned())),
    }
}

fn clean_target(path: &str, kind: MountKind) -> Result<String, MountError> {
    if !is_absolute(path) {
        let kind = kind_word(kind);
        return Err(MountError::RelativeTarget { kind, path: path.to_owned() });
    }
    let clean = clean_path(path);
    if clean == "/" {
        return Err(MountError::RootTarget(kind_word(kind)));
    }
    Ok(clean)
}

/// Go's `filepath.Clean` for an absolute path.
pub fn clean_path(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn is_absolute(path: &str) -> bool {
    path.starts_with('/')
}

fn is_mode_word(word: &str) -> bool {
    matches!(word, "ro" | "rw" | "z" | "Z" | "nocopy") || PROPAGATION.contains(&word)
}

fn kind_word(kind: MountKind) -> &'static str {
    match kind {
        MountKind::Bind => "bind",
        MountKind::Volume => "volume",
        MountKind::Tmpfs => "tmpfs",
        MountKind::Image => "image",
    }
}

fn default_driver(driver: &str) -> String {
    if driver.is_empty() { "local".to_owned() } else { driver.to_owned() }
}

fn flat_options(options: &[Vec<String>]) -> String {
    options.iter().map(|pair| pair.join("=")).collect::<Vec<_>>().join(",")
}
