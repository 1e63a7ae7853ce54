//! `RuntimeService`: pods, containers, what they do and did.

mod version;

use ferry_engine::Engine;
use tonic::{Request, async_trait};

use crate::{
    Product,
    answer::Answer,
    api::{self, runtime_service_server::RuntimeService},
};

/// The service.
#[derive(Debug)]
pub(crate) struct Runtime {
    engine: Engine,
    product: Product,
}

impl Runtime {
    pub(crate) async fn new(engine: Engine, product: Product) -> Self {
        Runtime { engine, product }
    }
}

#[async_trait]
impl RuntimeService for Runtime {
    async fn version(&self, _: Request<api::VersionRequest>) -> Answer<api::VersionResponse> {
        version::version(self)
    }

    async fn status(&self, request: Request<api::StatusRequest>) -> Answer<api::StatusResponse> {
        version::status(self, request.into_inner())
    }

    async fn runtime_config(
        &self,
        _: Request<api::RuntimeConfigRequest>,
    ) -> Answer<api::RuntimeConfigResponse> {
        version::configuration()
    }
}
