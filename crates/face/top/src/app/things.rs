//! The lists beside that of containers: images, volumes, networks.

use crossterm::event::KeyCode;
use serde_json::Value;

use super::{App, Verb, View, Wish};
use crate::text::{plain, size};

/// What a list is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Images,
    Volumes,
    Networks,
}

impl Kind {
    /// Its name, and the titles of what stands beside the names.
    pub(crate) fn titles(self) -> (&'static str, [&'static str; 3]) {
        match self {
            Kind::Images => ("Images", ["ID", "SIZE", "USED BY"]),
            Kind::Volumes => ("Volumes", ["DRIVER", "CREATED", "USED BY"]),
            Kind::Networks => ("Networks", ["ID", "DRIVER", "SUBNET"]),
        }
    }

    /// Where the daemon lists it.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Kind::Images => "/images/json",
            Kind::Volumes => "/volumes",
            Kind::Networks => "/networks",
        }
    }

    fn next(self) -> Option<Kind> {
        match self {
            Kind::Images => Some(Kind::Volumes),
            Kind::Volumes => Some(Kind::Networks),
            Kind::Networks => None,
        }
    }

    pub(crate) fn verb(self) -> Verb {
        match self {
            Kind::Images => Verb::RemoveImage,
            Kind::Volumes => Verb::RemoveVolume,
            Kind::Networks => Verb::RemoveNetwork,
        }
    }

    /// The lines of the daemon's answer.
    pub(crate) fn read(self, answer: &Value) -> Vec<Thing> {
        let text = |value: &Value| plain(value.as_str().unwrap_or_default());
        let short = |value: &Value| {
            text(value).trim_start_matches("sha256:").chars().take(12).collect::<String>()
        };
        let all = if self == Kind::Volumes { &answer["Volumes"] } else { answer };
        let mut things: Vec<Thing> = all
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|one| match self {
                Kind::Images => images(one, &text(&one["Id"]), &short(&one["Id"])),
                Kind::Volumes => vec![Thing {
                    name: text(&one["Name"]),
                    id: text(&one["Name"]),
                    beside: [text(&one["Driver"]), day(&text(&one["CreatedAt"])), String::new()],
                }],
                Kind::Networks => vec![Thing {
                    name: text(&one["Name"]),
                    id: text(&one["Id"]),
                    beside: [
                        short(&one["Id"]),
                        text(&one["Driver"]),
                        text(&one["IPAM"]["Config"][0]["Subnet"]),
                    ],
                }],
            })
            .collect();
        things.sort_by(|a, b| a.name.cmp(&b.name));
        things
    }
}

/// The day of a time as RFC 3339 writes it.
fn day(time: &str) -> String {
    time.split('T').next().unwrap_or_default().to_owned()
}

/// An image under each of its names.
fn images(one: &Value, id: &str, short: &str) -> Vec<Thing> {
    let beside = [short.to_owned(), size(one["Size"].as_u64().unwrap_or(0)), String::new()];
    let tags = one["RepoTags"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let named: Vec<Thing> = tags
        .map(|tag| Thing { name: plain(tag), id: plain(tag), beside: beside.clone() })
        .collect();
    if named.is_empty() {
        return vec![Thing { name: "<none>".to_owned(), id: id.to_owned(), beside }];
    }
    named
}

/// A line of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Thing {
    pub(crate) name: String,
    /// What the daemon knows it by.
    pub(crate) id: String,
    pub(crate) beside: [String; 3],
}

impl App {
    /// The lines that the filter lets through.
    pub(crate) fn things(&self) -> Vec<&Thing> {
        let wanted = self.filter.to_lowercase();
        self.things.iter().filter(|thing| thing.name.to_lowercase().contains(&wanted)).collect()
    }

    /// How many containers use it, as text; nothing for none. The daemon's list of images does not tell.
    pub(crate) fn users(&self, kind: Kind, thing: &Thing) -> String {
        let uses = |container: &&super::Container| match kind {
            Kind::Images => {
                container.image_id.trim_start_matches("sha256:").starts_with(&thing.beside[0])
            }
            Kind::Volumes => container.mounts.iter().any(|mount| mount.name == thing.id),
            Kind::Networks => false,
        };
        match self.all.iter().filter(uses).count() {
            0 => String::new(),
            count => count.to_string(),
        }
    }

    pub(crate) fn set_things(&mut self, kind: Kind, things: Vec<Thing>) {
        if self.view == View::Things(kind) {
            self.things = things;
            self.thing = self.thing.min(self.things().len().saturating_sub(1));
        }
    }

    /// The list after this one; after the last come the containers again.
    pub(super) fn next_list(&mut self) -> Wish {
        let next = match self.view {
            View::Things(kind) => kind.next(),
            _ => Some(Kind::Images),
        };
        self.things.clear();
        self.thing = 0;
        match next {
            Some(kind) => {
                self.go(View::Things(kind));
                Wish::Things(kind)
            }
            None => {
                self.go(View::List);
                Wish::CloseThings
            }
        }
    }

    pub(super) fn thing_key(&mut self, kind: Kind, code: KeyCode, page: usize) -> Wish {
        let last = self.things().len().saturating_sub(1);
        match code {
            KeyCode::Tab => return self.next_list(),
            KeyCode::Esc if !self.filter.is_empty() => self.filter.clear(),
            KeyCode::Esc | KeyCode::Char('q') => {
                self.go(View::List);
                return Wish::CloseThings;
            }
            KeyCode::Up | KeyCode::Char('k') => self.thing = self.thing.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.thing = (self.thing + 1).min(last),
            KeyCode::PageUp => self.thing = self.thing.saturating_sub(page),
            KeyCode::PageDown => self.thing = (self.thing + page).min(last),
            KeyCode::Home | KeyCode::Char('g') => self.thing = 0,
            KeyCode::End | KeyCode::Char('G') => self.thing = last,
            KeyCode::Char('/') => {
                self.typing = true;
                self.thing = 0;
            }
            KeyCode::Char('d') | KeyCode::Delete => {
                let chosen = self.things().get(self.thing.min(last)).map(|thing| (*thing).clone());
                if let Some(thing) = chosen {
                    self.asked = Some((kind.verb(), thing.id, thing.name));
                }
            }
            _ => {}
        }
        Wish::Nothing
    }
}
