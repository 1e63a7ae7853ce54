//! What a registry lists: the tags of a repository, and its repositories if it tells them.

use ferry_oci::Reference;
use http::HeaderMap;
use serde::Deserialize;

use crate::{
    auth::RegistryAuth,
    client::Client,
    error::PullError,
    http::{Call, RequestError},
    source::{Source, SourceError},
};

/// Names that are asked for at a time.
const PAGE: usize = 1000;
/// Pages that are asked for.
const PAGES: usize = 10;
/// Bytes of a page.
const LIMIT: usize = 1 << 20;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Listed {
    // Both are null where there is nothing.
    tags: Option<Vec<String>>,
    repositories: Option<Vec<String>>,
}

impl Client {
    /// The tags of a repository, up to ten thousand, as the registry sorts them.
    ///
    /// # Errors
    /// [`PullError`], in the registry's own words.
    pub async fn tags(
        &self,
        repository: &Reference,
        auth: Option<&RegistryAuth>,
    ) -> Result<Vec<String>, PullError> {
        self.listed(repository, auth, false).await
    }

    /// The repositories of a registry, up to ten thousand. Many registries refuse to say.
    ///
    /// # Errors
    /// [`PullError`], in the registry's own words.
    pub async fn catalog(
        &self,
        domain: &str,
        auth: Option<&RegistryAuth>,
    ) -> Result<Vec<String>, PullError> {
        let any = Reference::parse(&format!("{domain}/catalog"))
            .map_err(|_| PullError::Domain(domain.to_owned()))?;
        self.listed(&any, auth, true).await
    }

    async fn listed(
        &self,
        reference: &Reference,
        auth: Option<&RegistryAuth>,
        catalog: bool,
    ) -> Result<Vec<String>, PullError> {
        let sources = self.shared.sources(reference, auth).await?;
        let mut last = PullError::Domain(reference.domain().to_owned());
        for source in sources.into_iter().filter(|source| !source.is_mirror()) {
            let source = if catalog { source.for_catalog() } else { source };
            match self.pages(&source, catalog).await {
                Ok(names) => return Ok(names),
                // Without TLS only where nobody answers with it.
                Err(error @ SourceError::Request(_)) => last = error.into(),
                Err(error) => return Err(error.into()),
            }
        }
        Err(last)
    }

    async fn pages(&self, source: &Source, catalog: bool) -> Result<Vec<String>, SourceError> {
        let mut all: Vec<String> = Vec::new();
        for _ in 0..PAGES {
            let after = all.last().map(|name| format!("&last={name}")).unwrap_or_default();
            let page = format!("?n={PAGE}{after}");
            let location = if catalog {
                source.beside(&format!("_catalog{page}"))
            } else {
                source.location(&format!("tags/list{page}"))
            };
            let mut call = Call::get(location.clone());
            call.headers = HeaderMap::new();
            let answer = source.call(&self.shared, call).await?;
            let broken = |fault| SourceError::Request(RequestError::new("Get", &location, fault));
            let bytes = answer.body.read(LIMIT).await.map_err(broken)?;
            // What is no list lists nothing.
            let listed: Listed = serde_json::from_slice(&bytes).unwrap_or_default();
            let names = if catalog { listed.repositories } else { listed.tags }.unwrap_or_default();
            let fresh = names.first() != all.first();
            let full = names.len() >= PAGE;
            if fresh {
                all.extend(names);
            }
            if !full || !fresh {
                break;
            }
        }
        Ok(all)
    }
}
