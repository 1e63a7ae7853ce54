//! `compose config`: the canonical form of a project.

use std::collections::{BTreeMap, BTreeSet};

use ferry_cli::{
    face::{Args, CliError, Command, Outcome, align_with},
    flags::{Flag, Matches},
};
use ferry_client::path_segment;
use serde_json::{Value, json};

use super::{Compose, DRY, Verb, select};
use crate::{
    kubernetes::{self, Wishes},
    load::{self, Form},
    model::Project,
    run::labels::service_hash,
    yaml::to_yaml,
};

const FLAGS: &[Flag] = &[
    DRY,
    Flag::bool("environment", "Print environment used for interpolation."),
    Flag::string("format", "Format the output. Values: [yaml | json]"),
    Flag::string("hash", "Print the service config hash, one per line."),
    Flag::bool("images", "Print the image names, one per line."),
    Flag::bool("lock-image-digests", "Produces an override file with image digests"),
    Flag::bool("models", "Print the model names, one per line."),
    Flag::bool("networks", "Print the network names, one per line."),
    Flag::bool(
        "no-consistency",
        "Don't check model consistency - warning: may produce invalid Compose output",
    ),
    Flag::bool("no-env-resolution", "Don't resolve service env files"),
    Flag::bool("no-interpolate", "Don't interpolate environment variables"),
    Flag::bool("no-normalize", "Don't normalize compose model"),
    Flag::bool("no-path-resolution", "Don't resolve file paths"),
    Flag::string("output", "Save to file (default to stdout)").short('o'),
    Flag::bool("profiles", "Print the profile names, one per line."),
    Flag::bool("quiet", "Only validate the configuration, don't print anything").short('q'),
    Flag::bool("resolve-image-digests", "Pin image tags to digests"),
    Flag::bool("services", "Print the service names, one per line."),
    Flag::bool("variables", "Print model variables and default values."),
    Flag::bool("volumes", "Print the volume names, one per line."),
];

pub(super) static CONFIG: Verb = Verb {
    command: Command {
        name: "config",
        short: "Parse, resolve and render compose file in canonical format",
        usage: "[OPTIONS] [SERVICE...]",
        args: Args::Any,
        flags: FLAGS,
        ..Command::NEW
    },
    run,
};

pub(super) static CONVERT: Verb = Verb {
    command: Command {
        name: "convert",
        short: "Converts the compose file to platform's canonical format",
        usage: "[OPTIONS] [SERVICE...]",
        args: Args::Any,
        flags: CONVERT_FLAGS,
        hidden: true,
        ..Command::NEW
    },
    run: convert,
};

/// Those of `config`, and what `--format kubernetes` wants.
const CONVERT_FLAGS: &[Flag] = &{
    let mut all = [DRY; FLAGS.len() + 2];
    let mut at = 0;
    while at < FLAGS.len() {
        all[at] = FLAGS[at];
        at += 1;
    }
    all[at] = Flag::string(
        "ingress",
        "Domain of an ingress for published ports (with --format kubernetes)",
    )
    .beyond_docker();
    all[at + 1] =
        Flag::string("storage", "Size of persistent volume claims (with --format kubernetes)")
            .default("1Gi")
            .beyond_docker();
    all
};

fn convert(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    if matches.text("format") != "kubernetes" {
        if let Some(flag) = ["ingress", "storage"].into_iter().find(|flag| matches.is_set(flag)) {
            return Err(CliError::new(format!("--{flag} wants --format kubernetes")));
        }
        return run(compose, matches);
    }
    let mut project = compose.project()?;
    let names = select(&mut project, matches.args(), true)?;
    let wishes = Wishes {
        ingress: matches.text("ingress").to_owned(),
        storage: matches.text("storage").to_owned(),
    };
    let converted = kubernetes::convert(&project, &names, &wishes)?;
    for notice in &converted.notices {
        compose.cli.warn(notice);
    }
    if matches.flag("quiet") {
        return Ok(0);
    }
    let texts: Vec<String> = converted.objects.iter().map(to_yaml).collect();
    put(compose, matches, &texts.join("---\n"))
}

fn run(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let mut request = compose.request.clone();
    request.raw = matches.flag("no-interpolate");
    request.keep_env_files = matches.flag("no-env-resolution");
    request.keep_paths = matches.flag("no-path-resolution");
    request.unchecked = matches.flag("no-consistency");
    request.not_normalised = matches.flag("no-normalize");
    if matches.flag("variables") {
        let text =
            variables(&load::variables(&request).map_err(super::failed)?, matches.text("format"))?;
        return put(compose, matches, &text);
    }
    // The real one hashes services with their files of variables unread.
    request.keep_env_files |= matches.is_set("hash");
    let mut project = compose.project_of(&request)?;
    let names = match matches.args() {
        [] => project.services.keys().cloned().collect(),
        args => select(&mut project, args, true)?,
    };
    if matches.flag("quiet") {
        return Ok(0);
    }
    let text = if matches.is_set("hash") {
        hashes(&project, &names, matches.text("hash"))?
    } else if matches.flag("services") {
        lines(names.iter())
    } else if matches.flag("volumes") {
        lines(part(&mut project, &names, "volumes").iter())
    } else if matches.flag("networks") {
        lines(part(&mut project, &names, "networks").iter())
    } else if matches.flag("models") {
        lines(project.tree["models"].as_object().into_iter().flat_map(|map| map.keys()))
    } else if matches.flag("profiles") {
        lines(project.profiles.iter())
    } else if matches.flag("images") {
        let chosen = names.iter().filter_map(|name| project.services.get(name));
        let images: Vec<String> = chosen.flat_map(|service| project.images_of(service)).collect();
        lines(images.iter())
    } else if matches.flag("environment") {
        project.environment.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
    } else {
        if matches.flag("resolve-image-digests") || matches.flag("lock-image-digests") {
            pin(compose, &mut project, &names)?;
        }
        if matches.flag("lock-image-digests") {
            locked(&request, &project, &names)?
        } else {
            whole(&mut project, &names, matches.text("format"), request.raw)?
        }
    };
    put(compose, matches, &text)
}

fn put(compose: &Compose<'_>, matches: &Matches, text: &str) -> Outcome {
    match matches.text("output") {
        "" => compose.cli.print(text)?,
        path => std::fs::write(path, text)
            .map_err(|error| CliError::new(format!("open {path}: {error}")))?,
    }
    Ok(0)
}

fn hashes(project: &Project, names: &BTreeSet<String>, wanted: &str) -> Result<String, CliError> {
    let asked: Vec<&str> = match wanted {
        "*" => names.iter().map(String::as_str).collect(),
        list => list.split(',').collect(),
    };
    let mut text = String::new();
    for name in asked {
        let service = project.services.get(name).or_else(|| project.disabled.get(name));
        let service = service.ok_or_else(|| CliError::new(format!("no such service: {name}")))?;
        text.push_str(&format!("{name} {}\n", service_hash(service)));
    }
    Ok(text)
}

fn lines<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(|name| format!("{name}\n")).collect()
}

fn variables(found: &BTreeMap<String, load::Variable>, format: &str) -> Result<String, CliError> {
    match format {
        "" | "table" => {
            let mut text = "NAME\tREQUIRED\tDEFAULT VALUE\tALTERNATE VALUE\n".to_owned();
            for (name, one) in found {
                text.push_str(&format!(
                    "{name}\t{}\t{}\t{}\n",
                    one.required, one.default, one.alternate
                ));
            }
            Ok(align_with(&text, 20, 1))
        }
        "json" | "yaml" => {
            let all: serde_json::Map<String, Value> = found
                .iter()
                .map(|(name, one)| {
                    let value = json!({
                        "Name": name, "DefaultValue": one.default, "PresenceValue": one.alternate,
                        "Required": one.required,
                    });
                    (name.clone(), value)
                })
                .collect();
            if format == "json" {
                return Ok(Value::Object(all).to_string() + "\n");
            }
            let lower = |(name, value): (String, Value)| {
                let map = value.as_object().cloned().unwrap_or_default();
                (name, map.into_iter().map(|(key, value)| (key.to_lowercase(), value)).collect())
            };
            Ok(to_yaml(&Value::Object(all.into_iter().map(lower).collect())))
        }
        other => Err(CliError::new(format!("unsupported format {other:?}"))),
    }
}

/// Puts the digest of each image behind its name, as its registry has it.
pub(super) fn pin(
    compose: &Compose<'_>,
    project: &mut Project,
    names: &BTreeSet<String>,
) -> Result<(), CliError> {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for name in names {
        let Some(service) = project.services.get(name) else { continue };
        for image in std::iter::once(service.image.as_str()).chain(service.hook_images()) {
            if !(image.is_empty() || image.contains('@') || known.contains_key(image)) {
                known.insert(image.to_owned(), pinned(compose, image)?);
            }
        }
        for tree in [&mut project.tree["services"], &mut project.all_services] {
            let Some(service) = tree.get_mut(name) else { continue };
            pin_one(service, &known);
            for hook in service["pre_start"].as_array_mut().into_iter().flatten() {
                pin_one(hook, &known);
            }
        }
    }
    Ok(())
}

fn pin_one(place: &mut Value, known: &BTreeMap<String, String>) {
    let image = place.get_mut("image");
    if let Some((image, pinned)) = image.and_then(|image| {
        let pinned = known.get(image.as_str()?)?;
        Some((image, pinned))
    }) {
        *image = json!(pinned);
    }
}

/// An image's name with its digest.
fn pinned(compose: &Compose<'_>, image: &str) -> Result<String, CliError> {
    let session = compose.session()?;
    let auth = ferry_cli::face::registry_auth(compose.cli, image)?;
    let path = format!("/distribution/{}/json", path_segment(image));
    let mut call = session.client.get(path);
    if !auth.is_empty() {
        call = call.header("X-Registry-Auth", auth);
    }
    let found: Value = compose.cli.wait(call.json())?;
    let digest = found.pointer("/Descriptor/digest").and_then(Value::as_str);
    let digest = digest
        .ok_or_else(|| CliError::new(format!("the daemon names no digest of image {image}")))?;
    let reference =
        ferry_oci::Reference::parse(image).map_err(|error| CliError::new(error.to_string()))?;
    let tag = reference.tag().unwrap_or("latest");
    Ok(format!("{}:{tag}@{digest}", reference.familiar_name()))
}

/// Only the images, for a file beside the others.
pub(super) fn locked(
    request: &load::Request,
    project: &Project,
    names: &BTreeSet<String>,
) -> Result<String, CliError> {
    let services = || names.iter().filter_map(|name| project.services.get(name));
    // The steps of a list have no names: a file that says one thing of a step has to say all. Variables in it stay variables.
    let written = match services().any(|service| service.hook_images().next().is_some()) {
        true => {
            let raw = load::Request { raw: true, ..request.clone() };
            load::load(&raw).map_err(super::failed)?.project.tree
        }
        false => Value::Null,
    };
    let mut all = serde_json::Map::new();
    for service in services() {
        let name = &service.name;
        let ours = &project.tree["services"][name];
        let mut one = serde_json::Map::new();
        if let Some(image) = ours.get("image") {
            one.insert("image".to_owned(), image.clone());
        }
        if service.hook_images().next().is_some() {
            let mut hooks = written["services"][name]["pre_start"].clone();
            let pinned = ours["pre_start"].as_array().into_iter().flatten();
            for (hook, pinned) in hooks.as_array_mut().into_iter().flatten().zip(pinned) {
                if let Some(image) = pinned.get("image") {
                    hook["image"] = image.clone();
                }
            }
            one.insert("pre_start".to_owned(), hooks);
        }
        if !one.is_empty() {
            all.insert(name.clone(), Value::Object(one));
        }
    }
    // In the place of the list, not behind it. Texts of several lines are farther in.
    let text = to_yaml(&json!({ "services": all }));
    Ok(text.replace("\n    pre_start:\n", "\n    pre_start: !override\n"))
}

/// Leaves the chosen services in the tree, and what they use.
fn reduce(project: &mut Project, names: &BTreeSet<String>) {
    for name in names {
        if project.tree["services"].get(name).is_none() {
            project.tree["services"][name] = project.all_services[name].clone();
        }
    }
    if let Some(services) = project.tree["services"].as_object_mut() {
        services.retain(|name, _| names.contains(name));
    }
    if !project.all_resources {
        load::prune(&mut project.tree);
    }
}

/// The names of one kind of what services use.
fn part(project: &mut Project, names: &BTreeSet<String>, kind: &str) -> Vec<String> {
    reduce(project, names);
    project.tree[kind].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

fn whole(
    project: &mut Project,
    names: &BTreeSet<String>,
    format: &str,
    raw: bool,
) -> Result<String, CliError> {
    reduce(project, names);
    let form = match format {
        "" | "yaml" => Form::Yaml,
        "json" => Form::Json,
        other => return Err(CliError::new(format!("unsupported format {other:?}"))),
    };
    load::config(&project.tree, form, raw).map_err(|error| CliError::new(error.to_string()))
}
