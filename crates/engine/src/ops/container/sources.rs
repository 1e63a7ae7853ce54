//! What is mounted for a volume with driver options, and for an image.

use std::path::{Path, PathBuf};

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::{
    container::{FilesystemMount, MountPoint},
    volume::Volume,
};
use ferry_sys::{Errno, root::InRoot};
use rustix::fs::FileType;

use crate::Shared;

/// Words of `o=` that only say how a directory is bound.
const BIND_WORDS: [&str; 11] = [
    "bind", "rbind", "ro", "rw", "private", "rprivate", "shared", "rshared", "slave", "rslave",
    "defaults",
];

/// What overlayfs marks a directory with that hides what is below it.
const OPAQUE: &str = "trusted.overlay.opaque";

/// Whether a volume is a directory elsewhere, which containers mount from there. What else options name is mounted once for all
/// containers (`crate::mounted`).
pub(crate) fn is_plain_bind(volume: &Volume) -> bool {
    let words = words(volume);
    let bind = words.iter().any(|word| matches!(*word, "bind" | "rbind"));
    bind && words.iter().all(|word| BIND_WORDS.contains(word))
}

fn words(volume: &Volume) -> Vec<&str> {
    let options = volume.options.get("o").map(String::as_str).unwrap_or_default();
    options.split(',').filter(|word| !word.is_empty()).collect()
}

/// Points a mount at the directory that a volume's driver options name. `None`: the volume has a mountpoint of its own.
pub(super) fn volume_options(volume: &Volume, mount: &mut MountPoint) -> Option<()> {
    let device = volume.options.get("device").filter(|device| !device.is_empty())?;
    if !is_plain_bind(volume) {
        return None;
    }
    mount.source = Path::new(device).join(&mount.subpath).to_string_lossy().into_owned();
    mount.rw &= !words(volume).contains(&"ro");
    Some(())
}

/// Points a mount at the files of an image.
///
/// # Errors
/// There is no such image, or it has nothing at the path.
pub(super) fn image(shared: &Shared, mount: &mut MountPoint) -> Result<(), Failure> {
    let image = shared.images.get(&mount.source)?.entry;
    let mut dirs = shared.lower_dirs(image.layers())?;
    if !mount.subpath.is_empty() {
        dirs = below(&dirs, Path::new(&mount.subpath))?;
    }
    mount.name = Some(image.image.id.to_string());
    match dirs.as_slice() {
        [only] => mount.source = only.to_string_lossy().into_owned(),
        dirs => {
            let options = dirs.iter().map(|dir| format!("lowerdir+={}", dir.display())).collect();
            mount.source.clear();
            mount.filesystem = Some(FilesystemMount {
                kind: "overlay".to_owned(),
                device: "overlay".to_owned(),
                options,
            });
        }
    }
    Ok(())
}

/// The directories that together show what the merged layers have at `path`: down to the first layer that hides those below.
fn below(layers: &[PathBuf], path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let wrong = |why: &str| {
        let words = format!("cannot mount \"{}\" of the image: {why}", path.display());
        Failure::new(ErrorKind::InvalidArgument, words)
    };
    if !path.components().all(|part| matches!(part, std::path::Component::Normal(_))) {
        return Err(wrong("it must be a relative path inside the image"));
    }
    let mut found = Vec::new();
    'layers: for layer in layers {
        let root = InRoot::open(layer).map_err(|errno| wrong(&errno.to_string()))?;
        let mut so_far = PathBuf::new();
        for part in path.components() {
            so_far.push(part);
            let place = match root.resolve_nofollow(&so_far) {
                Ok(place) => place,
                Err(Errno::NOENT | Errno::NOTDIR) => continue 'layers,
                Err(errno) => return Err(wrong(&errno.to_string())),
            };
            let status = rustix::fs::fstat(&place).map_err(|errno| wrong(&errno.to_string()))?;
            match FileType::from_raw_mode(status.st_mode) {
                // A whiteout.
                FileType::CharacterDevice if status.st_rdev == 0 => break 'layers,
                FileType::Directory => {}
                FileType::RegularFile if so_far == path && found.is_empty() => {
                    return Ok(vec![layer.join(path)]);
                }
                _ => return Err(wrong("it is neither a directory nor a file")),
            }
        }
        let dir = layer.join(path);
        let opaque = path.ancestors().filter(|part| !part.as_os_str().is_empty()).any(|part| {
            let mut value = [0_u8; 1];
            rustix::fs::lgetxattr(layer.join(part), OPAQUE, &mut value[..]).is_ok()
        });
        found.push(dir);
        if opaque {
            break;
        }
    }
    if found.is_empty() { Err(wrong("no such file or directory")) } else { Ok(found) }
}
