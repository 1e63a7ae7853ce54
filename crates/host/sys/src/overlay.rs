//! Overlay mounts that are nowhere in the tree until somebody attaches them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::Errno;
use crate::mount::{self, Filesystem, MountError};

/// What an overlay is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overlay {
    /// Read-only layers, top first.
    pub lower: Vec<PathBuf>,
    /// The writable layer. Without one the overlay is read-only.
    pub upper: Option<PathBuf>,
    /// Overlayfs's own directory, on the file system of `upper`.
    pub work: Option<PathBuf>,
}

/// The most lower layers the kernel takes (`OVL_MAX_STACK`).
pub const MAX_LOWER: usize = 500;

/// A value of fsconfig has 256 bytes with its NUL; a path that is longer goes in by descriptor (Linux 6.13).
const MAX_VALUE: usize = 255;

/// Mounts the overlay detached: usable with `openat2`, and attachable in another mount namespace.
///
/// Layers go in one by one (`lowerdir+`, Linux 6.7 and newer), so neither their number nor their paths' length meets
/// the page-size limit of mount options. Older kernels get the classic string, briefly mounted on `work`.
pub fn detached(overlay: &Overlay) -> Result<OwnedFd, MountError> {
    detached_as(overlay, Durability::Synced)
}

/// What becomes of the upper layer's data when the overlay goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The kernel writes the whole file system of the upper layer to disk.
    Synced,
    /// It does not: for an upper layer that is deleted anyway, or may be lost with the power.
    Volatile,
}

/// The same, with a say in that.
pub fn detached_as(overlay: &Overlay, durability: Durability) -> Result<OwnedFd, MountError> {
    if overlay.lower.is_empty() || overlay.lower.len() > MAX_LOWER {
        let step = format!("overlay of {} lower directories", overlay.lower.len());
        return Err(MountError { step, errno: Errno::INVAL, log: String::new() });
    }
    let context = Filesystem::open("overlay")?;
    // What df and mount print.
    context.set("source", Some(b"overlay"))?;
    if !add_lower(&context, &overlay.lower)? {
        drop(context);
        return classic(overlay);
    }
    if let (Some(upper), Some(work)) = (&overlay.upper, &overlay.work) {
        set_path(&context, "upperdir", upper)?;
        set_path(&context, "workdir", work)?;
        if durability == Durability::Volatile {
            forget_volatile(work);
            context.set("volatile", None)?;
        }
        // As Docker: with an index a container that is started again while its last mount is being taken apart would
        // find its own directory busy.
        context.set("index", Some(b"off"))?;
    }
    context.mount(0)
}

/// A volatile mount leaves a mark that forbids the next one, in case the machine went down meanwhile. Whoever asks for a
/// volatile mount again has said that this is no matter.
fn forget_volatile(work: &Path) {
    // Usually there is none.
    let _ = rustix::fs::unlink(work.join("work/incompat/volatile/dirty"));
    for mark in ["work/incompat/volatile", "work/incompat"] {
        let _ = rustix::fs::rmdir(work.join(mark));
    }
}

fn set_path(context: &Filesystem, key: &str, path: &Path) -> Result<(), MountError> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() <= MAX_VALUE {
        context.set(key, Some(bytes))
    } else {
        context.set_dir(key, path)
    }
}

/// Adds the layers; `false` if this kernel does not know `lowerdir+`.
fn add_lower(context: &Filesystem, lower: &[PathBuf]) -> Result<bool, MountError> {
    // An overlay of a single lower and no upper is refused by the kernel: nothing is left to overlay. Giving the same
    // directory twice is refused, too, so callers have two layers or an upper; that is their affair.
    for (index, layer) in lower.iter().enumerate() {
        match set_path(context, "lowerdir+", layer) {
            Ok(()) => {}
            Err(error) if index == 0 && error.errno == Errno::INVAL => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// The way for kernels before 6.7: the option string of `mount(2)`, mounted on `work` (or the top layer) for the moment
/// it takes to make a detached copy.
fn classic(overlay: &Overlay) -> Result<OwnedFd, MountError> {
    let failed =
        |step: &str, errno| MountError { step: step.to_owned(), errno, log: String::new() };
    let options = option_string(overlay);
    if options.len() > 4095 {
        return Err(failed("overlay options longer than a page", Errno::TOOBIG));
    }
    let place = overlay.work.as_deref().unwrap_or(&overlay.lower[0]);
    let text = std::ffi::CString::new(options).map_err(|_| failed("overlay", Errno::INVAL))?;
    rustix::mount::mount(
        "overlay",
        place,
        "overlay",
        rustix::mount::MountFlags::empty(),
        Some(text.as_c_str()),
    )
    .map_err(|errno| failed("mount overlay", errno))?;
    let copy = mount::clone_path(place, false).map_err(|errno| failed("open_tree", errno));
    mount::detach(place).map_err(|errno| failed("umount", errno))?;
    copy
}

/// `lowerdir=a:b,upperdir=…,workdir=…` with the characters escaped that overlayfs splits at.
fn option_string(overlay: &Overlay) -> Vec<u8> {
    let mut text = b"lowerdir=".to_vec();
    for (index, layer) in overlay.lower.iter().enumerate() {
        if index > 0 {
            text.push(b':');
        }
        push_escaped(&mut text, layer);
    }
    if let (Some(upper), Some(work)) = (&overlay.upper, &overlay.work) {
        text.extend_from_slice(b",upperdir=");
        push_escaped(&mut text, upper);
        text.extend_from_slice(b",workdir=");
        push_escaped(&mut text, work);
    }
    text
}

fn push_escaped(text: &mut Vec<u8>, path: &Path) {
    for &byte in path.as_os_str().as_bytes() {
        if matches!(byte, b':' | b',' | b'\\') {
            text.push(b'\\');
        }
        text.push(byte);
    }
}

/// The detached overlay as a root to resolve paths in.
pub fn root(overlay: &Overlay) -> Result<crate::root::InRoot, MountError> {
    detached(overlay).map(crate::root::InRoot::from_fd)
}

/// Attaches a detached overlay; see [`mount::attach`].
pub fn attach(overlay: &OwnedFd, target: BorrowedFd<'_>) -> crate::Result<()> {
    mount::attach(overlay.as_fd(), target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_in_paths_are_escaped() {
        let overlay = Overlay {
            lower: vec!["/a:b".into(), "/c".into()],
            upper: Some("/u,x".into()),
            work: Some("/w".into()),
        };
        let text = String::from_utf8(option_string(&overlay)).unwrap();
        assert_eq!(text, r"lowerdir=/a\:b:/c,upperdir=/u\,x,workdir=/w");
    }

    #[test]
    fn long_paths_and_many_layers_are_mounted() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let base = std::env::temp_dir().join(format!("ferry-overlay-{}", std::process::id()));
        let deep = base.join("d".repeat(150)).join("e".repeat(150));
        let lower: Vec<PathBuf> = (0..40).map(|n| deep.join(format!("layer{n}"))).collect();
        for (n, layer) in lower.iter().enumerate() {
            std::fs::create_dir_all(layer).unwrap();
            std::fs::write(layer.join(format!("f{n}")), "x").unwrap();
            std::fs::write(layer.join("top"), n.to_string()).unwrap();
        }
        let root = root(&Overlay { lower, upper: None, work: None }).unwrap();
        assert_eq!(root.read(Path::new("/top"), 10).unwrap(), b"0");
        assert_eq!(root.read(Path::new("/f39"), 10).unwrap(), b"x");
        drop(root);
        std::fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn an_overlay_without_layers_is_refused_before_the_kernel_sees_it() {
        let error = detached(&Overlay::default()).unwrap_err();
        assert_eq!(error.errno, Errno::INVAL);
    }
}
