//! What a project has from elsewhere: artifacts of registries (`oci://…`), asked for here and not by the daemon, as Docker Compose does.

use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use ferry_cli::face::Logins;
use ferry_errkind::{ErrorKind, Kinded};
use ferry_oci::{Descriptor, Digest, Reference};
use ferry_transfer::{
    Client, ClientConfig, PushError, RawManifest, RegistryAuth, Repository, RepositoryError,
    SourceError, Wanted,
};
use serde::Deserialize;

/// Kind of a published project.
pub(crate) const PROJECT_TYPE: &str = "application/vnd.docker.compose.project";
/// A Compose file.
pub(crate) const FILE_TYPE: &str = "application/vnd.docker.compose.file+yaml";
/// A file with variables.
pub(crate) const ENV_TYPE: &str = "application/vnd.docker.compose.envfile";
/// The empty configuration of a registry that does not know kinds of artifacts.
pub(crate) const EMPTY_CONFIG_TYPE: &str = "application/vnd.docker.compose.config.empty.v1+json";
/// Files of one project.
const MAX_FILES: usize = 256;
/// Bytes of one of them.
const MAX_FILE: u64 = 8 << 20;

/// Nobody waits longer for a registry that does not answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// A registry does not give or take a project.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoteError {
    /// The name is none.
    #[error("invalid reference {0:?}")]
    Reference(String),
    /// The credentials cannot be had.
    #[error("{0}")]
    Credentials(String),
    /// It is not there, or is not given.
    #[error("failed to pull OCI resource {reference:?}")]
    Pull {
        /// What was asked for.
        reference: String,
        /// Why not.
        source: Box<RepositoryError>,
    },
    /// It is not taken.
    #[error("failed to push {reference:?}")]
    Push {
        /// Where to.
        reference: String,
        /// Why not.
        source: Box<RepositoryError>,
    },
    /// It is not there.
    #[error("failed to pull OCI resource {reference:?}: not found")]
    Missing {
        /// What was asked for.
        reference: String,
    },
    /// It is something else.
    #[error("{reference} is not a compose project OCI artifact, but {kind}")]
    Kind {
        /// What was asked for.
        reference: String,
        /// What it is.
        kind: String,
    },
    /// Its manifest does not read.
    #[error("the manifest of {reference} does not read")]
    Manifest {
        /// What was asked for.
        reference: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// It has more than is read.
    #[error("{reference} has more than {MAX_FILES} files of {MAX_FILE} bytes")]
    TooMany {
        /// What was asked for.
        reference: String,
    },
    /// An image has more parts than are copied.
    #[error("image {reference} has too many parts")]
    TooLarge {
        /// Which one.
        reference: String,
    },
    /// Nobody answered.
    #[error("no answer about {reference} for {seconds} seconds")]
    Silence {
        /// What was asked for.
        reference: String,
        /// For how long.
        seconds: u64,
    },
    /// Nothing can be asked at all.
    #[error("cannot ask a registry")]
    Start(#[source] std::io::Error),
}

/// A project as a registry has it.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) digest: Digest,
    pub(crate) files: Vec<(Descriptor, Bytes)>,
}

/// What is read of a manifest.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Manifest {
    artifact_type: String,
    pub(crate) config: Option<Descriptor>,
    pub(crate) layers: Vec<Descriptor>,
    pub(crate) manifests: Vec<Descriptor>,
}

/// Registries, as who is logged in.
#[derive(Debug)]
pub(crate) struct Registries<'a> {
    pub(crate) logins: Option<&'a Logins>,
}

impl Registries<'_> {
    /// The credentials for a repository.
    pub(crate) fn auth(&self, reference: &Reference) -> Result<Option<RegistryAuth>, RemoteError> {
        let Some(logins) = self.logins else { return Ok(None) };
        let wrong = |words: String| RemoteError::Credentials(words);
        let text = logins
            .auth(&reference.canonical(), &ferry_cli::face::warn)
            .map_err(|e| wrong(e.message().to_owned()))?;
        if text.is_empty() {
            return Ok(None);
        }
        let json = base64::engine::general_purpose::URL_SAFE
            .decode(text)
            .map_err(|error| wrong(error.to_string()))?;
        let found: ferry_docker_api::AuthConfig =
            serde_json::from_slice(&json).map_err(|error| wrong(error.to_string()))?;
        Ok(Some(RegistryAuth {
            username: found.username,
            password: found.password,
            identity_token: found.identity_token,
            registry_token: found.registry_token,
            server_address: found.server_address,
        }))
    }

    /// Brings a project from its registry.
    pub(crate) fn pull(&self, name: &str) -> Result<Published, RemoteError> {
        let reference = parse(name)?;
        let auth = self.auth(&reference)?;
        apart(&reference, PATIENCE, async || {
            let client = client();
            pull(&client, &reference, auth.as_ref()).await
        })
    }

    /// Sends a project to its registry: first the blobs that its manifest names, and only what is not there.
    pub(crate) fn push(
        &self,
        reference: &Reference,
        blobs: &[Bytes],
        manifest: &RawManifest,
    ) -> Result<(), RemoteError> {
        let auth = self.auth(reference)?;
        apart(reference, PATIENCE, async || {
            let sent = push(&client(), reference, auth.as_ref(), blobs, manifest).await;
            sent.map_err(|source| RemoteError::Push {
                reference: reference.familiar(),
                source: Box::new(source),
            })
        })
    }
}

async fn push(
    client: &Client,
    reference: &Reference,
    auth: Option<&RegistryAuth>,
    blobs: &[Bytes],
    manifest: &RawManifest,
) -> Result<(), RepositoryError> {
    let repository = client.repository(reference, auth, Wanted::Write(&[])).await?;
    for bytes in blobs {
        let there = repository.blob_size(&Digest::sha256_of(bytes)).await?;
        if there != Some(bytes.len() as u64) {
            repository.put_bytes(bytes.clone()).await?;
        }
    }
    repository.put_manifest(tag(reference), manifest).await.map(drop)
}

/// The tag of a name, which has one.
pub(crate) fn tag(reference: &Reference) -> &str {
    reference.tag().unwrap_or("latest")
}

impl RemoteError {
    /// The registry has understood, and does not take it.
    pub(crate) fn is_unknown_kind(&self) -> bool {
        let RemoteError::Push { source, .. } = self else { return false };
        let RepositoryError::Push(PushError::Source(SourceError::Refused(refusal))) = &**source
        else {
            return false;
        };
        (400..500).contains(&refusal.status) && ![401, 403, 407].contains(&refusal.status)
    }
}

impl Kinded for RemoteError {
    fn kind(&self) -> ErrorKind {
        match self {
            RemoteError::Reference(_)
            | RemoteError::Kind { .. }
            | RemoteError::TooLarge { .. }
            | RemoteError::TooMany { .. } => ErrorKind::InvalidArgument,
            RemoteError::Pull { source, .. } | RemoteError::Push { source, .. } => source.kind(),
            RemoteError::Missing { .. } => ErrorKind::NotFound,
            RemoteError::Silence { .. } => ErrorKind::Unavailable,
            RemoteError::Credentials(_) | RemoteError::Manifest { .. } | RemoteError::Start(_) => {
                ErrorKind::Internal
            }
        }
    }
}

/// The name of a project at a registry.
pub(crate) fn parse(name: &str) -> Result<Reference, RemoteError> {
    let reference = Reference::parse(name).map_err(|_| RemoteError::Reference(name.to_owned()))?;
    Ok(reference.with_default_tag())
}

/// Who asks.
pub(crate) fn client() -> Client {
    let user_agent = format!("ferry-compose/{}", env!("CARGO_PKG_VERSION"));
    Client::new(ClientConfig { user_agent, ..ClientConfig::default() })
}

/// Waits for an answer on a thread of its own: whoever loads a project may be waiting for something else already.
pub(crate) fn apart<T: Send>(
    reference: &Reference,
    patience: Duration,
    work: impl AsyncFnOnce() -> Result<T, RemoteError> + Send,
) -> Result<T, RemoteError> {
    let wait = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(RemoteError::Start)?;
        runtime.block_on(async { tokio::time::timeout(patience, work()).await }).unwrap_or_else(
            |_| {
                Err(RemoteError::Silence {
                    reference: reference.familiar(),
                    seconds: patience.as_secs(),
                })
            },
        )
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("registry".to_owned());
        let thread = thread.spawn_scoped(scope, wait).map_err(RemoteError::Start)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

async fn pull(
    client: &Client,
    reference: &Reference,
    auth: Option<&RegistryAuth>,
) -> Result<Published, RemoteError> {
    let failed = |source: RepositoryError| RemoteError::Pull {
        reference: reference.familiar(),
        source: Box::new(source),
    };
    let repository = client.repository(reference, auth, Wanted::Read).await.map_err(failed)?;
    let named = match reference.digest() {
        Some(digest) => digest.to_string(),
        None => tag(reference).to_owned(),
    };
    let (digest, mut manifest) = read(&repository, reference, &named).await?;
    let ours = |kind: &Option<String>| kind.as_deref() == Some(PROJECT_TYPE);
    if let Some(project) = manifest.manifests.iter().find(|one| ours(&one.artifact_type)) {
        let exact = project.digest.to_string();
        (_, manifest) = read(&repository, reference, &exact).await?;
    }
    let config = manifest.config.map(|config| config.media_type).unwrap_or_default();
    let kind = if manifest.artifact_type.is_empty() { config } else { manifest.artifact_type };
    if !matches!(kind.as_str(), PROJECT_TYPE | EMPTY_CONFIG_TYPE) {
        return Err(RemoteError::Kind { reference: reference.familiar(), kind });
    }
    let too_many = || RemoteError::TooMany { reference: reference.familiar() };
    if manifest.layers.len() > MAX_FILES {
        return Err(too_many());
    }
    let mut files = Vec::new();
    for file in manifest.layers {
        let missing = || RemoteError::Missing { reference: reference.familiar() };
        let mut blob = repository.blob(&file.digest).await.map_err(failed)?.ok_or_else(missing)?;
        let mut bytes = Vec::new();
        while let Some(piece) = blob.next().await.map_err(failed)? {
            if (bytes.len() + piece.len()) as u64 > MAX_FILE {
                return Err(too_many());
            }
            bytes.extend_from_slice(&piece);
        }
        files.push((file, Bytes::from(bytes)));
    }
    Ok(Published { digest, files })
}

async fn read(
    repository: &Repository,
    reference: &Reference,
    named: &str,
) -> Result<(Digest, Manifest), RemoteError> {
    let name = || reference.familiar();
    let found = repository
        .manifest(named)
        .await
        .map_err(|source| RemoteError::Pull { reference: name(), source: Box::new(source) })?;
    let found = found.ok_or_else(|| RemoteError::Missing { reference: name() })?;
    let manifest = serde_json::from_slice(&found.json)
        .map_err(|source| RemoteError::Manifest { reference: name(), source })?;
    Ok((found.digest, manifest))
}
