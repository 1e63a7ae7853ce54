//! `--verify`: whether a build still makes the image that it is said to have made.

use ferry_errkind::Failure;
use ferry_oci::{Digest, ImageConfig};
use ferry_stdx::time::Timestamp;
use tokio::sync::mpsc;

use super::{
    BuildError, BuildProgress, BuildRequest, ContextSource, compare, platforms::refuse_several,
    solve,
};
use crate::Engine;

/// How an image and what is built now compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The image's id.
    pub image: Digest,
    /// The id of what is built now.
    pub built: Digest,
    /// The first thing that is not the same.
    pub difference: Option<String>,
    /// Whether times counted: those of an image that was built without an epoch never come again.
    pub times: bool,
}

/// Builds anew, without the cache, and compares with an image. Nothing is recorded.
///
/// # Errors
/// There is no such image, or as for [`solve`].
pub async fn verify(
    engine: &Engine,
    mut request: BuildRequest,
    context: ContextSource,
    progress: mpsc::Sender<BuildProgress>,
    image: &str,
) -> Result<Verdict, BuildError> {
    refuse_several(&request, "--verify")?;
    let found = engine.shared.images.get(image).map_err(Failure::from)?;
    let (image, before) = (found.entry.image.id.clone(), found.entry.config.clone());
    let _layers = engine.shared.hold(&before.rootfs.diff_ids);
    request.settle_epoch()?;
    request.epoch = request.epoch.or_else(|| epoch(&before));
    request.no_cache = true;
    request.tags.clear();
    let times = request.epoch.is_some();
    let built = solve(engine, request, context, progress).await?;
    let (now, id) = (built.config().clone(), built.id()?);
    let shared = engine.shared.clone();
    let same = id == image;
    let difference = crate::blocking(move || match same {
        true => Ok(None),
        false => compare::images(&shared, &before, &now, times),
    });
    let difference = difference.await?;
    Ok(Verdict { difference, image, built: id, times })
}

/// When an image says that it was made, if that was a given time: the clock's have fractions.
fn epoch(config: &ImageConfig) -> Option<i64> {
    let created = Timestamp::parse_rfc3339(config.created.as_deref()?)?;
    (created.subsec_nanos() == 0).then(|| created.seconds())
}
