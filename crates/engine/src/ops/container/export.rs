//! `export`: a container's whole file system as a tar, without what is mounted in it.

use bytes::Bytes;
use ferry_archive::{Keep, Source, TarWriter, TreeOptions};
use ferry_errkind::{ErrorKind, Failure};
use tokio::sync::mpsc;

use crate::{Engine, bridge, rootfs};

/// The file system as a tar. The pieces end with an error when it is not whole.
///
/// # Errors
/// No such container, or its layers cannot be read.
pub async fn export(
    engine: &Engine,
    name: &str,
) -> Result<mpsc::Receiver<Result<Bytes, Failure>>, Failure> {
    let shared = engine.shared.clone();
    let container = shared.containers.find(name)?.container();
    let (mut writer, pieces) = bridge::pipe();
    crate::blocking(move || {
        let view = rootfs::without_mounts(&shared, &container)?;
        shared.events.container(&container, "export", &[], shared.now());
        tokio::task::spawn_blocking(move || {
            let options = TreeOptions {
                source: Source::Plain,
                keep: Keep::Layer,
                live: true,
                ids: view.ids.as_ref(),
                skip: &|_| false,
            };
            let mut tar = TarWriter::new(&mut writer);
            let written = ferry_archive::write_tree(view.root.as_dir(), &options, &mut tar)
                .map_err(|error| ferry_errkind::chain(&error))
                .and_then(|()| tar.finish().map(drop).map_err(|error| error.to_string()));
            if let Err(why) = written {
                let words = format!("cannot export container {}: {why}", container.id);
                writer.fail(Failure::new(ErrorKind::Internal, words));
            }
        });
        Ok(())
    })
    .await?;
    Ok(pieces)
}
