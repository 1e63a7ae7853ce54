//! Tags, and what is about a manifest: the upstream's answer, or what is here when it does not give one.

use ferry_oci::Digest;
use ferry_registry_store::Referrer;

use super::Upstream;
use crate::{
    dispatch::{Answer, Call},
    handlers::lists,
};

pub(super) async fn tags(call: &Call, upstream: &Upstream, theirs: &str, name: String) -> Answer {
    match upstream.tags(theirs).await {
        Ok(mut tags) => {
            tags.sort();
            lists::tags_page(call, &name, tags)
        }
        Err(fault) if fault.is_passing() => {
            tracing::warn!(
                upstream = upstream.url,
                name,
                "only tags of copies are listed: {}",
                fault.words()
            );
            lists::tags(call, name).await.map_err(|_| fault)
        }
        Err(fault) => Err(fault),
    }
}

pub(super) async fn referrers(
    call: &Call,
    upstream: &Upstream,
    theirs: &str,
    name: String,
    digest: Digest,
) -> Answer {
    let asked = async {
        let repository = upstream.repository(theirs).await?;
        repository.referrers(&digest).await.map_err(|error| upstream.fault(&error))
    };
    match asked.await {
        Ok(found) => {
            let found = found.into_iter().map(|found| Referrer {
                media_type: found.media_type,
                digest: found.digest,
                size: found.size,
                artifact_type: found.artifact_type,
                annotations: found.annotations,
            });
            lists::referrers_page(call, &name, &digest, found.collect())
        }
        Err(fault) if fault.is_passing() => lists::referrers(call, name, digest).await,
        Err(fault) => Err(fault),
    }
}
