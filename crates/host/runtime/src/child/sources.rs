//! What mounts show: opened while the host's tree is still as the user sees it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use ferry_oci::runtime::{Mount, Spec};
use ferry_sys::Errno;
use ferry_sys::mount;
use ferry_sys::overlay::{Durability, Overlay};

use super::filesystems;
use super::options::{Depth, Options};
use crate::error::{Failure, Outcome, words};
use crate::foreign;
use crate::mapped::{self, Maps};

/// What a mount will show.
#[derive(Debug)]
pub(crate) enum Source {
    /// Not a bind mount.
    New,
    /// A detached copy of the source, which stays in its peer group.
    Tree(OwnedFd),
}

/// Opens the sources of all bind mounts. A source keeps its place among mounts with `rshared` only if it is copied
/// before the tree around it is made private; and a container's own mounts must not hide sources from later ones.
pub(crate) fn open_sources(spec: &Spec, bundle_dir: &Path) -> Outcome<Vec<Source>> {
    spec.mounts.iter().map(|entry| open_source(entry, spec, bundle_dir)).collect()
}

/// One of them.
pub(crate) fn open_source(entry: &Mount, spec: &Spec, bundle_dir: &Path) -> Outcome<Source> {
    let options = Options::read(&entry.options);
    let is_bind = options.bind.is_some() || entry.kind.as_deref() == Some("bind");
    if !is_bind && entry.kind.as_deref() == Some("overlay") && wants_maps(entry) {
        let layers = layers_of(entry, &options, filesystems::labelled(spec))?;
        let tree = mapped::overlay(&layers, Durability::Volatile, &maps_of(entry, spec)?)
            .map_err(|failure| failed(entry, &failure.message))?;
        return Ok(Source::Tree(tree));
    }
    if !is_bind {
        return Ok(Source::New);
    }
    let source = entry.source.as_deref().unwrap_or_default();
    let recursive = options.bind != Some(Depth::This);
    // Joining with an absolute path answers that path.
    let path = bundle_dir.join(source);
    let tree = match (of_process(&path), &entry.ferry_below) {
        (Some((pid, below)), _) => foreign::clone_of_process(pid, &below, recursive),
        (None, Some(below)) => mount::clone_below(&path, Path::new(below), recursive),
        (None, None) => mount::clone_path(&path, recursive),
    };
    let tree = tree.map_err(|errno| match errno {
        Errno::NOENT => failed(entry, &format!("no such file or directory: {source}")),
        errno => failed(entry, &words(errno)),
    })?;
    if wants_maps(entry) {
        let namespace = maps_of(entry, spec)?.namespace()?;
        let deep = options.idmap == Some(Depth::All);
        mapped::shift(tree.as_fd(), &namespace, deep).map_err(|errno| {
            let why = "cannot map its ids (Linux 5.12 and ext4, xfs, btrfs or tmpfs can)";
            failed(entry, &format!("{why}: {}", words(errno)))
        })?;
    }
    Ok(Source::Tree(tree))
}

/// The maps of a mount: its own, else the container's.
fn maps_of(entry: &Mount, spec: &Spec) -> Outcome<Maps> {
    let own = (!entry.uid_mappings.is_empty())
        .then(|| Maps::new(&entry.uid_mappings, &entry.gid_mappings));
    own.or_else(|| Maps::of(spec)).ok_or_else(|| failed(entry, "id mapped mounts need id maps"))
}

/// Directories one upon the other that nobody writes to. The kernel maps ids of an overlay's layers, not of the overlay.
fn layers_of(entry: &Mount, options: &Options, label: Option<&str>) -> Outcome<Overlay> {
    let mut layers = Overlay { context: label.map(str::to_owned), ..Overlay::default() };
    for (key, value) in &options.data {
        let Some(dir) = value.as_deref().filter(|_| key == "lowerdir+") else {
            return Err(failed(entry, &format!("an id mapped overlay cannot have option {key}")));
        };
        layers.lower.push(PathBuf::from(dir));
    }
    Ok(layers)
}

/// `/proc/<pid>/root/<path>`: the process, and the path as that process sees it.
fn of_process(path: &Path) -> Option<(i32, PathBuf)> {
    let mut parts = path.components();
    let mut is = |name: &str| parts.next().is_some_and(|part| part.as_os_str() == name);
    if !is("/") || !is("proc") {
        return None;
    }
    let pid = parts.next()?.as_os_str().to_str()?.parse().ok()?;
    let is_root = parts.next()?.as_os_str() == "root";
    is_root.then(|| (pid, Path::new("/").join(parts.as_path())))
}

/// Whether a mount can only be opened by the maker: it takes another process to do it, or other runtimes do not know how.
pub(crate) fn is_opened_outside(entry: &Mount) -> bool {
    wants_maps(entry)
        || entry.ferry_below.is_some()
        || entry.source.as_deref().is_some_and(|s| of_process(Path::new(s)).is_some())
}

/// Whether a mount shows its files under other ids. The specification has options and maps for it, and either may say so.
pub(super) fn wants_maps(entry: &Mount) -> bool {
    Options::read(&entry.options).idmap.is_some()
        || !entry.uid_mappings.is_empty()
        || !entry.gid_mappings.is_empty()
}

/// `error mounting "a" to rootfs at "/b": …`, runc's words.
pub(super) fn failed(entry: &Mount, why: &str) -> Failure {
    let source = entry.source.as_deref().unwrap_or_default();
    Failure::new(format!("error mounting {source:?} to rootfs at {:?}: {why}", entry.destination))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_mapped_overlay_has_its_layers_and_the_label() {
        let layers = |words: &[&str]| {
            let options: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let label = Some("system_u:object_r:container_file_t:s0:c1,c2");
            layers_of(&Mount::default(), &Options::read(&options), label)
        };
        let read = layers(&["ro", "lowerdir+=/top", "lowerdir+=/base"]).unwrap();
        assert_eq!(read.lower, [Path::new("/top"), Path::new("/base")]);
        assert_eq!(read.context.unwrap(), "system_u:object_r:container_file_t:s0:c1,c2");
        let refused = layers(&["upperdir=/u"]).unwrap_err();
        assert!(refused.message.contains("cannot have option upperdir"), "{}", refused.message);
    }
}
