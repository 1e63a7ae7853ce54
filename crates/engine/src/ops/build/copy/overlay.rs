//! Copies by way of an overlay, where the file systems below decide what comes of it.

use std::{
    collections::BTreeSet,
    io::{self, BufRead, BufReader, Read, Seek},
    path::{Path, PathBuf},
};

use ferry_archive::{
    Limits, Options, Owner, Times, Whiteouts,
    compress::{Codec, Decoder},
};
use ferry_dockerfile::{FileMode, IgnoreFile};
use ferry_errkind::{ErrorKind, Failure};
use ferry_layers::Layer;
use ferry_oci::Digest;
use ferry_sys::{
    overlay::{self, Overlay},
    root::InRoot,
};
use rustix::fs::{AtFlags, FileType, Mode};

use super::{
    super::tree::{Files, Found, invalid, piped},
    Copies, Item,
    direct::made_mode,
};
use crate::{Shared, ops::container::commit::layer_of};

/// Puts everything on top of an overlay.
pub(super) fn layer(
    copies: &Copies,
    shared: &Shared,
    below: &[Digest],
    from: &Files,
    scratch: &Path,
) -> Result<Layer, Failure> {
    on_top(shared, below, scratch, copies.times, |root| {
        let owner = copies.owner(root, from)?;
        copies.items.iter().try_for_each(|item| place(copies, root, item, from, owner))
    })
}

/// Whether `ADD` unpacks it: local archives of itself, others when told to.
pub(super) fn may_be_archive(copies: &Copies, item: &Item, from: &Files) -> bool {
    let file = match item {
        Item::Found(found) if !found.directory => found.open(from),
        Item::Remote { files, found, remote }
            if !remote.tree && copies.step.flags.unpack == Some(true) =>
        {
            found.open(files)
        }
        _ => return false,
    };
    // What cannot be read now is told of when it is copied.
    file.is_ok_and(|file| !matches!(archive(std::fs::File::from(file)), Ok(None)))
}

fn place(
    copies: &Copies,
    root: &InRoot,
    item: &Item,
    from: &Files,
    owner: Owner,
) -> Result<(), Failure> {
    let (target, name) = copies.place_of(root, item);
    let (files, found) = match item {
        Item::Found(found) => (from, found),
        Item::Remote { files, found, .. } => (files, found),
        Item::Document { content, .. } => {
            let target = directory(root, &target, owner, made_mode(copies.mode.as_ref()))?;
            return document(copies, &target, &name.unwrap_or_default(), content, owner);
        }
    };
    if may_be_archive(copies, item, from)
        && copies.step.flags.unpack != Some(false)
        && copies.step.add
    {
        let file = std::fs::File::from(found.open(files)?);
        if let Some(archive) = archive(file)? {
            let target = directory(root, Path::new(&copies.step.destination), owner, 0o755)?;
            // Who is in the archive stays, as in Docker.
            let owner = match owner {
                Owner::Fixed { uid: 0, gid: 0 } if copies.step.flags.chown.is_none() => {
                    Owner::Archived
                }
                owner => owner,
            };
            return unpack(archive, target.as_dir(), owner);
        }
    }
    let target = directory(root, &target, owner, made_mode(copies.mode.as_ref()))?;
    let name = name.unwrap_or_default();
    let write =
        |out: io::BufWriter<io::PipeWriter>| found.write(files, &name, &copies.exclude, out);
    piped(write, |input| unpack(input, target.as_dir(), owner))?;
    match found.directory {
        true => chmod_all(copies, files, found, &target),
        false => chmod(copies.mode.as_ref(), &target, &name),
    }
}

fn document(
    copies: &Copies,
    target: &InRoot,
    name: &[u8],
    content: &str,
    owner: Owner,
) -> Result<(), Failure> {
    let entry = ferry_archive::Entry {
        path: name.to_vec(),
        mode: 0o644,
        size: content.len() as u64,
        stored: content.len() as u64,
        ..ferry_archive::Entry::default()
    };
    let write = |out: io::BufWriter<io::PipeWriter>| {
        let mut tar = ferry_archive::TarWriter::new(out);
        tar.append_file(&entry, content.as_bytes())
            .and_then(|()| tar.finish().map(drop))
            .map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))
    };
    piped(write, |input| unpack(input, target.as_dir(), owner))?;
    chmod(copies.mode.as_ref(), target, name)
}

/// Makes a directory; those that are missing belong to `owner`.
fn directory(root: &InRoot, path: &Path, owner: Owner, mode: u32) -> Result<InRoot, Failure> {
    let failed = |error: rustix::io::Errno| {
        let words = match error {
            rustix::io::Errno::NOTDIR => {
                format!("cannot copy to non-directory: {}", path.display())
            }
            other => format!("cannot make {}: {other}", path.display()),
        };
        Failure::new(ErrorKind::InvalidArgument, words)
    };
    let mut missing: Vec<PathBuf> = Vec::new();
    if let Owner::Fixed { uid, gid } = owner
        && (uid, gid) != (0, 0)
    {
        let absent = |path: &&Path| matches!(root.file_type(path), Ok(None));
        missing = path.ancestors().take_while(absent).map(Path::to_owned).collect();
    }
    let found = root.mkdir_all(path, mode).map_err(failed)?;
    if let Owner::Fixed { uid, gid } = owner {
        for path in missing {
            let made = root.open_with(&path, rustix::fs::OFlags::DIRECTORY, 0).map_err(failed)?;
            let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
            rustix::fs::fchown(&made, Some(uid), Some(gid)).map_err(failed)?;
        }
    }
    // A descriptor that can be worked with, not only a place.
    drop(found);
    let opened = root.open_with(path, rustix::fs::OFlags::DIRECTORY, 0).map_err(failed)?;
    Ok(InRoot::from_fd(opened))
}

pub(super) fn unpack(
    input: impl Read,
    target: std::os::fd::BorrowedFd<'_>,
    owner: Owner,
) -> Result<(), Failure> {
    let options = Options {
        ids: None,
        limits: Limits::default(),
        whiteouts: Whiteouts::Literal,
        owner,
        keep_types: false,
        keep_root: true,
        clones: None,
    };
    let mut tar = BufReader::with_capacity(256 << 10, input);
    ferry_archive::unpack_renamed(&mut tar, target, None, &options)
        .map(drop)
        .map_err(|error| Failure::new(ErrorKind::Internal, ferry_errkind::chain(&error)))
}

/// A file that is a tar, compressed or not, as what `ADD` unpacks.
fn archive(mut file: std::fs::File) -> Result<Option<Box<dyn Read>>, Failure> {
    let failed = |error: io::Error| Failure::new(ErrorKind::Internal, error.to_string());
    let mut start = BufReader::with_capacity(1024, &file);
    let bytes = start.fill_buf().map_err(failed)?;
    let Ok(codec) = Codec::detect(bytes) else { return Ok(None) };
    file.rewind().map_err(failed)?;
    let reopened = file.try_clone().map_err(failed)?;
    let Ok(mut decoder) = Decoder::new(codec, BufReader::with_capacity(256 << 10, file)) else {
        return Ok(None);
    };
    let mut block = [0; 512];
    if decoder.read_exact(&mut block).is_err() || !is_tar_header(&block) {
        return Ok(None);
    }
    drop(decoder);
    let mut file = reopened;
    file.rewind().map_err(failed)?;
    let whole = Decoder::new(codec, BufReader::with_capacity(256 << 10, file)).map_err(failed)?;
    Ok(Some(Box::new(whole)))
}

/// The checksum of a header is right.
fn is_tar_header(block: &[u8; 512]) -> bool {
    let text = String::from_utf8_lossy(&block[148..156]).into_owned();
    let Ok(told) = u32::from_str_radix(text.trim_matches(['\0', ' ']), 8) else { return false };
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
        .sum();
    sum == told
}

/// Who a `--chown` means. As with BuildKit, a name that the image does not know is root's, and a number alone is the group's, too.
pub(super) fn owner_of(root: &InRoot, text: &str) -> Result<Owner, Failure> {
    let (user, group) = text.split_once(':').map_or((text, None), |(user, own)| (user, Some(own)));
    let found = ferry_runtime::look_up_names(root, user, group);
    let (uid, gid) = found.map_err(|why| {
        invalid(format!("unable to convert uid/gid chown string to host mapping: {why}"))
    })?;
    Ok(Owner::Fixed { uid, gid })
}

fn chmod(mode: Option<&FileMode>, directory: &InRoot, name: &[u8]) -> Result<(), Failure> {
    let Some(mode) = mode else { return Ok(()) };
    let failed = |errno| Failure::new(ErrorKind::Internal, format!("chmod: {errno}"));
    let stat =
        rustix::fs::statat(directory.as_dir(), name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind == FileType::Symlink {
        return Ok(());
    }
    let mode = mode.apply(stat.st_mode & 0o7777, kind == FileType::Directory);
    rustix::fs::chmodat(directory.as_dir(), name, Mode::from_raw_mode(mode), AtFlags::empty())
        .map_err(failed)
}

/// Changes the mode of everything that came from a directory.
fn chmod_all(copies: &Copies, from: &Files, found: &Found, target: &InRoot) -> Result<(), Failure> {
    if copies.mode.is_none() {
        return Ok(());
    }
    let mut paths = BTreeSet::new();
    piped(
        |out| found.write(from, b"", &IgnoreFile::default(), out),
        |input| {
            let mut tar = ferry_archive::TarReader::new(BufReader::new(input), Limits::default());
            let broken = |error| Failure::new(ErrorKind::Internal, ferry_errkind::chain(&error));
            while let Some(member) = tar.next_member().map_err(broken)? {
                if let Ok(path) = ferry_archive::clean(&member.entry.path) {
                    paths.insert(path.to_vec());
                }
            }
            Ok(())
        },
    )?;
    for path in paths.iter().filter(|path| !path.is_empty() && path.as_slice() != b".") {
        let path = Path::new(std::ffi::OsStr::new(std::str::from_utf8(path).unwrap_or_default()));
        let Ok((parent, name)) = target.parent(path) else { continue };
        chmod(copies.mode.as_ref(), &InRoot::from_fd(parent), name.as_encoded_bytes())?;
    }
    Ok(())
}

/// Makes a directory and whatever it is in.
pub(in super::super) fn make_directory(
    shared: &Shared,
    below: &[Digest],
    path: &str,
    user: &str,
    scratch: &Path,
    times: Times,
) -> Result<Layer, Failure> {
    on_top(shared, below, scratch, times, |root| {
        let owner = if user.is_empty() { Owner::Archived } else { owner_of(root, user)? };
        directory(root, Path::new(path), owner, 0o755).map(drop)
    })
}

/// Changes a file system and makes the change a layer.
fn on_top(
    shared: &Shared,
    below: &[Digest],
    scratch: &Path,
    times: Times,
    change: impl FnOnce(&InRoot) -> Result<(), Failure>,
) -> Result<Layer, Failure> {
    let (upper, work) = (scratch.join("upper"), scratch.join("work"));
    for path in [&upper, &work] {
        std::fs::create_dir_all(path)
            .map_err(|source| crate::records::failed("make directory", path, source))?;
    }
    let parts = Overlay {
        lower: shared.lower_dirs(below)?,
        upper: Some(upper.clone()),
        work: Some(work),
        context: None,
    };
    let failed = |words: String| Failure::new(ErrorKind::Internal, words);
    {
        let mount = overlay::detached(&parts).map_err(|error| failed(error.to_string()))?;
        change(&InRoot::from_fd(mount))?;
    }
    let upper = InRoot::open(&upper).map_err(|errno| failed(errno.to_string()))?;
    layer_of(shared, &upper, &BTreeSet::new(), times)
}
