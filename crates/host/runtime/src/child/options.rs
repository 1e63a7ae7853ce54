//! Mount options: words of fstab and runc to attributes, propagation, and what goes to the file system.

use ferry_sys::mount::{Propagation, attr};

/// What a mount's options ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// A bind mount, and whether with what is mounted below.
    pub(crate) bind: Option<Depth>,
    /// Attributes of this mount alone.
    pub(crate) set: u64,
    pub(crate) clear: u64,
    /// Attributes of this mount and all below it (`rro`, …).
    pub(crate) set_all: u64,
    pub(crate) clear_all: u64,
    pub(crate) propagation: Option<(Propagation, Depth)>,
    /// Flags of the file system itself (`sync`, …), which bind mounts do not have.
    pub(crate) flags: Vec<String>,
    /// Everything else: the file system's own options.
    pub(crate) data: Vec<(String, Option<String>)>,
    /// A tmpfs begins with what it covers.
    pub(crate) copy_up: bool,
    /// A bind mount whose ids are mapped, and whether with what is mounted below.
    pub(crate) idmap: Option<Depth>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    This,
    All,
}

/// Word, attributes to set, attributes to clear. With an `r` before it, each applies to the whole tree.
const ATTRIBUTES: [(&str, u64, u64); 14] = [
    ("ro", attr::RDONLY, 0),
    ("rw", 0, attr::RDONLY),
    ("nosuid", attr::NOSUID, 0),
    ("suid", 0, attr::NOSUID),
    ("nodev", attr::NODEV, 0),
    ("dev", 0, attr::NODEV),
    ("noexec", attr::NOEXEC, 0),
    ("exec", 0, attr::NOEXEC),
    ("nodiratime", attr::NODIRATIME, 0),
    ("diratime", 0, attr::NODIRATIME),
    ("nosymfollow", attr::NOSYMFOLLOW, 0),
    ("symfollow", 0, attr::NOSYMFOLLOW),
    // Access time policies are a field, not bits: setting one clears the field first. Zero is relatime.
    ("relatime", 0, attr::ATIME_MASK),
    ("noatime", attr::NOATIME, attr::ATIME_MASK),
];

const MORE_ATTRIBUTES: [(&str, u64, u64); 4] = [
    ("strictatime", attr::STRICTATIME, attr::ATIME_MASK),
    ("atime", 0, attr::ATIME_MASK),
    ("norelatime", attr::STRICTATIME, attr::ATIME_MASK),
    ("nostrictatime", 0, attr::ATIME_MASK),
];

/// Flags of a superblock that fsconfig takes by name.
const SUPERBLOCK: [&str; 6] = ["sync", "async", "dirsync", "lazytime", "nolazytime", "mand"];

/// Words that change nothing here.
const NOTHING: [&str; 7] =
    ["defaults", "loud", "silent", "nomand", "iversion", "noiversion", "remount"];

impl Options {
    pub(crate) fn read<S: AsRef<str>>(words: &[S]) -> Options {
        let mut options = Options::default();
        for word in words {
            options.add(word.as_ref());
        }
        options
    }

    fn add(&mut self, word: &str) {
        match word {
            "" => {}
            "bind" => self.bind = self.bind.or(Some(Depth::This)),
            "rbind" => self.bind = Some(Depth::All),
            "tmpcopyup" => self.copy_up = true,
            "notmpcopyup" => self.copy_up = false,
            "idmap" => self.idmap = Some(Depth::This),
            "ridmap" => self.idmap = Some(Depth::All),
            _ if NOTHING.contains(&word) => {}
            _ if SUPERBLOCK.contains(&word) => self.flags.push(word.to_owned()),
            _ => {
                if let Some(found) = propagation(word) {
                    self.propagation = Some(found);
                } else if let Some((set, clear)) = attributes(word) {
                    merge(&mut self.set, &mut self.clear, set, clear);
                } else if let Some((set, clear)) = word.strip_prefix('r').and_then(attributes) {
                    merge(&mut self.set_all, &mut self.clear_all, set, clear);
                } else {
                    let (key, value) = match word.split_once('=') {
                        Some((key, value)) => (key, Some(value.to_owned())),
                        None => (word, None),
                    };
                    self.data.push((key.to_owned(), value));
                }
            }
        }
    }

    /// For a new mount, which starts without attributes: only what is to be set counts.
    pub(crate) fn new_mount_attributes(&self) -> u64 {
        self.set
    }
}

/// The last word wins.
fn merge(set: &mut u64, clear: &mut u64, add: u64, remove: u64) {
    *set = (*set & !remove) | add;
    *clear = (*clear & !add) | remove;
}

fn attributes(word: &str) -> Option<(u64, u64)> {
    let mut all = ATTRIBUTES.iter().chain(&MORE_ATTRIBUTES);
    all.find(|(name, ..)| *name == word).map(|&(_, set, clear)| (set, clear))
}

pub(crate) fn propagation(word: &str) -> Option<(Propagation, Depth)> {
    Some(match word {
        "private" => (Propagation::Private, Depth::This),
        "rprivate" => (Propagation::Private, Depth::All),
        "slave" => (Propagation::Slave, Depth::This),
        "rslave" => (Propagation::Slave, Depth::All),
        "shared" => (Propagation::Shared, Depth::This),
        "rshared" => (Propagation::Shared, Depth::All),
        "unbindable" => (Propagation::Unbindable, Depth::This),
        "runbindable" => (Propagation::Unbindable, Depth::All),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_attributes_and_the_rest_is_data() {
        let options = Options::read(&["nosuid", "strictatime", "mode=755", "size=65536k", "ro"]);
        assert_eq!(options.set, attr::NOSUID | attr::STRICTATIME | attr::RDONLY);
        assert_eq!(
            options.data,
            [("mode".into(), Some("755".into())), ("size".into(), Some("65536k".into()))]
        );
    }

    #[test]
    fn the_last_word_wins() {
        let options = Options::read(&["ro", "noatime", "rw", "relatime"]);
        assert_eq!((options.set, options.clear), (0, attr::RDONLY | attr::ATIME_MASK));
    }

    #[test]
    fn binds_have_depth_and_propagation() {
        let options = Options::read(&["rbind", "rro", "rslave"]);
        assert_eq!(options.bind, Some(Depth::All));
        assert_eq!(options.set_all, attr::RDONLY);
        assert_eq!(options.propagation, Some((Propagation::Slave, Depth::All)));
        assert_eq!(options.set, 0);
    }

    #[test]
    fn id_maps_have_a_depth() {
        assert_eq!(Options::read(&["idmap"]).idmap, Some(Depth::This));
        assert_eq!(Options::read(&["ridmap"]).idmap, Some(Depth::All));
        assert_eq!(Options::read(&["bind"]).idmap, None);
    }
}
