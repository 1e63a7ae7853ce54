//! What a registry lists: the tags of a repository, and its repositories if it tells them.

use ferry_oci::Reference;
use http::header::LINK;
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
/// Pages that are asked for, and names after which no further one is.
const PAGES: usize = 200;
const MOST: usize = 10_000;
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
        let at = |after: &str| {
            let after = if after.is_empty() { after.to_owned() } else { format!("&last={after}") };
            match catalog {
                true => source.beside(&format!("_catalog?n={PAGE}{after}")),
                false => source.location(&format!("tags/list?n={PAGE}{after}")),
            }
        };
        let mut all: Vec<String> = Vec::new();
        let mut location = at("");
        for _ in 0..PAGES {
            let answer = source.call(&self.shared, Call::get(location.clone())).await?;
            let next = answer.header(LINK).and_then(next).and_then(|next| location.join(next));
            let broken = |fault| SourceError::Request(RequestError::new("Get", &location, fault));
            let bytes = answer.body.read(LIMIT).await.map_err(broken)?;
            // What is no list lists nothing.
            let listed: Listed = serde_json::from_slice(&bytes).unwrap_or_default();
            let names = if catalog { listed.repositories } else { listed.tags }.unwrap_or_default();
            let (Some(first), Some(last)) = (names.first(), names.last()) else { break };
            if all.first() == Some(first) {
                // It does not know pages, and tells the same again.
                break;
            }
            // Many registries give fewer at a time than they are asked for, and say so.
            location = match next.filter(|next| next.origin == location.origin) {
                Some(next) => next,
                None if names.len() >= PAGE => at(last),
                None => {
                    all.extend(names);
                    break;
                }
            };
            all.extend(names);
            if all.len() >= MOST {
                break;
            }
        }
        Ok(all)
    }
}

/// Where a list goes on: `</v2/…>; rel="next"`.
pub(crate) fn next(link: &str) -> Option<&str> {
    let (target, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    rest.contains("next").then_some(target)
}

#[cfg(test)]
mod tests {
    use super::next;

    #[test]
    fn links_lead_on() {
        assert_eq!(
            next("</v2/a/tags/list?last=b&n=2>; rel=\"next\""),
            Some("/v2/a/tags/list?last=b&n=2")
        );
        for none in ["", "</x>; rel=\"prev\"", "/x; rel=next", "<x"] {
            assert_eq!(next(none), None, "{none}");
        }
    }
}
