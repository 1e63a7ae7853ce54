//! Replacements that nobody finished: whoever is killed in the middle of one leaves two containers of one number.
//!
//! Names tell which is which. A new container has a name made of the old one's id (`temporary_name`) until it has its place, and an old
//! one that may have to come back has one made of its own (`aside_name`). Of the two the one that runs stays, and of two that run the
//! one that was there before: it is known to have been well. On our daemon the one that stays may have been started so that nobody
//! finds it, or have handed its ports over: it is revealed, which changes nothing where that is not so.

use std::collections::BTreeSet;

use ferry_cli::face::CliError;

use super::{
    Container, Session,
    converge::{name_of, rename},
    rolling::{patience, reveal_again},
};
use crate::model::{Project, Service};

const WHY: &str = "an earlier replacement was interrupted";

/// What a container of a service is to another one of its number, as its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'a> {
    /// It was to take the place of the one with this id.
    New(&'a str),
    /// It has left its place, and may have to come back.
    Old,
}

/// What `name` says where a container's own name is `own`.
fn part<'a>(name: &'a str, own: &str) -> Option<Part<'a>> {
    let prefix = name.strip_suffix(own)?.strip_suffix('_')?;
    let is_id = |id: &str| id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit());
    match prefix.strip_suffix("_old") {
        Some(id) if is_id(id) => Some(Part::Old),
        None if is_id(prefix) => Some(Part::New(prefix)),
        _ => None,
    }
}

/// The name of a container until the one that it replaces is gone.
pub(crate) fn temporary_name(old: &Container, name: &str) -> String {
    format!("{}_{name}", short(old))
}

/// The name of a container that was replaced, and stays for as long as it may have to come back.
pub(crate) fn aside_name(old: &Container, name: &str) -> String {
    format!("{}_old_{name}", short(old))
}

fn short(one: &Container) -> &str {
    one.id.get(..12).unwrap_or(&one.id)
}

/// Whether a container was to replace another one, and has never come to that.
pub(crate) fn is_leftover(project: &Project, service: &Service, one: &Container) -> bool {
    let own = name_of(project, service, one.number);
    matches!(part(&one.name, &own), Some(Part::New(_))) && one.summary.state == "created"
}

/// A container under the name of a replacement, and the other one of its number if that is there.
struct Unfinished<'a> {
    service: &'a Service,
    own: String,
    old: Option<Container>,
    new: Option<Container>,
}

fn unfinished<'a>(
    project: &'a Project,
    names: &BTreeSet<String>,
    present: &[Container],
) -> Vec<Unfinished<'a>> {
    let mut all = Vec::new();
    for one in present.iter().filter(|one| names.contains(&one.service)) {
        let Some(service) = project.services.get(&one.service) else { continue };
        let own = name_of(project, service, one.number);
        let others = || present.iter().filter(|two| two.service == one.service && two.id != one.id);
        match part(&one.name, &own) {
            Some(Part::New(id)) => {
                let old = others().find(|two| two.id.starts_with(id)).cloned();
                all.push(Unfinished { service, own, old, new: Some(one.clone()) });
            }
            Some(Part::Old) => {
                // One that is not yet called so is found by its own name, above.
                let replaces = format!("{}_{own}", short(one));
                if !others().any(|two| two.name == replaces) {
                    let new = others().find(|two| two.name == own).cloned();
                    all.push(Unfinished { service, own, old: Some(one.clone()), new });
                }
            }
            None => {}
        }
    }
    all
}

impl Unfinished<'_> {
    /// The one that stays, and the other one.
    fn judged(self) -> Option<(Container, Option<Container>)> {
        let (old, new) = match (self.old, self.new) {
            (Some(old), Some(new)) => (old, new),
            (one, other) => return one.or(other).map(|one| (one, None)),
        };
        let began = new.running() || new.summary.state != "created";
        let stays_old = old.running() || !began;
        Some(if stays_old { (old, Some(new)) } else { (new, Some(old)) })
    }
}

/// Leaves one container of each number, known to all and with its own name; `present` follows.
pub(crate) async fn finish(
    session: &Session<'_>,
    project: &Project,
    names: &BTreeSet<String>,
    timeout: Option<i64>,
    present: &mut Vec<Container>,
) -> Result<(), CliError> {
    let all = unfinished(project, names, present);
    if all.is_empty() {
        return Ok(());
    }
    let hands_over = session.hands_over().await?;
    for one in all {
        let (service, own) = (one.service, one.own.clone());
        let Some((stays, goes)) = one.judged() else { continue };
        if stays.running() && hands_over {
            let from = goes.as_ref().filter(|goes| goes.running());
            let from = from.map(|from| from.id.as_str());
            let known = (stays.id.as_str(), stays.name.as_str());
            reveal_again(session, known, from, patience(service, timeout), WHY).await?;
        }
        if let Some(goes) = &goes {
            if goes.running() {
                session.stop(goes, timeout, WHY).await?;
            }
            session.remove(goes, false, WHY).await?;
            present.retain(|other| other.id != goes.id);
        }
        if stays.name != own {
            rename(session, &stays.id, &stays.name, &own, WHY).await?;
            present
                .iter_mut()
                .filter(|one| one.id == stays.id)
                .for_each(|one| one.name.clone_from(&own));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_a_container_was_to_be() {
        let own = "shop-web-1";
        assert_eq!(part("shop-web-1", own), None);
        assert_eq!(part("0123456789ab_shop-web-1", own), Some(Part::New("0123456789ab")));
        assert_eq!(part("0123456789ab_old_shop-web-1", own), Some(Part::Old));
        for other in ["my_shop-web-1", "0123456789ab_shop-web-2", "0123456789xy_shop-web-1"] {
            assert_eq!(part(other, own), None, "{other}");
        }
    }

    fn container(id: &str, name: &str, state: &str) -> Container {
        let summary = ferry_docker_api::ContainerSummary {
            id: id.to_owned(),
            names: Some(vec![format!("/{name}")]),
            labels: Some([(super::super::labels::SERVICE.to_owned(), "web".to_owned())].into()),
            state: state.to_owned(),
            ..ferry_docker_api::ContainerSummary::default()
        };
        Container { number: 1, ..Container::from(summary) }
    }

    #[test]
    fn the_one_that_runs_stays_and_of_two_the_old_one() {
        let mut project = Project { name: "p".to_owned(), ..Project::default() };
        let service = Service { name: "web".to_owned(), ..Service::default() };
        project.services.insert("web".to_owned(), service);
        let names = BTreeSet::from(["web".to_owned()]);
        const OLD: &str = "aaaaaaaaaaaaaaaa";
        for (old, new, stays) in [
            ("p-web-1 running", "aaaaaaaaaaaa_p-web-1 created", OLD),
            ("p-web-1 running", "aaaaaaaaaaaa_p-web-1 running", OLD),
            ("p-web-1 exited", "aaaaaaaaaaaa_p-web-1 running", "new"),
            ("p-web-1 exited", "aaaaaaaaaaaa_p-web-1 created", OLD),
            ("aaaaaaaaaaaa_old_p-web-1 exited", "aaaaaaaaaaaa_p-web-1 running", "new"),
            ("aaaaaaaaaaaa_old_p-web-1 exited", "p-web-1 running", "new"),
            ("aaaaaaaaaaaa_old_p-web-1 exited", "p-web-1 exited", "new"),
            ("aaaaaaaaaaaa_old_p-web-1 running", "p-web-1 running", OLD),
        ] {
            let made = |id: &str, text: &str| {
                let (name, state) = text.split_once(' ').unwrap();
                container(id, name, state)
            };
            let present = [made(OLD, old), made("new", new)];
            let mut found = unfinished(&project, &names, &present);
            assert_eq!(found.len(), 1, "{old}, {new}");
            let (one, other) = found.remove(0).judged().unwrap();
            assert!(one.id == stays && other.is_some(), "{old}, {new}");
        }
        let alone = [container("new", "aaaaaaaaaaaa_p-web-1", "exited")];
        let (one, other) = unfinished(&project, &names, &alone).remove(0).judged().unwrap();
        assert!(one.id == "new" && other.is_none());
        assert!(unfinished(&project, &names, &[container("x", "p-web-1", "running")]).is_empty());
    }
}
