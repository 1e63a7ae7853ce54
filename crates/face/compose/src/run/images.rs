//! The images of services, before their containers: pulled, built, or here already.

use std::collections::{BTreeMap, BTreeSet};

use ferry_cli::face::{CliError, hide_progress, name_and_tag, registry_auth};
use ferry_client::path_segment;
use ferry_docker_api::JsonMessage;
use ferry_stdx::time::Timestamp;
use futures_util::future::try_join_all;
use serde::Deserialize;

use super::{
    Change, Session,
    builds::{Building, build, build_order},
};
use crate::{
    load::nanoseconds,
    model::{Project, Service},
};

/// How the command line wants images.
#[derive(Debug, Clone, Default)]
pub(crate) struct How {
    /// `--pull`; empty or `policy` leaves it to the services.
    pub(crate) pull: String,
    pub(crate) build: bool,
    pub(crate) no_build: bool,
    pub(crate) quiet_pull: bool,
    pub(crate) builds: Building,
}

#[derive(Deserialize)]
struct Found {
    #[serde(rename = "Id")]
    id: String,
    #[serde(rename = "Metadata", default)]
    metadata: Option<Tagged>,
}

#[derive(Deserialize)]
struct Tagged {
    #[serde(rename = "LastTagTime", default)]
    at: String,
}

/// What is done for one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Keep,
    Pull(&'static str),
    Build(&'static str),
}

/// Brings the services' images here; their ids. It runs commands of the command line, and so cannot be waited for inside them.
pub(crate) fn prepare(
    session: &Session<'_>,
    project: &Project,
    names: &BTreeSet<String>,
    how: &How,
) -> Result<BTreeMap<String, String>, CliError> {
    let services: Vec<&Service> =
        names.iter().filter_map(|name| project.services.get(name)).collect();
    let (mut ids, mut pulls, mut builds) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    let found = look(session, services.iter().map(|service| project.image_of(service)))?;
    for service in &services {
        let image = project.image_of(service);
        let here = found.get(&image);
        let step = decide(service, here, how, now())
            .map_err(|why| CliError::new(format!("services.{}.{why}", service.name)))?;
        match step {
            Step::Keep => drop(here.map(|here| ids.insert(service.name.clone(), here.id.clone()))),
            Step::Pull(why) => drop(pulls.insert(image, (*service, why))),
            Step::Build(why) => builds.push((*service, why)),
        }
    }
    let quiet = how.quiet_pull;
    session.cli.wait(try_join_all(
        pulls.iter().map(|(image, (service, why))| pull(session, service, image, quiet, why)),
    ))?;
    let wanted: BTreeMap<&str, &str> =
        builds.iter().map(|(service, why)| (service.name.as_str(), *why)).collect();
    let asked = wanted.keys().map(|name| (*name).to_owned()).collect();
    for service in build_order(project, &asked) {
        let image = project.image_of(service);
        let base = || session.cli.wait(find(session, &image)).map(|found| found.is_none());
        match wanted.get(service.name.as_str()) {
            Some(why) => build(session, project, service, &how.builds, why)?,
            None if base()? => {
                build(session, project, service, &how.builds, "another build starts from it")?;
            }
            None => {}
        }
    }
    let missing: Vec<_> =
        services.into_iter().filter(|service| !ids.contains_key(&service.name)).collect();
    let found = look(session, missing.iter().map(|service| project.image_of(service)))?;
    for service in missing {
        let image = project.image_of(service);
        match found.get(&image) {
            Some(here) => drop(ids.insert(service.name.clone(), here.id.clone())),
            None if session.dry => {}
            None => return Err(CliError::new(format!("No such image: {image}"))),
        }
    }
    session.cli.wait(for_hooks(session, project, names, how))?;
    Ok(ids)
}

/// Pulls what only `pre_start` runs in, where it is not here, or where it is always to be pulled.
async fn for_hooks(
    session: &Session<'_>,
    project: &Project,
    names: &BTreeSet<String>,
    how: &How,
) -> Result<(), CliError> {
    let services = names.iter().filter_map(|name| project.services.get(name));
    let mut images: BTreeMap<&str, &Service> = BTreeMap::new();
    for service in services {
        for image in service.hook_images() {
            let chosen = images.entry(image).or_insert(service);
            if policy(service, how) == "always" {
                *chosen = service;
            }
        }
    }
    try_join_all(images.into_iter().map(|(image, service)| async move {
        let policy = policy(service, how);
        if policy != "always" && find(session, image).await?.is_some() {
            return Ok(());
        }
        if policy == "never" {
            return Err(CliError::new(format!("No such image: {image}")));
        }
        pull(session, service, image, how.quiet_pull, "pre_start runs in it").await
    }))
    .await
    .map(drop)
}

/// Those of the images that are here; each is asked for once.
fn look(
    session: &Session<'_>,
    images: impl Iterator<Item = String>,
) -> Result<BTreeMap<String, Found>, CliError> {
    let images: BTreeSet<String> = images.collect();
    let all = session.cli.wait(try_join_all(images.iter().map(|image| find(session, image))))?;
    Ok(images.iter().cloned().zip(all).filter_map(|(image, found)| Some((image, found?))).collect())
}

fn now() -> Timestamp {
    Timestamp::from_system(std::time::SystemTime::now())
}

/// When images of a service are pulled.
fn policy<'a>(service: &'a Service, how: &'a How) -> &'a str {
    let given = !how.pull.is_empty() && how.pull != "policy";
    if given { &how.pull } else { &service.pull_policy }
}

/// What a service's image needs; `Err` is the key with a value that is none.
fn decide(
    service: &Service,
    found: Option<&Found>,
    how: &How,
    now: Timestamp,
) -> Result<Step, String> {
    let policy = policy(service, how);
    let builds = service.build.is_some() && !how.no_build;
    if builds && (how.build || policy == "build") {
        return Ok(Step::Build(if how.build { "--build" } else { "pull_policy is build" }));
    }
    let pulls = service.build.is_none() || !service.image.is_empty();
    let fetch = |why| Ok(if pulls { Step::Pull(why) } else { Step::Build(why) });
    match (policy, found) {
        ("always", _) if pulls && (service.build.is_none() || !builds) => {
            fetch("pull_policy is always")
        }
        ("" | "missing" | "if_not_present" | "never" | "build" | "always", Some(_)) => {
            Ok(Step::Keep)
        }
        ("never", None) if !builds => Ok(Step::Keep),
        (_, None) if builds => Ok(Step::Build("its image is not here")),
        (_, None) if service.build.is_some() && how.no_build && service.image.is_empty() => {
            Ok(Step::Keep)
        }
        (_, None) => fetch("its image is not here"),
        (text, Some(found)) => {
            let age = match text {
                "daily" => Some(86_400_000_000_000),
                "weekly" => Some(7 * 86_400_000_000_000),
                "refresh" => {
                    let after = service.pull_refresh_after.as_str();
                    let age = nanoseconds(after);
                    Some(age.ok_or_else(|| format!("pull_refresh_after: invalid value {after:?}"))?)
                }
                other => other.strip_prefix("every_").and_then(nanoseconds),
            };
            let age = age.ok_or_else(|| format!("pull_policy: invalid value {text:?}"))?;
            let tagged = found.metadata.as_ref().map_or("", |tagged| tagged.at.as_str());
            let tagged = Timestamp::parse_rfc3339(tagged).map_or(i64::MIN, Timestamp::nanos);
            let old = now.nanos().saturating_sub(tagged) > age;
            if old { fetch("its image is older than pull_policy allows") } else { Ok(Step::Keep) }
        }
    }
}

async fn find(session: &Session<'_>, image: &str) -> Result<Option<Found>, CliError> {
    let path = format!("/images/{}/json", path_segment(image));
    match session.client.get(path).json::<Found>().await {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Pulls a service's image.
pub(crate) async fn pull(
    session: &Session<'_>,
    service: &Service,
    image: &str,
    quiet: bool,
    why: &str,
) -> Result<(), CliError> {
    let (name, tag) = name_and_tag(image)?;
    let change = Change::post("/images/create")
        .query("fromImage", name)
        .query("tag", tag)
        .query_if(!service.platform.is_empty(), "platform", &service.platform);
    let why = format!("service {}: {why}", service.name);
    let Some((mut call, _permit)) = session.change(&change, &why).await? else { return Ok(()) };
    let say = |status| {
        if !quiet {
            session.progress("", &service.name, status)
        }
    };
    say("Pulling");
    let auth = registry_auth(session.cli, image)?;
    if !auth.is_empty() {
        call = call.header("X-Registry-Auth", auth);
    }
    let pulled = hide_progress(call.lines::<JsonMessage>().await?).await;
    say(if pulled.is_ok() { "Pulled" } else { "Error" });
    pulled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Build;

    #[test]
    fn policies_say_what_is_done() {
        let found = Found {
            id: "x".to_owned(),
            metadata: Some(Tagged { at: "1970-01-02T00:00:00Z".to_owned() }),
        };
        let day = 86_400_000_000_000_i64;
        let step = |image: &str, built: bool, policy: &str, here: bool| {
            let (policy, after) = policy.split_once(' ').unwrap_or((policy, ""));
            let service = Service {
                image: image.to_owned(),
                build: built.then(Build::default),
                pull_policy: policy.to_owned(),
                pull_refresh_after: after.to_owned(),
                ..Service::default()
            };
            let found = here.then_some(&found);
            decide(&service, found, &How::default(), Timestamp::from_nanos(3 * day))
        };
        for (image, built, policy, here, want) in [
            ("a", false, "", true, "Keep"),
            ("a", false, "", false, "Pull"),
            ("a", false, "always", true, "Pull"),
            ("a", false, "never", false, "Keep"),
            ("a", false, "daily", true, "Pull"),
            ("a", false, "every_49h", true, "Keep"),
            ("a", false, "weekly", true, "Keep"),
            ("a", false, "refresh 47h", true, "Pull"),
            ("a", false, "refresh 3d", true, "Keep"),
            ("a", false, "refresh 3d", false, "Pull"),
            ("", true, "", true, "Keep"),
            ("", true, "", false, "Build"),
            ("", true, "build", true, "Build"),
        ] {
            let got = step(image, built, policy, here).map(|step| format!("{step:?}"));
            assert!(got.as_ref().is_ok_and(|got| got.starts_with(want)), "{policy}: {got:?}");
        }
        for wrong in ["sometimes", "refresh", "refresh soon"] {
            assert!(step("a", false, wrong, true).is_err());
        }
    }
}
