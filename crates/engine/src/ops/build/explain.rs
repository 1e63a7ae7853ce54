//! `--explain`: why a step was not taken from the cache.
//!
//! The cache writes down the facts of every step that was done. A step that is not known is compared with the one among those that is
//! nearest to it; where files that are copied differ, the two layers say which.

use std::sync::Arc;

use ferry_errkind::Failure;
use ferry_oci::Digest;

use super::{
    Vertex,
    cache::Past,
    compare,
    facts::Facts,
    graph::{Build, Turn},
};

/// Files that are named of one step.
const NAMED: usize = 10;

/// A step that is done, and the one that it is compared with.
#[derive(Debug, Default)]
pub(super) struct Explained {
    /// The layer that was made then, where files of a copy differ.
    before: Option<Digest>,
}

impl Build {
    /// Says in `vertex` why a step is done.
    pub(super) async fn explain(
        &self,
        turn: Turn<'_>,
        facts: &Facts,
        vertex: &mut Vertex,
    ) -> Result<Explained, Failure> {
        if !self.request.explain {
            return Ok(Explained::default());
        }
        if turn.fresh {
            vertex.why.push(match self.request.no_cache {
                true => "the cache was not to be used (--no-cache)".to_owned(),
                false => {
                    "the cache was not to be used for its stage (--no-cache-filter)".to_owned()
                }
            });
            return Ok(Explained::default());
        }
        let shared = &self.engine.shared;
        if shared.builds.knows(&facts.key()) {
            vertex.why.push("what it had made is not in the cache any more".to_owned());
            return Ok(Explained::default());
        }
        let all = self.past().await?;
        let alike =
            all.iter().filter_map(|past| Some((facts.likeness(&past.facts)?, past.used, past)));
        let Some((_, _, past)) = alike.max_by_key(|(likeness, used, _)| (*likeness, *used)) else {
            vertex.why.push("no build that is remembered has done it".to_owned());
            return Ok(Explained::default());
        };
        let found = facts.shortened().differences(&past.facts, turn.below);
        let files = found.iter().any(|difference| difference.files);
        vertex.why.extend(found.into_iter().map(|difference| difference.words));
        Ok(Explained { before: past.layer.clone().filter(|_| files) })
    }

    /// Names the files in which a layer is not as the one before.
    pub(super) async fn explain_files(
        &self,
        explained: Explained,
        now: Option<&Digest>,
        vertex: &mut Vertex,
    ) -> Result<(), Failure> {
        let (Some(before), Some(now)) = (explained.before, now.cloned()) else { return Ok(()) };
        let shared = Arc::clone(&self.engine.shared);
        let found = crate::blocking(move || {
            if !shared.layers.contains(&before) {
                return Ok(vec![
                    "which files, cannot be said: the layer before is gone".to_owned(),
                ]);
            }
            let all = compare::layers(&shared, &before, &now, false)?;
            let more = all.len().saturating_sub(NAMED);
            let named = all.iter().take(NAMED).map(ToString::to_string);
            let more = (more > 0).then(|| format!("and {more} files more"));
            Ok(named.chain(more).collect::<Vec<_>>())
        });
        vertex.why.extend(found.await?);
        Ok(())
    }

    /// The steps that are remembered, read once.
    async fn past(&self) -> Result<Arc<Vec<Past>>, Failure> {
        let read = || async {
            let shared = Arc::clone(&self.engine.shared);
            crate::blocking(move || Ok(Arc::new(shared.builds.past()?))).await
        };
        self.past.get_or_try_init(read).await.cloned()
    }
}
