//! fsutil's protocol, receiving: a client tells of a tree, we ask for the files in it, and out comes a tar.
//!
//! The tree is told in order, parents first, each path once; anything else is refused ([`Listing`]). A file's content is asked for
//! by its number, a few files ahead, never more than fits [`AHEAD`]; large ones pass through alone.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use ferry_engine::ops::build::{Told, ToldKind};
use ferry_errkind::{ErrorKind, Kinded};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::{
    proto::fsutil::types::{Packet, Stat, packet::PacketType},
    tar::{END, Header, Kind},
};

/// Entries that a tree may have.
const MAX_ENTRIES: usize = 4_000_000;
/// What names, links and attributes may take in all.
const MAX_NAMES: usize = 512 << 20;
/// Linux's own limit.
const MAX_PATH: usize = 4096;
/// Bytes of files that are asked for before they are due, and how many files.
const AHEAD: u64 = 8 << 20;
const FILES_AHEAD: usize = 128;

/// Bits of Go's `os.FileMode`.
pub(crate) mod go {
    pub(crate) const DIRECTORY: u32 = 1 << 31;
    pub(crate) const SYMLINK: u32 = 1 << 27;
    pub(crate) const DEVICE: u32 = 1 << 26;
    pub(crate) const PIPE: u32 = 1 << 25;
    pub(crate) const SOCKET: u32 = 1 << 24;
    pub(crate) const SETUID: u32 = 1 << 23;
    pub(crate) const SETGID: u32 = 1 << 22;
    pub(crate) const CHARACTER: u32 = 1 << 21;
    pub(crate) const STICKY: u32 = 1 << 20;
    pub(crate) const IRREGULAR: u32 = 1 << 19;
    pub(crate) const TYPE: u32 =
        DIRECTORY | SYMLINK | PIPE | SOCKET | DEVICE | CHARACTER | IRREGULAR;
}

/// Why a tree was not received.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// A path that is absolute, not clean, or leads out of the tree.
    #[error("the client sent the path {0:?}, which is no clean path inside of its directory")]
    Path(String),
    /// Not in order, or without its parent.
    #[error("the client sent {0:?} out of order")]
    Order(String),
    /// A hard link to what was not told of before.
    #[error("the client sent the hard link {0:?} to {1:?}, which is no file before it")]
    Link(String, String),
    /// More than is taken.
    #[error("the client's directory has more than {MAX_ENTRIES} entries or {} MiB of names", MAX_NAMES >> 20)]
    TooMany,
    /// A packet that nobody asked for.
    #[error("the client sent {0} that nobody asked for")]
    Unasked(&'static str),
    /// A large file is shorter than was told.
    #[error("{0:?} became shorter while it was sent")]
    Shortened(String),
    /// The client says so.
    #[error("error from sender: {0}")]
    Sender(String),
    /// The connection.
    #[error("the client's connection broke off: {0}")]
    Connection(String),
    /// Whoever wants the tree does not any more.
    #[error("nobody takes the files any more")]
    Unwanted,
}

impl Kinded for ReceiveError {
    fn kind(&self) -> ErrorKind {
        match self {
            ReceiveError::Sender(_) | ReceiveError::Connection(_) | ReceiveError::Unwanted => {
                ErrorKind::Unavailable
            }
            ReceiveError::TooMany => ErrorKind::TooLarge,
            _ => ErrorKind::InvalidArgument,
        }
    }
}

/// What a client told of its tree, checked.
#[derive(Debug, Default)]
pub struct Listing {
    entries: Vec<Entry>,
    /// The directories on the way to the entry that was told last, each with the last name in it.
    parents: Vec<(String, String)>,
    names: usize,
}

#[derive(Debug)]
struct Entry {
    stat: Stat,
    kind: Option<Kind>,
}

impl Listing {
    /// Takes a packet while the tree is told of; true when it was the last.
    ///
    /// # Errors
    /// See [`ReceiveError`].
    pub fn packet(&mut self, bytes: &[u8]) -> Result<bool, ReceiveError> {
        let packet = <Packet as prost::Message>::decode(bytes);
        self.take(packet.map_err(|error| ReceiveError::Connection(error.to_string()))?)
    }

    /// The paths of what was told, in order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.stat.path.as_str())
    }

    /// What was told, as the engine keeps it; and which entry each is.
    pub(crate) fn told(&self) -> (Vec<Told>, Vec<usize>) {
        let own = |(id, entry): (usize, &Entry)| Some((told_of(&entry.stat, entry.kind?), id));
        self.entries.iter().enumerate().filter_map(own).unzip()
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn take(&mut self, packet: Packet) -> Result<bool, ReceiveError> {
        match packet.r#type() {
            PacketType::PacketStat => match packet.stat {
                Some(stat) => self.add(stat).map(|()| false),
                None => Ok(true),
            },
            PacketType::PacketErr => Err(told(&packet)),
            _ => Err(ReceiveError::Unasked("a file")),
        }
    }

    fn add(&mut self, stat: Stat) -> Result<(), ReceiveError> {
        self.names += stat.path.len() + stat.linkname.len();
        self.names +=
            stat.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if self.entries.len() >= MAX_ENTRIES || self.names > MAX_NAMES {
            return Err(ReceiveError::TooMany);
        }
        check_path(&stat.path)?;
        let (parent, name) = stat.path.rsplit_once('/').unwrap_or(("", &stat.path));
        if self.parents.is_empty() {
            self.parents.push((String::new(), String::new()));
        }
        while self.parents.len() > 1 && self.parents.last().is_some_and(|(path, _)| path != parent)
        {
            self.parents.pop();
        }
        match self.parents.last_mut() {
            Some((path, last)) if path == parent && last.as_str() < name => name.clone_into(last),
            _ => return Err(ReceiveError::Order(stat.path)),
        }
        let kind = kind_of(&stat);
        match kind {
            Some(Kind::Directory) => self.parents.push((stat.path.clone(), String::new())),
            Some(Kind::HardLink) => self.check_link(&stat)?,
            _ => {}
        }
        self.entries.push(Entry { stat, kind });
        Ok(())
    }

    /// fsutil tells entries in the order of their paths, parents before children.
    fn check_link(&self, stat: &Stat) -> Result<(), ReceiveError> {
        check_path(&stat.linkname)?;
        let order = |entry: &Entry| compare(&entry.stat.path, &stat.linkname);
        let found = self.entries.binary_search_by(order).ok().map(|at| self.entries[at].kind);
        if found == Some(Some(Kind::File)) {
            return Ok(());
        }
        Err(ReceiveError::Link(stat.path.clone(), stat.linkname.clone()))
    }
}

/// `/` sorts before everything else, as in a walk.
fn compare(one: &str, other: &str) -> std::cmp::Ordering {
    one.split('/').cmp(other.split('/'))
}

fn check_path(path: &str) -> Result<(), ReceiveError> {
    let clean = !path.contains('\0')
        && path.len() < MAX_PATH
        && path.split('/').all(|name| !matches!(name, "" | "." | ".."));
    if clean { Ok(()) } else { Err(ReceiveError::Path(path.to_owned())) }
}

/// `None` for what no tree in an image has: sockets and things that only other systems know.
fn kind_of(stat: &Stat) -> Option<Kind> {
    match stat.mode & go::TYPE {
        0 if stat.linkname.is_empty() => Some(Kind::File),
        0 => Some(Kind::HardLink),
        go::DIRECTORY => Some(Kind::Directory),
        go::SYMLINK => Some(Kind::Symlink),
        go::PIPE => Some(Kind::Fifo),
        go::DEVICE => Some(Kind::BlockDevice),
        kind if kind == go::DEVICE | go::CHARACTER => Some(Kind::CharDevice),
        _ => None,
    }
}

fn told_of(stat: &Stat, kind: Kind) -> Told {
    let size = if kind == Kind::File { stat.size } else { 0 };
    Told {
        path: stat.path.clone(),
        kind: match kind {
            Kind::Directory => ToldKind::Directory,
            Kind::File => ToldKind::File,
            Kind::HardLink => ToldKind::HardLink,
            Kind::Symlink => ToldKind::Symlink,
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => ToldKind::Special,
        },
        mode: stat.mode,
        size: u64::try_from(size).unwrap_or_default(),
        modified: stat.mod_time,
        link: stat.linkname.clone(),
        device: (stat.devmajor, stat.devminor),
    }
}

fn told(packet: &Packet) -> ReceiveError {
    ReceiveError::Sender(String::from_utf8_lossy(&packet.data).into_owned())
}

/// The connection to a client that sends a tree.
pub(crate) trait Packets {
    /// The next packet.
    async fn next(&mut self) -> Result<Packet, ReceiveError>;
    /// Sends a packet.
    async fn send(&mut self, packet: Packet) -> Result<(), ReceiveError>;
}

/// Receives a tree as a tar; tells `progress` how many bytes of files have come.
///
/// # Errors
/// See [`ReceiveError`].
pub(crate) async fn receive(
    packets: &mut impl Packets,
    out: &mut (impl AsyncWrite + Unpin),
    progress: impl Fn(u64),
) -> Result<(), ReceiveError> {
    let listing = listing(packets).await?;
    let all = vec![true; listing.entries.len()];
    receive_some(packets, &listing, &all, out, progress).await
}

/// What a client tells of its tree.
///
/// # Errors
/// See [`ReceiveError`].
pub(crate) async fn listing(packets: &mut impl Packets) -> Result<Listing, ReceiveError> {
    let mut listing = Listing::default();
    while !listing.take(packets.next().await?)? {}
    Ok(listing)
}

/// Receives what is wanted of a tree as a tar.
///
/// # Errors
/// See [`ReceiveError`].
pub(crate) async fn receive_some(
    packets: &mut impl Packets,
    listing: &Listing,
    wanted: &[bool],
    out: &mut (impl AsyncWrite + Unpin),
    progress: impl Fn(u64),
) -> Result<(), ReceiveError> {
    let mut files = Files::of(listing, wanted);
    let mut came = 0;
    for (id, entry) in listing.entries.iter().enumerate() {
        let Some(kind) = entry.kind.filter(|_| wanted.get(id) == Some(&true)) else { continue };
        let mut head = Vec::new();
        if kind != Kind::File || entry.stat.size <= 0 {
            header(&entry.stat, kind, 0).write(&mut head);
            out.write_all(&head).await.map_err(|_| ReceiveError::Unwanted)?;
            continue;
        }
        files.ask(packets).await?;
        let size = u64::try_from(entry.stat.size).unwrap_or_default();
        let length = if size > AHEAD {
            header(&entry.stat, kind, size).write(&mut head);
            out.write_all(&head).await.map_err(|_| ReceiveError::Unwanted)?;
            files.pass(packets, id, &entry.stat, out).await?;
            size
        } else {
            let content = files.whole(packets, id).await?;
            header(&entry.stat, kind, content.len() as u64).write(&mut head);
            head.extend_from_slice(&content);
            out.write_all(&head).await.map_err(|_| ReceiveError::Unwanted)?;
            content.len() as u64
        };
        let padding = usize::try_from(length.next_multiple_of(512) - length).unwrap_or_default();
        out.write_all(&END[..padding]).await.map_err(|_| ReceiveError::Unwanted)?;
        came += length;
        progress(came);
    }
    packets.send(packet(PacketType::PacketFin, 0)).await?;
    // Both sides say that they are done, and then there is nothing more.
    let last = packets.next().await?;
    match last.r#type() {
        PacketType::PacketFin => {}
        PacketType::PacketErr => return Err(told(&last)),
        _ => return Err(ReceiveError::Unasked("a packet after the last file")),
    }
    out.write_all(&END).await.map_err(|_| ReceiveError::Unwanted)?;
    out.shutdown().await.map_err(|_| ReceiveError::Unwanted)
}

fn packet(kind: PacketType, id: usize) -> Packet {
    let id = u32::try_from(id).unwrap_or(u32::MAX);
    Packet { r#type: kind.into(), id, ..Packet::default() }
}

fn header(stat: &Stat, kind: Kind, size: u64) -> Header<'_> {
    let special = [(go::SETUID, 0o4000), (go::SETGID, 0o2000), (go::STICKY, 0o1000)];
    let special = special.iter().filter(|(bit, _)| stat.mode & bit != 0).map(|(_, mode)| mode);
    Header {
        kind,
        path: &stat.path,
        link: &stat.linkname,
        mode: stat.mode & 0o777 | special.sum::<u32>(),
        // As in Docker's contexts: who owned a file there has no meaning here.
        uid: 0,
        gid: 0,
        size,
        mtime: stat.mod_time.div_euclid(1_000_000_000),
        device: (stat.devmajor, stat.devminor),
        xattrs: &[],
    }
}

/// Files that are asked for, in the order in which they are wanted.
struct Files {
    /// Number and size of those that are not asked for yet.
    waiting: VecDeque<(usize, u64)>,
    /// What has come of those that are, and whether that is all.
    open: BTreeMap<usize, (u64, BytesMut, bool)>,
    ahead: u64,
}

impl Files {
    fn of(listing: &Listing, chosen: &[bool]) -> Files {
        let wanted = |(id, entry): (usize, &Entry)| {
            let size = u64::try_from(entry.stat.size).unwrap_or_default();
            let chosen = chosen.get(id) == Some(&true);
            (chosen && entry.kind == Some(Kind::File) && size > 0).then_some((id, size))
        };
        let waiting = listing.entries.iter().enumerate().filter_map(wanted).collect();
        Files { waiting, open: BTreeMap::new(), ahead: 0 }
    }

    /// Asks for as many files as there is room for, at least for one.
    async fn ask(&mut self, packets: &mut impl Packets) -> Result<(), ReceiveError> {
        while let Some((id, size)) = self.waiting.front().copied() {
            let room = self.ahead + size <= AHEAD && self.open.len() < FILES_AHEAD;
            if !room && !self.open.is_empty() {
                return Ok(());
            }
            self.waiting.pop_front();
            self.open.insert(id, (size, BytesMut::new(), false));
            self.ahead += size;
            packets.send(packet(PacketType::PacketReq, id)).await?;
        }
        Ok(())
    }

    /// Takes packets until one has something of the file, or its end.
    async fn more(
        &mut self,
        packets: &mut impl Packets,
        wanted: usize,
    ) -> Result<Option<Bytes>, ReceiveError> {
        loop {
            let came = packets.next().await?;
            match came.r#type() {
                PacketType::PacketData => {}
                PacketType::PacketErr => return Err(told(&came)),
                _ => return Err(ReceiveError::Unasked("a packet between files")),
            }
            let id = usize::try_from(came.id).unwrap_or(usize::MAX);
            if id == wanted {
                return Ok((!came.data.is_empty()).then_some(came.data));
            }
            match self.open.get_mut(&id) {
                Some((size, content, done)) if !*done => append(*size, content, done, &came.data),
                _ => return Err(ReceiveError::Unasked("a file")),
            }
        }
    }

    /// A whole file. One that has grown since it was told of comes with what there is room for.
    async fn whole(
        &mut self,
        packets: &mut impl Packets,
        id: usize,
    ) -> Result<BytesMut, ReceiveError> {
        let Some((size, mut content, mut done)) = self.open.remove(&id) else {
            return Err(ReceiveError::Unasked("a file"));
        };
        while !done {
            let data = self.more(packets, id).await?.unwrap_or_default();
            append(size, &mut content, &mut done, &data);
        }
        self.ahead -= size;
        Ok(content)
    }

    /// A large file, as it comes. What it has grown by is left out; nothing stands in for what it has become shorter by.
    async fn pass(
        &mut self,
        packets: &mut impl Packets,
        id: usize,
        stat: &Stat,
        out: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), ReceiveError> {
        let Some((size, _, _)) = self.open.remove(&id) else {
            return Err(ReceiveError::Unasked("a file"));
        };
        let mut left = size;
        while let Some(data) = self.more(packets, id).await? {
            let taken = usize::try_from(left).map_or(data.len(), |left| left.min(data.len()));
            out.write_all(&data[..taken]).await.map_err(|_| ReceiveError::Unwanted)?;
            left -= taken as u64;
        }
        if left > 0 {
            return Err(ReceiveError::Shortened(stat.path.clone()));
        }
        self.ahead -= size;
        Ok(())
    }
}

/// No data is the end. A file may have grown since its size was told: twice that is taken.
fn append(size: u64, content: &mut BytesMut, done: &mut bool, data: &[u8]) {
    if data.is_empty() {
        *done = true;
        return;
    }
    let limit = usize::try_from(size.saturating_mul(2)).unwrap_or(usize::MAX);
    let room = limit.saturating_sub(content.len()).min(data.len());
    content.extend_from_slice(&data[..room]);
}

#[cfg(test)]
mod tests;
