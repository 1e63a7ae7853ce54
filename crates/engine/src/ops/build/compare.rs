//! Two layers, or two images, beside each other: what differs between them, by name.

use std::{
    collections::BTreeMap,
    fmt,
    io::{BufReader, Read},
};

use ferry_archive::{Entry, Limits, TarReader};
use ferry_errkind::{ErrorKind, Failure};
use ferry_oci::{Digest, Hasher, ImageConfig};
use serde_json::Value;

use crate::Shared;

/// Characters of a value that are shown.
const SHOWN: usize = 200;

/// A file that is in one layer only, or not the same in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    path: String,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    New,
    Gone,
    Kind,
    Content,
    Mode(u32, u32),
    Owner((u32, u32), (u32, u32)),
    Link,
    Attributes,
    Time,
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { path, what } = self;
        match what {
            What::New => write!(out, "{path} is new"),
            What::Gone => write!(out, "{path} is gone"),
            What::Kind => write!(out, "{path} is another kind of file"),
            What::Content => write!(out, "{path} has other content"),
            What::Mode(was, is) => write!(out, "{path} has mode {is:o}, had {was:o}"),
            What::Owner((was, group), (is, now)) => {
                write!(out, "{path} belongs to {is}:{now}, belonged to {was}:{group}")
            }
            What::Link => write!(out, "{path} leads elsewhere"),
            What::Attributes => write!(out, "{path} has other extended attributes"),
            What::Time => write!(out, "{path} has another time of modification"),
        }
    }
}

/// A file of a layer.
struct Seen {
    entry: Entry,
    content: Digest,
}

/// Which files of a layer are not as in the one before. With `times`, those count, too.
pub(super) fn layers(
    shared: &Shared,
    before: &Digest,
    now: &Digest,
    times: bool,
) -> Result<Vec<Difference>, Failure> {
    let (mut then, now) = (read(shared, before)?, read(shared, now)?);
    let mut found = Vec::new();
    let mut add = |path: &[u8], what| {
        let path = format!("/{}", String::from_utf8_lossy(path));
        found.push(Difference { path, what });
    };
    for (path, is) in now {
        match then.remove(&path) {
            None => add(&path, What::New),
            Some(was) => was.against(&is, times).into_iter().for_each(|what| add(&path, what)),
        }
    }
    then.keys().for_each(|path| add(path, What::Gone));
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

impl Seen {
    fn against(&self, now: &Seen, times: bool) -> Option<What> {
        let (was, is) = (&self.entry, &now.entry);
        if was.kind != is.kind || was.device != is.device {
            return Some(What::Kind);
        }
        let owner = |entry: &Entry| (entry.uid, entry.gid);
        let moved = times && was.mtime != is.mtime;
        let link = |entry: &Entry| ferry_archive::clean(&entry.link).ok();
        [
            (self.content != now.content || was.size != is.size).then_some(What::Content),
            (was.link != is.link && link(was) != link(is)).then_some(What::Link),
            (was.mode != is.mode).then_some(What::Mode(was.mode, is.mode)),
            (owner(was) != owner(is)).then_some(What::Owner(owner(was), owner(is))),
            (was.xattrs != is.xattrs).then_some(What::Attributes),
            moved.then_some(What::Time),
        ]
        .into_iter()
        .flatten()
        .next()
    }
}

fn read(shared: &Shared, layer: &Digest) -> Result<BTreeMap<Vec<u8>, Seen>, Failure> {
    let broken = |why: String| {
        Failure::new(ErrorKind::Internal, format!("cannot read the layer {layer}: {why}"))
    };
    let of = |error: &dyn std::error::Error| broken(ferry_errkind::chain(error));
    let tar = shared.layers.tar(layer).map_err(|error| of(&error))?;
    let mut tar = TarReader::new(BufReader::with_capacity(256 << 10, tar), Limits::default());
    let mut all = BTreeMap::new();
    let mut buffer = vec![0; 256 << 10];
    while let Some(mut member) = tar.next_member().map_err(|error| of(&error))? {
        let mut hasher = Hasher::new();
        // Where the holes are is content, too.
        hasher.update(format!("{:?}", member.entry.sparse).as_bytes());
        let mut left = member.entry.stored;
        while left > 0 {
            let wanted = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            let read = member.read(&mut buffer[..wanted]).map_err(|error| of(&error))?;
            hasher.update(&buffer[..read]);
            left -= read as u64;
        }
        let entry = member.entry.clone();
        let path = ferry_archive::clean(&entry.path).map_err(|error| of(&error))?;
        all.insert(path, Seen { entry, content: hasher.finish() });
    }
    Ok(all)
}

/// The first thing in which an image is not what it was, if there is one. Without `times`, those do not count.
pub(super) fn images(
    shared: &Shared,
    before: &ImageConfig,
    now: &ImageConfig,
    times: bool,
) -> Result<Option<String>, Failure> {
    for (name, was, is) in [
        ("os", Some(&before.os), Some(&now.os)),
        ("architecture", Some(&before.architecture), Some(&now.architecture)),
        ("variant", before.variant.as_ref(), now.variant.as_ref()),
        ("author", before.author.as_ref(), now.author.as_ref()),
    ] {
        if was != is {
            return Ok(Some(changed(name, &json(&was)?, &json(&is)?)));
        }
    }
    let (was, is) = (json(&before.config)?, json(&now.config)?);
    if let Some(words) = fields(&was, &is) {
        return Ok(Some(words));
    }
    if let Some(words) = files(shared, before, now, times)? {
        return Ok(Some(words));
    }
    let history = |config: &ImageConfig| {
        let mut history = config.history.clone();
        history.iter_mut().filter(|_| !times).for_each(|entry| entry.created = None);
        history
    };
    let (was, is) = (history(before), history(now));
    let at = was.iter().zip(&is).position(|(was, is)| was != is);
    let at = at.or_else(|| (was.len() != is.len()).then(|| was.len().min(is.len())));
    if let Some(at) = at {
        let name = format!("entry {} of the history", at + 1);
        return Ok(Some(changed(&name, &json(&was.get(at))?, &json(&is.get(at))?)));
    }
    let dated = times && before.created != now.created;
    Ok(match dated {
        true => Some(changed("created", &json(&before.created)?, &json(&now.created)?)),
        false => None,
    })
}

/// The first field of what containers inherit that differs.
fn fields(was: &Value, is: &Value) -> Option<String> {
    let none = serde_json::Map::new();
    let (was, is) = (was.as_object().unwrap_or(&none), is.as_object().unwrap_or(&none));
    let names = was.keys().chain(is.keys());
    let mut differing = names.filter(|name| was.get(*name) != is.get(*name));
    let name = differing.next()?;
    let of = |all: &serde_json::Map<String, Value>| all.get(name).cloned().unwrap_or_default();
    Some(changed(name, &of(was), &of(is)))
}

/// The first layer that differs, and the first file in it.
fn files(
    shared: &Shared,
    before: &ImageConfig,
    now: &ImageConfig,
    times: bool,
) -> Result<Option<String>, Failure> {
    let (was, is) = (&before.rootfs.diff_ids, &now.rootfs.diff_ids);
    let made = |config: &ImageConfig, at: usize| {
        let mut layers = config.history.iter().filter(|entry| entry.empty_layer != Some(true));
        let text = layers.nth(at).and_then(|entry| entry.created_by.clone());
        text.map_or_else(String::new, |text| format!(" ({})", short(text)))
    };
    for (at, (was_layer, is_layer)) in was.iter().zip(is).enumerate() {
        if was_layer == is_layer {
            continue;
        }
        let place = format!("layer {} of {}{}", at + 1, is.len(), made(now, at));
        let found = layers(shared, was_layer, is_layer, times)?;
        if let Some(first) = found.first() {
            let more = match found.len() {
                1 => String::new(),
                many => format!(", and {} more", many - 1),
            };
            return Ok(Some(format!("{place}: {first}{more}")));
        }
        if times {
            return Ok(Some(format!("{place}: the same files in another order")));
        }
    }
    let words = |number: usize, config: &ImageConfig, word: &str| {
        format!("layer {}{} is {word}", number + 1, made(config, number))
    };
    Ok(match was.len().cmp(&is.len()) {
        std::cmp::Ordering::Less => Some(words(was.len(), now, "new")),
        std::cmp::Ordering::Greater => Some(words(is.len(), before, "gone")),
        std::cmp::Ordering::Equal => None,
    })
}

fn json(value: &impl serde::Serialize) -> Result<Value, Failure> {
    serde_json::to_value(value)
        .map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))
}

fn changed(name: &str, was: &Value, is: &Value) -> String {
    format!("{name} is {}, was {}", short(is.to_string()), short(was.to_string()))
}

fn short(text: String) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use ferry_archive::Mtime;

    use super::*;

    fn seen(change: impl Fn(&mut Entry)) -> Seen {
        let mut entry = Entry { mode: 0o644, ..Entry::default() };
        change(&mut entry);
        Seen { entry, content: Digest::sha256_of(b"x") }
    }

    #[test]
    fn what_matters_most_is_named_first() {
        let was = seen(|_| {});
        let against = |now: &Seen, times| was.against(now, times);
        assert_eq!(against(&seen(|_| {}), true), None);
        let later = seen(|entry| entry.mtime = Mtime { seconds: 1, nanos: 0 });
        assert_eq!((against(&later, true), against(&later, false)), (Some(What::Time), None));
        let other = seen(|entry| (entry.mode, entry.uid) = (0o600, 1));
        assert_eq!(against(&other, true), Some(What::Mode(0o644, 0o600)));
        let content = Seen { content: Digest::sha256_of(b"y"), ..seen(|entry| entry.mode = 0) };
        assert_eq!(against(&content, true), Some(What::Content));
    }

    #[test]
    fn a_field_is_named_with_both_values() {
        let was = serde_json::json!({ "Cmd": ["a"], "User": "u" });
        let is = serde_json::json!({ "Cmd": ["b"], "User": "u" });
        assert_eq!(fields(&was, &is).as_deref(), Some("Cmd is [\"b\"], was [\"a\"]"));
        assert_eq!(fields(&was, &was), None);
    }
}
