//! A client, a layer store and a place for partial files, gone with the test.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use ferry_layers::LayerStore;
use ferry_oci::{Platform, Reference};
use ferry_transfer::{Client, ClientConfig, Progress, PullError, Pulled, RegistryAuth, Tuning};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Where one test works.
pub struct Scratch {
    pub path: PathBuf,
    pub layers: Arc<LayerStore>,
    pub said: Arc<Mutex<Vec<Progress>>>,
}

impl Scratch {
    pub fn new() -> Scratch {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ferry-transfer-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        let layers = Arc::new(LayerStore::open(path.join("layers")).unwrap());
        Scratch { path, layers, said: Arc::default() }
    }

    pub fn ingest(&self) -> PathBuf {
        self.path.join("ingest")
    }

    pub fn leftovers(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.ingest()) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    pub async fn pull(&self, client: &Client, name: &str) -> Result<Pulled, PullError> {
        self.pull_as(client, name, None, None).await
    }

    pub async fn pull_as(
        &self,
        client: &Client,
        name: &str,
        platform: Option<&str>,
        auth: Option<&RegistryAuth>,
    ) -> Result<Pulled, PullError> {
        let reference = Reference::parse(name).unwrap().with_default_tag();
        let platform: Option<Platform> = platform.map(|platform| platform.parse().unwrap());
        let said = Arc::clone(&self.said);
        let tell = move |progress: Progress| said.lock().unwrap().push(progress);
        let ingest = self.ingest();
        client.pull(&reference, platform.as_ref(), auth, &self.layers, &ingest, &tell).await
    }

    /// What was said about a layer, each status once.
    pub fn statuses(&self, id: &str) -> Vec<String> {
        let said = self.said.lock().unwrap();
        let about = said.iter().filter(|progress| progress.id.as_deref() == Some(id));
        let mut statuses: Vec<String> = about.map(|progress| progress.status.clone()).collect();
        statuses.dedup();
        statuses
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.path));
    }
}

pub fn config() -> ClientConfig {
    ClientConfig { user_agent: "ferry/test".into(), ..ClientConfig::default() }
}

pub fn tuning() -> Tuning {
    Tuning {
        certificates: Vec::new(),
        connect_patience: Duration::from_secs(5),
        stall: Duration::from_secs(5),
        pause: Duration::from_millis(10),
        longest_pause: Duration::from_millis(50),
    }
}

pub fn client() -> Client {
    Client::tuned(config(), tuning())
}

pub fn client_with_mirrors(domain: &str, mirrors: &[&str]) -> Client {
    let mirrors = mirrors.iter().map(|mirror| (*mirror).to_owned()).collect();
    let mirrors = BTreeMap::from([(domain.to_owned(), mirrors)]);
    Client::tuned(ClientConfig { mirrors, ..config() }, tuning())
}
