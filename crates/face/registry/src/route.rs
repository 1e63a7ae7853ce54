//! What a request asks for, by its path.

use ferry_oci::{Digest, Reference};
use ferry_registry_store::Target;

use crate::fault::{Code, Fault};

/// A path of the distribution API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/v2/`.
    Base,
    /// `/v2/_catalog`.
    Catalog,
    /// `/v1/search`: what `docker search` asks.
    Search,
    /// `/v2/<name>/tags/list`.
    Tags(String),
    /// `/v2/<name>/manifests/<reference>`.
    Manifest(String, Target),
    /// `/v2/<name>/blobs/<digest>`.
    Blob(String, Digest),
    /// `/v2/<name>/blobs/uploads/`.
    Uploads(String),
    /// `/v2/<name>/blobs/uploads/<id>`.
    Upload(String, String),
    /// `/v2/<name>/referrers/<digest>`.
    Referrers(String, Digest),
}

/// Longer paths are refused unread: a name of 255, a word, a digest.
const MAX_PATH: usize = 1024;

impl Route {
    /// Reads a path. `None` when it is none of the API.
    ///
    /// A name may have `blobs` or `tags` as components, so paths are read from their ends.
    pub(crate) fn parse(path: &str) -> Option<Result<Route, Fault>> {
        if path == "/v2/" || path == "/v2" {
            return Some(Ok(Route::Base));
        }
        if path == "/v1/search" {
            return Some(Ok(Route::Search));
        }
        let rest = path.strip_prefix("/v2/").filter(|_| path.len() <= MAX_PATH)?;
        if rest == "_catalog" {
            return Some(Ok(Route::Catalog));
        }
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return Some(repository(name).map(Route::Tags));
        }
        let uploads = rest.strip_suffix("/blobs/uploads/").or(rest.strip_suffix("/blobs/uploads"));
        if let Some(name) = uploads {
            return Some(repository(name).map(Route::Uploads));
        }
        let (front, last) = rest.rsplit_once('/')?;
        if let Some(name) = front.strip_suffix("/blobs/uploads") {
            return Some(repository(name).map(|name| Route::Upload(name, last.to_owned())));
        }
        let (name, kind) = front.rsplit_once('/')?;
        let route = match kind {
            "blobs" => repository(name)
                .and_then(|name| digest(last).map(|digest| Route::Blob(name, digest))),
            "manifests" => repository(name)
                .and_then(|name| target(last).map(|target| Route::Manifest(name, target))),
            "referrers" => repository(name)
                .and_then(|name| digest(last).map(|digest| Route::Referrers(name, digest))),
            _ => return None,
        };
        Some(route)
    }

    /// The same, about another repository.
    pub(crate) fn renamed(self, to: String) -> Route {
        match self {
            Route::Tags(_) => Route::Tags(to),
            Route::Manifest(_, target) => Route::Manifest(to, target),
            Route::Blob(_, digest) => Route::Blob(to, digest),
            Route::Uploads(_) => Route::Uploads(to),
            Route::Upload(_, id) => Route::Upload(to, id),
            Route::Referrers(_, digest) => Route::Referrers(to, digest),
            own @ (Route::Base | Route::Catalog | Route::Search) => own,
        }
    }

    /// Whose content it is about.
    pub(crate) fn repository(&self) -> Option<&str> {
        match self {
            Route::Base | Route::Catalog | Route::Search => None,
            Route::Tags(name)
            | Route::Manifest(name, _)
            | Route::Blob(name, _)
            | Route::Uploads(name)
            | Route::Upload(name, _)
            | Route::Referrers(name, _) => Some(name),
        }
    }
}

fn repository(name: &str) -> Result<String, Fault> {
    if Reference::is_repository(name) {
        return Ok(name.to_owned());
    }
    Err(Fault::new(Code::NameInvalid, "invalid repository name").about("name", name))
}

/// A digest of a path or a query.
pub(crate) fn digest(text: &str) -> Result<Digest, Fault> {
    text.parse().map_err(|error: ferry_oci::DigestError| {
        Fault::new(Code::DigestInvalid, error.to_string()).about("digest", text)
    })
}

fn target(text: &str) -> Result<Target, Fault> {
    if text.contains(':') {
        return digest(text).map(Target::Digest);
    }
    if Reference::is_tag(text) {
        return Ok(Target::Tag(text.to_owned()));
    }
    Err(Fault::new(Code::TagInvalid, "manifest tag did not match URI").about("tag", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn read(path: &str) -> Option<Route> {
        Route::parse(path).map(|route| route.expect("a valid path"))
    }

    fn code(path: &str) -> Code {
        Route::parse(path).expect("a path").expect_err("an invalid one").code()
    }

    #[test]
    fn paths() {
        let digest: Digest = EMPTY.parse().unwrap();
        let name = || "a/b".to_owned();
        assert_eq!(read("/v2/"), Some(Route::Base));
        assert_eq!(read("/v2/_catalog"), Some(Route::Catalog));
        assert_eq!(read("/v1/search"), Some(Route::Search));
        assert_eq!(read("/v2/a/b/tags/list"), Some(Route::Tags(name())));
        assert_eq!(
            read("/v2/a/b/manifests/v1"),
            Some(Route::Manifest(name(), Target::Tag("v1".into())))
        );
        assert_eq!(
            read(&format!("/v2/a/b/manifests/{EMPTY}")),
            Some(Route::Manifest(name(), Target::Digest(digest.clone())))
        );
        assert_eq!(
            read(&format!("/v2/a/b/blobs/{EMPTY}")),
            Some(Route::Blob(name(), digest.clone()))
        );
        assert_eq!(read("/v2/a/b/blobs/uploads/"), Some(Route::Uploads(name())));
        assert_eq!(read("/v2/a/b/blobs/uploads/x-1"), Some(Route::Upload(name(), "x-1".into())));
        assert_eq!(
            read(&format!("/v2/a/b/referrers/{EMPTY}")),
            Some(Route::Referrers(name(), digest))
        );
        assert_eq!(read("/v2/tags/list/tags/list"), Some(Route::Tags("tags/list".into())));
        assert_eq!(read("/v1/x"), None);
        assert_eq!(read("/v2/a"), None);
    }

    #[test]
    fn what_is_wrong_has_its_code() {
        assert_eq!(code("/v2/A/tags/list"), Code::NameInvalid);
        assert_eq!(code("/v2/../tags/list"), Code::NameInvalid);
        assert_eq!(code("/v2/a/blobs/sha256:12"), Code::DigestInvalid);
        assert_eq!(code("/v2/a/manifests/sha512:12"), Code::DigestInvalid);
        assert_eq!(code("/v2/a/manifests/-x"), Code::TagInvalid);
    }
}
