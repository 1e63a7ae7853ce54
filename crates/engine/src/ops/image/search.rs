//! `search`: repositories of a registry by a word.

use ferry_errkind::{ErrorKind, Failure};
use ferry_transfer::RegistryAuth;
pub use ferry_transfer::SearchResult;

use crate::Engine;

/// Results without a limit.
const USUAL: i64 = 25;
/// The most that Docker Hub gives.
const MOST: i64 = 100;

/// What to search for.
#[derive(Debug, Clone, Default)]
pub struct SearchRequest {
    /// A word, perhaps behind a registry's name and a slash.
    pub term: String,
    /// Most results; 0 for the usual number.
    pub limit: i64,
    /// Only those that are Docker's own, or only others.
    pub official: Option<bool>,
    /// Only those that at least so many like.
    pub stars: i64,
    /// Who asks.
    pub auth: Option<RegistryAuth>,
}

/// Repositories that a registry finds.
///
/// # Errors
/// In Docker's words: a limit that is none, no access, no connection.
pub async fn search(engine: &Engine, request: SearchRequest) -> Result<Vec<SearchResult>, Failure> {
    let limit = if request.limit == 0 { USUAL } else { request.limit };
    if !(1..=MOST).contains(&limit) {
        let words = format!("limit {limit} is outside the range of [1, {MOST}]");
        return Err(Failure::new(ErrorKind::InvalidArgument, words));
    }
    let limit = usize::try_from(limit).unwrap_or_default();
    let registries = &engine.shared.live().registries;
    let mut found = registries.search(&request.term, limit, request.auth.as_ref()).await?;
    found.retain(|result| {
        request.official.is_none_or(|official| result.is_official == official)
            && result.star_count >= request.stars
    });
    Ok(found)
}
