//! Results on their way out: names of images, the registry, tars and trees for the client.

mod send;
mod store;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use base64::Engine as _;
use bytes::Bytes;
use ferry_engine::ops::{
    build::{Built, Layout},
    image::{self as images, Packing, PushProgress, PushRequest},
};
use ferry_errkind::{ErrorKind, Failure};
use ferry_model::image::ListImages;
use ferry_oci::{Digest, Reference};
use futures_util::stream;
use http::uri::PathAndQuery;
use prost::Message;
use tokio::sync::mpsc;
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    metadata::{Ascii, MetadataKey, MetadataValue},
};
use tonic_prost::ProstCodec;

use crate::{
    BuildKit,
    builds::Build,
    proto::{
        fsutil::types::Packet,
        moby::{buildkit::v1::Exporter, filesync::v1::BytesMessage},
    },
    session::Session,
    solve::{Own, cache_reference, credentials_of, failed, of_status},
};

/// Both kinds of results go here: a tree's packets, or a file's bytes.
const SEND: &str = "/moby.filesync.v1.FileSend/DiffCopy";
/// Messages on their way to the client.
const BACKLOG: usize = 64;
/// Bytes of a file in one message: gRPC in Go takes four MiB at most by default.
const PIECE: usize = 1 << 20;

/// What exporters are told and what is done about it: `name` and `push` are obeyed, the others ask for what is done anyway, or were given
/// up by BuildKit.
const IMAGE: &[&str] = &[
    "name",
    "push",
    "unpack",
    "store",
    "registry.insecure",
    "prefer-image-digest",
    "buildinfo-attrs",
    "dangling-name-prefix",
    "compression",
    "compression-level",
    "force-compression",
];
const ARCHIVE: &[&str] = &[
    "name",
    "dest",
    "tar",
    "prefer-image-digest",
    "buildinfo-attrs",
    "context",
    "compression",
    "compression-level",
    "force-compression",
];
const FILES: &[&str] = &["dest", "buildinfo-attrs", "attestation-prefix", "platform-split"];

/// Refuses what cannot be done before anything is.
pub(crate) fn check(build: &Build) -> Result<(), Status> {
    let exporters = build.exporters();
    let dated = build.asked.frontend_attrs.contains_key("build-arg:SOURCE_DATE_EPOCH");
    for exporter in &exporters {
        let Exporter { r#type, attrs } = exporter;
        let known = match r#type.as_str() {
            "image" | "moby" => IMAGE,
            "oci" | "docker" => ARCHIVE,
            "local" | "tar" => FILES,
            other => return Err(unsupported(format!("the exporter {other:?}"))),
        };
        layout_of(attrs).map_err(|why| failed(&why))?;
        is_packed(attrs).map_err(|why| failed(&why))?;
        packing_of(attrs).map_err(|why| failed(&why))?;
        for (name, value) in attrs {
            // Said of nothing that is here, these change nothing.
            let idle = match name.as_str() {
                "push-by-digest" => value == "false",
                // An epoch is always one for files, too; without one this means nothing in BuildKit, either.
                "rewrite-timestamp" => value == "true" || !dated && value == "false",
                "oci-mediatypes" if is_image(exporter) => true,
                "oci-mediatypes" => r#type == "oci" && value == "true",
                "mode" => value == "copy",
                _ => false,
            };
            if !idle && !known.contains(&name.as_str()) {
                return Err(unsupported(format!(
                    "the attribute {name:?} of the exporter {type:?}"
                )));
            }
        }
    }
    Ok(())
}

/// How layers are to be compressed.
fn packing_of(attrs: &BTreeMap<String, String>) -> Result<Packing, Failure> {
    images::packing(|name| attrs.get(name).map(String::as_str).unwrap_or_default())
}

/// How files are to be laid out.
fn layout_of(attrs: &BTreeMap<String, String>) -> Result<Layout, Failure> {
    let split = truth(attrs, "platform-split")?;
    let prefix = attrs.get("attestation-prefix").cloned().unwrap_or_default();
    Ok(Layout { split, prefix })
}

/// Whether an image goes as one file; otherwise blob by blob.
fn is_packed(attrs: &BTreeMap<String, String>) -> Result<bool, Failure> {
    truth(attrs, "tar").map(|packed| packed.unwrap_or(true))
}

/// What an attribute says that is true or false.
fn truth(attrs: &BTreeMap<String, String>, name: &str) -> Result<Option<bool>, Failure> {
    match attrs.get(name).map(String::as_str) {
        None => Ok(None),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(Some(true)),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(Some(false)),
        Some(other) => {
            let words = format!("non-bool value for {name}: {other}");
            Err(Failure::new(ErrorKind::InvalidArgument, words))
        }
    }
}

fn unsupported(what: String) -> Status {
    Status::unknown(format!("{what} is not supported"))
}

fn is_files(kind: &str) -> bool {
    matches!(kind, "local" | "tar")
}

fn is_image(exporter: &Exporter) -> bool {
    matches!(exporter.r#type.as_str(), "image" | "moby")
}

/// Whether an image is to stay here.
pub(crate) fn keeps_image(exporters: &[Exporter]) -> bool {
    exporters.iter().any(is_image)
}

/// The names that the image gets here.
pub(crate) fn names(exporters: &[Exporter]) -> Vec<String> {
    exporters.iter().filter(|one| is_image(one)).flat_map(names_of).collect()
}

fn names_of(exporter: &Exporter) -> Vec<String> {
    let names = exporter.attrs.get("name").map(String::as_str).unwrap_or_default();
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Hands the result to where it was asked for; answers what the client is told of it.
pub(crate) async fn export(
    kit: &BuildKit,
    build: &Arc<Build>,
    built: &Built,
) -> Result<BTreeMap<String, String>, Status> {
    let exporters = build.exporters();
    let mut response = BTreeMap::new();
    if let Some(name) = cache_reference(build).map_err(|why| failed(&why))? {
        let to = Target { kit, build, built, number: 0 };
        let pushed = to
            .vertex(
                &format!("exporting cache to registry {name}"),
                to.push(&name, Packing::default()),
            )
            .await;
        // The name was only there to be pushed.
        images::remove(&kit.shared.engine, &name, false, false).await.ok();
        pushed.map_err(|why| failed(&why))?;
    }
    if exporters.iter().all(|exporter| is_files(&exporter.r#type)) {
        for (number, exporter) in exporters.iter().enumerate() {
            let to = Target { kit, build, built, number };
            to.files(exporter, &response).await.map_err(|why| failed(&why))?;
        }
        return Ok(response);
    }
    let known = image_ids(kit).await.map_err(|why| failed(&why))?;
    let id = built.record().await.map_err(|error| failed(&error.failure))?;
    for key in ["containerimage.digest", "containerimage.config.digest"] {
        response.insert(key.to_owned(), id.to_string());
    }
    let mut done = Ok(());
    for (number, exporter) in exporters.iter().enumerate() {
        let to = Target { kit, build, built, number };
        done = to.export(exporter, &id, &mut response).await;
        if done.is_err() {
            break;
        }
    }
    if !keeps_image(&exporters) && !known.contains(&id) {
        dismiss(kit, &id).await;
    }
    done.map_err(|why| failed(&why)).map(|()| response)
}

/// The images that are here.
async fn image_ids(kit: &BuildKit) -> Result<BTreeSet<Digest>, Failure> {
    let all = ListImages { all: true, ..ListImages::default() };
    let listed = images::list(&kit.shared.engine, all).await?;
    Ok(listed.into_iter().map(|view| view.image.id).collect())
}

/// Removes an image that was here only to be exported. One that got a name or a container meanwhile stays.
async fn dismiss(kit: &BuildKit, id: &Digest) {
    let (engine, id) = (&kit.shared.engine, id.to_string());
    let named = images::inspect(engine, &id).await;
    if named.is_ok_and(|view| view.repo_tags.is_empty())
        && let Err(failure) = images::remove(engine, &id, false, false).await
    {
        tracing::debug!("an exported image stays: {}", failure.message());
    }
}

/// One place where a result goes.
struct Target<'a> {
    kit: &'a BuildKit,
    build: &'a Arc<Build>,
    built: &'a Built,
    /// Its number among the exporters, by which the client knows it.
    number: usize,
}

impl Target<'_> {
    async fn export(
        &self,
        exporter: &Exporter,
        id: &Digest,
        response: &mut BTreeMap<String, String>,
    ) -> Result<(), Failure> {
        let (names, packing) = (names_of(exporter), packing_of(&exporter.attrs)?);
        match exporter.r#type.as_str() {
            "local" | "tar" => self.files(exporter, response).await,
            "oci" | "docker" => {
                let pieces = images::save_as(&self.kit.shared.engine, id, &names, packing).await?;
                let name = format!("exporting to {} image format", exporter.r#type);
                if is_packed(&exporter.attrs)? {
                    return self.vertex(&name, self.send_file(pieces, response)).await;
                }
                let session = self.session().await?;
                let image = self.vertex(&name, store::send(&session, pieces)).await?;
                // The client lists the image in its store under these names.
                let descriptor =
                    base64::engine::general_purpose::STANDARD.encode(image.to_string());
                response.insert("containerimage.descriptor".to_owned(), descriptor);
                let full = |name: &String| {
                    Reference::parse(name).ok().map(|name| name.with_default_tag().canonical())
                };
                let names: Vec<String> = names.iter().filter_map(full).collect();
                if !names.is_empty() {
                    response.insert("image.name".to_owned(), names.join(","));
                }
                Ok(())
            }
            _ => {
                if !names.is_empty() {
                    response.insert("image.name".to_owned(), names.join(","));
                }
                // As BuildKit: `push=` alone is yes.
                let bare = exporter.attrs.get("push").is_some_and(String::is_empty);
                if !bare && truth(&exporter.attrs, "push")? != Some(true) {
                    return Ok(());
                }
                for name in names {
                    let vertex = format!("pushing {name}");
                    if let Some(digest) = self.vertex(&vertex, self.push(&name, packing)).await? {
                        response.insert("containerimage.digest".to_owned(), digest.to_string());
                    }
                }
                Ok(())
            }
        }
    }

    /// The files alone, into a directory or as a tar.
    async fn files(
        &self,
        exporter: &Exporter,
        response: &BTreeMap<String, String>,
    ) -> Result<(), Failure> {
        let layout = layout_of(&exporter.attrs)?;
        if exporter.r#type == "local" {
            return self.send_tree(&layout).await;
        }
        let pieces = self.built.files(&layout).await?;
        self.vertex("exporting to client tarball", self.send_file(pieces, response)).await
    }

    /// Does something in a vertex of its own.
    async fn vertex<T>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let own = Own::begin(self.build, name.to_owned());
        let done = work.await;
        own.end(self.build, done.as_ref().err());
        done
    }

    async fn session(&self) -> Result<Session, Failure> {
        self.kit.shared.sessions.get(&self.build.asked.session).await
    }

    async fn push(&self, name: &str, packing: Packing) -> Result<Option<Digest>, Failure> {
        let invalid = |error: ferry_oci::ReferenceError| {
            Failure::new(ErrorKind::InvalidArgument, error.to_string())
        };
        let reference = Reference::parse(name).map_err(invalid)?.with_default_tag();
        let auth = match self.session().await {
            Ok(session) => credentials_of(&session, reference.domain()).await,
            Err(_) => None,
        };
        let (sender, mut messages) = mpsc::channel(BACKLOG);
        let request =
            PushRequest { image: reference.familiar(), auth, packing, ..PushRequest::default() };
        let mut digest = None;
        let listen = async {
            while let Some(message) = messages.recv().await {
                if let PushProgress::Done { digest: pushed, .. } = message {
                    digest = Some(pushed);
                }
            }
        };
        let (pushed, ()) =
            tokio::join!(images::push(&self.kit.shared.engine, request, sender), listen);
        pushed.map(|()| digest)
    }

    /// The image's files, into a directory of the client.
    async fn send_tree(&self, layout: &Layout) -> Result<(), Failure> {
        let own = Own::begin(self.build, "exporting to client directory".to_owned());
        let sent = self.copy_files(layout, &own).await;
        if let Ok(bytes) = sent {
            own.transferred(self.build, "copying files", bytes);
        }
        own.end(self.build, sent.as_ref().err());
        sent.map(drop)
    }

    /// Answers how many bytes of files were sent.
    async fn copy_files(&self, layout: &Layout, own: &Own) -> Result<u64, Failure> {
        let session = self.session().await?;
        let tree = Arc::new(self.built.tree(layout).await?);
        let listed = Arc::clone(&tree);
        let entries = tokio::task::spawn_blocking(move || listed.entries()).await;
        let entries =
            entries.map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))??;
        let (out, queue) = mpsc::channel::<Packet>(BACKLOG);
        let request = self.request(queue, &BTreeMap::new())?;
        let told = send::tell(&entries, &out);
        let served = async {
            let asked = call::<Packet, Packet>(&session, request).await?;
            let progress = |bytes| own.transferring(self.build, "copying files", bytes);
            send::serve(&tree, &entries, &out, asked, progress).await
        };
        tokio::try_join!(told, served).map(|((), sent)| sent)
    }

    /// A file, into a file of the client.
    async fn send_file(
        &self,
        mut pieces: mpsc::Receiver<Result<Bytes, Failure>>,
        about: &BTreeMap<String, String>,
    ) -> Result<(), Failure> {
        let session = self.session().await?;
        let (out, queue) = mpsc::channel::<BytesMessage>(BACKLOG);
        let request = self.request(queue, about)?;
        let left = |_| Failure::new(ErrorKind::Unavailable, "the client has left");
        let sent = async move {
            while let Some(piece) = pieces.recv().await {
                let mut piece = piece?;
                while !piece.is_empty() {
                    let data = piece.split_to(piece.len().min(PIECE));
                    out.send(BytesMessage { data }).await.map_err(left)?;
                }
            }
            Ok(())
        };
        let taken = async {
            let mut answer = call::<BytesMessage, BytesMessage>(&session, request).await?;
            // The client says nothing but that it is done.
            while answer.message().await.map_err(|status| of_status(&status))?.is_some() {}
            Ok(())
        };
        tokio::try_join!(sent, taken).map(drop)
    }

    /// A call that names the target and says what comes.
    fn request<T: Send + 'static>(
        &self,
        queue: mpsc::Receiver<T>,
        about: &BTreeMap<String, String>,
    ) -> Result<Request<impl futures_util::Stream<Item = T> + Send + 'static>, Failure> {
        let messages = stream::unfold(queue, |mut queue| async move {
            queue.recv().await.map(|message| (message, queue))
        });
        let mut request = Request::new(messages);
        let invalid = || Failure::new(ErrorKind::Internal, "a header cannot be sent");
        let mut insert = |key: String, value: &str| {
            let key: MetadataKey<Ascii> = key.parse().map_err(|_| invalid())?;
            let value = MetadataValue::try_from(value).map_err(|_| invalid())?;
            request.metadata_mut().insert(key, value);
            Ok::<(), Failure>(())
        };
        insert("buildkit-attachable-exporter-id".to_owned(), &self.number.to_string())?;
        for (key, value) in about {
            insert(format!("exporter-md-{key}"), value)?;
        }
        Ok(request)
    }
}

/// Calls the client's `FileSend`, whatever of the two kinds of messages goes.
async fn call<T, U>(
    session: &Session,
    request: Request<impl futures_util::Stream<Item = T> + Send + 'static>,
) -> Result<Streaming<U>, Failure>
where
    T: Message + Send + Sync + 'static,
    U: Message + Default + Send + Sync + 'static,
{
    let mut grpc = Grpc::new(session.channel());
    grpc.ready().await.map_err(|error| Failure::new(ErrorKind::Unavailable, error.to_string()))?;
    let path = PathAndQuery::from_static(SEND);
    let codec = ProstCodec::<T, U>::default();
    let answer = grpc.streaming(request, path, codec).await.map_err(|status| of_status(&status))?;
    Ok(answer.into_inner())
}
