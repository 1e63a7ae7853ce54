//! One upstream: how it is reached, what it said last, whether it is away.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE};
use ferry_cli::face::Logins;
use ferry_docker_api::AuthConfig;
use ferry_errkind::{ErrorKind, Kinded, chain};
use ferry_oci::Reference;
use ferry_transfer::{Client, Quota, RegistryAuth, Repository, RepositoryError, Wanted};
use http::header;
use tokio::sync::Semaphore;

use super::{fetch::Fetches, turns::Turns};
use crate::fault::{Code, Fault};

/// An upstream that did not answer is not asked again for so long.
const AWAY: Duration = Duration::from_secs(5);
/// What is known of a repository's registry, its tokens' place above all, is asked for again after so long.
const KNOWN: Duration = Duration::from_secs(300);
/// More repositories, and more tags, are not remembered.
const MAX_REPOSITORIES: usize = 256;
const MAX_TAGS: usize = 100_000;
/// Blobs that come at once.
const MAX_FETCHES: usize = 32;

/// A registry whose content is kept here.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// What repositories here begin with; empty for all of them.
    pub(crate) prefix: String,
    /// As the user gave it.
    pub(crate) url: String,
    /// `docker.io`, and what all of its repositories begin with, mostly nothing.
    domain: String,
    below: String,
    /// Tags are taken for what they are for so long.
    time_to_live: Duration,
    client: Client,
    logins: Logins,
    repositories: Mutex<HashMap<String, (Instant, Arc<Repository>)>>,
    /// When a tag was last known to be what it is, by `repository:tag`.
    fresh: Mutex<HashMap<String, Instant>>,
    away: Mutex<Option<(Instant, Fault)>>,
    quota: Mutex<Option<Quota>>,
    pub(super) turns: Turns,
    pub(super) fetches: Fetches,
    pub(super) places: Semaphore,
}

/// Names of Docker Hub.
const HUB: [&str; 3] = ["docker.io", "registry-1.docker.io", "index.docker.io"];

/// `[PREFIX=]URL`, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) prefix: String,
    pub(crate) url: String,
    pub(crate) domain: String,
    pub(crate) below: String,
    pub(crate) secure: bool,
}

impl std::str::FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        let refuse = |why: &str| Err(format!("invalid upstream {text:?}: {why}"));
        let (prefix, url) = match text.split_once('=') {
            Some((prefix, url)) if !prefix.contains("://") => (prefix.trim_matches('/'), url),
            _ => ("", text),
        };
        if !prefix.is_empty() && !Reference::is_repository(prefix) {
            return refuse("its prefix is no name of a repository");
        }
        let (secure, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return refuse("it must be [PREFIX=]https://HOST or http://HOST"),
        };
        if rest.contains('@') {
            return refuse("credentials are those of 'ferry login', not of the URL");
        }
        let rest = rest.trim_end_matches('/');
        let rest = rest.strip_suffix("/v2").unwrap_or(rest);
        let (host, below) = rest.split_once('/').unwrap_or((rest, ""));
        if !below.is_empty() && !Reference::is_repository(below) {
            return refuse("its path is no name of a repository");
        }
        let mut domain = host.to_lowercase();
        if HUB.contains(&domain.as_str()) {
            "docker.io".clone_into(&mut domain);
        } else if !domain.contains(['.', ':']) {
            // Else it would be a part of a name at Docker Hub.
            domain = format!("{domain}:{}", if secure { 443 } else { 80 });
        }
        let named = Reference::parse(&format!("{domain}/a/b"));
        if !named.is_ok_and(|named| named.domain() == domain) {
            return refuse("it has no valid host");
        }
        let (prefix, below) = (prefix.to_owned(), below.to_owned());
        Ok(Address { prefix, url: url.to_owned(), domain, below, secure })
    }
}

impl Upstream {
    pub(crate) fn new(
        address: Address,
        time_to_live: Duration,
        client: Client,
        logins: Logins,
    ) -> Upstream {
        let Address { prefix, url, domain, below, secure: _ } = address;
        Upstream {
            prefix,
            url,
            domain,
            below,
            time_to_live,
            client,
            logins,
            repositories: Mutex::default(),
            fresh: Mutex::default(),
            away: Mutex::default(),
            quota: Mutex::default(),
            turns: Turns::default(),
            fetches: Fetches::default(),
            places: Semaphore::new(MAX_FETCHES),
        }
    }

    /// What of ours a client means that says by `?ns=` whose `name` it has: the name without what all of ours begin with.
    pub(super) fn meant<'a>(&self, ns: &str, name: &'a str) -> Option<&'a str> {
        let is_ours = ns.eq_ignore_ascii_case(&self.domain)
            || self.domain == "docker.io" && HUB.contains(&ns.to_lowercase().as_str());
        match self.below.as_str() {
            _ if !is_ours => None,
            "" => Some(name),
            below => name.strip_prefix(below)?.strip_prefix('/'),
        }
    }

    /// What a repository here is called there; `None` when it is not below our prefix.
    pub(crate) fn theirs<'a>(&self, name: &'a str) -> Option<&'a str> {
        if self.prefix.is_empty() {
            return Some(name);
        }
        name.strip_prefix(&self.prefix)?.strip_prefix('/')
    }

    /// What their repository is called here.
    pub(crate) fn local(&self, theirs: &str) -> String {
        match self.prefix.as_str() {
            "" => theirs.to_owned(),
            prefix => format!("{prefix}/{theirs}"),
        }
    }

    /// Whether it may have a repository of this name at all.
    pub(super) fn reference(&self, theirs: &str) -> Result<Reference, Fault> {
        let path = match self.below.as_str() {
            "" => theirs.to_owned(),
            below => format!("{below}/{theirs}"),
        };
        Reference::parse(&format!("{}/{path}", self.domain))
            .map_err(|error| Fault::new(Code::NameInvalid, error.to_string()))
    }

    /// The user's credentials for it.
    pub(super) async fn auth(&self, name: &Reference) -> Result<Option<RegistryAuth>, Fault> {
        let (logins, image) = (self.logins.clone(), name.canonical());
        let upstream = self.url.clone();
        let asked = tokio::task::spawn_blocking(move || {
            logins.auth(&image, &|line| tracing::warn!(upstream, "{line}"))
        });
        let asked = asked.await;
        let unreadable = |why: &str| {
            tracing::error!(upstream = self.url, "its credentials cannot be read: {why}");
            Fault::new(Code::Unavailable, "the registry has no use of its upstream's credentials")
        };
        let asked = asked.map_err(|error| unreadable(&error.to_string()))?;
        let header = asked.map_err(|error| unreadable(&error.to_string()))?;
        if header.is_empty() {
            return Ok(None);
        }
        // Their errors may quote what they did not read.
        let json = URL_SAFE.decode(header).map_err(|_| unreadable("they are not base64"))?;
        let config: AuthConfig =
            serde_json::from_slice(&json).map_err(|_| unreadable("they are not JSON"))?;
        let AuthConfig {
            username, password, identity_token, registry_token, server_address, ..
        } = config;
        Ok(Some(RegistryAuth {
            username,
            password,
            identity_token,
            registry_token,
            server_address,
        }))
    }

    /// The way to a repository of it.
    pub(crate) async fn repository(&self, theirs: &str) -> Result<Arc<Repository>, Fault> {
        if let Some((at, fault)) = &*locked(&self.away)
            && at.elapsed() < AWAY
        {
            return Err(fault.clone());
        }
        if let Some((at, known)) = locked(&self.repositories).get(theirs)
            && at.elapsed() < KNOWN
        {
            return Ok(Arc::clone(known));
        }
        let name = self.reference(theirs)?;
        let auth = self.auth(&name).await?;
        let opened = self.client.repository(&name, auth.as_ref(), Wanted::Read).await;
        let opened = Arc::new(opened.map_err(|error| self.fault(&error))?);
        let mut all = locked(&self.repositories);
        if all.len() >= MAX_REPOSITORIES {
            all.clear();
        }
        all.insert(theirs.to_owned(), (Instant::now(), Arc::clone(&opened)));
        Ok(opened)
    }

    /// The way to a repository of it for whoever writes there, and deletes if that is asked for.
    pub(crate) async fn to_change(&self, theirs: &str, delete: bool) -> Result<Repository, Fault> {
        let name = self.reference(theirs)?;
        let auth = self.auth(&name).await?;
        let wanted = if delete { Wanted::Change } else { Wanted::Write(&[]) };
        let opened = self.client.repository(&name, auth.as_ref(), wanted).await;
        opened.map_err(|error| self.fault(&error))
    }

    /// Whether a repository here is a copy of one of it.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.theirs(name).is_some()
    }

    /// The tags that it has.
    pub(crate) async fn tags(&self, theirs: &str) -> Result<Vec<String>, Fault> {
        // Whether it is away is known there.
        self.repository(theirs).await?;
        let name = self.reference(theirs)?;
        let auth = self.auth(&name).await?;
        let tags = self.client.tags(&name, auth.as_ref()).await;
        tags.map_err(|error| self.unlisted(&error))
    }

    /// The repositories that it has, as far as it says so.
    pub(crate) async fn catalog(&self) -> Result<Vec<String>, Fault> {
        let auth = self.auth(&self.reference("catalog")?).await?;
        let all = self.client.catalog(&self.domain, auth.as_ref()).await;
        all.map_err(|error| self.unlisted(&error))
    }

    fn unlisted(&self, error: &ferry_transfer::PullError) -> Fault {
        let words = format!("{}: {}", self.url, chain(error));
        match error.kind() {
            ErrorKind::NotFound => {
                Fault::new(Code::NameUnknown, "repository name not known to registry")
            }
            ErrorKind::Unauthorized | ErrorKind::Forbidden => Fault::new(Code::Denied, words),
            _ => Fault::new(Code::Unavailable, words),
        }
    }

    /// What to tell a client of a failure; whether the upstream is away is remembered.
    pub(crate) fn fault(&self, error: &RepositoryError) -> Fault {
        let words = format!("{}: {}", self.url, chain(error));
        if error.is_broken() {
            let fault = Fault::new(Code::Unavailable, words);
            *locked(&self.away) = Some((Instant::now(), fault.clone()));
            return fault;
        }
        if error.is_denied() {
            return Fault::new(Code::Denied, words);
        }
        match error.refusal() {
            Some(refusal) if refusal.status == 429 => {
                let after = refusal.retry_after.unwrap_or(Duration::from_secs(60));
                Fault::new(Code::TooManyRequests, words)
                    .header(header::RETRY_AFTER, after.as_secs().to_string())
            }
            Some(refusal) if refusal.status >= 500 => Fault::new(Code::Unavailable, words),
            _ => Fault::new(Code::Upstream, words),
        }
    }

    /// Takes in what the upstream said of how much it still gives.
    pub(crate) fn note(&self, repository: &Repository) {
        let Some(quota) = repository.quota() else { return };
        let before = locked(&self.quota).replace(quota);
        if before != Some(quota) {
            let Quota { limit, remaining, .. } = quota;
            match remaining < limit / 10 {
                true => tracing::warn!(
                    upstream = self.url,
                    limit,
                    remaining,
                    "little is left of its quota"
                ),
                false => tracing::info!(upstream = self.url, limit, remaining, "its quota"),
            }
        }
    }

    /// What it last said of how much it still gives.
    pub(crate) fn quota(&self) -> Option<Quota> {
        *locked(&self.quota)
    }

    /// Whether it did not answer just now.
    pub(crate) fn is_away(&self) -> bool {
        locked(&self.away).as_ref().is_some_and(|(at, _)| at.elapsed() < AWAY)
    }

    /// Whether a tag was asked about not long ago.
    pub(super) fn is_fresh(&self, tag: &str) -> bool {
        locked(&self.fresh).get(tag).is_some_and(|at| at.elapsed() < self.time_to_live)
    }

    /// A tag is what it is, as of now.
    pub(super) fn freshen(&self, tag: String) {
        let mut fresh = locked(&self.fresh);
        if fresh.len() >= MAX_TAGS {
            fresh.retain(|_, at| at.elapsed() < self.time_to_live);
        }
        if fresh.len() < MAX_TAGS {
            fresh.insert(tag, Instant::now());
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Address {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn addresses() {
        let hub = read("hub=https://registry-1.docker.io");
        assert_eq!((hub.prefix.as_str(), hub.domain.as_str()), ("hub", "docker.io"));
        let all = read("http://127.0.0.1:5000/");
        assert_eq!(
            (all.prefix.as_str(), all.domain.as_str(), all.secure),
            ("", "127.0.0.1:5000", false)
        );
        let project = read("team/x=https://harbor.example.com/mirror/v2");
        assert_eq!((project.prefix.as_str(), project.below.as_str()), ("team/x", "mirror"));
        assert_eq!(read("http://registry").domain, "registry:80");
        for wrong in [
            "hub=registry-1.docker.io",
            "HUB=https://ghcr.io",
            "https://me:secret@ghcr.io",
            "https://",
            "https://ghcr.io/A",
            "ftp://ghcr.io",
            "",
        ] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }
}
