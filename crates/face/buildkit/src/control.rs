//! `Control`: builds from their beginning to their end, what the cache has, what was built.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ferry_engine::ops::build::{self as ops, CacheRecord};
use futures_util::{StreamExt, stream};
use prost::Message;
use tokio::sync::broadcast;
use tonic::{Request, Response, Status, codegen::BoxStream};

use crate::{
    BuildKit,
    builds::{ARRIVAL, Build, Outcome},
    export,
    proto::{
        moby::buildkit::v1::{
            BuildHistoryEvent, BuildHistoryEventType, BuildHistoryRequest, DiskUsageRequest,
            DiskUsageResponse, InfoRequest, InfoResponse, ListWorkersRequest, ListWorkersResponse,
            PruneRequest, SolveRequest, SolveResponse, StatusRequest, StatusResponse,
            UpdateBuildHistoryRequest, UpdateBuildHistoryResponse, UsageRecord,
            control_server::Control as Service,
            types::{BuildkitVersion, WorkerRecord},
        },
        pb::Platform,
    },
    solve::{self, Wanted, failed},
    status::stamp,
};

/// The service.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) kit: BuildKit,
}

#[tonic::async_trait]
impl Service for Control {
    async fn solve(
        &self,
        request: Request<SolveRequest>,
    ) -> Result<Response<SolveResponse>, Status> {
        let build = self.kit.shared.builds.begin(request.into_inner())?;
        let mut at_work = AtWork { kit: &self.kit, build: &build, ended: false };
        let response = self.run(&build).await;
        build.hear_out().await;
        at_work.ended = true;
        self.kit.end(&build, response.clone());
        response.map(|exporter_response| Response::new(SolveResponse { exporter_response }))
    }

    async fn status(
        &self,
        request: Request<StatusRequest>,
    ) -> Result<Response<BoxStream<StatusResponse>>, Status> {
        let (builds, engine) = (&self.kit.shared.builds, &self.kit.shared.engine);
        let id = request.into_inner().r#ref;
        let build = match builds.recall(engine, &id) {
            Some(build) => build,
            None => builds.get(&id).await?,
        };
        if let Some(id) = build.kept_as() {
            let record = ops::history(engine, id).await.map_err(|why| failed(&why))?;
            let said = solve::replay(record).into_iter().map(Ok);
            return Ok(Response::new(Box::pin(stream::iter(said.collect::<Vec<_>>()))));
        }
        let messages = stream::unfold((build, 0), |(build, number)| async move {
            let message = build.status.next(number).await?;
            Some((Ok(message.as_ref().clone()), (build, number + 1)))
        });
        Ok(Response::new(Box::pin(messages)))
    }

    async fn list_workers(
        &self,
        _: Request<ListWorkersRequest>,
    ) -> Result<Response<ListWorkersResponse>, Status> {
        Ok(Response::new(ListWorkersResponse { record: vec![self.kit.worker()] }))
    }

    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        Ok(Response::new(InfoResponse { buildkit_version: Some(self.kit.version()) }))
    }

    async fn disk_usage(
        &self,
        request: Request<DiskUsageRequest>,
    ) -> Result<Response<DiskUsageResponse>, Status> {
        let DiskUsageRequest { filter, age_limit } = request.into_inner();
        let filter = Filter::parse(&filter)?;
        let records = ops::records(&self.kit.shared.engine).await.map_err(|why| failed(&why))?;
        let now = crate::builds::now();
        let young = |record: &CacheRecord| {
            age_limit > 0 && now.since(record.used).as_nanos() < age_limit.unsigned_abs().into()
        };
        let record = records.into_iter().filter(|one| !young(one) && filter.takes(one));
        Ok(Response::new(DiskUsageResponse { record: record.map(usage).collect() }))
    }

    async fn prune(
        &self,
        request: Request<PruneRequest>,
    ) -> Result<Response<BoxStream<UsageRecord>>, Status> {
        let engine = &self.kit.shared.engine;
        let PruneRequest {
            filter,
            all: _,
            keep_duration,
            reserved_space,
            max_used_space,
            min_free_space,
        } = request.into_inner();
        let filter = Filter::parse(&filter)?;
        let records = ops::records(engine).await.map_err(|why| failed(&why))?;
        let chosen: Vec<String> =
            records.iter().filter(|one| filter.takes(one)).map(|one| one.id.clone()).collect();
        let bytes = |number: i64| u64::try_from(number).unwrap_or_default();
        let budget = ops::Budget {
            reserved: bytes(reserved_space),
            max_used: bytes(max_used_space),
            min_free: bytes(min_free_space),
        };
        let unused_for = u64::try_from(keep_duration).ok().filter(|age| *age > 0);
        let wanted = ops::PruneRequest {
            unused_for: unused_for.map(Duration::from_nanos),
            budget,
            ids: Some(chosen),
            kinds: None,
        };
        let (gone, _) = ops::prune(engine, wanted).await.map_err(|why| failed(&why))?;
        let gone = records.into_iter().filter(move |record| gone.contains(&record.id));
        Ok(Response::new(Box::pin(stream::iter(gone.map(usage).map(Ok).collect::<Vec<_>>()))))
    }

    async fn listen_build_history(
        &self,
        request: Request<BuildHistoryRequest>,
    ) -> Result<Response<BoxStream<BuildHistoryEvent>>, Status> {
        let asked = request.into_inner();
        if !asked.filter.is_empty() {
            let words = format!("choosing builds by {:?} is not supported", asked.filter.join(","));
            return Err(Status::unimplemented(words));
        }
        let (builds, events) = self.kit.shared.builds.history(&self.kit.shared.engine);
        let listed = |build: &&Arc<Build>| {
            (asked.r#ref.is_empty() || build.id() == asked.r#ref)
                && !(asked.active_only && build.has_ended())
        };
        let kind = |build: &Build| match build.has_ended() {
            true => BuildHistoryEventType::Complete,
            false => BuildHistoryEventType::Started,
        };
        let limit = usize::try_from(asked.limit).ok().filter(|limit| *limit > 0);
        let skipped =
            limit.map_or(0, |limit| builds.iter().filter(listed).count().saturating_sub(limit));
        let known: Vec<_> = builds
            .iter()
            .filter(listed)
            .skip(skipped)
            .map(|build| BuildHistoryEvent {
                r#type: kind(build).into(),
                record: Some(build.record()),
            })
            .map(Ok)
            .collect();
        if asked.early_exit {
            return Ok(Response::new(Box::pin(stream::iter(known))));
        }
        let wanted = asked.r#ref;
        let later = stream::unfold((events, wanted), |(mut events, wanted)| async move {
            loop {
                match events.recv().await {
                    Ok(event) if is_about(&event, &wanted) => {
                        return Some((Ok(event), (events, wanted)));
                    }
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        });
        Ok(Response::new(Box::pin(stream::iter(known).chain(later))))
    }

    async fn update_build_history(
        &self,
        request: Request<UpdateBuildHistoryRequest>,
    ) -> Result<Response<UpdateBuildHistoryResponse>, Status> {
        let UpdateBuildHistoryRequest { r#ref, pinned, delete, finalize } = request.into_inner();
        let (builds, engine) = (&self.kit.shared.builds, &self.kit.shared.engine);
        if delete {
            builds.forget(engine, &r#ref).await?;
        } else if !finalize {
            let missing = || Status::not_found(format!("no build record for {}", r#ref));
            let build = builds.recall(engine, &r#ref).ok_or_else(missing)?;
            build.pin(pinned);
            self.kit.remember(&build);
        }
        Ok(Response::new(UpdateBuildHistoryResponse {}))
    }
}

impl Control {
    async fn run(&self, build: &Arc<Build>) -> Result<BTreeMap<String, String>, Status> {
        let asked = &build.asked;
        export::check(build)?;
        let outcome = if asked.frontend.is_empty() {
            if asked.definition.as_ref().is_some_and(|definition| !definition.def.is_empty()) {
                return Err(Status::unimplemented(
                    "a definition (LLB) without a frontend is not supported: only Dockerfiles are",
                ));
            }
            build.returned().await?
        } else {
            let wanted = Wanted {
                frontend: &asked.frontend,
                attrs: &asked.frontend_attrs,
                inputs: !asked.frontend_inputs.is_empty(),
                cache_imports: &[],
            };
            Some(solve::run(&self.kit, build, wanted).await?)
        };
        match outcome {
            Some(Outcome::Built(built)) => export::export(&self.kit, build, &built).await,
            Some(Outcome::Documents(_)) | None => Ok(BTreeMap::new()),
        }
    }
}

/// A build whose client may leave: the call is dropped then, and the build is over.
struct AtWork<'a> {
    kit: &'a BuildKit,
    build: &'a Arc<Build>,
    ended: bool,
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let canceled = Err(Status::cancelled("context canceled"));
            self.kit.end(self.build, canceled);
        }
    }
}

impl BuildKit {
    /// A build is over.
    fn end(&self, build: &Build, response: Result<BTreeMap<String, String>, Status>) {
        self.shared.builds.end(build, response);
        self.remember(build);
        let kit = self.clone();
        // What it said is in memory as long as its client may come to hear it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            tokio::time::sleep(ARRIVAL + Duration::from_secs(1)).await;
            kit.shared.builds.retire(&kit.shared.engine);
        });
    }

    /// Lets the engine keep the record of a build that has ended with its own, for the daemons that come.
    fn remember(&self, build: &Build) {
        if !build.asked.internal && build.has_ended() {
            let record = build.record();
            let (engine, about) = (&self.shared.engine, record.encode_to_vec());
            ops::annotate(engine, build.id(), about, record.pinned);
        }
    }

    /// What builds here. The label `snapshotter` tells buildx that exporters of images and tars are here.
    pub(crate) fn worker(&self) -> WorkerRecord {
        let host = ferry_oci::Platform::host();
        let labels = [
            ("org.mobyproject.buildkit.worker.executor", "containerd"),
            ("org.mobyproject.buildkit.worker.snapshotter", "overlayfs"),
        ];
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        WorkerRecord {
            id: "ferry".to_owned(),
            labels: labels.map(own).into_iter().collect(),
            platforms: vec![Platform {
                architecture: host.architecture,
                os: host.os,
                variant: host.variant.unwrap_or_default(),
                ..Platform::default()
            }],
            gc_policy: Vec::new(),
            buildkit_version: Some(self.version()),
        }
    }

    /// What it says it is.
    fn version(&self) -> BuildkitVersion {
        BuildkitVersion {
            package: "ferry".to_owned(),
            version: format!("v{}", self.shared.version),
            ..BuildkitVersion::default()
        }
    }
}

fn is_about(event: &BuildHistoryEvent, wanted: &str) -> bool {
    wanted.is_empty() || event.record.as_ref().is_some_and(|record| record.r#ref == wanted)
}

fn usage(record: CacheRecord) -> UsageRecord {
    UsageRecord {
        mutable: false,
        in_use: record.in_use,
        size: i64::try_from(record.size).unwrap_or(i64::MAX),
        created_at: Some(stamp(record.created)),
        last_used_at: Some(stamp(record.used)),
        usage_count: i64::try_from(record.uses).unwrap_or(i64::MAX),
        description: record.description,
        record_type: record.kind.to_owned(),
        shared: record.shared,
        parents: Vec::new(),
        id: record.id,
    }
}

/// containerd's filters, as far as `buildx du` and `prune` make them: `field`, `field==value`, `field!=value`, all of which must hold
/// where commas are between them; one of several filters must.
#[derive(Debug)]
struct Filter(Vec<Vec<Term>>);

#[derive(Debug)]
struct Term {
    field: String,
    /// The value and whether it must be it; `None` asks for any.
    value: Option<(String, Comparison)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Is,
    IsNot,
    Contains,
}

const FIELDS: [&str; 7] = ["id", "type", "description", "inuse", "mutable", "shared", "private"];

impl Filter {
    fn parse(texts: &[String]) -> Result<Filter, Status> {
        let texts = texts.iter().filter(|text| !text.is_empty());
        texts
            .map(|text| text.split(',').map(Term::parse).collect())
            .collect::<Result<_, _>>()
            .map(Filter)
    }

    fn takes(&self, record: &CacheRecord) -> bool {
        self.0.is_empty() || self.0.iter().any(|all| all.iter().all(|term| term.takes(record)))
    }
}

impl Term {
    fn parse(text: &str) -> Result<Term, Status> {
        let found =
            [("==", Comparison::Is), ("!=", Comparison::IsNot), ("~=", Comparison::Contains)]
                .into_iter()
                .find_map(|(sign, comparison)| Some((text.split_once(sign)?, comparison)));
        let (field, value) = match found {
            Some(((field, value), comparison)) => {
                (field, Some((value.trim_matches('"').to_owned(), comparison)))
            }
            None => (text, None),
        };
        let field = field.trim().to_ascii_lowercase();
        if !FIELDS.contains(&field.as_str()) {
            return Err(Status::unimplemented(format!(
                "choosing build cache by {field:?} is not supported"
            )));
        }
        Ok(Term { field, value })
    }

    fn takes(&self, record: &CacheRecord) -> bool {
        let flag = |set: bool| if set { "true" } else { "" };
        let value = match self.field.as_str() {
            "id" => record.id.as_str(),
            "type" => record.kind,
            "description" => record.description.as_str(),
            "inuse" => flag(record.in_use),
            "shared" => flag(record.shared),
            "private" => flag(!record.shared),
            // Nothing in the cache changes.
            _ => "",
        };
        match &self.value {
            None => !value.is_empty(),
            Some((wanted, Comparison::Is)) => {
                value == wanted || wanted == "false" && value.is_empty()
            }
            Some((wanted, Comparison::IsNot)) => value != wanted,
            Some((wanted, Comparison::Contains)) => value.contains(wanted.as_str()),
        }
    }
}
