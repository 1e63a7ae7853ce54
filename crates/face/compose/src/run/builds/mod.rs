//! How the images of services are built: what a service says of it, as a command line of our own `build` and as a file for
//! `buildx bake`.

mod bake;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use ferry_cli::face::{CliError, run_words};
use serde_json::Value;

pub(crate) use self::bake::bake;
use super::{Session, labels, order::sorted};
use crate::model::{Build, FileObject, FileReference, Project, Service};

/// How the command line wants images built.
#[derive(Debug, Clone, Default)]
pub(crate) struct Building {
    pub(crate) quiet: bool,
    pub(crate) no_cache: bool,
    pub(crate) pull: bool,
    pub(crate) memory: String,
    /// `--build-arg`.
    pub(crate) args: Vec<String>,
    /// `--ssh`.
    pub(crate) ssh: String,
    /// The file is looked through, and nothing is built.
    pub(crate) check: bool,
    /// The result goes to its registry.
    pub(crate) push: bool,
    /// `--provenance` and `--sbom`, which are stronger than the service's own; empty where they are not said.
    pub(crate) provenance: String,
    pub(crate) sbom: String,
    /// The image is to run here: that of one platform is enough.
    pub(crate) one_platform: bool,
}

/// Builds a service's image.
pub(crate) fn build(
    session: &Session<'_>,
    project: &Project,
    service: &Service,
    how: &Building,
    why: &str,
) -> Result<(), CliError> {
    let Some(build) = &service.build else { return Ok(()) };
    let image = project.image_of(service);
    let target = Target::of(session, project, service, build, how)?;
    refuse(session, &target)?;
    if session.dry {
        return session.cli.println(&format!(
            "POST /build?t={image}  # service {}: {why}; context {}",
            service.name, build.context
        ));
    }
    let mut scratch = Scratch::default();
    let words = target.words(project, how, &mut scratch)?;
    session.progress("", &service.name, "Building");
    session.progress.finish();
    match run_words(session.cli, &words) {
        Ok(0) => {
            if !how.check {
                session.progress("", &image, "Built");
            }
            Ok(())
        }
        Ok(code) => Err(CliError::silent(code)),
        Err(error) => {
            let code = error.code();
            Err(error
                .map_message(|words| format!("failed to build service {}: {words}", service.name))
                .with_code(code))
        }
    }
}

/// Refuses what cannot be built, by name; a daemon that is not ours has the classic builder only.
fn refuse(session: &Session<'_>, target: &Target<'_>) -> Result<(), CliError> {
    let (build, service) = (target.build, &target.service.name);
    if !matches!(build.isolation.as_str(), "" | "default") {
        return Err(CliError::new(format!(
            "not supported yet: services.{service}.build.isolation"
        )));
    }
    let modern = [
        ("additional_contexts", !build.additional_contexts.is_empty()),
        ("cache_to", !build.cache_to.is_empty()),
        ("entitlements", !build.entitlements.is_empty()),
        ("no_cache_filter", !build.no_cache_filter.is_empty()),
        ("platforms", target.platforms.len() > 1),
        ("privileged", build.privileged),
        ("provenance", target.provenance.is_some()),
        ("sbom", target.sbom.is_some()),
        ("secrets", !build.secrets.is_empty()),
        ("ssh", build.ssh.is_some()),
    ];
    match modern.iter().find(|(_, used)| *used) {
        Some((key, _)) if !session.cli.wait(session.hands_over())? => Err(CliError::new(format!(
            "the classic builder doesn't support services.{service}.build.{key}"
        ))),
        _ => Ok(()),
    }
}

/// Files of one name that there may be.
const MAX_SCRATCH: u32 = 1000;

/// Files that are only there for a build.
#[derive(Debug, Default)]
struct Scratch(Vec<PathBuf>);

impl Scratch {
    /// A file that only its owner reads; `name` says what it is.
    fn file(&mut self, name: &str, text: &str) -> Result<String, CliError> {
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut number = 0;
        let (path, opened) = loop {
            let name = format!(".ferry-compose-{}-{number}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            match options.open(&path) {
                // Ours, or of one that was killed and had our process id.
                Err(error) if error.kind() == ErrorKind::AlreadyExists && number < MAX_SCRATCH => {
                    number += 1;
                }
                opened => break (path, opened),
            }
        };
        let shown = path.display().to_string();
        let fail = |error: std::io::Error| CliError::new(format!("open {shown}: {error}"));
        let mut file = opened.map_err(fail)?;
        self.0.push(path);
        file.write_all(text.as_bytes()).map_err(fail)?;
        Ok(shown)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for path in &self.0 {
            // A leftover in the temporary directory is no reason to fail.
            drop(std::fs::remove_file(path));
        }
    }
}

/// Where a secret of a build comes from.
#[derive(Debug)]
enum From {
    File(String),
    Variable(String),
}

/// What is built for a service.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    service: &'a Service,
    build: &'a Build,
    args: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    tags: Vec<String>,
    /// The services whose images these are, too, by the names of contexts.
    bases: BTreeMap<&'a str, &'a Service>,
    secrets: Vec<(String, From)>,
    /// Agents with their sockets, which may be empty.
    ssh: Vec<(String, String)>,
    platforms: Vec<&'a str>,
    entitlements: Vec<String>,
    /// What is to be said of the image, as a flag has it.
    provenance: Option<String>,
    sbom: Option<String>,
}

impl<'a> Target<'a> {
    fn of(
        session: &Session<'_>,
        project: &'a Project,
        service: &'a Service,
        build: &'a Build,
        how: &Building,
    ) -> Result<Target<'a>, CliError> {
        let variable = |name: &str| project.environment.get(name).cloned();
        let given = build.args.iter().map(|(name, value)| (name.clone(), value.clone()));
        let asked = how.args.iter().map(|arg| match arg.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (arg.clone(), None),
        });
        let args = given.chain(asked);
        let args = args
            .filter_map(|(name, value)| Some((name.clone(), value.or_else(|| variable(&name))?)));
        let mut labels = build.labels.clone();
        for (name, value) in [
            (labels::PROJECT, project.name.as_str()),
            (labels::SERVICE, &service.name),
            (labels::VERSION, labels::COMPOSE_VERSION),
        ] {
            labels.insert(name.to_owned(), value.to_owned());
        }
        let mut secrets = Vec::new();
        for reference in &build.secrets {
            if !(reference.uid.is_empty() && reference.gid.is_empty() && reference.mode.is_none()) {
                session.cli.warn("WARN[0000] secrets `uid`, `gid` and `mode` are not supported by builds, they will be ignored");
            }
            let from = secret(project, service, reference)?;
            let id =
                if reference.target.is_empty() { &reference.source } else { &reference.target };
            secrets.push((id.clone(), from));
        }
        let mut entitlements = build.entitlements.clone();
        entitlements.extend(build.privileged.then(|| "security.insecure".to_owned()));
        Ok(Target {
            service,
            build,
            args: args.collect(),
            labels,
            tags: build.tags.iter().cloned().chain([project.image_of(service)]).collect(),
            bases: bases(project, build).collect(),
            secrets,
            ssh: agents(build, how),
            platforms: platforms(service, build, how),
            entitlements,
            provenance: attested(&how.provenance, build.provenance.as_ref()),
            sbom: attested(&how.sbom, build.sbom.as_ref()),
        })
    }

    /// The path of the Dockerfile; none for one that stands in the project's file.
    fn dockerfile(&self) -> Option<String> {
        if !self.build.dockerfile_inline.is_empty() {
            return None;
        }
        let name = match self.build.dockerfile.as_str() {
            "" => "Dockerfile",
            name => name,
        };
        let remote = self.build.context.contains("://") || self.build.context.starts_with("git@");
        let path = if remote { name.into() } else { Path::new(&self.build.context).join(name) };
        Some(path.display().to_string())
    }

    /// A command line of `build`.
    fn words(
        &self,
        project: &Project,
        how: &Building,
        scratch: &mut Scratch,
    ) -> Result<Vec<String>, CliError> {
        let build = self.build;
        let mut words: Vec<String> = vec!["build".to_owned()];
        let mut add = |flag: &str, value: &str| words.push(format!("--{flag}={value}"));
        self.tags.iter().for_each(|tag| add("tag", tag));
        match self.dockerfile() {
            Some(path) => add("file", &path),
            None => add("file", &scratch.file(&self.service.name, &build.dockerfile_inline)?),
        }
        self.args.iter().for_each(|(name, value)| add("build-arg", &format!("{name}={value}")));
        self.labels.iter().for_each(|(name, value)| add("label", &format!("{name}={value}")));
        for (name, place) in &build.additional_contexts {
            let place = match self.bases.get(name.as_str()) {
                Some(base) => format!("docker-image://{}", project.image_of(base)),
                None => place.clone().unwrap_or_default(),
            };
            add("build-context", &format!("{name}={place}"));
        }
        for (id, from) in &self.secrets {
            let path = match from {
                From::File(path) => path.clone(),
                // It may stand in a file with variables only.
                From::Variable(name) => {
                    let text = project.environment.get(name).map_or("", String::as_str);
                    scratch.file("secret", text)?
                }
            };
            add("secret", &format!("id={id},type=file,src={path}"));
        }
        for (id, path) in &self.ssh {
            add("ssh", &if path.is_empty() { id.clone() } else { format!("{id}={path}") });
        }
        for (flag, list) in [
            ("cache-from", &build.cache_from),
            ("cache-to", &build.cache_to),
            ("allow", &self.entitlements),
            ("no-cache-filter", &build.no_cache_filter),
        ] {
            list.iter().for_each(|text| add(flag, text));
        }
        build.extra_hosts.iter().for_each(|host| add("add-host", &host.replacen('=', ":", 1)));
        for (flag, value) in [
            ("network", build.network.as_str()),
            ("target", &build.target),
            ("memory", &how.memory),
            ("platform", &self.platforms.join(",")),
            ("provenance", self.provenance.as_deref().unwrap_or_default()),
            ("sbom", self.sbom.as_deref().unwrap_or_default()),
        ] {
            if !value.is_empty() {
                add(flag, value);
            }
        }
        if build.shm_size.0 > 0 {
            add("shm-size", &build.shm_size.0.to_string());
        }
        for (name, limit) in &build.ulimits {
            add("ulimit", &format!("{name}={}", limit.written()));
        }
        for (flag, on) in [
            ("no-cache", how.no_cache || build.no_cache),
            ("pull", how.pull || build.pull),
            ("quiet", how.quiet),
            ("check", how.check),
        ] {
            if on {
                add(flag, "true");
            }
        }
        words.push(build.context.clone());
        Ok(words)
    }
}

/// The platforms of the image; none is that of the machine.
fn platforms<'a>(service: &'a Service, build: &'a Build, how: &Building) -> Vec<&'a str> {
    let own = Some(service.platform.as_str()).filter(|name| !name.is_empty());
    match build.platforms.as_slice() {
        [] => own.into_iter().collect(),
        [one] => vec![one],
        _ if how.one_platform => own.into_iter().collect(),
        all => all.iter().map(String::as_str).collect(),
    }
}

/// What is to be said of an image, as a flag of `build` has it; nothing where that is turned off.
fn attested(flag: &str, value: Option<&Value>) -> Option<String> {
    let text = match (flag, value) {
        ("", None) => return None,
        ("", Some(Value::String(text))) => text.clone(),
        ("", Some(value)) => value.to_string(),
        (flag, _) => flag.to_owned(),
    };
    (!matches!(text.as_str(), "false" | "0" | "disabled")).then_some(text)
}

fn secret(
    project: &Project,
    service: &Service,
    reference: &FileReference,
) -> Result<From, CliError> {
    let name = &reference.source;
    let words = match project.secrets.get(name) {
        Some(object) if !object.file.is_empty() => return Ok(From::File(object.file.clone())),
        Some(FileObject { environment: Some(variable), .. }) => {
            return Ok(From::Variable(variable.clone()));
        }
        Some(_) => {
            format!("build.secrets only supports environment or file-based secrets: {name:?}")
        }
        None => format!("service {:?} refers to undefined build secret {name}", service.name),
    };
    Err(CliError::new(words))
}

/// The services that a build's contexts name.
fn bases<'a>(
    project: &'a Project,
    build: &'a Build,
) -> impl Iterator<Item = (&'a str, &'a Service)> {
    build.additional_contexts.iter().filter_map(|(name, place)| {
        let service = place.as_deref()?.strip_prefix("service:")?;
        Some((name.as_str(), project.services.get(service)?))
    })
}

/// Agents of a build: `default`, or `id: path`, and the command line's `id=path`.
fn agents(build: &Build, how: &Building) -> Vec<(String, String)> {
    let pair = |text: &str, between: &str| {
        let (id, path) = text.split_once(between).unwrap_or((text, ""));
        (id.to_owned(), path.to_owned())
    };
    let own = build.ssh.as_ref().and_then(Value::as_array).into_iter().flatten();
    let own = own.filter_map(Value::as_str).map(|text| pair(text, ": "));
    own.chain(Some(&how.ssh).filter(|text| !text.is_empty()).map(|text| pair(text, "="))).collect()
}

/// Services that are built, each after those whose images it starts from, which are built, too.
pub(crate) fn build_order<'a>(project: &'a Project, names: &BTreeSet<String>) -> Vec<&'a Service> {
    fn visit<'a>(
        project: &'a Project,
        service: &'a Service,
        begun: &mut BTreeSet<&'a str>,
        order: &mut Vec<&'a Service>,
    ) {
        let Some(build) = &service.build else { return };
        // A circle is found by the build itself: the image is not there.
        if begun.insert(&service.name) {
            bases(project, build).for_each(|(_, base)| visit(project, base, begun, order));
            order.push(service);
        }
    }
    let (mut begun, mut order) = (BTreeSet::new(), Vec::new());
    for name in sorted(project, names) {
        if let Some(service) = project.services.get(&name) {
            visit(project, service, &mut begun, &mut order);
        }
    }
    order
}
