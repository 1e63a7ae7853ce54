//! `commit`: what a container has written becomes a layer, and the layer an image.

use std::{
    collections::BTreeSet,
    io::{self, Read, Write},
    os::{fd::AsFd, unix::ffi::OsStrExt},
    path::Path,
    sync::{Arc, OnceLock},
};

use ferry_archive::{Source, TarWriter, Times, TreeOptions};
use ferry_errkind::{ErrorKind, Failure};
use ferry_layers::Layer;
use ferry_model::container::{Container, ContainerSpec, HealthCheck, Phase};
use ferry_oci::{ContainerDefaults, Digest, HealthDefaults, History, ImageConfig, Reference};
use ferry_sys::root::InRoot;

use crate::{
    Engine, Shared, failpoint,
    ops::{
        freeze::{to_the_end, while_frozen},
        image::{self, changes, keep::keep},
    },
    rootfs,
};

/// What `commit` is asked for.
#[derive(Debug, Clone, Default)]
pub struct CommitRequest {
    /// What the image is to be called.
    pub repo: String,
    /// Its tag; empty is `latest`.
    pub tag: String,
    /// Who made it.
    pub author: String,
    /// The comment of its history.
    pub comment: String,
    /// Freeze the container meanwhile.
    pub pause: bool,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
    /// What containers of the image inherit, where it is not what the container has.
    pub config: Option<ContainerSpec>,
}

/// Makes an image of a container.
///
/// # Errors
/// No such container, a change or a name does not read, or the container is being removed.
pub async fn commit(
    engine: &Engine,
    name: &str,
    request: CommitRequest,
) -> Result<Digest, Failure> {
    let handle = engine.shared.containers.find(name)?;
    let container = handle.container();
    let doing = match container.state.phase {
        Phase::Dead => Some("Dead"),
        Phase::Removing => Some("being removed"),
        _ => None,
    };
    if let Some(doing) = doing {
        let words = format!("You cannot commit container {} which is {doing}", container.id);
        return Err(Failure::new(ErrorKind::Conflict, words));
    }
    let reference = match request.repo.as_str() {
        "" => None,
        repo => Some(image::named(repo, &request.tag)?),
    };
    let defaults = configuration(&container.spec, &request)?;
    let (shared, pause) = (engine.shared.clone(), request.pause);
    to_the_end(async move {
        let held = if pause { vec![handle] } else { Vec::new() };
        let maker = Arc::clone(&shared);
        let make = move || {
            failpoint::hit("commit.frozen");
            make_image(&maker, &container, &request, defaults, reference)
        };
        while_frozen(&shared, held, make).await
    })
    .await
}

fn make_image(
    shared: &Arc<Shared>,
    container: &Container,
    request: &CommitRequest,
    defaults: ContainerDefaults,
    reference: Option<Reference>,
) -> Result<Digest, Failure> {
    let parent = shared.images.get(&container.image_id.to_string())?;
    let _below = shared.lease(&container.layers);
    let layer = write_layer(shared, container)?;
    let _lease = shared.lease(std::slice::from_ref(&layer.diff_id));
    let mut config: ImageConfig = parent.entry.config.clone();
    let nothing_changed = layer.entries == 0;
    if !nothing_changed {
        config.rootfs.diff_ids.push(layer.diff_id);
    }
    let created = Some(shared.now().format_rfc3339_nano());
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    config.history.push(History {
        created: created.clone(),
        created_by: text(&container.spec.cmd.clone().unwrap_or_default().join(" ")),
        author: text(&request.author),
        comment: text(&request.comment),
        empty_layer: nothing_changed.then_some(true),
    });
    config.created = created;
    config.author = text(&request.author);
    config.comment = None;
    config.docker_version = None;
    config.config = Some(defaults);
    let json = serde_json::to_vec(&config)
        .map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))?;
    let names: Vec<Reference> = reference.into_iter().collect();
    let id = keep(shared, &json, None, &names)?;
    let name = names.first().map(Reference::familiar).unwrap_or_default();
    image::event(shared, "create", &id, &id.to_string());
    if !name.is_empty() {
        image::event(shared, "tag", &id, &name);
    }
    let more =
        [("comment", request.comment.clone()), ("imageID", id.to_string()), ("imageRef", name)];
    shared.events.container(container, "commit", &more, shared.now());
    Ok(id)
}

/// What a container has written, as a layer.
pub(crate) fn write_layer(shared: &Shared, container: &Container) -> Result<Layer, Failure> {
    let upper = rootfs::upper(shared, container)?;
    let stubs = rootfs::stubs(&upper, &rootfs::lower(shared, container)?)?;
    layer_of(shared, &upper, &stubs, Times::Own)
        .map_err(|failure| failure.context(format!("cannot commit container {}", container.id)))
}

/// As [`write_layer`], for a step of a build: the places where something was mounted are not part of it, unless they were there before or
/// something was put into them.
pub(crate) fn write_step(
    shared: &Shared,
    container: &Container,
    mounted: &[String],
    times: Times,
) -> Result<Layer, Failure> {
    let upper = rootfs::upper(shared, container)?;
    let lower = rootfs::lower(shared, container)?;
    let mut stubs = rootfs::stubs(&upper, &lower)?;
    let mut mounted: Vec<&str> = mounted.iter().map(|path| path.trim_matches('/')).collect();
    // Deepest first: what holds only such places is one itself.
    mounted.sort_by_key(|path| std::cmp::Reverse(path.len()));
    for path in mounted {
        let ancestors = Path::new(path).ancestors();
        for place in ancestors.take_while(|place| !place.as_os_str().is_empty()) {
            if !rootfs::is_stub(&upper, &lower, place, &stubs) {
                break;
            }
            stubs.insert(place.as_os_str().as_bytes().to_vec());
        }
    }
    layer_of(shared, &upper, &stubs, times)
}

/// Writes the layer of an upper directory on one thread and takes it into the store on this one. What is in `stubs` is left out.
pub(crate) fn layer_of(
    shared: &Shared,
    upper: &InRoot,
    stubs: &BTreeSet<Vec<u8>>,
    times: Times,
) -> Result<Layer, Failure> {
    let broken = |error: io::Error| Failure::new(ErrorKind::Internal, error.to_string());
    let (reader, writer) = io::pipe().map_err(broken)?;
    let failure = OnceLock::new();
    std::thread::scope(|scope| {
        let (failure, root) = (&failure, upper.as_dir());
        let write = move || {
            let skip = |path: &[u8]| stubs.contains(path);
            let options =
                TreeOptions { live: true, skip: &skip, ..TreeOptions::layer(Source::Upper) };
            let out = io::BufWriter::with_capacity(256 << 10, writer);
            let mut tar = TarWriter::new(out).timed(times);
            let written = ferry_archive::write_tree(root.as_fd(), &options, &mut tar)
                .map_err(|error| ferry_errkind::chain(&error))
                .and_then(|()| {
                    let ended = tar.finish().and_then(|mut out| out.flush());
                    ended.map_err(|error| error.to_string())
                });
            if let Err(why) = written {
                // Before the pipe closes, so that whoever sees its end sees this.
                drop(failure.set(why));
            }
        };
        std::thread::Builder::new()
            .name("commit".to_owned())
            .spawn_scoped(scope, write)
            .map_err(broken)?;
        let layer = shared.layers.ingest(Written { pipe: reader, failure }, None);
        match failure.get() {
            Some(why) => Err(Failure::new(ErrorKind::Internal, why.clone())),
            None => Ok(layer?),
        }
    })
}

/// A tar as it is being written; half of one must not look whole.
struct Written<'a> {
    pipe: io::PipeReader,
    failure: &'a OnceLock<String>,
}

impl Read for Written<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.pipe.read(buffer)?;
        match self.failure.get() {
            Some(why) if read == 0 => Err(io::Error::other(why.clone())),
            _ => Ok(read),
        }
    }
}

/// What containers of the image inherit: the container's own settings, or those of the request over them; changed.
fn configuration(
    own: &ContainerSpec,
    request: &CommitRequest,
) -> Result<ContainerDefaults, Failure> {
    let mut defaults = defaults(request.config.as_ref().unwrap_or(own));
    let mut has_command = false;
    for change in &request.changes {
        changes::apply(&mut defaults, change)?;
        let word = change.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        has_command |= word == "CMD";
        if word == "ENTRYPOINT" && !has_command {
            // The command was the old entry point's.
            defaults.cmd = None;
        }
    }
    if request.config.is_none() {
        return Ok(defaults);
    }
    let mut spec = spec(defaults)?;
    let below = ImageConfig { config: Some(self::defaults(own)), ..ImageConfig::default() };
    ferry_container::merge_image(&mut spec, &below);
    Ok(self::defaults(&spec))
}

fn defaults(spec: &ContainerSpec) -> ContainerDefaults {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    fn list<T>(list: Vec<T>) -> Option<Vec<T>> {
        Some(list).filter(|list| !list.is_empty())
    }
    let number = |number: i64| Some(number).filter(|number| *number != 0);
    let ports: BTreeSet<String> = spec.exposed_ports.iter().map(ToString::to_string).collect();
    ContainerDefaults {
        user: text(&spec.user),
        exposed_ports: Some(ports).filter(|ports| !ports.is_empty()),
        env: list(spec.env.clone()),
        entrypoint: spec.entrypoint.clone(),
        cmd: spec.cmd.clone(),
        volumes: Some(spec.volumes.clone()).filter(|volumes| !volumes.is_empty()),
        working_dir: text(&spec.working_dir),
        labels: Some(spec.labels.clone()).filter(|labels| !labels.is_empty()),
        stop_signal: spec.stop_signal.clone(),
        args_escaped: None,
        healthcheck: spec.healthcheck.as_ref().map(|check| HealthDefaults {
            test: list(check.test.clone()),
            interval: number(check.interval),
            timeout: number(check.timeout),
            start_period: number(check.start_period),
            start_interval: number(check.start_interval),
            retries: number(check.retries),
        }),
        on_build: list(spec.on_build.clone()),
        shell: spec.shell.clone(),
    }
}

fn spec(defaults: ContainerDefaults) -> Result<ContainerSpec, Failure> {
    let ports = defaults.exposed_ports.unwrap_or_default();
    let ports = ports.iter().map(|port| port.parse()).collect::<Result<_, _>>();
    let ports = ports.map_err(|error: ferry_model::network::InvalidPort| {
        Failure::new(ErrorKind::InvalidArgument, error.to_string())
    })?;
    Ok(ContainerSpec {
        user: defaults.user.unwrap_or_default(),
        exposed_ports: ports,
        env: defaults.env.unwrap_or_default(),
        entrypoint: defaults.entrypoint,
        cmd: defaults.cmd,
        volumes: defaults.volumes.unwrap_or_default(),
        working_dir: defaults.working_dir.unwrap_or_default(),
        labels: defaults.labels.unwrap_or_default(),
        stop_signal: defaults.stop_signal,
        healthcheck: defaults.healthcheck.map(|check| HealthCheck {
            test: check.test.unwrap_or_default(),
            interval: check.interval.unwrap_or_default(),
            timeout: check.timeout.unwrap_or_default(),
            start_period: check.start_period.unwrap_or_default(),
            start_interval: check.start_interval.unwrap_or_default(),
            retries: check.retries.unwrap_or_default(),
        }),
        on_build: defaults.on_build.unwrap_or_default(),
        shell: defaults.shell,
        ..ContainerSpec::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> ContainerSpec {
        ContainerSpec {
            env: vec!["A=1".to_owned(), "PATH=/bin".to_owned()],
            cmd: Some(vec!["sh".to_owned()]),
            working_dir: "/srv".to_owned(),
            ..ContainerSpec::default()
        }
    }

    #[test]
    fn changes_are_made_to_what_the_container_has() {
        let changes = ["ENV B=2", "WORKDIR app"].map(str::to_owned).to_vec();
        let made = configuration(&own(), &CommitRequest { changes, ..Default::default() });
        let made = made.unwrap();
        assert_eq!(made.env.unwrap(), ["A=1", "PATH=/bin", "B=2"]);
        assert_eq!(made.working_dir.unwrap(), "/srv/app");
        assert_eq!(made.cmd.unwrap(), ["sh"]);
    }

    #[test]
    fn a_new_entry_point_has_no_use_for_the_old_command() {
        let made = |changes: &[&str]| {
            let changes = changes.iter().map(|change| (*change).to_owned()).collect();
            configuration(&own(), &CommitRequest { changes, ..Default::default() }).unwrap()
        };
        assert_eq!(made(&["ENTRYPOINT [\"x\"]"]).cmd, None);
        let both = made(&["CMD [\"y\"]", "ENTRYPOINT [\"x\"]"]);
        assert_eq!(both.cmd.unwrap(), ["y"]);
    }

    #[test]
    fn a_configuration_of_the_request_stands_over_the_containers() {
        let config = ContainerSpec { env: vec!["A=9".to_owned()], ..ContainerSpec::default() };
        let request = CommitRequest { config: Some(config), ..Default::default() };
        let made = configuration(&own(), &request).unwrap();
        assert_eq!(made.env.unwrap(), ["A=9", "PATH=/bin"]);
        assert_eq!(made.cmd.unwrap(), ["sh"]);
    }
}
