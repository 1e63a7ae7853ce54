//! `/build` as Docker's classic builder has it: a context as tar in, messages out.

mod classic;
mod direct;
pub(crate) mod history;

use std::{collections::BTreeMap, time::Duration};

use base64::Engine as _;
use ferry_docker_api::{
    AuthConfig, BuildPruneReport, HostConfig, JsonError, JsonMessage, Resources, Ulimit,
    solve::{self, BUILD_ASK, BuildAsk},
};
use ferry_engine::ops::build::{
    self as ops, BuildError, BuildRequest, ContextSource, PruneRequest,
};
use ferry_errkind::{ErrorKind, Failure};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use self::classic::Classic;
use crate::{
    body::Body,
    convert::{self, auth, progress},
    query::Query,
    read_body::BodyReader,
    refuse::{invalid, unsupported},
    reply::{self, Reply},
    request::Request,
};

/// Messages on their way to a slow client.
const BACKLOG: usize = 64;

/// Builds, for our own command line or for any other.
pub(crate) async fn build(request: Request) -> Result<Reply, Failure> {
    let kind = request.headers.get(http::header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes() == BUILD_ASK.as_bytes()) {
        return asked(request).await;
    }
    let wanted = wanted(&request)?;
    let mut classic = Classic::new(request.query.flag("q"), wanted.tags.clone());
    let engine = request.engine;
    let context = match request.query.text("remote").filter(|remote| remote != "client-session") {
        Some(url) => ContextSource::Remote(url),
        None => ContextSource::Tar(Box::new(BodyReader::new(request.body))),
    };
    let (sender, mut events) = mpsc::channel(BACKLOG);
    let work = tokio::spawn(async move { ops::build(&engine, wanted, context, sender).await });
    let abort = work.abort_handle();
    let mut next = Vec::new();
    // A failure before the first message is an answer of its own.
    while next.is_empty() {
        let Some(event) = events.recv().await else {
            return match outcome(work.await) {
                Ok(_) => Ok(reply::json_stream(Body::empty())),
                // A quiet build said nothing before; its exit code goes into a message only.
                Err(error) if error.code != 0 => {
                    Ok(reply::json_stream(Body::Full(Some(progress::line(&failed(&error))))))
                }
                Err(error) => Err(error.failure),
            };
        };
        next = classic.messages(event);
    }
    let (out, pieces) = mpsc::channel(BACKLOG);
    tokio::spawn(async move {
        loop {
            for message in std::mem::take(&mut next) {
                if out.send(progress::line(&message)).await.is_err() {
                    abort.abort();
                    return;
                }
            }
            let event = tokio::select! {
                event = events.recv() => event,
                () = out.closed() => {
                    abort.abort();
                    return;
                }
            };
            let Some(event) = event else { break };
            next = classic.messages(event);
        }
        if let Err(error) = outcome(work.await) {
            for message in classic.rest().into_iter().chain([failed(&error)]) {
                // The client may be gone by now.
                drop(out.send(progress::line(&message)).await);
            }
        }
    });
    Ok(reply::json_stream(Body::Pieces(pieces)))
}

/// Builds as our own command line asks: every event is a message, and the files of the result may follow.
async fn asked(request: Request) -> Result<Reply, Failure> {
    let mut wanted = wanted(&request)?;
    if let Some(several) = wanted.platform.take_if(|platform| platform.contains(',')) {
        wanted.platforms = several.split(',').map(str::to_owned).collect();
    }
    let Request { engine, body, peer, .. } = request;
    let mut body = BodyReader::new(body);
    let ask = direct::read(&mut body).await?;
    let context = direct::apply(&ask, &mut wanted, peer.and_then(|peer| peer.pid))?;
    let context = context.unwrap_or_else(|| ContextSource::Tar(Box::new(body)));
    let (sender, mut events) = mpsc::channel(BACKLOG);
    let (out, pieces) = mpsc::channel(BACKLOG);
    let forward = out.clone();
    let told = tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if forward.send(progress::line(&direct::message(event))).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        let ended = tokio::select! {
            ended = finish(&engine, &ask, wanted, context, sender) => ended,
            // Nobody who listens any more wants the build, either.
            () = out.closed() => return,
        };
        drop(told.await);
        let (last, files) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                let message = error.failure.message().to_owned();
                let detail = JsonError { code: error.code.into(), message: message.clone() };
                let failed = JsonMessage {
                    error_detail: Some(detail),
                    error: message,
                    ..JsonMessage::default()
                };
                let kept = error.kept.as_ref().map(|image| direct::tagged(solve::KEPT_ID, image));
                (direct::place(&error).into_iter().chain(kept).chain([failed]).collect(), None)
            }
        };
        for message in last {
            drop(out.send(progress::line(&message)).await);
        }
        let Some(mut files) = files else { return };
        while let Some(piece) = files.recv().await {
            // A tar that breaks off has no end: whoever unpacks it sees that.
            let Ok(piece) = piece else { return };
            if out.send(piece).await.is_err() {
                return;
            }
        }
    });
    Ok(reply::json_stream(Body::Pieces(pieces)))
}

/// The last messages, and the files that follow them.
type Ended = (Vec<JsonMessage>, Option<mpsc::Receiver<Result<bytes::Bytes, Failure>>>);

async fn finish(
    engine: &ferry_engine::Engine,
    ask: &BuildAsk,
    wanted: BuildRequest,
    context: ContextSource,
    sender: mpsc::Sender<ops::BuildProgress>,
) -> Result<Ended, BuildError> {
    if !ask.call.is_empty() {
        let described = ops::describe(engine, wanted, context, sender).await?;
        return Ok((vec![direct::described(&described)], None));
    }
    if !ask.verify.is_empty() {
        let verdict = ops::verify(engine, wanted, context, sender, &ask.verify).await?;
        return Ok((vec![direct::verified(verdict)], None));
    }
    let built = ops::solve(engine, wanted, context, sender).await?;
    match ask.result.as_str() {
        "" => {
            built.record().await?;
            Ok((Vec::new(), None))
        }
        asked @ ("files" | "image and files") => {
            if asked != "files" {
                built.record().await?;
            }
            let solve::AskedLayout { split, prefix } = ask.layout.clone();
            let files = built.files(&ops::Layout { split, prefix }).await?;
            let id = built.id()?.to_string();
            Ok((vec![direct::tagged(solve::FILES_ID, &id)], Some(files)))
        }
        "nothing" => {
            built.settle().await?;
            Ok((Vec::new(), None))
        }
        other => Err(invalid(format!("there is no result {other:?}")).into()),
    }
}

pub(crate) async fn prune(request: Request) -> Result<Reply, Failure> {
    let filters = request.query.filters(&[
        "until",
        "unused-for",
        "id",
        "parent",
        "type",
        "description",
        "inuse",
        "shared",
        "private",
        "label",
        "label!",
    ])?;
    let mut none = false;
    let mut wanted = PruneRequest { budget: budget(&request.query)?, ..PruneRequest::default() };
    for (name, values) in &filters.0 {
        match name.as_str() {
            "until" | "unused-for" => {
                for value in values {
                    let age = ferry_stdx::duration::parse_go(value)
                        .map_err(|error| invalid(error.to_string()))?;
                    let age = Duration::from_nanos(u64::try_from(age).unwrap_or_default());
                    wanted.unused_for = wanted.unused_for.max(Some(age));
                }
            }
            "id" => wanted.ids = Some(values.to_vec()),
            "type" => wanted.kinds = Some(values.to_vec()),
            // `system prune` sends these on. Records have no labels: every one lacks it, and none has it.
            "label!" => {}
            "label" => none = true,
            name => return Err(unsupported(&format!("choosing build cache by {name}"))),
        }
    }
    let (gone, space_reclaimed) =
        if none { (Vec::new(), 0) } else { ops::prune(&request.engine, wanted).await? };
    let caches_deleted = convert::nil_if_empty(gone);
    reply::json(&BuildPruneReport { caches_deleted, space_reclaimed })
}

/// How many bytes may stay; `keep-storage` is what `reserved-space` was called before API 1.48.
fn budget(query: &Query) -> Result<ops::Budget, Failure> {
    let bytes = |name| -> Result<u64, Failure> {
        let bytes = query.integer(name)?.unwrap_or_default();
        u64::try_from(bytes).map_err(|_| invalid(format!("invalid {name}: {bytes}")))
    };
    Ok(ops::Budget {
        reserved: bytes("reserved-space")?.max(bytes("keep-storage")?),
        max_used: bytes("max-used-space")?,
        min_free: bytes("min-free-space")?,
    })
}

/// The last message of a build that failed.
fn failed(error: &BuildError) -> JsonMessage {
    let message = match error.code {
        0 => error.failure.message().to_owned(),
        code => {
            let command = error.command.join(" ");
            format!("The command '{}' returned a non-zero code: {code}", command.trim_end())
        }
    };
    JsonMessage {
        error_detail: Some(JsonError { code: error.code.into(), message: message.clone() }),
        error: message,
        ..JsonMessage::default()
    }
}

fn outcome<T>(
    joined: Result<Result<T, BuildError>, tokio::task::JoinError>,
) -> Result<T, BuildError> {
    match joined {
        Ok(done) => done,
        Err(error) => {
            let words = format!("the build broke off: {error}");
            Err(Failure::new(ErrorKind::Internal, words).into())
        }
    }
}

fn wanted(request: &Request) -> Result<BuildRequest, Failure> {
    let query = &request.query;
    refuse(query)?;
    let dockerfile = query.text("dockerfile").unwrap_or_else(|| "Dockerfile".to_owned());
    let host = HostConfig {
        network_mode: query.text("networkmode").unwrap_or_else(|| "default".to_owned()),
        extra_hosts: Some(
            query
                .text("extrahosts")
                .map(|text| extra_hosts(&text))
                .transpose()?
                .unwrap_or_default(),
        ),
        shm_size: query.integer("shmsize")?.unwrap_or_default(),
        resources: Resources {
            memory: query.integer("memory")?.unwrap_or_default(),
            memory_swap: query.integer("memswap")?.unwrap_or_default(),
            cpu_shares: query.integer("cpushares")?.unwrap_or_default(),
            cpu_period: query.integer("cpuperiod")?.unwrap_or_default(),
            cpu_quota: query.integer("cpuquota")?.unwrap_or_default(),
            cpuset_cpus: query.get("cpusetcpus").to_owned(),
            cpuset_mems: query.get("cpusetmems").to_owned(),
            cgroup_parent: query.get("cgroupparent").to_owned(),
            ulimits: Some(json::<Option<Vec<Ulimit>>>(query, "ulimits")?.unwrap_or_default()),
            ..Resources::default()
        },
        ..HostConfig::default()
    };
    let host = convert::create::host_settings(host)?;
    let auths = auths(request).into_iter();
    Ok(BuildRequest {
        dockerfile,
        tags: query.all("t"),
        build_args: json::<Option<_>>(query, "buildargs")?.unwrap_or_default(),
        labels: json::<Option<_>>(query, "labels")?.unwrap_or_default(),
        target: query.get("target").to_owned(),
        no_cache: query.flag("nocache"),
        pull: query.flag("pull"),
        platform: query.text("platform"),
        auths: auths.map(|(server, one)| (server, auth::registry(one))).collect(),
        host,
        cache_from: json::<Option<Vec<String>>>(query, "cachefrom")?.unwrap_or_default(),
        // The classic builder asks nobody for leave.
        entitlements: vec!["network.host".to_owned()],
        ..BuildRequest::default()
    })
}

/// What is asked for and not offered.
fn refuse(query: &Query) -> Result<(), Failure> {
    match query.get("version") {
        "" | "1" => {}
        "2" => return Err(unsupported("BuildKit's builder (version=2): set DOCKER_BUILDKIT=0")),
        other => return Err(invalid(format!("invalid version {other}"))),
    }
    if query.flag("squash") {
        return Err(unsupported("--squash"));
    }
    let lists = [("outputs", "--output"), ("securityopt", "--security-opt")];
    for (name, flag) in lists {
        if !matches!(query.get(name), "" | "null" | "[]") {
            return Err(unsupported(flag));
        }
    }
    match query.get("isolation") {
        "" | "default" => Ok(()),
        other => Err(invalid(format!("Unsupported isolation: {other:?}"))),
    }
}

/// Names and addresses, in JSON of newer clients or between commas.
fn extra_hosts(text: &str) -> Result<Vec<String>, Failure> {
    if !text.starts_with('[') {
        return Ok(text.split(',').map(str::to_owned).collect());
    }
    serde_json::from_str(text).map_err(|error| invalid(format!("extrahosts: {error}")))
}

fn json<T: DeserializeOwned + Default>(query: &Query, name: &str) -> Result<T, Failure> {
    match query.text(name) {
        None => Ok(T::default()),
        Some(text) => serde_json::from_str(&text)
            .map_err(|error| invalid(format!("error reading {name}: {error}"))),
    }
}

/// `X-Registry-Config`. What does not read counts as none, as in Docker.
fn auths(request: &Request) -> BTreeMap<String, AuthConfig> {
    let read = || {
        let text = request.headers.get("x-registry-config")?.to_str().ok()?.trim_end_matches('=');
        let urlsafe = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let standard = base64::engine::general_purpose::STANDARD_NO_PAD;
        let bytes = urlsafe.decode(text).or_else(|_| standard.decode(text)).ok()?;
        serde_json::from_slice(&bytes).ok()
    };
    read().unwrap_or_default()
}
