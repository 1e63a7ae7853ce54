//! The built-in image `ferry/welcome`: this program, `FROM scratch`, as a small web server. Needs no network.
//!
//! It is assembled when somebody first asks for it, and again when the program has changed since.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Seek, Write},
    os::unix::fs::MetadataExt,
    path::Path,
};

use ferry_archive::{Entry as TarEntry, TarWriter};
use ferry_errkind::{ErrorKind, Failure};
use ferry_oci::{ContainerDefaults, History, ImageConfig, Platform, Reference, RootFs};

use crate::{Shared, ops::image};

/// What it is called.
const NAME: &str = "docker.io/ferry/welcome:latest";

/// Which program the image was made from.
const BUILD_LABEL: &str = "dev.ferry.welcome.program";

/// Whether `name` means the built-in image.
pub(crate) fn is_meant(name: &str) -> bool {
    Reference::parse(name)
        .is_ok_and(|name| name.digest().is_none() && name.with_default_tag().canonical() == NAME)
}

/// Assembles the image if it is not there or is another program's. An image of that name that was not made here stays.
pub(crate) fn ensure(shared: &Shared) -> Result<(), Failure> {
    let program = identity(&shared.config.executable)?;
    if let Ok(named) = shared.images.get(NAME) {
        let labels = named.entry.config.config.as_ref().and_then(|config| config.labels.as_ref());
        match labels.and_then(|labels| labels.get(BUILD_LABEL)) {
            Some(label) if *label != program => {}
            _ => return Ok(()),
        }
    }
    let layer = shared.layers.ingest(layer(shared)?, None)?;
    let _lease = shared.lease(std::slice::from_ref(&layer.diff_id));
    let config = config(program, layer.diff_id.clone());
    let json = serde_json::to_vec(&config)
        .map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))?;
    let name = Reference::parse(NAME).map_err(image::bad_reference)?;
    image::keep::keep(shared, &json, None, &[name])?;
    Ok(())
}

/// The layer's tar, in a file without a name.
fn layer(shared: &Shared) -> Result<File, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(ErrorKind::Internal, format!("cannot assemble image ferry/welcome: {error}"))
    };
    let program = File::open(&shared.config.executable).map_err(failed)?;
    let size = program.metadata().map_err(failed)?.len();
    let scratch = rustix::fs::memfd_create("ferry-welcome", rustix::fs::MemfdFlags::CLOEXEC)
        .map_err(|errno| failed(errno.into()))?;
    let mut tar = TarWriter::new(File::from(scratch));
    let path = b"ferry".to_vec();
    let entry = TarEntry { path, mode: 0o755, size, stored: size, ..TarEntry::default() };
    tar.append_file(&entry, program).map_err(failed)?;
    let mut file = tar.finish().map_err(failed)?;
    file.flush().and_then(|()| file.rewind()).map_err(failed)?;
    Ok(file)
}

fn config(program: String, diff_id: ferry_oci::Digest) -> ImageConfig {
    let host = Platform::host();
    ImageConfig {
        architecture: host.architecture,
        os: host.os,
        config: Some(ContainerDefaults {
            entrypoint: Some(vec!["/ferry".to_owned(), "welcome".to_owned()]),
            env: Some(vec!["PATH=/".to_owned()]),
            exposed_ports: Some(BTreeSet::from(["80/tcp".to_owned()])),
            labels: Some(BTreeMap::from([(BUILD_LABEL.to_owned(), program)])),
            working_dir: Some("/".to_owned()),
            ..ContainerDefaults::default()
        }),
        rootfs: RootFs { diff_ids: vec![diff_id], ..RootFs::default() },
        history: vec![History {
            created_by: Some(
                "COPY ferry /ferry # the program that is running this engine".to_owned(),
            ),
            comment: Some("built in".to_owned()),
            ..History::default()
        }],
        ..ImageConfig::default()
    }
}

/// Tells programs apart without reading them.
fn identity(program: &Path) -> Result<String, Failure> {
    let status = std::fs::metadata(program).map_err(|error| {
        let words = format!("cannot read {}: {error}", program.display());
        Failure::new(ErrorKind::Internal, words)
    })?;
    Ok(format!("{}-{}-{}", status.ino(), status.len(), status.mtime()))
}
