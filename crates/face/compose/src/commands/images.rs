//! `images`, `pull` and `push`.

use std::collections::{BTreeMap, BTreeSet};

use ferry_cli::{
    face::{Args, CliError, Command, Outcome, align_with, run_words},
    flags::{Flag, Matches},
};
use ferry_client::path_segment;
use ferry_docker_api::ImageInspect;
use ferry_stdx::size;
use serde_json::{Value, json};

use super::{
    Compose, DRY, Verb,
    containers::{chosen, own},
    list::ago,
    select,
};
use crate::{
    model::{Project, Service},
    run::{Container, images},
};

pub(super) static IMAGES: Verb = Verb {
    command: Command {
        name: "images",
        short: "List images used by the created containers",
        usage: "[OPTIONS] [SERVICE...]",
        args: Args::Any,
        flags: &[
            DRY,
            Flag::string("format", "Format the output. Values: [table | json]").default("table"),
            Flag::bool("quiet", "Only display IDs").short('q'),
        ],
        ..Command::NEW
    },
    run: show,
};

pub(super) static PULL: Verb = Verb {
    command: Command {
        name: "pull",
        short: "Pull service images",
        usage: "[OPTIONS] [SERVICE...]",
        args: Args::Any,
        flags: &[
            DRY,
            Flag::bool("ignore-buildable", "Ignore images that can be built"),
            Flag::bool(
                "ignore-pull-failures",
                "Pull what it can and ignores images with pull failures",
            ),
            Flag::bool("include-deps", "Also pull services declared as dependencies"),
            Flag::string("policy", "Apply pull policy (\"missing\"|\"always\")"),
            Flag::bool("quiet", "Pull without printing progress information").short('q'),
        ],
        ..Command::NEW
    },
    run: pull,
};

pub(super) static PUSH: Verb = Verb {
    command: Command {
        name: "push",
        short: "Push service images",
        usage: "[OPTIONS] [SERVICE...]",
        args: Args::Any,
        flags: &[
            DRY,
            Flag::bool(
                "ignore-push-failures",
                "Push what it can and ignores images with push failures",
            ),
            Flag::bool("include-deps", "Also push images of services declared as dependencies"),
            Flag::bool("quiet", "Push without printing progress information").short('q'),
        ],
        ..Command::NEW
    },
    run: push,
};

fn show(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let format = matches.text("format");
    if !matches!(format, "table" | "json") {
        return Err(CliError::new(format!("unsupported format {format:?}")));
    }
    let (project, names) = chosen(compose, matches)?;
    let session = compose.session()?;
    let own = compose.cli.wait(own(&session, &project, &names))?;
    if matches.flag("quiet") {
        let ids: BTreeSet<&str> =
            own.iter().map(|one| one.summary.image_id.trim_start_matches("sha256:")).collect();
        let ids: String = ids.into_iter().map(|id| format!("{id}\n")).collect();
        compose.cli.print(&ids)?;
        return Ok(0);
    }
    let mut known: BTreeMap<String, ImageInspect> = BTreeMap::new();
    for one in &own {
        let id = &one.summary.image_id;
        if !known.contains_key(id) {
            let path = format!("/images/{}/json", path_segment(id));
            let found = compose.cli.wait(session.client.get(path).json())?;
            known.insert(id.clone(), found);
        }
    }
    let rows: Vec<Shown> = own
        .iter()
        .filter_map(|one| Some(Shown::new(one, known.get(&one.summary.image_id)?)))
        .collect();
    if format == "json" {
        let list: Vec<Value> = rows.iter().map(|row| row.json.clone()).collect();
        compose.cli.print(&Value::Array(list).to_string())?;
        return Ok(0);
    }
    let mut text = "CONTAINER\tREPOSITORY\tTAG\tPLATFORM\tIMAGE ID\tSIZE\tCREATED\n".to_owned();
    rows.iter().for_each(|row| text.push_str(&row.line));
    compose.cli.print(&align_with(&text, 20, 1))?;
    Ok(0)
}

/// The image of a container, as a line and as JSON.
struct Shown {
    line: String,
    json: Value,
}

impl Shown {
    fn new(one: &Container, image: &ImageInspect) -> Shown {
        let name = one.summary.image.as_str();
        let (repository, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') && !name.is_empty() => (name, tag),
            _ => (name, "latest"),
        };
        let id = &one.summary.image_id;
        let short: String = id.trim_start_matches("sha256:").chars().take(12).collect();
        let variant =
            if image.variant.is_empty() { String::new() } else { format!("/{}", image.variant) };
        let platform = format!("{}/{}{variant}", image.os, image.architecture);
        let created = ferry_stdx::time::Timestamp::parse_rfc3339(&image.created);
        let created = created.map_or_else(|| "N/A".to_owned(), |at| ago(at.seconds()));
        let bytes = u64::try_from(image.size).unwrap_or(0);
        let line = format!(
            "{}\t{repository}\t{tag}\t{platform}\t{short}\t{}\t{created}\n",
            one.name,
            size::format_decimal_short(bytes),
        );
        let json = json!({
            "ID": id, "ContainerName": one.name, "Repository": repository, "Tag": tag,
            "Platform": platform, "Size": bytes, "LastTagTime": image.metadata.last_tag_time,
        });
        Shown { line, json }
    }
}

fn pull(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let policy = matches.text("policy");
    if !matches!(policy, "" | "missing" | "always") {
        return Err(CliError::new(format!(
            "invalid value for --policy: {policy:?}: must be \"missing\" or \"always\""
        )));
    }
    let mut project = compose.project()?;
    let names = select(&mut project, matches.args(), matches.flag("include-deps"))?;
    let session = compose.session()?;
    let mut chosen: BTreeMap<String, &Service> = BTreeMap::new();
    for service in names.iter().filter_map(|name| project.services.get(name)) {
        let mut images: Vec<String> = service.hook_images().map(str::to_owned).collect();
        let policy = if policy.is_empty() { service.pull_policy.as_str() } else { policy };
        let builds = service.build.is_some()
            && (service.image.is_empty() || matches.flag("ignore-buildable"));
        match policy {
            _ if builds => {
                session.progress("", &service.name, "Skipped - No image to be pulled");
            }
            "never" | "build" => session.progress("", &service.name, "Skipped"),
            _ => images.push(project.image_of(service)),
        }
        if policy == "never" {
            continue;
        }
        for image in images {
            if matches!(policy, "missing" | "if_not_present") {
                let path = format!("/images/{}/json", path_segment(&image));
                if compose.cli.wait(session.client.get(path).done()).is_ok() {
                    let words = "Skipped - Image is already present locally";
                    session.progress("", &service.name, words);
                    continue;
                }
            }
            chosen.entry(image).or_insert(service);
        }
    }
    let ignore = matches.flag("ignore-pull-failures");
    let quiet = matches.flag("quiet");
    compose.cli.wait(async {
        let pulls = chosen.iter().map(|(image, service)| {
            images::pull(&session, service, image, quiet, "pull was asked for")
        });
        let mut first = None;
        for outcome in futures_util::future::join_all(pulls).await {
            match outcome {
                Err(error) if ignore => compose.cli.warn(error.message()),
                Err(error) => first = first.or(Some(error)),
                Ok(()) => {}
            }
        }
        first.map_or(Ok(0), Err)
    })
}

fn push(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let mut project = compose.project()?;
    let names = select(&mut project, matches.args(), matches.flag("include-deps"))?;
    let (ignores, quiet) = (matches.flag("ignore-push-failures"), matches.flag("quiet"));
    push_all(compose, &project, &names, ignores, quiet)
}

/// Pushes the images that are built for services.
pub(super) fn push_all(
    compose: &Compose<'_>,
    project: &Project,
    names: &BTreeSet<String>,
    ignores: bool,
    quiet: bool,
) -> Outcome {
    let session = compose.session()?;
    for service in names.iter().filter_map(|name| project.services.get(name)) {
        let Some(build) = &service.build else {
            session.progress("", &service.name, "Skipped");
            continue;
        };
        if service.image.is_empty() {
            session.progress("", &service.name, "Skipped - No image to be pushed");
            continue;
        }
        for name in std::iter::once(&service.image).chain(&build.tags) {
            if compose.dry {
                compose.cli.println(&format!("POST /images/{name}/push  # push was asked for"))?;
                continue;
            }
            session.progress("", &service.name, "Pushing");
            compose.progress.finish();
            let mut words = vec!["push".to_owned()];
            if quiet {
                words.push("--quiet".to_owned());
            }
            words.push(name.clone());
            match run_words(compose.cli, &words) {
                Err(error) if ignores => {
                    compose.cli.warn(error.message());
                }
                Err(error) => return Err(error),
                Ok(0) => session.progress("", &service.name, "Pushed"),
                Ok(code) if ignores => {
                    compose.cli.warn(&format!("push of {name} ended with code {code}"));
                }
                Ok(code) => return Ok(code),
            }
        }
    }
    Ok(0)
}
