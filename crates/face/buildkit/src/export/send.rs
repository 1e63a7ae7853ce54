//! fsutil's protocol, sending: a tree is told in order, and files are sent as the client asks for them.

use std::{path::Path, sync::Arc};

use bytes::{Bytes, BytesMut};
use ferry_engine::ops::{build::ResultTree, image::TreeEntry};
use ferry_errkind::{ErrorKind, Failure};
use tokio::{io::AsyncReadExt, sync::mpsc};
use tonic::Streaming;

use crate::{
    proto::fsutil::types::{Packet, Stat, packet::PacketType},
    receive::go,
    solve::of_status,
};

/// Bytes of a file in one packet: fsutil's own.
const PIECE: usize = 32 << 10;

/// Tells of all files, and then that these are all.
pub(super) async fn tell(entries: &[TreeEntry], out: &mpsc::Sender<Packet>) -> Result<(), Failure> {
    for entry in entries {
        let packet = Packet { stat: Some(stat(entry)), ..packet(PacketType::PacketStat, 0) };
        out.send(packet).await.map_err(|_| left())?;
    }
    out.send(packet(PacketType::PacketStat, 0)).await.map_err(|_| left())
}

/// Sends what the client asks for until it has all; answers how many bytes that were, and tells `progress` on the way.
pub(super) async fn serve(
    tree: &Arc<ResultTree>,
    entries: &[TreeEntry],
    out: &mpsc::Sender<Packet>,
    mut asked: Streaming<Packet>,
    progress: impl Fn(u64),
) -> Result<u64, Failure> {
    let (mut sent, mut shown) = (0, 0);
    loop {
        let message = asked.message().await.map_err(|status| of_status(&status))?;
        let message = message.ok_or_else(left)?;
        match message.r#type() {
            PacketType::PacketReq => {
                let entry = usize::try_from(message.id).ok().and_then(|id| entries.get(id));
                let entry = entry.filter(|entry| go_type(entry.mode) == 0);
                let invalid = || {
                    let words = format!("invalid file id {}", message.id);
                    Failure::new(ErrorKind::InvalidArgument, words)
                };
                let path = entry.ok_or_else(invalid)?.path.clone();
                sent += send_file(tree, &path, message.id, out).await?;
                // One message for each MiB is enough.
                if sent >> 20 > shown {
                    shown = sent >> 20;
                    progress(sent);
                }
            }
            PacketType::PacketFin => {
                let done = out.send(packet(PacketType::PacketFin, 0)).await;
                return done.map_err(|_| left()).map(|()| sent);
            }
            PacketType::PacketErr => {
                let words = String::from_utf8_lossy(&message.data).into_owned();
                return Err(Failure::new(
                    ErrorKind::Unavailable,
                    format!("error from receiver: {words}"),
                ));
            }
            _ => return Err(Failure::new(ErrorKind::InvalidArgument, "unexpected packet")),
        }
    }
}

async fn send_file(
    tree: &Arc<ResultTree>,
    path: &Path,
    id: u32,
    out: &mpsc::Sender<Packet>,
) -> Result<u64, Failure> {
    let (opened, own) = (Arc::clone(tree), path.to_owned());
    let file = tokio::task::spawn_blocking(move || opened.file(&own)).await;
    let file = file.map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))??;
    let mut file = tokio::fs::File::from_std(file);
    let mut sent = 0;
    loop {
        let mut piece = BytesMut::with_capacity(PIECE);
        let read = file.read_buf(&mut piece).await.map_err(|error| {
            Failure::new(ErrorKind::Internal, format!("cannot read {}: {error}", path.display()))
        })?;
        sent += read as u64;
        let data: Bytes = piece.freeze();
        let last = data.is_empty();
        let packet = Packet { id, data, ..packet(PacketType::PacketData, 0) };
        out.send(packet).await.map_err(|_| left())?;
        if last {
            return Ok(sent);
        }
    }
}

fn packet(kind: PacketType, id: u32) -> Packet {
    Packet { r#type: kind.into(), id, ..Packet::default() }
}

fn left() -> Failure {
    Failure::new(ErrorKind::Unavailable, "the client has left")
}

fn stat(entry: &TreeEntry) -> Stat {
    let special = [(0o4000, go::SETUID), (0o2000, go::SETGID), (0o1000, go::STICKY)];
    let special = special.iter().filter(|(mode, _)| entry.mode & mode != 0).map(|(_, bit)| bit);
    let link = entry.link.as_ref().map(|link| link.to_string_lossy().into_owned());
    Stat {
        path: entry.path.to_string_lossy().into_owned(),
        mode: entry.mode & 0o777 | go_type(entry.mode) | special.sum::<u32>(),
        uid: entry.uid,
        gid: entry.gid,
        size: if go_type(entry.mode) == 0 {
            i64::try_from(entry.size).unwrap_or(i64::MAX)
        } else {
            0
        },
        mod_time: entry.modified,
        linkname: link.unwrap_or_default(),
        devmajor: entry.device.0.into(),
        devminor: entry.device.1.into(),
        ..Stat::default()
    }
}

/// The type of `st_mode` as Go's `os.FileMode` has it; 0 is a plain file.
fn go_type(mode: u32) -> u32 {
    match mode & 0o170_000 {
        0o040_000 => go::DIRECTORY,
        0o120_000 => go::SYMLINK,
        0o060_000 => go::DEVICE,
        0o020_000 => go::DEVICE | go::CHARACTER,
        0o010_000 => go::PIPE,
        0o140_000 => go::SOCKET,
        _ => 0,
    }
}
