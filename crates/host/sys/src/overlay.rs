//! Overlay mounts that are nowhere in the tree until somebody attaches them.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};

use crate::mount::{self, Filesystem, MountError};
use crate::{Errno, namespace};

/// What an overlay is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overlay {
    /// Read-only layers, top first.
    pub lower: Vec<PathBuf>,
    /// The writable layer. Without one the overlay is read-only.
    pub upper: Option<PathBuf>,
    /// Overlayfs's own directory, on the file system of `upper`.
    pub work: Option<PathBuf>,
    /// The SELinux label that everything in it has.
    pub context: Option<String>,
}

/// The most lower layers the kernel takes (`OVL_MAX_STACK`).
pub const MAX_LOWER: usize = 500;

/// A value of fsconfig has 256 bytes with its NUL; a path that is longer goes in by descriptor (Linux 6.13).
const MAX_VALUE: usize = 255;

/// Mounts the overlay detached: usable with `openat2`, and attachable in another mount namespace.
///
/// Layers go in one by one (`lowerdir+`, Linux 6.7 and newer), so neither their number nor their paths' length meets
/// the page-size limit of mount options. Older kernels get the classic string, for which the overlay has to be somewhere for
/// a moment: in a mount namespace that a thread makes for it.
pub fn detached(overlay: &Overlay) -> Result<OwnedFd, MountError> {
    detached_as(overlay, Durability::Synced, MountNamespace::Shared)
}

/// Whose mount namespace this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountNamespace {
    /// This process's own, and nothing travels out of it.
    Own,
    /// Others see what is mounted here.
    Shared,
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
pub fn detached_as(
    overlay: &Overlay,
    durability: Durability,
    namespace: MountNamespace,
) -> Result<OwnedFd, MountError> {
    if overlay.lower.is_empty() || overlay.lower.len() > MAX_LOWER {
        let step = format!("overlay of {} lower directories", overlay.lower.len());
        return Err(MountError { step, errno: Errno::INVAL, log: String::new() });
    }
    if !takes_layers_one_by_one() {
        return match namespace {
            MountNamespace::Own => classic(overlay, durability),
            MountNamespace::Shared => classic_aside(overlay, durability),
        };
    }
    let context = Filesystem::open("overlay")?;
    // What df and mount print.
    context.set("source", Some(b"overlay"))?;
    for layer in &overlay.lower {
        set_path(&context, "lowerdir+", layer)?;
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
    if let Some(label) = &overlay.context {
        context.set("context", Some(label.as_bytes()))?;
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

/// `lowerdir+` came with Linux 6.7. Asking the file system does not do: before 6.5 it takes any name, and complains at the end.
fn takes_layers_one_by_one() -> bool {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= (6, 7)
}

/// The way for kernels before 6.7: the option string of `mount(2)`, mounted on `work` (or the top layer) for the moment
/// it takes to make a detached copy. An overlay of one lower and no upper directory is refused by the kernel, and so is the same
/// directory twice: that is the callers' affair.
fn classic(overlay: &Overlay, durability: Durability) -> Result<OwnedFd, MountError> {
    let failed =
        |step: &str, errno| MountError { step: step.to_owned(), errno, log: String::new() };
    if let Some(work) = overlay.work.as_deref().filter(|_| durability == Durability::Volatile) {
        forget_volatile(work);
    }
    let mut options = option_string(overlay, durability);
    let opened;
    if options.len() > MAX_OPTIONS {
        opened = open_layers(&overlay.lower).map_err(|errno| failed("open a layer", errno))?;
        let lower = opened.iter().map(|fd| format!("/proc/self/fd/{}", fd.as_raw_fd()).into());
        options = option_string(&Overlay { lower: lower.collect(), ..overlay.clone() }, durability);
    }
    if options.len() > MAX_OPTIONS {
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

/// Options of `mount(2)` have a page with their NUL.
const MAX_OPTIONS: usize = 4095;

/// A descriptor's name in `/proc` is shorter than a layer's path.
fn open_layers(layers: &[PathBuf]) -> Result<Vec<OwnedFd>, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    layers.iter().map(|layer| rustix::fs::openat(CWD, layer, flags, Mode::empty())).collect()
}

/// The same where others would see it: a thread has a mount namespace of its own, and takes it along when it ends.
fn classic_aside(overlay: &Overlay, durability: Durability) -> Result<OwnedFd, MountError> {
    let failed =
        |step: &str, errno| MountError { step: step.to_owned(), errno, log: String::new() };
    let work = || {
        namespace::unshare(namespace::flag::FS | namespace::flag::MOUNT)
            .map_err(|errno| failed("unshare", errno))?;
        mount::set_tree_propagation(mount::Propagation::Private)
            .map_err(|errno| failed("make the mount namespace private", errno))?;
        classic(overlay, durability)
    };
    std::thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|_| Err(failed("the thread that mounts it", Errno::CANCELED)))
}

/// `lowerdir=a:b,upperdir=…,workdir=…` with the characters escaped that overlayfs splits at.
fn option_string(overlay: &Overlay, durability: Durability) -> Vec<u8> {
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
        text.extend_from_slice(b",index=off");
        if durability == Durability::Volatile {
            text.extend_from_slice(b",volatile");
        }
    }
    if let Some(label) = &overlay.context {
        // A level has commas.
        text.extend_from_slice(format!(",context=\"{label}\"").as_bytes());
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
            context: Some("u:object_r:f_t:s0:c1,c2".to_owned()),
        };
        let text = String::from_utf8(option_string(&overlay, Durability::Volatile)).unwrap();
        let wanted = r#"lowerdir=/a\:b:/c,upperdir=/u\,x,workdir=/w,index=off,volatile,context="u:object_r:f_t:s0:c1,c2""#;
        assert_eq!(text, wanted);
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
        let overlay = Overlay { lower, ..Overlay::default() };
        let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        // As this kernel has it, and as older ones do.
        for made in [detached(&overlay), classic_aside(&overlay, Durability::Synced)] {
            let root = crate::root::InRoot::from_fd(made.unwrap());
            assert_eq!(root.read(Path::new("/top"), 10).unwrap(), b"0");
            assert_eq!(root.read(Path::new("/f39"), 10).unwrap(), b"x");
        }
        assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
        std::fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn an_overlay_without_layers_is_refused_before_the_kernel_sees_it() {
        let error = detached(&Overlay::default()).unwrap_err();
        assert_eq!(error.errno, Errno::INVAL);
    }
}
