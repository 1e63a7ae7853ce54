//! Container records on disk: `<data root>/containers/<id>/config.json`, replaced by rename.
//!
//! A record is written before the kernel sees anything of a change and again after; what a crash leaves between is settled
//! at boot from what the kernel and the shim say (`boot.rs`).

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
};

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::Container;

/// So many records are read before another thread is worth it.
const SHARE: usize = 32;

/// A record larger than this is not ours.
const MAX_RECORD: u64 = 16 << 20;

/// What a power cut may do to a record that is being written. The end of the daemon harms none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Care {
    /// Nothing: it is on the disk when the caller goes on.
    Synced,
    /// There is the old record, or the new one.
    Ordered,
    /// There may be none: for containers that a power cut removes anyway. Nothing is asked of the disk.
    Passing,
}

/// Where containers' files are.
#[derive(Debug, Clone)]
pub(crate) struct ContainerDirs {
    data: PathBuf,
    trash: PathBuf,
    run: PathBuf,
}

/// Names of the anonymous volumes that go when the files beside it do.
const DOOMED: &str = "doomed-volumes";

impl ContainerDirs {
    pub(crate) fn open(data_root: &Path, exec_root: &Path) -> Result<Self, Failure> {
        let dirs = ContainerDirs {
            data: data_root.join("containers"),
            trash: data_root.join("trash"),
            run: exec_root.join("c"),
        };
        for path in [&dirs.data, &dirs.trash, &dirs.run] {
            fs::create_dir_all(path).map_err(|source| failed("make directory", path, source))?;
        }
        Ok(dirs)
    }

    /// `<data root>/containers`.
    pub(crate) fn place(&self) -> &Path {
        &self.data
    }

    /// `<data root>/containers/<id>`.
    pub(crate) fn data(&self, id: &str) -> PathBuf {
        self.data.join(id)
    }

    /// `<exec root>/c/<id>`: what lives as long as the container runs.
    pub(crate) fn run(&self, id: &str) -> PathBuf {
        self.run.join(id)
    }

    /// The json-file log.
    pub(crate) fn log(&self, id: &str) -> PathBuf {
        self.data(id).join(format!("{id}-json.log"))
    }

    /// Makes the directories of a new container.
    pub(crate) fn make(&self, id: &str) -> Result<(), Failure> {
        let base = self.data(id);
        for path in [&base, &base.join("upper"), &base.join("work")] {
            fs::create_dir(path).map_err(|source| failed("make directory", path, source))?;
        }
        Ok(())
    }

    /// Notes an anonymous volume that goes with these files when they are discarded, also by the next engine after a crash.
    pub(crate) fn doom_volume(&self, id: &str, name: &str) -> Result<(), Failure> {
        let path = self.data(id).join(DOOMED);
        let write = || -> io::Result<()> {
            let mut file = fs::OpenOptions::new().create(true).append(true).open(&path)?;
            file.write_all(format!("{name}\n").as_bytes())
        };
        write().map_err(|source| failed("write", &path, source))
    }

    /// Takes back every [`ContainerDirs::doom_volume`]: the container is whole, and its volumes are its own.
    pub(crate) fn spare_volumes(&self, id: &str) {
        let path = self.data(id).join(DOOMED);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "cannot remove a note");
        }
    }

    /// The volumes that were to go with files which are in the trash.
    pub(crate) fn doomed_volumes(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.trash).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| fs::read_to_string(entry.path().join(DOOMED)).ok())
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }

    /// Takes a container's files away at once; the bytes go in [`ContainerDirs::empty_trash`].
    pub(crate) fn discard(&self, id: &str) -> Result<(), Failure> {
        let from = self.data(id);
        match fs::rename(&from, self.trash.join(id)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove directory", &from, source))
            }
            _ => Ok(()),
        }
    }

    /// What was discarded and is not removed yet.
    pub(crate) fn in_trash(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.trash).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// Removes what was discarded. Blocks for as long as the disk needs.
    pub(crate) fn empty_trash(&self, id: &str) {
        for path in [self.run(id), self.trash.join(id)] {
            if let Err(error) = fs::remove_dir_all(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "cannot remove discarded files; the next start tries again");
            }
        }
    }

    /// Writes a record.
    pub(crate) fn save(&self, container: &Container, care: Care) -> Result<(), Failure> {
        let path = self.data(&container.id).join("config.json");
        let scratch = path.with_extension("json.new");
        let write = || -> io::Result<()> {
            let mut file = fs::File::create(&scratch)?;
            file.write_all(&serde_json::to_vec(container)?)?;
            match care {
                Care::Synced => {
                    file.sync_data()?;
                    fs::rename(&scratch, &path)?;
                    path.parent().map_or(Ok(()), |parent| fs::File::open(parent)?.sync_all())
                }
                Care::Ordered => fs::rename(&scratch, &path),
                Care::Passing => exchange(&scratch, &path),
            }
        };
        write().map_err(|source| failed("write container record", &path, source))
    }

    /// All records, and the ids of directories that have none: a crash in the middle of `create`. A record that is there and does
    /// not read (of a newer version, damaged) is left with everything beside it: what the container wrote may be all there is of it. The
    /// volumes of those that read are spared.
    pub(crate) fn load(&self) -> Result<(Vec<Container>, Vec<String>), Failure> {
        let ids = self.ids()?;
        // Reading JSON is work for as many threads as there are processors.
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = ids.len().div_ceil(threads).max(SHARE);
        std::thread::scope(|scope| {
            let readers: Vec<_> =
                ids.chunks(share).map(|ids| scope.spawn(|| self.load_some(ids))).collect();
            let (mut containers, mut unfinished) = (Vec::new(), Vec::new());
            for reader in readers {
                let (read, without) = reader.join().map_err(|_| {
                    Failure::new(ErrorKind::Internal, "a reader of container records ended early")
                })?;
                containers.extend(read);
                unfinished.extend(without);
            }
            Ok((containers, unfinished))
        })
    }

    /// The ids of everything that has a directory, also of what does not read.
    pub(crate) fn ids(&self) -> Result<Vec<String>, Failure> {
        let read = |source| failed("read directory", &self.data, source);
        let entries = fs::read_dir(&self.data).map_err(read)?;
        let id = |entry: io::Result<fs::DirEntry>| {
            Ok(entry.map_err(read)?.file_name().to_string_lossy().into_owned())
        };
        entries.map(id).collect()
    }

    fn load_some(&self, ids: &[String]) -> (Vec<Container>, Vec<String>) {
        let (mut containers, mut unfinished) = (Vec::new(), Vec::new());
        for id in ids {
            match self.load_one(id) {
                Ok(Some(container)) => {
                    self.spare_volumes(id);
                    containers.push(container);
                }
                Ok(None) => unfinished.push(id.clone()),
                Err(error) => {
                    tracing::error!(%id, %error, "a container is left aside: its record does not read");
                }
            }
        }
        (containers, unfinished)
    }

    fn load_one(&self, id: &str) -> Result<Option<Container>, Failure> {
        let path = self.data(id).join("config.json");
        let read = |source| failed("read container record", &path, source);
        let size = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            metadata => metadata.map_err(read)?.len(),
        };
        if size > MAX_RECORD {
            return Err(Failure::new(
                ErrorKind::Internal,
                format!(
                    "container record {} has {size} bytes, more than {MAX_RECORD}",
                    path.display()
                ),
            ));
        }
        let bytes = fs::read(&path).map_err(read)?;
        let container: Container =
            serde_json::from_slice(&bytes).map_err(|source| read(source.into()))?;
        if container.version > Container::VERSION || container.id != id {
            return Err(Failure::new(
                ErrorKind::Internal,
                format!(
                    "container record {} was written by a newer ferry or moved",
                    path.display()
                ),
            ));
        }
        Ok(Some(container))
    }
}

/// As a rename, without what ext4 (`auto_da_alloc`) does when one file replaces another: it sends the new one's bytes to the disk
/// at once, and whoever removes that file soon waits for them.
fn exchange(scratch: &Path, path: &Path) -> io::Result<()> {
    let flags = rustix::fs::RenameFlags::EXCHANGE;
    match rustix::fs::renameat_with(rustix::fs::CWD, scratch, rustix::fs::CWD, path, flags) {
        Ok(()) => fs::remove_file(scratch),
        // There is no older one, or this file system cannot.
        Err(_) => fs::rename(scratch, path),
    }
}

pub(crate) fn failed(what: &str, path: &Path, source: io::Error) -> Failure {
    Failure::new(ErrorKind::Internal, format!("cannot {what} {}: {source}", path.display()))
}
