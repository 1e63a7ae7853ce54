//! The client, and what its operations share.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use ferry_oci::Reference;
use tokio::sync::Semaphore;

use crate::{
    auth::{HUB_DOMAIN, HUB_HOST, RegistryAuth, Tokens},
    error::PullError,
    flight::Flights,
    http::{Http, Insecure, Location, Origin, Proxies},
    signatures::SignatureRule,
    source::Source,
};

/// Layers that come at once when the configuration does not say.
const DEFAULT_CONCURRENT: usize = 6;
/// Most mirrors that are tried.
const MAX_MIRRORS: usize = 16;

/// Which registries there are, and how to ask them.
#[derive(Debug, Clone, Default)]
pub struct ClientConfig {
    /// Mirrors by the registry's domain (`docker.io`, or `*` for all others): URLs or hosts.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Registries that may do without TLS: `host`, `host:port` or a network. This machine itself always may.
    pub insecure: Vec<String>,
    /// Registries that have no TLS, and are not asked whether they do: `host` or `host:port`.
    pub plain: Vec<String>,
    /// What to call ourselves.
    pub user_agent: String,
    /// Most layers that come at once; 0 leaves it to the client.
    pub max_concurrent: usize,
    /// Most layers that are sent at once; 0 leaves it to the client.
    pub max_uploads: usize,
    /// Whose images are pulled only if they are signed.
    pub signatures: Vec<SignatureRule>,
}

/// Times and places that only tests have a reason to change.
#[derive(Debug, Clone)]
pub struct Tuning {
    /// Directories with a directory per registry: `<host:port>/{*.crt,*.cert,*.key}`.
    pub certificates: Vec<PathBuf>,
    /// How long to wait for a connection.
    pub connect_patience: Duration,
    /// How long to wait for the next byte.
    pub stall: Duration,
    /// How long to wait before the first retry; each further wait is twice as long.
    pub pause: Duration,
    /// Most that is waited because a registry asks for it.
    pub longest_pause: Duration,
}

/// A client of all registries. Clones share connections, tokens and the limit of concurrent layers.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) http: Http,
    pub(crate) tokens: Tokens,
    pub(crate) permits: Semaphore,
    pub(crate) flights: Flights,
    pub(crate) tuning: Tuning,
    pub(crate) max_uploads: usize,
    pub(crate) signatures: Vec<SignatureRule>,
    mirrors: BTreeMap<String, Vec<String>>,
    plain: Vec<String>,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning {
            certificates: vec!["/etc/docker/certs.d".into(), "/etc/ferry/certs.d".into()],
            connect_patience: Duration::from_secs(15),
            stall: Duration::from_secs(60),
            pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(30),
        }
    }
}

impl Client {
    /// A client that follows the proxies of its environment.
    pub fn new(config: ClientConfig) -> Client {
        Client::tuned(config, Tuning::default())
    }

    /// A client with times and places of its own.
    pub fn tuned(config: ClientConfig, tuning: Tuning) -> Client {
        let ClientConfig {
            mirrors,
            insecure,
            plain,
            user_agent,
            max_concurrent,
            max_uploads,
            signatures,
        } = config;
        let permits = if max_concurrent == 0 { DEFAULT_CONCURRENT } else { max_concurrent };
        let insecure = Insecure::new(&[insecure, plain.clone()].concat());
        let http = Http::new(&user_agent, insecure, Proxies::from_env(), &tuning);
        let shared = Shared {
            max_uploads,
            http,
            tokens: Tokens::default(),
            permits: Semaphore::new(permits.min(Semaphore::MAX_PERMITS)),
            flights: Flights::default(),
            tuning,
            signatures,
            mirrors,
            plain,
        };
        Client { shared: Arc::new(shared) }
    }
}

impl Shared {
    /// Where an image may be had, in the order to try.
    pub(crate) async fn sources(
        &self,
        reference: &Reference,
        auth: Option<&RegistryAuth>,
    ) -> Result<Vec<Source>, PullError> {
        let domain = reference.domain();
        let mut sources = Vec::new();
        let mirrors = self.mirrors.get(domain).or_else(|| self.mirrors.get("*"));
        for mirror in mirrors.into_iter().flatten().take(MAX_MIRRORS) {
            let bases = self.mirror_bases(mirror).await;
            if bases.is_empty() {
                tracing::warn!(mirror, "a mirror is no URL and no host");
            }
            for base in bases {
                let mut source = Source::new(base, reference.path(), None);
                source.mirror = true;
                sources.push(source);
            }
        }
        let auth = auth.filter(|auth| !auth.is_anonymous());
        if let Some(auth) = auth.filter(|auth| !auth.is_for(domain)) {
            let server = &auth.server_address;
            tracing::warn!(server, domain, "credentials for another registry are not sent");
        }
        let auth = auth.filter(|auth| auth.is_for(domain));
        for (at, origin) in self.origins(domain).await?.into_iter().enumerate() {
            let mut source = Source::new(origin.at("/"), reference.path(), auth.cloned());
            source.fallback = at > 0;
            sources.push(source);
        }
        Ok(sources)
    }

    /// The registry itself: by TLS, and without where that is allowed.
    pub(crate) async fn origins(&self, domain: &str) -> Result<Vec<Origin>, PullError> {
        let host = if domain == HUB_DOMAIN { HUB_HOST } else { domain };
        let of = |https| Origin::of_domain(host, https);
        let (Some(secure), Some(mut plain)) = (of(true), of(false)) else {
            return Err(PullError::Domain(domain.to_owned()));
        };
        if self.plain.iter().any(|known| known == domain) {
            return Ok(vec![plain]);
        }
        if !self.http.is_insecure(&secure).await {
            return Ok(vec![secure]);
        }
        if host.ends_with(":443") {
            plain.port = 443;
        }
        Ok(vec![secure, plain])
    }

    async fn mirror_bases(&self, mirror: &str) -> Vec<Location> {
        let mirror = mirror.trim().trim_end_matches('/');
        let mirror = mirror.strip_suffix("/v2").unwrap_or(mirror);
        if mirror.contains("://") {
            return Location::parse(mirror).into_iter().collect();
        }
        let host = mirror.split('/').next().unwrap_or(mirror);
        let insecure = match Origin::of_domain(host, true) {
            Some(origin) => self.http.is_insecure(&origin).await,
            None => return Vec::new(),
        };
        let schemes: &[&str] = if insecure { &["https", "http"] } else { &["https"] };
        schemes
            .iter()
            .filter_map(|scheme| Location::parse(&format!("{scheme}://{mirror}")))
            .collect()
    }
}
