//! `search`: repositories by a word, as Docker Hub answers it (`/v1/search`); of a registry that has no search, its catalogue.

use ferry_errkind::{ErrorKind, Kinded};
use ferry_oci::Reference;
use serde::{Deserialize, Serialize};

use crate::{
    Client, RegistryAuth, RequestError,
    auth::HUB_DOMAIN,
    error::PullError,
    http::{Call, Origin, percent},
    source::{Source, SourceError},
};

/// Where Docker Hub is searched.
const HUB_INDEX: &str = "index.docker.io";
/// Largest answer: a hundred results are some tens of kilobytes.
const MAX_ANSWER: usize = 4 << 20;

/// A repository that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SearchResult {
    /// Its name, without that of the registry.
    pub name: String,
    /// What it says of itself.
    pub description: String,
    /// How many like it.
    pub star_count: i64,
    /// Docker's own.
    pub is_official: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    results: Vec<SearchResult>,
}

/// Nothing was found out. Docker's words, where it has some.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// The term begins like a URL.
    #[error("invalid repository name: repository name ({0}) should not have a scheme")]
    Scheme(String),
    /// The registry's name is none.
    #[error("invalid registry \"{0}\"")]
    Domain(String),
    /// It does not answer, or does not want to.
    #[error(transparent)]
    Source(SourceError),
    /// It answered with something else.
    #[error("unexpected status code {0}")]
    Status(u16),
    /// What it says is no list of results.
    #[error("error decoding the results of the search")]
    Answer(#[source] serde_json::Error),
}

impl Kinded for SearchError {
    fn kind(&self) -> ErrorKind {
        match self {
            SearchError::Scheme(_) | SearchError::Domain(_) => ErrorKind::InvalidArgument,
            SearchError::Source(error) => error.kind(),
            SearchError::Status(_) | SearchError::Answer(_) => ErrorKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            SearchError::Source(error) => error.hint(),
            _ => None,
        }
    }
}

impl Client {
    /// Repositories that a term finds: `nginx` at Docker Hub, `registry.example.com/nginx` at that registry.
    ///
    /// # Errors
    /// [`SearchError`].
    pub async fn search(
        &self,
        term: &str,
        limit: usize,
        auth: Option<&RegistryAuth>,
    ) -> Result<Vec<SearchResult>, SearchError> {
        if term.contains("://") {
            return Err(SearchError::Scheme(term.to_owned()));
        }
        let (domain, word) = split(term);
        let word = if domain == HUB_DOMAIN { word.trim_start_matches("library/") } else { word };
        let invalid = || SearchError::Domain(domain.to_owned());
        let origins = match domain {
            HUB_DOMAIN => Origin::of_domain(HUB_INDEX, true).into_iter().collect(),
            other => self.shared.origins(other).await.map_err(|_: PullError| invalid())?,
        };
        let auth = auth.filter(|auth| !auth.is_anonymous() && auth.is_for(domain));
        let mut last = invalid();
        for origin in origins {
            let source = Source::new(origin.at("/"), "search", auth.cloned()).for_search();
            match self.ask(&source, &origin, word, limit).await {
                Err(SearchError::Source(error)) if error.is_unreachable() => {
                    last = SearchError::Source(error);
                }
                // It has no search.
                Err(SearchError::Status(404)) => return self.look(domain, word, limit, auth).await,
                found => return found,
            }
        }
        Err(last)
    }

    async fn ask(
        &self,
        source: &Source,
        origin: &Origin,
        word: &str,
        limit: usize,
    ) -> Result<Vec<SearchResult>, SearchError> {
        let location = origin.at(format!("/v1/search?q={}&n={limit}", percent(word)));
        let answer = match source.call(&self.shared, Call::get(location.clone())).await {
            Ok(answer) => answer,
            Err(SourceError::Refused(refusal)) if !matches!(refusal.status, 401 | 403) => {
                return Err(SearchError::Status(refusal.status));
            }
            Err(error) => return Err(SearchError::Source(error)),
        };
        let broken = |fault| {
            let error = RequestError::new("Get", &location, fault);
            SearchError::Source(SourceError::Request(error))
        };
        let bytes = answer.body.read(MAX_ANSWER).await.map_err(broken)?;
        let answer: Answer = serde_json::from_slice(&bytes).map_err(SearchError::Answer)?;
        Ok(answer.results.into_iter().take(limit).collect())
    }

    /// Looks through the catalogue of a registry that has no search of its own.
    async fn look(
        &self,
        domain: &str,
        word: &str,
        limit: usize,
        auth: Option<&RegistryAuth>,
    ) -> Result<Vec<SearchResult>, SearchError> {
        // One that tells nobody what it has is one that cannot be searched.
        let all = self.catalog(domain, auth).await.map_err(|_| SearchError::Status(404))?;
        let word = word.to_lowercase();
        let found = all.into_iter().filter(|name| name.contains(&word)).take(limit);
        Ok(found.map(|name| SearchResult { name, ..SearchResult::default() }).collect())
    }
}

/// The registry that a term names, if it names one, and the word to look for.
fn split(term: &str) -> (&str, &str) {
    match term.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
            let hub =
                Reference::parse(&format!("{first}/x")).is_ok_and(|it| it.domain() == HUB_DOMAIN);
            (if hub { HUB_DOMAIN } else { first }, rest)
        }
        _ => (HUB_DOMAIN, term),
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn terms_may_name_a_registry() {
        for (term, domain, word) in [
            ("nginx", "docker.io", "nginx"),
            ("library/nginx", "docker.io", "library/nginx"),
            ("docker.io/nginx", "docker.io", "nginx"),
            ("localhost/nginx", "localhost", "nginx"),
            ("127.0.0.1:5000/team/a", "127.0.0.1:5000", "team/a"),
            ("ghcr.io/", "ghcr.io", ""),
        ] {
            assert_eq!(split(term), (domain, word), "{term}");
        }
    }
}
