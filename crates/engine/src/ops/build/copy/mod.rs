//! `COPY`, `ADD` and `WORKDIR`: files into an image.
//!
//! What is only copied goes straight into a layer ([`direct`]). Where an archive is unpacked, or two sources meet in one file, an overlay
//! that only a descriptor refers to decides what comes of it ([`overlay`]).

mod direct;
mod overlay;

use std::{
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use ferry_archive::{Owner, Times};
use ferry_build::CopyStep;
use ferry_dockerfile::{FileMode, IgnoreFile, Source};
use ferry_errkind::{ErrorKind, Failure};
use ferry_layers::Layer;
use ferry_oci::Digest;
use ferry_sys::root::InRoot;
use rustix::fs::FileType;

use super::{
    facts::{Facts, SOURCE},
    fetch::Remote,
    tree::{Files, Found, Lookup, invalid},
};
use crate::Shared;

pub(super) use overlay::make_directory;

/// What is to be copied, looked up.
#[derive(Debug)]
pub(super) struct Copies {
    step: CopyStep,
    exclude: IgnoreFile,
    mode: Option<FileMode>,
    /// Those that files get in the layer.
    times: Times,
    items: Vec<Item>,
}

#[derive(Debug)]
enum Item {
    Found(Found),
    Document {
        name: String,
        content: String,
    },
    /// What was fetched: a file, or a directory of files.
    Remote {
        files: Files,
        found: Found,
        remote: Remote,
    },
}

impl Copies {
    /// Looks up what an instruction names. `remote` is what its URLs gave, in their order.
    pub(super) fn of(
        step: CopyStep,
        files: &Files,
        remote: Vec<Remote>,
        epoch: Option<i64>,
    ) -> Result<Copies, Failure> {
        let exclude = IgnoreFile::of(&step.flags.exclude)?;
        let mode = step.flags.chmod.as_deref().map(read_mode).transpose()?;
        let mut items = Vec::new();
        let mut remote = remote.into_iter();
        let how = Lookup { stage: step.flags.from.is_some(), parents: step.flags.parents };
        for source in &step.sources {
            match source {
                Source::Path(path) if step.add && super::fetch::is_remote(path) => {
                    let Some(remote) = remote.next() else { continue };
                    let fetched = || {
                        let root = open(&remote.directory)?;
                        // A checkout is as old as its checkout.
                        let dated = epoch.filter(|_| remote.tree);
                        let files = Files::of_context(root, IgnoreFile::default());
                        Ok::<_, Failure>(Files { dated, ..files })
                    };
                    let files = fetched()?;
                    let inside = Lookup { stage: false, parents: false };
                    let name = if remote.tree { "/" } else { remote.name.as_str() };
                    let found = Found::all(&files, name, inside)?;
                    for found in found {
                        let remote = remote.clone();
                        items.push(Item::Remote { files: fetched()?, found, remote });
                    }
                }
                Source::Path(path) => {
                    let found = Found::all(files, path, how)?;
                    // A file's own name is what patterns are about.
                    let wanted = found.into_iter().filter(|one| {
                        one.directory || !exclude.ignores(&String::from_utf8_lossy(&one.name))
                    });
                    items.extend(wanted.map(Item::Found));
                }
                Source::Document(document) => items.push(Item::Document {
                    name: document.name.clone(),
                    content: document.content.clone(),
                }),
            }
        }
        let times = epoch.map_or(Times::Own, Times::UpTo);
        Ok(Copies { step, exclude, mode, times, items })
    }

    /// All that the outcome depends on besides the image.
    pub(super) fn facts(&self, files: &Files, facts: &mut Facts) -> Result<(), Failure> {
        let flags = &self.step.flags;
        facts.add_some("--chown", flags.chown.clone());
        facts.add_some("--chmod", flags.chmod.clone());
        if !flags.exclude.is_empty() {
            facts.add("--exclude", format!("{:?}", flags.exclude));
        }
        facts.add_some("--unpack", flags.unpack.map(|unpack| unpack.to_string()));
        facts.add_some("--parents", flags.parents.then_some("true"));
        facts.add_some("--link", flags.link.then_some("true"));
        facts.add_some(
            "--from",
            matches!(files.owner, Owner::Archived).then_some("a stage or image"),
        );
        facts.add("destination", self.step.destination.as_str());
        for item in &self.items {
            match item {
                Item::Found(found) => {
                    let kept = if flags.parents { found.written.as_str() } else { "" };
                    let digest = found.digest(files, &self.exclude)?;
                    facts.add(format!("{SOURCE}{}", found.shown()), format!("{digest} {kept:?}"));
                }
                Item::Remote { files, found, remote } => {
                    let digest = found.digest(files, &self.exclude)?;
                    let value = format!("{digest} {:?}", remote.modified);
                    facts.add(format!("{SOURCE}{}", found.shown()), value);
                }
                Item::Document { name, content } => {
                    facts.add(format!("document {name}"), content.as_str());
                }
            }
        }
        Ok(())
    }

    /// Makes the layer; `before` is the one that this step made last time.
    pub(super) fn layer(
        &self,
        shared: &Shared,
        below: &[Digest],
        from: &Files,
        scratch: &Path,
        before: Option<Layer>,
    ) -> Result<Layer, Failure> {
        let unpacks = self.step.add
            && self.step.flags.unpack != Some(false)
            && self.items.iter().any(|item| overlay::may_be_archive(self, item, from));
        // As with BuildKit, each of several sources finds what those before it left at a name without a slash: the last file stays,
        // directories become one.
        let in_turn = self.items.len() > 1 && !self.step.destination.ends_with('/');
        if !(unpacks || in_turn)
            && let Some(layer) = direct::layer(self, shared, below, from, before)?
        {
            return Ok(layer);
        }
        overlay::layer(self, shared, below, from, scratch)
    }

    /// Who owns what is copied.
    fn owner(&self, root: &InRoot, from: &Files) -> Result<Owner, Failure> {
        match &self.step.flags.chown {
            Some(text) => overlay::owner_of(root, text),
            None => Ok(from.owner),
        }
    }

    /// The directory that an item goes to, and what a file is called there. A directory's content has no name of its own.
    fn place_of(&self, root: &InRoot, item: &Item) -> (PathBuf, Option<Vec<u8>>) {
        let text = &self.step.destination;
        let path = Path::new(text);
        let own: &[u8] = match item {
            Item::Found(found) if self.step.flags.parents => {
                let kept = kept_path(&self.step, &found.written);
                let full = path.join(kept);
                if found.directory {
                    return (full, None);
                }
                return (full.parent().unwrap_or(path).to_owned(), Some(found.name.clone()));
            }
            Item::Found(found) | Item::Remote { found, .. } if found.directory => {
                return (path.to_owned(), None);
            }
            Item::Found(found) => &found.name,
            Item::Remote { remote, .. } => remote.name.as_bytes(),
            Item::Document { name, .. } => name.as_bytes(),
        };
        let is_directory =
            text.ends_with('/') || matches!(root.file_type(path), Ok(Some(FileType::Directory)));
        if is_directory {
            return (path.to_owned(), Some(own.to_vec()));
        }
        // A link to a file is followed: the file is what is written.
        let found = root.resolve(path).and_then(|found| root.real_path(found.as_fd()));
        let path = found.unwrap_or_else(|_| path.to_owned());
        let name = path.file_name().map(|name| name.as_encoded_bytes().to_vec());
        let parent = path.parent().unwrap_or(Path::new("/"));
        (parent.to_owned(), Some(name.unwrap_or_else(|| own.to_vec())))
    }
}

/// Unpacks what was found into a directory of the host.
pub(super) fn unpack_into(
    files: &Files,
    found: &Found,
    name: &[u8],
    place: &Path,
) -> Result<(), Failure> {
    let target = open(place)?;
    super::tree::piped(
        |out| found.write(files, name, &IgnoreFile::default(), out),
        |input| overlay::unpack(input, target.as_dir(), files.owner),
    )
}

/// What of a source's path stays with `--parents`: what is behind `/./`, or all.
fn kept_path(step: &CopyStep, written: &str) -> String {
    let pivots = step.sources.iter().filter_map(|source| match source {
        Source::Path(path) => path.split_once("/./").map(|(before, _)| before),
        Source::Document(_) => None,
    });
    for before in pivots {
        let before = before.trim_matches('/').trim_start_matches("./");
        if let Some(rest) = written.strip_prefix(before).and_then(|rest| rest.strip_prefix('/')) {
            return rest.to_owned();
        }
    }
    written.to_owned()
}

fn read_mode(text: &str) -> Result<FileMode, Failure> {
    FileMode::parse(text).ok_or_else(|| {
        invalid(format!(
            "invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
        ))
    })
}

fn open(path: &Path) -> Result<InRoot, Failure> {
    InRoot::open(path).map_err(|errno| {
        Failure::new(ErrorKind::Internal, format!("cannot open {}: {errno}", path.display()))
    })
}
