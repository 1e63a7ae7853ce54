//! Several platforms in one build: the same Dockerfile once for each, at the same time. What does not depend on the platform is done once,
//! as one of them finds in the cache what another one has done.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use ferry_errkind::{ErrorKind, Failure};
use ferry_oci::{Digest, ImageConfig, Platform};

use super::{BuildError, BuildRequest, cache::Made, fetch::Remote, graph::Build, known::Known};

/// Most platforms in one build.
const MAX_PLATFORMS: usize = 32;

/// What the builds of all platforms have in common.
#[derive(Debug, Default)]
pub(super) struct Together {
    /// Whether there are several.
    pub(super) several: bool,
    /// Arguments that an `ARG` asked for.
    pub(super) declared: Mutex<BTreeSet<String>>,
    /// Named contexts that were fetched.
    pub(super) fetched: tokio::sync::Mutex<BTreeMap<String, Remote>>,
    /// What is known of the files of named directories.
    pub(super) known: Mutex<BTreeMap<String, Option<Arc<Known>>>>,
    /// Keys of the steps, in order, with what came of them: for `--cache-to`.
    pub(super) keys: Mutex<Vec<(Digest, Made)>>,
}

/// The request of each platform, in the order in which they were named, each once.
pub(super) fn each(request: &BuildRequest) -> Result<Vec<BuildRequest>, Failure> {
    if request.platforms.is_empty() {
        return Ok(vec![request.clone()]);
    }
    let mut platforms: Vec<Platform> = Vec::new();
    for text in &request.platforms {
        let platform = text
            .trim()
            .parse::<Platform>()
            .map_err(|error| Failure::new(ErrorKind::InvalidArgument, error.to_string()))?
            .normalized();
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    if platforms.len() > MAX_PLATFORMS {
        let words = format!("{} platforms are more than {MAX_PLATFORMS}", platforms.len());
        return Err(Failure::new(ErrorKind::InvalidArgument, words));
    }
    let of = |platform: Platform| BuildRequest {
        platform: Some(platform.to_string()),
        platforms: Vec::new(),
        ..request.clone()
    };
    Ok(platforms.into_iter().map(of).collect())
}

/// Which of several images has the names here: the one that this machine runs, else the first.
pub(super) fn main<'a>(configs: impl Iterator<Item = &'a ImageConfig>) -> usize {
    let host = Platform::host();
    let fits = |config: &ImageConfig| {
        let own = Platform {
            os: config.os.clone(),
            architecture: config.architecture.clone(),
            variant: config.variant.clone(),
            ..Platform::default()
        };
        own.fitness(&host) > 0
    };
    configs.into_iter().position(fits).unwrap_or_default()
}

impl Build {
    /// The platform in front of the names of steps, where there are several.
    pub(super) fn prefix(&self) -> String {
        match (&self.request.platform, self.together.several) {
            (Some(platform), true) => format!("{platform} "),
            _ => String::new(),
        }
    }
}

/// Refuses what is only there for one platform.
pub(super) fn refuse_several(request: &BuildRequest, what: &str) -> Result<(), BuildError> {
    match each(request)?.len() {
        0 | 1 => Ok(()),
        many => {
            let words = format!("{what} is not supported for {many} platforms at once");
            Err(Failure::new(ErrorKind::InvalidArgument, words).into())
        }
    }
}
