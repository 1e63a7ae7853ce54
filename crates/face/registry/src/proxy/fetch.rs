//! A blob on its way from an upstream: once for all who want it, and to its end even if they go away.

use std::{
    collections::HashMap,
    fs::File,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use ferry_oci::Digest;
use ferry_registry_store::{Claim, Refusal, Store, StoreError};
use ferry_transfer::{BlobStream, Repository};
use tokio::sync::watch;

use super::Upstream;
use crate::{
    dispatch::on_store,
    fault::{Code, Fault},
};

/// Written at once.
const BATCH: usize = 256 << 10;
/// How often an upstream is asked to go on where it broke off.
const RESUMES: u32 = 3;

/// How far a blob is.
#[derive(Debug, Clone)]
pub(super) enum Stage {
    /// The upstream has been asked.
    Asked,
    /// So much of it is in the file.
    Coming(Arc<File>, Extent),
    /// It is in the store.
    There,
    /// It does not come.
    Failed(Fault),
}

/// How much of a blob came, of how much.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub(super) have: u64,
    /// `None` where the upstream does not say.
    pub(super) size: Option<u64>,
}

/// All blobs on their way.
#[derive(Debug, Default)]
pub(super) struct Fetches(Mutex<HashMap<String, watch::Receiver<Stage>>>);

impl Fetches {
    fn all(&self) -> MutexGuard<'_, HashMap<String, watch::Receiver<Stage>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is fetched.
#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) upstream: Arc<Upstream>,
    pub(super) store: Arc<Store>,
    /// Here, and there.
    pub(super) name: String,
    pub(super) theirs: String,
    pub(super) digest: Digest,
}

impl Fetch {
    /// Begins it, or joins those who wait for it already.
    pub(super) fn begin(self) -> watch::Receiver<Stage> {
        let upstream = Arc::clone(&self.upstream);
        let key = format!("{}@{}", self.name, self.digest);
        let mut all = upstream.fetches.all();
        if let Some(coming) = all.get(&key) {
            return coming.clone();
        }
        let (stage, coming) = watch::channel(Stage::Asked);
        all.insert(key.clone(), coming.clone());
        // Whatever becomes of the task, the next request may try again.
        let entry = Entry { upstream: Arc::clone(&upstream), key };
        tokio::spawn(async move {
            let last = match self.run(&stage).await {
                Ok(()) => Stage::There,
                Err(fault) => {
                    if fault.is_passing() {
                        let upstream = &self.upstream.url;
                        tracing::warn!(upstream, name = self.name, digest = %self.digest, "{}", fault.words());
                    }
                    Stage::Failed(fault)
                }
            };
            drop(entry);
            stage.send_replace(last);
        });
        coming
    }

    async fn run(&self, stage: &watch::Sender<Stage>) -> Result<(), Fault> {
        let closed = |_| Fault::new(Code::Unknown, "the registry ends");
        let _place = self.upstream.places.acquire().await.map_err(closed)?;
        // Whoever was here before may have brought it.
        if self.is_here().await? {
            return Ok(());
        }
        let repository = self.upstream.repository(&self.theirs).await?;
        if self.is_elsewhere(&repository).await? {
            return Ok(());
        }
        let found = repository.blob(&self.digest).await.map_err(|error| self.fault(&error))?;
        let stream = found.ok_or_else(|| unknown(&self.digest))?;
        let (limit, size) = (self.store.limits().blob, stream.size());
        if size.is_some_and(|size| size > limit) {
            return Err(StoreError::from(Refusal::TooLarge(limit)).into());
        }
        let name = self.name.clone();
        let (claim, file) = self
            .on_store(move |store| {
                let upload = store.begin_upload(&name)?;
                let file = upload.reader()?;
                let claim = upload.claim().ok_or_else(|| busy(upload.id()))?;
                Ok((Arc::new(claim), Arc::new(file)))
            })
            .await?;
        let tell = |have| {
            stage.send_replace(Stage::Coming(Arc::clone(&file), Extent { have, size }));
        };
        tell(0);
        let came = self.receive(&repository, stream, &claim, tell).await;
        let digest = self.digest.clone();
        let url = &self.upstream.url;
        let kept = self.on_store(move |store| match came {
            Ok(()) => Ok(store.commit(&claim, &digest).map_err(Fault::from)),
            Err(fault) => {
                store.forget(&claim)?;
                Ok(Err(fault))
            }
        });
        kept.await?.map_err(|fault| match fault.is(Code::DigestInvalid) {
            true => lied(url, &self.digest),
            false => fault,
        })
    }

    async fn is_here(&self) -> Result<bool, Fault> {
        let (name, digest) = (self.name.clone(), self.digest.clone());
        self.on_store(move |store| match store.blob(&name, &digest) {
            Ok(_) => Ok(true),
            Err(StoreError::Refused(_)) => Ok(false),
            Err(error) => Err(error),
        })
        .await
    }

    /// Takes what another repository has here, if the upstream says that this one has it, too.
    async fn is_elsewhere(&self, repository: &Repository) -> Result<bool, Fault> {
        let digest = self.digest.clone();
        if !self.on_store(move |store| store.is_held(&digest)).await? {
            return Ok(false);
        }
        let theirs = repository.blob_size(&self.digest).await;
        if theirs.map_err(|error| self.fault(&error))?.is_none() {
            return Ok(false);
        }
        let (name, digest) = (self.name.clone(), self.digest.clone());
        self.on_store(move |store| store.adopt(&digest, &name)).await
    }

    /// Takes it all in; where the upstream breaks off, it is asked for the rest.
    async fn receive(
        &self,
        repository: &Repository,
        mut stream: BlobStream,
        claim: &Arc<Claim>,
        tell: impl Fn(u64),
    ) -> Result<(), Fault> {
        let mut resumes = 0;
        loop {
            let broken = match self.pieces(&mut stream, claim, &tell).await? {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let have = claim.upload().size();
            if !broken.is_broken() || resumes == RESUMES || have == 0 {
                return Err(self.fault(&broken));
            }
            resumes += 1;
            let (upstream, digest) = (&self.upstream.url, &self.digest);
            tracing::info!(upstream, %digest, have, "broke off, going on: {}", ferry_errkind::chain(&broken));
            match repository.blob_from(&self.digest, have).await {
                Ok(Some(rest)) => stream = rest,
                Ok(None) => return Err(self.fault(&broken)),
                Err(error) => return Err(self.fault(&error)),
            }
        }
    }

    /// Takes in what comes; the outer failure is ours, the inner one the upstream's.
    async fn pieces(
        &self,
        stream: &mut BlobStream,
        claim: &Arc<Claim>,
        tell: impl Fn(u64),
    ) -> Result<Result<(), ferry_transfer::RepositoryError>, Fault> {
        loop {
            let (mut pieces, mut size): (Vec<Bytes>, usize) = (Vec::new(), 0);
            let mut ended = None;
            while size < BATCH && ended.is_none() {
                match stream.next().await {
                    Ok(Some(piece)) => {
                        size += piece.len();
                        pieces.push(piece);
                    }
                    Ok(None) => ended = Some(Ok(())),
                    Err(error) => ended = Some(Err(error)),
                }
            }
            if !pieces.is_empty() {
                let claim = Arc::clone(claim);
                self.on_store(move |store| claim.append(&pieces, store.limits().blob)).await?;
            }
            tell(claim.upload().size());
            if let Some(ended) = ended {
                return Ok(ended);
            }
        }
    }

    fn fault(&self, error: &ferry_transfer::RepositoryError) -> Fault {
        match error {
            ferry_transfer::RepositoryError::Digest(digest) => lied(&self.upstream.url, digest),
            error => self.upstream.fault(error),
        }
    }

    async fn on_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Fault> {
        on_store(Arc::clone(&self.store), work).await
    }
}

/// Has a blob of an upstream's repository in one of ours, and waits for it.
pub(crate) async fn bring_blob(
    upstream: &Arc<Upstream>,
    store: &Arc<Store>,
    here: &str,
    theirs: &str,
    digest: Digest,
) -> Result<(), Fault> {
    let fetch = Fetch {
        upstream: Arc::clone(upstream),
        store: Arc::clone(store),
        name: here.to_owned(),
        theirs: theirs.to_owned(),
        digest,
    };
    let mut coming = fetch.begin();
    let ended = coming.wait_for(|stage| matches!(stage, Stage::There | Stage::Failed(_)));
    match ended.await.map(|stage| stage.clone()) {
        Ok(Stage::Failed(fault)) => Err(fault),
        Ok(_) => Ok(()),
        Err(_) => Err(Fault::new(Code::Unknown, "the registry ends")),
    }
}

/// Takes a fetch out of the list when it is over.
struct Entry {
    upstream: Arc<Upstream>,
    key: String,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.upstream.fetches.all().remove(&self.key);
    }
}

pub(super) fn unknown(digest: &Digest) -> Fault {
    Fault::new(Code::BlobUnknown, "blob unknown to registry").about("digest", digest.to_string())
}

fn busy(id: &str) -> StoreError {
    Refusal::UploadBusy(id.to_owned()).into()
}

fn lied(url: &str, digest: &Digest) -> Fault {
    let words = format!("{url}: what it gives as {digest} has another digest");
    Fault::new(Code::Upstream, words).about("digest", digest.to_string())
}
