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
        if let Some(wanted) = name.digest()
            && *wanted != digest
        {
            let what = format!("the daemon gave the manifest {digest}");
            return Err(CopyError::Wrong { place: name.familiar(), what });
        }
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

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
    };

    use ferry_client::Config;

    use super::*;

    /// A daemon that gives this manifest, whatever it is asked for, and refuses what it is sent.
    fn daemon(manifest: &'static str) -> Daemon {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut asked = [0; 4096];
                let length = stream.read(&mut asked).unwrap_or(0);
                let (status, body) = match asked[..length].starts_with(b"GET") {
                    true => ("200 OK", manifest),
                    false => ("500 Internal Server Error", r#"{"message":"a layer is gone"}"#),
                };
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                );
                drop(stream.write_all(format!("{head}{body}").as_bytes()));
            }
        });
        let endpoint = format!("tcp://127.0.0.1:{port}").parse().unwrap();
        let version = Some("1.47".parse().unwrap());
        let user_agent = "test".to_owned();
        Daemon::new(Config {
            endpoint,
            tls: None,
            version,
            user_agent,
            headers: Vec::new(),
            product: "Ferry",
        })
    }

    #[tokio::test]
    async fn a_digest_is_that_of_what_comes() {
        let right = Digest::sha256_of(b"{}");
        let name = |digest: &Digest| Reference::parse(&format!("a@{digest}")).unwrap();
        let image = ServedImage::open(&daemon("{}"), &name(&right)).await.unwrap().unwrap();
        assert_eq!(image.top().digest, right);
        let error = ServedImage::open(&daemon("{ }"), &name(&right)).await.unwrap_err();
        assert!(error.to_string().contains("gave the manifest sha256:"), "{error}");
    }

    #[tokio::test]
    async fn only_who_is_to_have_the_image_refuses_it() {
        let daemon = daemon("{}");
        let file = super::super::stream::nameless().unwrap();
        let error = super::super::ends::load(file, &daemon).await.unwrap_err();
        assert!(error.is_refusal(), "{error:?}");
        // The same words of the daemon that gives it.
        let source: ClientError = daemon.post("/x").done().await.unwrap_err();
        assert!(matches!(source, ClientError::Api { .. }), "{source:?}");
        assert!(!CopyError::from(source).is_refusal());
    }
}
