//! Volumes as a whole, beyond Docker: copied, renamed, out as a tar and in again, kept as they are and brought back.
//!
//! What reads a volume freezes the containers that may write to it for as long as that takes ([`while_frozen`]); what exchanges it wants
//! no container on it. A new volume is there when it is whole, or not at all (`ferry_volume::Draft`).

use std::{collections::BTreeMap, io::BufRead, os::fd::AsFd, path::Path, sync::Arc};

use bytes::Bytes;
use ferry_archive::{
    Keep, Limits, Options, Owner, Source, TarWriter, TreeOptions, Whiteouts,
    compress::{Codec, Decoder},
};
use ferry_errkind::{ErrorKind, Failure};
use ferry_model::{container::MountKind, volume::Volume};
use ferry_volume::{NewVolume, Snapshot};
use rustix::fs::{Mode, OFlags};
use tokio::{io::AsyncRead, sync::mpsc};

use super::{check_unused, event, users};
use crate::{
    Engine, Shared, bridge, failpoint,
    ops::freeze::{to_the_end, while_frozen},
    random,
    registry::Handle,
};

/// Makes a volume with the content and the labels of another.
///
/// # Errors
/// There is no such volume, the name is taken, or the content cannot be copied.
pub async fn clone(engine: &Engine, source: &str, name: &str) -> Result<Volume, Failure> {
    let shared = Arc::clone(&engine.shared);
    let (source, name) = (source.to_owned(), name.to_owned());
    to_the_end(async move {
        let Volume { labels, mut options, .. } = shared.volumes.get(&source)?;
        shared.volumes.own_content(&source)?;
        options.retain(|option, _| ferry_volume::is_quota(option));
        let _use = shared.volumes.share(&source)?;
        let new = NewVolume { name, labels, options, ..NewVolume::default() };
        let draft = shared.volumes.draft(new)?;
        let copier = Arc::clone(&shared);
        let from = source.clone();
        let draft = while_frozen(&shared, writers(&shared, &source), move || {
            copier.volumes.copy_into(&from, &draft)?;
            failpoint::hit("volume.copied");
            Ok(draft)
        })
        .await?;
        crate::blocking(move || {
            let volume = shared.volumes.keep(draft, shared.now())?;
            event(&shared, "create", &volume);
            Ok(volume)
        })
        .await
    })
    .await
}

/// Gives a volume another name.
///
/// # Errors
/// A container has it, or the name is taken.
pub async fn rename(engine: &Engine, old: &str, new: &str) -> Result<(), Failure> {
    let shared = Arc::clone(&engine.shared);
    let (old, new) = (old.to_owned(), new.to_owned());
    crate::blocking(move || {
        shared.volumes.get(&old)?;
        check_unused(&shared, &old, &format!("rename {old}: volume is in use"), |_| true)?;
        let volume = shared.volumes.rename(&old, &new)?;
        event(&shared, "rename", &volume);
        Ok(())
    })
    .await
}

/// Keeps a volume as it is now. An empty name is the time.
///
/// # Errors
/// There is no such volume, there is such a snapshot, or the content cannot be copied.
pub async fn snapshot(engine: &Engine, volume: &str, name: &str) -> Result<Snapshot, Failure> {
    let shared = Arc::clone(&engine.shared);
    let name = match name {
        // Without what file names and our rule for them do not like.
        "" => shared.now().format_rfc3339_nano().replace(':', "-").replace('Z', ""),
        name => name.to_owned(),
    };
    let volume = volume.to_owned();
    to_the_end(async move {
        let record = shared.volumes.get(&volume)?;
        let _use = shared.volumes.share(&volume)?;
        let maker = Arc::clone(&shared);
        let of = volume.clone();
        let made = while_frozen(&shared, writers(&shared, &volume), move || {
            failpoint::hit("volume.frozen");
            Ok(maker.volumes.snapshot(&of, &name)?)
        })
        .await?;
        event(&shared, "snapshot", &record);
        Ok(made)
    })
    .await
}

/// The snapshots of a volume, the oldest first.
///
/// # Errors
/// There is no such volume.
pub async fn snapshots(engine: &Engine, volume: &str) -> Result<Vec<Snapshot>, Failure> {
    let (shared, volume) = (Arc::clone(&engine.shared), volume.to_owned());
    crate::blocking(move || Ok(shared.volumes.snapshots(&volume)?)).await
}

/// Removes a snapshot.
///
/// # Errors
/// There is none of that name.
pub async fn remove_snapshot(engine: &Engine, volume: &str, name: &str) -> Result<(), Failure> {
    let (shared, volume, name) = (Arc::clone(&engine.shared), volume.to_owned(), name.to_owned());
    crate::blocking(move || Ok(shared.volumes.remove_snapshot(&volume, &name)?)).await
}

/// Puts a snapshot in the place of a volume's content.
///
/// # Errors
/// A container runs on it, or there is no such snapshot.
pub async fn restore(engine: &Engine, volume: &str, name: &str) -> Result<(), Failure> {
    let (shared, volume, name) = (Arc::clone(&engine.shared), volume.to_owned(), name.to_owned());
    crate::blocking(move || {
        shared.volumes.get(&volume)?;
        let doing = format!("restore {volume}: volume is in use by what runs");
        check_unused(&shared, &volume, &doing, |phase| phase.is_running())?;
        let record = shared.volumes.restore(&volume, &name)?;
        event(&shared, "restore", &record);
        Ok(())
    })
    .await
}

/// A volume as a tar, or one of its snapshots, whose root is called `root` in it, else `.`. The pieces end with an error when it is not whole.
///
/// While containers run on the volume, what is sent is a copy: whoever reads slowly would hold them up.
///
/// # Errors
/// There is no such volume or snapshot, it is mounted from elsewhere, or `root` is no name of a directory.
pub async fn export(
    engine: &Engine,
    name: &str,
    snapshot: Option<&str>,
    root: Option<&str>,
) -> Result<mpsc::Receiver<Result<Bytes, Failure>>, Failure> {
    let shared = Arc::clone(&engine.shared);
    let name = name.to_owned();
    let snapshot = snapshot.map(str::to_owned);
    let root = root.unwrap_or(".").to_owned();
    if root.is_empty() || root == ".." || root.contains(['/', '\0']) {
        let words = format!("invalid name {root:?} for the root of the archive");
        return Err(Failure::new(ErrorKind::InvalidArgument, words));
    }
    to_the_end(async move {
        let hold = shared.volumes.share(&name)?;
        let content = match &snapshot {
            Some(snapshot) => shared.volumes.snapshot_content(&name, snapshot)?,
            None => shared.volumes.own_content(&name)?,
        };
        let copied =
            snapshot.is_none() && !users(&shared, &name, |phase| phase.is_running()).is_empty();
        let draft = if copied {
            let draft =
                NewVolume { name: format!("export-{}", random::id()?), ..NewVolume::default() };
            let draft = shared.volumes.draft(draft)?;
            let (copier, from) = (Arc::clone(&shared), name.clone());
            let copy = move || copier.volumes.copy_into(&from, &draft).map(|()| draft);
            Some(while_frozen(&shared, writers(&shared, &name), move || Ok(copy()?)).await?)
        } else {
            None
        };
        let (mut writer, pieces) = bridge::pipe();
        tokio::task::spawn_blocking(move || {
            let place = draft.as_ref().map_or(content, ferry_volume::Draft::data);
            if let Err(why) = write(&place, &root, &mut writer) {
                let words = format!("cannot export volume {name}: {why}");
                writer.fail(Failure::new(ErrorKind::Internal, words));
            }
            drop((draft, hold));
        });
        Ok(pieces)
    })
    .await
}

fn write(place: &Path, root: &str, writer: &mut bridge::PieceWriter) -> Result<(), String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(place, flags, Mode::empty()).map_err(|e| e.to_string())?;
    let options =
        TreeOptions { keep: Keep::Layer, live: true, ..TreeOptions::layer(Source::Plain) };
    let mut tar = TarWriter::new(writer);
    ferry_archive::write_resource(directory.as_fd(), b".", root.as_bytes(), &options, &mut tar)
        .map_err(|error| ferry_errkind::chain(&error))?;
    tar.finish().map(drop).map_err(|error| error.to_string())
}

/// Makes a volume of a tar, compressed or not.
///
/// # Errors
/// The name is taken, or the stream is no tar.
pub async fn import(
    engine: &Engine,
    name: &str,
    labels: BTreeMap<String, String>,
    body: impl AsyncRead + Send + Unpin + 'static,
) -> Result<Volume, Failure> {
    // First of all: whoever sends must be heard out before it is told that it is all for nothing.
    let reader = bridge::reader_of(body);
    let shared = Arc::clone(&engine.shared);
    let new = NewVolume { name: name.to_owned(), labels, ..NewVolume::default() };
    crate::blocking(move || {
        let draft = shared.volumes.draft(new)?;
        unpack(&draft.data(), reader)?;
        failpoint::hit("volume.copied");
        let volume = shared.volumes.keep(draft, shared.now())?;
        event(&shared, "create", &volume);
        Ok(volume)
    })
    .await
}

fn unpack(place: &Path, mut reader: bridge::PieceReader) -> Result<(), Failure> {
    let broken = |why: String| {
        Failure::new(ErrorKind::InvalidArgument, format!("cannot read the archive: {why}"))
    };
    let start = reader.fill_buf().map_err(|error| broken(error.to_string()))?;
    if start.is_empty() {
        return Err(broken("it is empty".to_owned()));
    }
    let codec = Codec::detect(start).map_err(|error| broken(error.to_string()))?;
    let decoder = Decoder::new(codec, reader).map_err(|error| broken(error.to_string()))?;
    let mut tar = std::io::BufReader::with_capacity(256 << 10, decoder);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(place, flags, Mode::empty()).map_err(|errno| {
        Failure::new(ErrorKind::Internal, format!("cannot open {}: {errno}", place.display()))
    })?;
    let options = Options {
        limits: Limits::default(),
        whiteouts: Whiteouts::Literal,
        owner: Owner::Archived,
        ids: None,
        keep_types: false,
        keep_root: false,
        clones: None,
    };
    let unpacked = ferry_archive::unpack_renamed(&mut tar, directory.as_fd(), None, &options)
        .map_err(|error| broken(ferry_errkind::chain(&error)))?;
    if unpacked.refused_xattrs > 0 {
        let count = unpacked.refused_xattrs;
        tracing::warn!(count, "the kernel refused extended attributes of an imported volume");
    }
    Ok(())
}

/// The containers that may write to a volume.
fn writers(shared: &Shared, volume: &str) -> Vec<Handle> {
    let mut writers = shared.containers.all();
    writers.retain(|handle| {
        let container = handle.container();
        let mut mounts = container.mounts.iter().filter(|mount| mount.kind == MountKind::Volume);
        mounts.any(|mount| mount.rw && mount.name.as_deref() == Some(volume))
    });
    writers
}
