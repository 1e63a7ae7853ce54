//! A pull-through cache: what an upstream has, kept here when it was asked for once.
//!
//! What has a digest is given from the disk for ever. A tag is asked about again after a while, without fetching anything unless
//! it moved; when the upstream is away, what was there last is given with a warning. Nothing enters the store, and the end of no
//! blob reaches a client, before its digest was compared.

mod blobs;
mod fetch;
mod lists;
mod manifests;
mod turns;
mod upstream;

use std::sync::Arc;

use http::{Method, header};

pub(crate) use self::{
    fetch::bring_blob,
    upstream::{Address, Upstream},
};
use crate::{
    dispatch::{self, Call},
    fault::{Code, Fault},
    handlers,
    route::Route,
};

/// All upstreams, those with the longest prefixes first.
#[derive(Debug, Default)]
pub(crate) struct Upstreams(Vec<Arc<Upstream>>);

/// An upstream, and what it calls the repository.
type Led = Option<(Arc<Upstream>, String)>;

impl Upstreams {
    pub(crate) fn new(mut all: Vec<Upstream>) -> Result<Upstreams, String> {
        all.sort_by(|a, b| b.prefix.len().cmp(&a.prefix.len()).then(a.prefix.cmp(&b.prefix)));
        let twice = all.windows(2).find(|two| two[0].prefix == two[1].prefix);
        if let Some([first, second]) = twice {
            return Err(match first.prefix.as_str() {
                "" => {
                    format!("--proxy {} and {}: one of them needs a prefix", first.url, second.url)
                }
                prefix => format!("--proxy {prefix} has two upstreams"),
            });
        }
        Ok(Upstreams(all.into_iter().map(Arc::new).collect()))
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Upstream> {
        self.0.iter().map(|upstream| &**upstream)
    }

    /// Whose a request is. Clients that know this registry as a mirror say by `ns` whose name they have; then the repository here
    /// is below the prefix of that upstream.
    pub(crate) fn lead(&self, call: &Call, route: Route) -> Result<(Route, Led), Fault> {
        let Some(name) = route.repository().map(str::to_owned) else { return Ok((route, None)) };
        let meant = call.query.get("ns").filter(|ns| {
            let own = call.header(header::HOST);
            !self.0.is_empty() && !ns.is_empty() && own != Some(*ns)
        });
        if let Some(ns) = meant {
            let mut all = self.0.iter();
            let found = all.find_map(|upstream| Some((upstream, upstream.meant(ns, &name)?)));
            let Some((upstream, theirs)) = found else {
                let words = "this registry is no mirror of that one";
                return Err(Fault::new(Code::NameUnknown, words).about("ns", ns));
            };
            let led = Some((Arc::clone(upstream), theirs.to_owned()));
            return Ok((route.renamed(upstream.local(theirs)), led));
        }
        let found = self.0.iter().find_map(|upstream| {
            let theirs = upstream.theirs(&name)?.to_owned();
            Some((Arc::clone(upstream), theirs))
        });
        Ok((route, found))
    }
}

/// Answers a request for what is an upstream's.
pub(crate) async fn operate(
    call: &Call,
    upstream: Arc<Upstream>,
    theirs: String,
    route: Route,
) -> dispatch::Answer {
    let reading = matches!(call.method, Method::GET | Method::HEAD);
    match (route, call.method == Method::DELETE) {
        (Route::Manifest(name, target), _) if reading => {
            manifests::get(call, &upstream, &theirs, name, target).await
        }
        (Route::Blob(name, digest), _) if reading => {
            blobs::get(call, upstream, &theirs, name, digest).await
        }
        (Route::Tags(name), _) if reading => lists::tags(call, &upstream, &theirs, name).await,
        (Route::Referrers(name, digest), _) if reading => {
            lists::referrers(call, &upstream, &theirs, name, digest).await
        }
        // Only the copy goes.
        (Route::Manifest(name, target), true) => {
            handlers::manifests::delete(call, name, target).await
        }
        (Route::Blob(name, digest), true) => handlers::blobs::delete(call, name, digest).await,
        (route, _) => {
            let name = route.repository().unwrap_or_default();
            let words = format!(
                "{name} is a copy of what {} has: push it there, nothing is pushed to a cache",
                upstream.url
            );
            Err(Fault::new(Code::Unsupported, words).about("name", name))
        }
    }
}
