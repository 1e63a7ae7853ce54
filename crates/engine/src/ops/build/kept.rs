//! Directories of clients that stay here between builds, so that only what has changed in them is sent.
//!
//! A client tells all that is in its directory; what is the same as last time (kind, mode, length, time of modification, where
//! a link leads) is not asked for again, as in BuildKit and in rsync. A directory is one client's: it goes by the key that the client
//! gives its session and the name that it has in the build. One build has it at a time; another one meanwhile gets none, and is
//! sent everything.
//!
//! # On disk
//!
//! `<data root>/build-trees/<digest of the key>/tree`, and beside it `told`: this boot's id, and what was told of the tree that is
//! there, whole. It is taken away before the first change and written after the last one. A tree without it, or of another boot
//! (nothing of it is synced), is emptied.
//!
//! A file that had been changed less than [`SETTLED`] before it was told may be changed once more in the same tick of the client's clock, and
//! then looks the same although it is not: as git does with entries that are "racily clean", such a file is asked for again next time.

use std::{
    cmp::Ordering,
    collections::BTreeSet,
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use ferry_errkind::{ErrorKind, Failure};
use ferry_oci::Digest;
use ferry_stdx::time::Timestamp;
use ferry_sys::root::InRoot;
use rustix::fs::AtFlags;
use tokio::io::AsyncRead;

use super::{ContextSource, NamedContext, context::unpack_context};
use crate::{Engine, Shared, bridge, records::failed};

/// Directories that are kept; the one that was used longest ago goes for a new one.
const MAX_TREES: usize = 32;
/// How long a file must have been left alone before it is taken for the same by its times, in nanoseconds.
const SETTLED: i64 = 2_000_000_000;
/// Begins what was told.
const MAGIC: &[u8; 8] = b"ferryt01";

/// Something in a client's directory, as the client tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its path, relative and clean.
    pub path: String,
    /// What it is.
    pub kind: ToldKind,
    /// Permissions.
    pub mode: u32,
    /// Length of a file.
    pub size: u64,
    /// When it was changed, in nanoseconds since 1970.
    pub modified: i64,
    /// Where a link leads: for a hard link, a path that was told before.
    pub link: String,
    /// Numbers of a device.
    pub device: (i64, i64),
}

/// What something in a client's directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToldKind {
    /// A directory.
    Directory,
    /// A file.
    File,
    /// Another name of a file.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A pipe or a device.
    Special,
}

impl Told {
    /// All of it but the path, to be compared.
    fn fields(&self) -> Vec<u8> {
        let mut out = vec![self.kind as u8];
        out.extend_from_slice(&self.mode.to_le_bytes());
        out.extend_from_slice(&self.size.to_le_bytes());
        for number in [self.modified, self.device.0, self.device.1] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(self.link.as_bytes());
        out
    }

    /// What is compared next time; equal to nothing where the file may have changed since unseen.
    fn remembered(&self, at: i64) -> Vec<u8> {
        let fields = self.fields();
        let young = self.modified.saturating_add(SETTLED) >= at;
        if self.kind == ToldKind::File && young { vec![self.kind as u8] } else { fields }
    }
}

/// Which directories builds have just now.
#[derive(Debug, Default)]
pub(crate) struct KeptTrees(Mutex<BTreeSet<String>>);

/// A client's directory, taken for one build.
#[derive(Debug)]
pub struct KeptTree {
    shared: Arc<Shared>,
    name: String,
    told: Vec<Told>,
    /// When it was told, in nanoseconds since 1970.
    at: i64,
    /// Whether anything is to be sent or was removed.
    changed: bool,
}

/// A client's directory as the client has it; stays so as long as this is there.
#[derive(Debug)]
pub struct Current {
    _tree: KeptTree,
    directory: Arc<OwnedFd>,
}

impl Current {
    /// As the context of a build, which must end before this goes.
    ///
    /// # Errors
    /// No more descriptors.
    pub fn source(&self) -> Result<ContextSource, Failure> {
        let copy = self.directory.try_clone();
        copy.map(ContextSource::Received).map_err(|source| failed("open", Path::new("."), source))
    }

    /// As a named context of a build, which must end before this goes.
    pub fn named(&self) -> NamedContext {
        NamedContext::Directory(Arc::clone(&self.directory))
    }
}

/// Takes the directory of a client; answers what of `told` (in the order of paths, parents first) is to be sent. `None` while
/// another build has it.
///
/// # Errors
/// When the disk fails.
pub async fn keep(
    engine: &Engine,
    key: &str,
    told: Vec<Told>,
) -> Result<Option<(KeptTree, Vec<bool>)>, Failure> {
    let name = Digest::sha256_of(key.as_bytes()).hex();
    let name = name.get(..32).unwrap_or(&name).to_owned();
    let shared = Arc::clone(&engine.shared);
    let Some(mut tree) = KeptTree::take(shared, name, told) else { return Ok(None) };
    crate::blocking(move || {
        let wanted = tree.prepare()?;
        Ok(Some((tree, wanted)))
    })
    .await
}

impl KeptTree {
    /// `None` while another build has it.
    fn take(shared: Arc<Shared>, name: String, told: Vec<Told>) -> Option<KeptTree> {
        let mut used = shared.kept_trees.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = used.insert(name.clone());
        drop(used);
        let at = shared.now().nanos();
        taken.then(|| KeptTree { shared, name, told, at, changed: false })
    }

    /// Takes what was sent, as a tar. Whether that was all, only whoever sends it knows.
    ///
    /// # Errors
    /// The tar does not read, or the disk fails.
    pub async fn fill(
        self,
        tar: impl AsyncRead + Send + Unpin + 'static,
    ) -> Result<KeptTree, Failure> {
        let tar = bridge::reader_of(tar);
        crate::blocking(move || {
            unpack_context(tar, &self.open()?, &self.path())?;
            Ok(self)
        })
        .await
    }

    /// It is now what the client has.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn finish(self) -> Result<Current, Failure> {
        crate::blocking(move || {
            let path = self.path();
            if self.changed {
                self.write().map_err(|source| failed("write", &path.join("told"), source))?;
            }
            let directory = File::open(path.join("tree"))
                .map_err(|source| failed("open", &path.join("tree"), source))?;
            Ok(Current { _tree: self, directory: Arc::new(directory.into()) })
        })
        .await
    }

    fn path(&self) -> PathBuf {
        root(&self.shared).join(&self.name)
    }

    fn open(&self) -> Result<InRoot, Failure> {
        let path = self.path().join("tree");
        InRoot::open(&path).map_err(|errno| failed("open", &path, errno.into()))
    }

    /// Removes what is not there any more, or is something else now; answers what is to be sent.
    fn prepare(&mut self) -> Result<Vec<bool>, Failure> {
        let path = self.path();
        let last = read(&path.join("told"));
        let tree = path.join("tree");
        if last.is_none() {
            thin(&root(&self.shared), &self.shared);
            let emptied = match std::fs::remove_dir_all(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => std::fs::create_dir_all(&tree),
            };
            emptied.map_err(|source| failed("empty", &path, source))?;
        }
        let plan = compare(last.as_ref().unwrap_or(&Last::new()), &self.told);
        self.changed = last.is_none() || !plan.is_nothing();
        if self.changed {
            match std::fs::remove_file(path.join("told")) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("remove", &path.join("told"), error));
                }
                _ => {}
            }
            let root = self.open()?;
            for gone in &plan.gone {
                remove(&root, gone).map_err(|source| failed("remove", &tree.join(gone), source))?;
            }
        } else {
            // When it was used last.
            File::options()
                .write(true)
                .open(path.join("told"))
                .and_then(|told| told.set_modified(SystemTime::now()))
                .map_err(|source| failed("touch", &path, source))?;
        }
        Ok(plan.send)
    }

    fn write(&self) -> io::Result<()> {
        let mut out = MAGIC.to_vec();
        field(&mut out, boot()?.as_bytes());
        for told in &self.told {
            field(&mut out, told.path.as_bytes());
            field(&mut out, &told.remembered(self.at));
        }
        let path = self.path();
        std::fs::write(path.join("telling"), out)?;
        std::fs::rename(path.join("telling"), path.join("told"))
    }
}

impl Drop for KeptTree {
    fn drop(&mut self) {
        let mut used = self.shared.kept_trees.0.lock().unwrap_or_else(PoisonError::into_inner);
        used.remove(&self.name);
    }
}

/// What was told last time: paths, and what they were.
type Last = Vec<(String, Vec<u8>)>;

#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    gone: Vec<String>,
    send: Vec<bool>,
}

impl Plan {
    fn is_nothing(&self) -> bool {
        self.gone.is_empty() && !self.send.contains(&true)
    }
}

fn compare(last: &Last, told: &[Told]) -> Plan {
    let mut plan = Plan { gone: Vec::new(), send: vec![false; told.len()] };
    let mut resent: BTreeSet<&str> = BTreeSet::new();
    let mut at = 0;
    for (number, now) in told.iter().enumerate() {
        while let Some((path, _)) = last.get(at).filter(|(path, _)| order(path, &now.path).is_lt())
        {
            plan.gone.push(path.clone());
            at += 1;
        }
        let before = last.get(at).filter(|(path, _)| *path == now.path);
        at += usize::from(before.is_some());
        let target = now.kind == ToldKind::HardLink && resent.contains(now.link.as_str());
        match before {
            Some((_, fields)) if *fields == now.fields() && !target => continue,
            Some((_, fields)) => {
                let directory = ToldKind::Directory as u8;
                // A directory stays for what is in it, whatever its mode has become.
                if (fields.first(), now.kind as u8) != (Some(&directory), directory) {
                    plan.gone.push(now.path.clone());
                }
            }
            None => {}
        }
        plan.send[number] = true;
        resent.insert(&now.path);
    }
    plan.gone.extend(last[at..].iter().map(|(path, _)| path.clone()));
    if !plan.is_nothing() {
        // What changes in a directory changes its time, which is told of again.
        for (send, now) in plan.send.iter_mut().zip(told) {
            *send |= now.kind == ToldKind::Directory;
        }
    }
    plan
}

/// As in a walk: `/` sorts before everything else.
fn order(one: &str, other: &str) -> Ordering {
    one.split('/').cmp(other.split('/'))
}

/// Removes a file or a tree, which may be gone with what it was in.
fn remove(root: &InRoot, path: &str) -> io::Result<()> {
    let (parent, name) = match root.parent(Path::new(path)) {
        Ok(found) => found,
        Err(ferry_sys::Errno::NOENT | ferry_sys::Errno::NOTDIR) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(rustix::io::Errno::ISDIR) => {
            ferry_archive::remove_tree(parent.as_fd(), name.as_encoded_bytes())
        }
        Err(errno) => Err(errno.into()),
    }
}

fn read(path: &Path) -> Option<Last> {
    let bytes = std::fs::read(path).ok()?;
    let mut rest = bytes.strip_prefix(MAGIC.as_slice())?;
    if take(&mut rest)? != boot().ok()?.as_bytes() {
        return None;
    }
    let mut last = Vec::new();
    while !rest.is_empty() {
        let path = String::from_utf8(take(&mut rest)?.to_vec()).ok()?;
        last.push((path, take(&mut rest)?.to_vec()));
    }
    Some(last)
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (field, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(field)
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn boot() -> io::Result<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
}

/// Makes room for one more.
fn thin(root: &Path, shared: &Shared) {
    let mut all: Vec<(Timestamp, String)> = Vec::new();
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        all.push((
            changed(&entry.path().join("told")),
            entry.file_name().to_string_lossy().into_owned(),
        ));
    }
    all.sort();
    let over = (all.len() + 1).saturating_sub(MAX_TREES);
    for (_, name) in all.iter().take(over) {
        if let Err(failure) = discard(shared, name) {
            tracing::warn!(%name, %failure, "a context that was kept stays");
        }
    }
}

/// A directory of a client that is here.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) created: Timestamp,
    pub(super) used: Timestamp,
    pub(super) in_use: bool,
}

/// All of them.
pub(super) fn list(shared: &Shared) -> Vec<Tree> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(root(shared)).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let size = crate::usage::disk_use(&path);
        let used = shared.kept_trees.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Tree {
            in_use: used.contains(&name),
            size,
            created: changed(&path.join("tree")),
            used: changed(&path.join("told")),
            name,
        });
    }
    all
}

/// When something was changed last; long ago where it is not there.
fn changed(path: &Path) -> Timestamp {
    let time = std::fs::metadata(path).and_then(|found| found.modified()).ok();
    time.map(Timestamp::from_system).unwrap_or_default()
}

/// Removes one, unless a build has it. No build can take it meanwhile, and none waits.
pub(super) fn discard(shared: &Shared, name: &str) -> Result<bool, Failure> {
    let known = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !known {
        return Ok(false);
    }
    let all = || shared.kept_trees.0.lock().unwrap_or_else(PoisonError::into_inner);
    if !all().insert(name.to_owned()) {
        return Ok(false);
    }
    let path = root(shared).join(name);
    let removed = std::fs::remove_dir_all(&path);
    all().remove(name);
    match removed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => {
            let words = format!("cannot remove {}: {source}", path.display());
            Err(Failure::new(ErrorKind::Internal, words))
        }
    }
}

fn root(shared: &Shared) -> PathBuf {
    shared.config.data_root.join("build-trees")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &str, kind: ToldKind, modified: i64) -> Told {
        let link = String::new();
        Told { path: path.into(), kind, mode: 0o644, size: 1, modified, link, device: (0, 0) }
    }

    fn last(told: &[Told]) -> Last {
        told.iter().map(|told| (told.path.clone(), told.fields())).collect()
    }

    #[test]
    fn what_was_changed_just_now_is_sent_again() {
        let now = 10 * SETTLED;
        let told = [
            told("old", ToldKind::File, now - SETTLED - 1),
            told("young", ToldKind::File, now - SETTLED),
            told("young-directory", ToldKind::Directory, now),
        ];
        let last: Last =
            told.iter().map(|told| (told.path.clone(), told.remembered(now))).collect();
        let plan = compare(&last, &told);
        assert_eq!((plan.gone, plan.send), (vec!["young".to_owned()], vec![false, true, true]));
    }

    #[test]
    fn only_what_changed_is_sent() {
        use ToldKind::{Directory, File, HardLink};
        let before = [
            told("a", File, 1),
            told("d", Directory, 1),
            told("d/x", File, 1),
            told("d/y", File, 1),
            told("d-z", File, 1),
        ];
        assert!(compare(&last(&before), &before).is_nothing());
        assert_eq!(compare(&Vec::new(), &before).send, [true; 5]);
        let mut after = before.to_vec();
        after[2] = told("d/x", File, 2);
        let plan = compare(&last(&before), &after);
        assert_eq!(
            (plan.gone, plan.send),
            (vec!["d/x".to_owned()], vec![false, true, true, false, false])
        );
        // A directory becomes a file.
        let after = [told("a", File, 1), told("d", File, 1), told("d-z", File, 1)];
        let plan = compare(&last(&before), &after);
        assert_eq!(plan.gone, ["d", "d/x", "d/y"]);
        assert_eq!(plan.send, [false, true, false]);
        // A link to what is sent again is made again.
        let linked = |time| {
            let link = Told { link: "a".into(), ..told("b", HardLink, 1) };
            [told("a", File, time), link, told("c", File, 1)]
        };
        let plan = compare(&last(&linked(1)), &linked(2));
        assert_eq!(plan.gone, ["a", "b"]);
        assert_eq!(plan.send, [true, true, false]);
    }
}
