//! `RUN`: a container of the image so far, its output on the way to the client, what it wrote as a layer.

use std::{collections::BTreeMap, sync::Arc};

use ferry_build::RunStep;
use ferry_errkind::{ErrorKind, Failure};
use ferry_image::Entry;
use ferry_layers::Layer;
use ferry_model::container::{
    BindMount, ContainerSpec, CreateContainer, HostSettings, LogSettings, NetworkMode,
    WaitCondition,
};
use ferry_oci::{History, ImageConfig};
use tokio::io::AsyncReadExt;

use super::{
    BuildError, Vertex, context,
    graph::Build,
    mounts::{self, Given},
};
use crate::{
    Engine,
    ops::{
        container::{self, AttachRequest, RemoveRequest, commit::write_step, create::create_of},
        image,
    },
};

/// What the machine is called that a step runs on: BuildKit's word, the same every time, as some programs write it down.
const HOST_NAME: &str = "buildkitsandbox";

/// Longest piece of output that is passed on at once.
const MAX_FRAME: usize = 1 << 20;

/// What of the container's settings a step decides.
pub(super) fn settings(build: &Build, step: &RunStep) -> Result<HostSettings, Failure> {
    let mut host = build.request.host.clone();
    if let Some(network) = step.network.as_deref().filter(|network| *network != "default") {
        host.network_mode = match network {
            "none" => NetworkMode::None,
            _ => NetworkMode::Host,
        };
    }
    let allowed = |name: &str| build.request.entitlements.iter().any(|own| own == name);
    if host.network_mode == NetworkMode::Host && !allowed("network.host") {
        return Err(not_allowed("network.host"));
    }
    if step.insecure {
        if !allowed("security.insecure") {
            return Err(not_allowed("security.insecure"));
        }
        host.privileged = true;
    }
    host.log = LogSettings { driver: "none".to_owned(), options: BTreeMap::new() };
    Ok(host)
}

/// Runs a step on `image` and answers the layer that came of it.
pub(super) async fn run(
    build: &Build,
    image: Entry,
    step: &RunStep,
    given: Given,
    mut host: HostSettings,
    vertex: &mut Vertex,
) -> Result<Layer, BuildError> {
    let engine = &build.engine;
    if let (Some(text), Some(destination)) = (&step.script, step.argv.first()) {
        let path = build.place.step(vertex);
        write_script(&path, text)?;
        let source = path.join("script").to_string_lossy().into_owned();
        host.binds.push(BindMount {
            text: format!("{source}:{destination}:ro"),
            source,
            destination: destination.clone(),
            options: "ro".to_owned(),
        });
    }
    given.apply(&mut host);
    // Programs that write times into what they make (Python's byte code, archives) know this one.
    let dated = |variable: &String| variable.starts_with("SOURCE_DATE_EPOCH=");
    let epoch = build.request.epoch.filter(|_| !step.env.iter().any(dated));
    let epoch = epoch.map(|seconds| format!("SOURCE_DATE_EPOCH={seconds}"));
    let spec = ContainerSpec {
        image: image.image.id.to_string(),
        hostname: HOST_NAME.to_owned(),
        cmd: Some(step.argv.clone()),
        env: step.env.iter().chain(&given.env).cloned().chain(epoch).collect(),
        host,
        ..ContainerSpec::default()
    };
    let (found, mounted) = (image.config.clone(), given.places());
    let name = build.place.name_container(vertex)?;
    engine.shared.builds.enter(&name);
    let step_of = Step { engine: engine.clone(), name: name.clone() };
    let request = CreateContainer { name: Some(name), platform: None, spec };
    let container = create(engine, image, request, (given, step_of)).await?;
    vertex.container = Some(container.id.clone());
    build.teller.vertex(vertex).await?;
    let code = follow(build, &container.id, vertex).await?;
    if code != 0 {
        let command = step.argv.clone();
        let words = format!(
            "process {:?} did not complete successfully: exit code: {code}",
            command.join(" ")
        );
        let error = BuildError::from(Failure::new(ErrorKind::Internal, words));
        let kept = match build.request.keep_failed {
            true => Some(keep(build, found, step, &container.id, mounted).await?),
            false => None,
        };
        // Whoever hears of it and builds again finds its caches unused.
        container.remove().await;
        return Err(BuildError { code, command, kept, ..error });
    }
    let (shared, id) = (Arc::clone(&engine.shared), container.id.clone());
    let times = build.request.times();
    let layer = crate::blocking(move || {
        let record = shared.containers.find(&id)?.container();
        write_step(&shared, &record, &mounted, times)
    })
    .await?;
    container.remove().await;
    Ok(layer)
}

/// The image of what a step that failed has written, on what it found. What it had mounted is not in it.
async fn keep(
    build: &Build,
    mut found: ImageConfig,
    step: &RunStep,
    id: &str,
    mounted: Vec<String>,
) -> Result<String, Failure> {
    let (shared, id) = (Arc::clone(&build.engine.shared), id.to_owned());
    let (created, times) = (build.now(), build.request.times());
    let (env, shown) = (step.env.clone(), step.shown.clone());
    crate::blocking(move || {
        let record = shared.containers.find(&id)?.container();
        let layer = write_step(&shared, &record, &mounted, times)?;
        let written = (layer.entries > 0).then_some(layer.diff_id);
        found.history.push(History {
            created: Some(created),
            created_by: Some(shown),
            comment: Some("a step of a build that failed".to_owned()),
            empty_layer: written.is_none().then_some(true),
            ..History::default()
        });
        found.rootfs.diff_ids.extend(written);
        found.config.get_or_insert_default().env = Some(env);
        let json = serde_json::to_vec(&found)
            .map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))?;
        Ok(image::keep::keep(&shared, &json, None, &[])?.to_string())
    })
    .await
}

fn not_allowed(name: &str) -> Failure {
    Failure::new(
        ErrorKind::Forbidden,
        format!("granting entitlement {name} is not allowed by build daemon configuration"),
    )
    .with_hint(format!("allow it for this build with --allow {name}"))
}

fn write_script(directory: &std::path::Path, text: &str) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    let path = directory.join("script");
    std::fs::create_dir_all(directory)
        .and_then(|()| std::fs::write(&path, text))
        .and_then(|()| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)))
        .map_err(|source| crate::records::failed("write", &path, source))
}

/// Starts the container, passes its output on, answers its exit code.
async fn follow(build: &Build, id: &str, vertex: &Vertex) -> Result<i32, BuildError> {
    let engine = &build.engine;
    let request =
        AttachRequest { stream: true, stdout: true, stderr: true, ..AttachRequest::default() };
    let attachment = container::attach(engine, id, request).await?;
    let wait = container::wait(engine, id, WaitCondition::NextExit).await?;
    container::start(engine, id).await?;
    if let Some(mut stream) = attachment.pending.connect().await {
        let broken = |error: std::io::Error| {
            Failure::new(ErrorKind::Internal, format!("cannot read the step's output: {error}"))
        };
        loop {
            let mut head = [0; 8];
            match stream.read_exact(&mut head).await {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(broken(error).into()),
            }
            let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
            let mut left = length;
            while left > 0 {
                let mut piece = vec![0; left.min(MAX_FRAME)];
                stream.read_exact(&mut piece).await.map_err(broken)?;
                left -= piece.len();
                build.log(vertex, head[0] == 2, piece).await?;
            }
        }
    }
    let outcome = wait.finish().await;
    match outcome.error {
        Some(why) => Err(Failure::new(ErrorKind::Internal, why).into()),
        None => Ok(outcome.exit_code),
    }
}

/// The name of a step's container, known as such until this is dropped.
struct Step {
    engine: Engine,
    name: String,
}

impl Drop for Step {
    fn drop(&mut self) {
        self.engine.shared.builds.leave(&self.name);
    }
}

/// A container that goes away with the step, however that ends.
struct Temporary {
    engine: Engine,
    id: String,
    /// What it uses and what it is known by: there until it is gone.
    uses: Option<(Given, Step)>,
}

/// Creates the container of a step. It is somebody's at once: where nobody waits any more (a build that another stage has failed),
/// it is removed as soon as it is there.
async fn create(
    engine: &Engine,
    image: Entry,
    request: CreateContainer,
    uses: (Given, Step),
) -> Result<Temporary, Failure> {
    let engine = engine.clone();
    crate::blocking(move || {
        let made = create_of(&engine.shared, &image, request)?;
        Ok(Temporary { engine, id: made.id, uses: Some(uses) })
    })
    .await
}

impl Temporary {
    /// Begins to remove it, once; goes on where whoever waits for it is gone.
    fn begin_removal(&mut self) -> Option<tokio::task::JoinHandle<()>> {
        let uses = self.uses.take()?;
        let (engine, id) = (self.engine.clone(), std::mem::take(&mut self.id));
        Some(tokio::spawn(async move {
            remove(&engine, &id).await;
            drop(uses);
        }))
    }

    async fn remove(mut self) {
        let Some(removal) = self.begin_removal() else { return };
        if let Err(error) = removal.await {
            tracing::warn!(%error, "a build may have left a container");
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        drop(self.begin_removal());
    }
}

async fn remove(engine: &Engine, id: &str) {
    let request = RemoveRequest { force: true, volumes: true, link: false };
    if let Err(failure) = container::remove(engine, id, request).await {
        tracing::warn!(%id, %failure, "a build left a container");
    }
}

/// Removes what builds left that a crash ended: the containers of their steps, then their files.
pub(crate) async fn remove_leftovers(engine: &Engine) {
    for name in context::containers(&engine.shared) {
        if engine.shared.containers.find(&name).is_ok() {
            remove(engine, &name).await;
        }
    }
    context::sweep_leftovers(&engine.shared);
    mounts::sweep(&engine.shared);
}
