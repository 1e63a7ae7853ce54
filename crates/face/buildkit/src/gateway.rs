//! `LLBBridge`: buildx runs the frontend through its client, so that the client decides what is returned. Every call names its build
//! in a header.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::{
    BuildKit,
    builds::{Build, Outcome},
    caps,
    proto::moby::buildkit::v1::frontend::{
        EvaluateRequest, EvaluateResponse, InputsRequest, InputsResponse, PingRequest,
        PongResponse, Ref, Result as Returned, ReturnRequest, ReturnResponse, SolveRequest,
        SolveResponse, WarnRequest, WarnResponse, llb_bridge_server::LlbBridge, result,
    },
    proto::moby::buildkit::v1::{StatusResponse, VertexWarning},
    solve::{self, Wanted},
};

/// The service.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) kit: BuildKit,
}

impl Gateway {
    async fn build<T>(&self, request: &Request<T>) -> Result<Arc<Build>, Status> {
        let id = request.metadata().get("buildkit-controlapi-buildid");
        let id = id.and_then(|id| id.to_str().ok()).unwrap_or_default();
        let build = self.kit.shared.builds.get(id).await?;
        if build.has_ended() {
            return Err(Status::not_found(format!("no such job {id}")));
        }
        Ok(build)
    }
}

#[tonic::async_trait]
impl LlbBridge for Gateway {
    async fn ping(&self, request: Request<PingRequest>) -> Result<Response<PongResponse>, Status> {
        self.build(&request).await?;
        Ok(Response::new(PongResponse {
            frontend_api_caps: caps::frontend(),
            llb_caps: caps::build(),
            workers: vec![self.kit.worker()],
        }))
    }

    async fn solve(
        &self,
        request: Request<SolveRequest>,
    ) -> Result<Response<SolveResponse>, Status> {
        let build = self.build(&request).await?;
        let asked = request.into_inner();
        if asked.frontend.is_empty() {
            return Err(Status::unimplemented(
                "a definition (LLB) without a frontend is not supported: only Dockerfiles are",
            ));
        }
        build.note_frontend(&asked.frontend, &asked.frontend_opt);
        let wanted = Wanted {
            frontend: &asked.frontend,
            attrs: &asked.frontend_opt,
            inputs: !asked.frontend_inputs.is_empty(),
            cache_imports: &asked.cache_imports,
        };
        let outcome = solve::run(&self.kit, &build, wanted).await?;
        let metadata = match &outcome {
            Outcome::Documents(documents) => documents.clone(),
            Outcome::Built(_) => Default::default(),
        };
        let reference = Ref { id: build.keep(outcome), def: None };
        let result = Some(Returned { result: Some(result::Result::Ref(reference)), metadata });
        Ok(Response::new(SolveResponse { r#ref: String::new(), result }))
    }

    /// What is solved is built already.
    async fn evaluate(
        &self,
        request: Request<EvaluateRequest>,
    ) -> Result<Response<EvaluateResponse>, Status> {
        let build = self.build(&request).await?;
        let name = request.into_inner().r#ref;
        let missing = || Status::not_found(format!("no such ref: {name}"));
        build.outcome(&name).ok_or_else(missing)?;
        Ok(Response::new(EvaluateResponse {}))
    }

    async fn r#return(
        &self,
        request: Request<ReturnRequest>,
    ) -> Result<Response<ReturnResponse>, Status> {
        let build = self.build(&request).await?;
        let ReturnRequest { result, error } = request.into_inner();
        build.give(match error {
            Some(error) => Err(solve::of_proto(&error)),
            None => returned(&build, result),
        });
        Ok(Response::new(ReturnResponse {}))
    }

    async fn inputs(
        &self,
        request: Request<InputsRequest>,
    ) -> Result<Response<InputsResponse>, Status> {
        self.build(&request).await?;
        Ok(Response::new(InputsResponse::default()))
    }

    async fn warn(&self, request: Request<WarnRequest>) -> Result<Response<WarnResponse>, Status> {
        let build = self.build(&request).await?;
        let WarnRequest { digest, level, short, detail, url, info, ranges } = request.into_inner();
        let warning = VertexWarning { vertex: digest, level, short, detail, url, info, ranges };
        build.status.say(StatusResponse { warnings: vec![warning], ..StatusResponse::default() });
        Ok(Response::new(WarnResponse {}))
    }
}

/// What the client wants of what was built.
fn returned(build: &Build, result: Option<Returned>) -> Result<Option<Outcome>, Status> {
    let name = match result.and_then(|result| result.result) {
        None => return Ok(None),
        Some(result::Result::RefDeprecated(name)) => name,
        Some(result::Result::Ref(reference)) => reference.id,
        Some(result::Result::Refs(all)) => {
            let words = format!("{} results in one build are not supported", all.refs.len());
            return Err(Status::unimplemented(words));
        }
    };
    if name.is_empty() {
        return Ok(None);
    }
    let missing = || Status::not_found(format!("no such ref: {name}"));
    build.outcome(&name).map(Some).ok_or_else(missing)
}
