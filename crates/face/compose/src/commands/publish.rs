//! `compose publish`: a project becomes an artifact of a registry, from where `include: oci://…` has it. As with Docker Compose, what is
//! published are the files as they are written, not what becomes of them here.

use std::collections::BTreeSet;

use base64::Engine as _;
use bytes::Bytes;
use ferry_cli::{
    face::{Args, CliError, Command, Outcome},
    flags::{Flag, Matches},
};
use ferry_oci::Digest;
use ferry_stdx::time::Timestamp;
use ferry_transfer::RawManifest;
use serde_json::{Value, json};

use super::{
    Compose, DRY, Verb,
    config::{locked, pin},
    images::push_all,
    scale::YES,
};
use crate::{
    bundle::{self, File},
    load::Request,
    model::Project,
    remote::{self, EMPTY_CONFIG_TYPE, FILE_TYPE, PROJECT_TYPE, Registries, RemoteError},
    run::labels::COMPOSE_VERSION,
};

pub(super) static PUBLISH: Verb = Verb {
    command: Command {
        name: "publish",
        short: "Publish compose application",
        usage: "[OPTIONS] REPOSITORY[:TAG]",
        args: Args::Exactly(1),
        flags: &[
            Flag::bool("app", "Published compose application (includes referenced images)"),
            DRY,
            Flag::string(
                "oci-version",
                "OCI image/artifact specification version (automatically determined by default)",
            ),
            Flag::bool("resolve-image-digests", "Pin image tags to digests"),
            Flag::bool("with-env", "Include environment variables in the published OCI artifact"),
            YES,
        ],
        ..Command::NEW
    },
    run: publish,
};

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
const EMPTY: &[u8] = b"{}";

/// A version of OCI's image specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    /// Knows no artifacts: the type of the configuration says what it is.
    Old,
    New,
}

fn publish(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let versions: &[Version] = match matches.text("oci-version") {
        "" => &[Version::New, Version::Old],
        "1.1" => &[Version::New],
        "1.0" => &[Version::Old],
        other => return Err(CliError::new(format!("unsupported OCI version: {other}"))),
    };
    let name = matches.arg(0);
    let reference = remote::parse(name).map_err(words)?;
    let request =
        Request { profiles: vec!["*".to_owned()], keep_env_files: true, ..compose.request.clone() };
    let mut project = compose.project_of(&request)?;
    let with_env = matches.flag("with-env");
    let mut files = bundle::files(&project, with_env)?;
    check(&project)?;
    if !matches.flag("yes") && !agreed(compose, &project, with_env)? {
        return Ok(0);
    }
    let names = project.services.keys().cloned().collect();
    push_all(compose, &project, &names, true, false)?;
    let app = matches.flag("app");
    // The images that go with it are those that it names, also later.
    if app || matches.flag("resolve-image-digests") {
        pin(compose, &mut project, &names)?;
        let text = locked(&request, &project, &names)?;
        files.push(File::named(FILE_TYPE, "com.docker.compose.file", "image-digests.yaml", text));
    }
    let images = if app { images(&project) } else { BTreeSet::new() };
    let session = compose.session()?;
    if compose.dry {
        let place = reference.familiar();
        session.cli.println(&format!("PUT {place}  # {} files of the project", files.len()))?;
        for image in &images {
            session.cli.println(&format!("PUT {place}  # a copy of {image}"))?;
        }
        return Ok(0);
    }
    session.progress("", name, "publishing");
    let blobs: Vec<Bytes> =
        files.iter().map(|file| file.bytes.clone()).chain([Bytes::from_static(EMPTY)]).collect();
    let registries = Registries { logins: compose.request.logins.as_ref() };
    let mut outcome = Ok(());
    for version in versions {
        let json = Bytes::from(manifest(&files, *version).to_string());
        let digest = Digest::sha256_of(&json);
        let manifest = RawManifest { media_type: MANIFEST_TYPE.to_owned(), json, digest };
        outcome = registries.push(&reference, &blobs, &manifest);
        if outcome.is_ok() && app {
            outcome = registries.push_images(&reference, &images, &manifest);
            break;
        }
        // An older registry does not know kinds of artifacts.
        if !outcome.as_ref().is_err_and(RemoteError::is_unknown_kind) {
            break;
        }
    }
    session.progress("", name, if outcome.is_ok() { "published" } else { "Error" });
    outcome.map_err(words)?;
    Ok(0)
}

/// The images that the services run, with their digests.
fn images(project: &Project) -> BTreeSet<String> {
    let services = project.tree["services"].as_object().into_iter().flatten();
    let images = services.flat_map(|(_, service)| {
        let hooks = service["pre_start"].as_array().into_iter().flatten();
        std::iter::once(service).chain(hooks).filter_map(|place| place["image"].as_str())
    });
    images.map(str::to_owned).collect()
}

fn words(error: RemoteError) -> CliError {
    CliError::new(ferry_errkind::chain(&error))
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({
        "mediaType": media_type,
        "digest": Digest::sha256_of(bytes).to_string(),
        "size": bytes.len(),
    })
}

/// A file as the manifest has it: its content stands there, too.
fn layer(file: &File) -> Value {
    let mut layer = descriptor(file.media_type, &file.bytes);
    let mut notes = json!({});
    for (name, value) in &file.annotations {
        notes[name] = json!(value);
    }
    notes["com.docker.compose.version"] = json!(COMPOSE_VERSION);
    if let Some(notes) = notes.as_object_mut() {
        notes.sort_keys();
    }
    layer["annotations"] = notes;
    layer["data"] = json!(base64::engine::general_purpose::STANDARD.encode(&file.bytes));
    layer
}

fn manifest(files: &[File], version: Version) -> Value {
    let kind = if version == Version::New { EMPTY_TYPE } else { EMPTY_CONFIG_TYPE };
    let mut config = descriptor(kind, EMPTY);
    config["data"] = json!(base64::engine::general_purpose::STANDARD.encode(EMPTY));
    let now = Timestamp::from_system(std::time::SystemTime::now());
    let now = Timestamp::from_nanos(now.seconds() * 1_000_000_000);
    let mut all = json!({"schemaVersion": 2, "mediaType": MANIFEST_TYPE});
    if version == Version::New {
        all["artifactType"] = json!(PROJECT_TYPE);
    }
    all["config"] = config;
    all["layers"] = files.iter().map(layer).collect();
    all["annotations"] = json!({"org.opencontainers.image.created": now.format_rfc3339_nano()});
    all
}

/// Refuses what nobody else could bring up.
fn check(project: &Project) -> Result<(), CliError> {
    let built = project.services.values().filter(|one| one.image.is_empty() && one.build.is_some());
    let names: String = built.map(|one| format!("- {:?}\n", one.name)).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(CliError::new(format!(
        "your Compose stack cannot be published as it only contains a build section for service(s):\n{}",
        names.trim_end()
    )))
}

/// Asks about what others should perhaps not see.
fn agreed(compose: &Compose<'_>, project: &Project, with_env: bool) -> Result<bool, CliError> {
    let mut binds = String::new();
    for service in project.services.values() {
        for mount in service.volumes.iter().filter(|mount| mount.r#type == "bind") {
            binds.push_str(&format!("{}: {}:{}\n", service.name, mount.source, mount.target));
        }
    }
    let question = format!(
        "you are about to publish bind mounts declaration within your OCI artifact.\nonly the bind mount declarations will be added to the OCI artifact (not content)\nplease double check that you are not mounting potential user's sensitive directories or data\n{binds}Are you ok to publish these bind mount declarations?"
    );
    if !binds.is_empty() && !compose.cli.confirm(&question)? {
        return Ok(false);
    }
    let (mut wrong, mut variables) = (String::new(), String::new());
    for service in project.services.values() {
        let name = &service.name;
        if service.value["env_file"].as_array().is_some_and(|list| !list.is_empty()) {
            wrong.push_str(&format!("service {name:?} has env_file declared.\n"));
        }
        if !service.environment.is_empty() {
            wrong.push_str(&format!("service {name:?} has environment variable(s) declared.\n"));
            variables.push_str(&format!("Service/Config  {name}\n"));
            for (name, value) in &service.environment {
                variables.push_str(&format!("{name}={}\n", value.clone().unwrap_or_default()));
            }
        }
    }
    for (name, config) in &project.configs {
        if let Some(variable) = &config.environment {
            wrong.push_str(&format!("config {name:?} is declare as an environment variable.\n"));
            variables.push_str(&format!("Service/Config  {name}\n{name}={variable}\n"));
        }
    }
    if !with_env && !wrong.is_empty() {
        return Err(CliError::new(format!(
            "{wrong}To avoid leaking sensitive data, you must either explicitly allow the sending of environment variables by using the --with-env flag,\nor remove sensitive data from your Compose configuration"
        )));
    }
    let question = format!(
        "you are about to publish environment variables within your OCI artifact.\nplease double check that you are not leaking sensitive data\n{variables}Are you ok to publish these environment variables?"
    );
    Ok(variables.is_empty() || compose.cli.confirm(&question)?)
}
