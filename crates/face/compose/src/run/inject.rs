//! Configs and secrets that are no files on this machine: they go into the container as files before it starts.

use ferry_archive::{Entry, TarWriter};
use ferry_cli::face::CliError;
use ferry_client::path_segment;

use super::{Change, Session, create};
use crate::model::{FileObject, FileReference, Project, Service};

/// Puts them into a container.
pub(crate) async fn inject(
    session: &Session<'_>,
    project: &Project,
    service: &Service,
    id: &str,
    name: &str,
) -> Result<(), CliError> {
    for (kind, object, reference) in references(project, service) {
        let Some(text) = text_of(project, object)? else { continue };
        let tar = one_file(kind, reference, text.as_bytes())?;
        let change = Change::put(format!("/containers/{}/archive", path_segment(id)));
        let change = change.shown_as(format!("/containers/{name}/archive")).query("path", "/");
        let why =
            format!("{kind} {} is to be {}", reference.source, create::target_of(kind, reference));
        let Some((call, _permit)) = session.change(&change, &why).await? else { continue };
        let length = tar.len() as u64;
        let body = std::io::Cursor::new(tar);
        call.upload("application/x-tar", body, Some(length)).done().await?;
    }
    Ok(())
}

/// What a service uses of the project's configs and secrets.
pub(crate) fn references<'a>(
    project: &'a Project,
    service: &'a Service,
) -> impl Iterator<Item = (&'static str, &'a FileObject, &'a FileReference)> {
    let configs = service.configs.iter().map(|reference| ("config", &project.configs, reference));
    let secrets = service.secrets.iter().map(|reference| ("secret", &project.secrets, reference));
    configs
        .chain(secrets)
        .filter_map(|(kind, all, reference)| Some((kind, all.get(&reference.source)?, reference)))
}

/// What is written in the file or in a variable; none where it is a file of its own.
pub(crate) fn text_of(project: &Project, object: &FileObject) -> Result<Option<String>, CliError> {
    match (&object.content, &object.environment) {
        (Some(content), _) => Ok(Some(content.clone())),
        (None, Some(name)) => match project.environment.get(name) {
            Some(value) => Ok(Some(value.clone())),
            None => Err(CliError::new(format!(
                "environment variable {name:?} required by file {:?} is not set",
                object.name
            ))),
        },
        (None, None) => Ok(None),
    }
}

/// A tar with one file.
fn one_file(kind: &str, reference: &FileReference, content: &[u8]) -> Result<Vec<u8>, CliError> {
    let path = create::target_of(kind, reference);
    let number = |text: &str, what: &str| match text {
        "" => Ok(0),
        text => text.parse::<u32>().map_err(|_| {
            CliError::new(format!("{kind} {}: {what} {text:?} is no number", reference.source))
        }),
    };
    let mode = reference.mode.as_deref().and_then(|mode| u32::from_str_radix(mode, 8).ok());
    let size = content.len() as u64;
    let entry = Entry {
        path: path.trim_start_matches('/').as_bytes().to_vec(),
        mode: mode.unwrap_or(0o444) & 0o7777,
        uid: number(&reference.uid, "uid")?,
        gid: number(&reference.gid, "gid")?,
        size,
        stored: size,
        ..Entry::default()
    };
    let mut tar = TarWriter::new(Vec::new());
    let written = tar.append_file(&entry, content).and_then(|()| tar.finish());
    written.map_err(|error| CliError::new(format!("cannot pack {path}: {error}")))
}
