//! A daemon of Ferry as an end of a copy: it is asked for single blobs, and which layers it has, so that only what is missing travels.
//! Docker's knows neither question; with it, whole archives travel (`ends.rs`).

use std::collections::HashSet;

use ferry_client::{Client as Daemon, ClientError};
use ferry_oci::{Descriptor, Digest, ImageConfig, MAX_MANIFEST, Manifest, Reference};
use ferry_transfer::RawManifest;
use serde::{Deserialize, Serialize};

use super::{
    ends::Source,
    error::CopyError,
    stream::{Served, Stream},
};

/// An image that a daemon gives blob by blob.
#[derive(Debug)]
pub(super) struct ServedImage {
    daemon: Daemon,
    repository: String,
    manifest: RawManifest,
}

/// The daemon does not know the question, or not the image under that name.
fn is_unknown(error: &ClientError) -> bool {
    matches!(error.status(), Some(400 | 404 | 405 | 501))
}

impl ServedImage {
    /// The image, if the daemon gives it so.
    pub(super) async fn open(
        daemon: &Daemon,
        name: &Reference,
    ) -> Result<Option<ServedImage>, CopyError> {
        let repository = name.familiar_name();
        let asked = daemon
            .get("/served/manifest")
            .query("repository", &repository)
            .query("reference", crate::registry::wanted(name))
            .send()
            .await;
        let mut answer = match asked {
            Ok(answer) => answer,
            Err(error) if is_unknown(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let media_type = answer.header("content-type").unwrap_or_default().to_owned();
        let mut json = Vec::new();
        while let Some(piece) = answer.chunk().await? {
            if json.len() + piece.len() > MAX_MANIFEST {
                let what = format!("its manifest is larger than {MAX_MANIFEST} bytes");
                return Err(CopyError::Wrong { place: name.familiar(), what });
            }
            json.extend_from_slice(&piece);
        }
        let digest = Digest::sha256_of(&json);
        let manifest = RawManifest { media_type, json: json.into(), digest };
        Ok(Some(ServedImage { daemon: daemon.clone(), repository, manifest }))
    }

    pub(super) fn top(&self) -> RawManifest {
        self.manifest.clone()
    }

    pub(super) async fn blob(&self, digest: &Digest) -> Result<Stream, CopyError> {
        let call = self.daemon.get("/served/blob").query("repository", &self.repository);
        let answer = call.query("digest", digest).query("from", 0).send().await?;
        let digest = digest.clone();
        Ok(Stream::Served(Box::new(Served { answer, hasher: ferry_oci::Hasher::new(), digest })))
    }
}

#[derive(Serialize, Deserialize)]
struct Layers {
    #[serde(rename = "Layers")]
    layers: Vec<Digest>,
}

/// The layers of an image, as blobs of its manifest, that a daemon has already. None for a daemon that does not say.
pub(super) async fn layers_of(
    daemon: &Daemon,
    image: &Manifest,
    source: &Source,
) -> Result<HashSet<Digest>, CopyError> {
    let config = ImageConfig::parse(&document(source, &image.config).await?);
    let Ok(config) = config else {
        // Whatever it is, the daemon says what is wrong with it.
        return Ok(HashSet::new());
    };
    let diff_ids = config.rootfs.diff_ids;
    if diff_ids.len() != image.layers.len() {
        return Ok(HashSet::new());
    }
    let question = Layers { layers: diff_ids.clone() };
    let there: HashSet<Digest> =
        match daemon.post("/served/layers").json_body(&question).json::<Layers>().await {
            Ok(Layers { layers }) => layers.into_iter().collect(),
            Err(error) if is_unknown(&error) => return Ok(HashSet::new()),
            Err(error) => return Err(error.into()),
        };
    let pairs = image.layers.iter().zip(&diff_ids);
    Ok(pairs.filter(|(_, id)| there.contains(id)).map(|(layer, _)| layer.digest.clone()).collect())
}

async fn document(source: &Source, blob: &Descriptor) -> Result<Vec<u8>, CopyError> {
    let mut stream = source.blob(&blob.digest).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await? {
        if bytes.len() + piece.len() > MAX_MANIFEST {
            let what = format!("the configuration is larger than {MAX_MANIFEST} bytes");
            return Err(CopyError::Wrong { place: blob.digest.to_string(), what });
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}
