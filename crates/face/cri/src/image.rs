//! `ImageService`: images as a kubelet sees them.

use ferry_engine::Engine;
use tonic::async_trait;

use crate::api::image_service_server::ImageService;

/// The service.
#[derive(Debug)]
pub(crate) struct Images {
    engine: Engine,
}

impl Images {
    pub(crate) fn new(engine: Engine) -> Self {
        Images { engine }
    }
}

#[async_trait]
impl ImageService for Images {}
