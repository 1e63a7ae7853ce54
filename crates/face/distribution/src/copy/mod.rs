//! `image cp SOURCE DESTINATION`: an image from any place to any place. Only what is missing travels.

mod archive;
mod daemon;
mod ends;
mod error;
mod layout;
mod place;
mod stream;
mod work;
mod writer;

use std::{
    cell::RefCell,
    collections::HashSet,
    fs::File,
    path::{Path, PathBuf},
};

use ferry_cli::{
    face::{Args, Cli, CliError, Command, Outcome},
    flags::{Flag, Matches},
};
use ferry_client::Client as Daemon;
use ferry_oci::{InvalidPlatform, Platform, Reference};
use ferry_stdx::size::format_decimal;
use ferry_transfer::{Client, Wanted};

use self::{
    archive::Archive,
    daemon::ServedImage,
    ends::{End, Source, Target, saved},
    error::CopyError,
    layout::Layout,
    place::Place,
    work::{Tally, Work},
    writer::Writer,
};
use crate::registry::{self, failed};

pub(crate) const COMMAND: Command = Command {
    name: "cp",
    short: "Copy an image between registries, daemons, archives and layouts",
    long: "Copy an image between registries, daemons, archives and layouts. Only what is not there yet travels.

Places:
  docker://NAME or NAME       at a registry
  docker-daemon:NAME          in the daemon
  ssh://[USER@]HOST/NAME      in the daemon of another machine, by ssh
  docker-archive:FILE[:NAME]  a tar, as save writes it
  oci:DIRECTORY[:NAME]        an OCI layout

Between registries and layouts, all platforms of an image are copied, with its signatures and whatever else is about it.",
    usage: "[OPTIONS] SOURCE DESTINATION",
    flags: &[
        Flag::bool("insecure", "Allow communication with insecure registries"),
        Flag::string("platform", "Copy this platform of the image only (e.g. \"linux/arm64\")"),
        Flag::bool("quiet", "Only print the digest").short('q'),
        Flag::bool("referrers", "Copy signatures, SBOMs and what else is about the image")
            .default("true"),
    ],
    args: Args::Exactly(2),
    run,
    ..Command::NEW
};

/// What both ends are opened with.
struct Means<'a> {
    cli: &'a Cli,
    client: Client,
}

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let (from, to) = (Place::parse(matches.arg(0))?, Place::parse(matches.arg(1))?);
    let platform = match matches.text("platform") {
        "" => None,
        text => Some(
            text.parse::<Platform>()
                .map_err(|error: InvalidPlatform| CliError::new(error.to_string()))?
                .normalized(),
        ),
    };
    let at_registries: Vec<&Reference> = [&from, &to]
        .into_iter()
        .filter_map(|place| match place {
            Place::Registry(name) => Some(name),
            _ => None,
        })
        .collect();
    let insecure = if matches.flag("insecure") { at_registries.as_slice() } else { &[] };
    let means = Means { cli, client: registry::client(insecure) };
    let source = source(&means, &from, matches!(to, Place::Registry(_)))?;
    let about = matches.flag("referrers");
    let work = |target| Work {
        source: &source,
        target,
        platform: platform.clone(),
        about,
        tally: Tally::default(),
    };
    let first = target(&means, &to, &from, Ask::Yes)?;
    let (mut copy, mut second) = (work(&first), None);
    let mut copied = cli.wait(copy.run());
    if copied.as_ref().is_err_and(CopyError::is_refusal) && first.has_left_out() {
        // What the daemon had may be gone meanwhile: all of it, then.
        let whole = second.insert(target(&means, &to, &from, Ask::No)?);
        copy = work(whole);
        copied = cli.wait(copy.run());
    }
    let target = copy.target;
    if let (Err(_), Target::Archive { end: End::File(partial, _), .. }) = (&copied, target) {
        // What is left of it helps nobody.
        drop(std::fs::remove_file(partial));
    }
    let digest = copied.map_err(|error| failed(&error))?;
    if !matches.flag("quiet") {
        tell(cli, &copy.tally);
    }
    cli.println(&digest.to_string())?;
    Ok(0)
}

/// What has travelled, on standard error.
fn tell(cli: &Cli, tally: &Tally) {
    cli.warn(&format!(
        "{} blobs copied ({}), {} mounted, {} there already; {} manifests",
        tally.copied.get(),
        format_decimal(tally.bytes.get()),
        tally.mounted.get(),
        tally.there.get(),
        tally.manifests.get()
    ));
}

fn opened<T>(result: Result<T, CopyError>) -> Result<T, CliError> {
    result.map_err(|error| failed(&error))
}

fn source(means: &Means<'_>, place: &Place, compress: bool) -> Result<Source, CliError> {
    let Means { cli, client } = means;
    match place {
        Place::Registry(name) => {
            let auth = registry::auth(cli, name)?;
            let repository = registry::open(client, auth.as_ref(), name, Wanted::Read);
            let repository = cli.wait(repository).map_err(|error| failed(&error))?;
            Ok(Source::Registry(Box::new(repository), name.clone()))
        }
        Place::Daemon(name) => {
            let place = format!("docker-daemon:{}", name.familiar());
            of_daemon(means, cli.client()?, &place, name, compress)
        }
        Place::Ssh(host, name) => {
            let place = format!("{host}/{}", name.familiar());
            of_daemon(means, &cli.client_at(host)?, &place, name, compress)
        }
        Place::Archive(path, name) => {
            let file = opened(File::open(path).map_err(CopyError::file("open", path)))?;
            let archive = Archive::open(file, path, name.as_ref(), compress);
            Ok(Source::Archive(Box::new(opened(archive)?)))
        }
        Place::Layout(path, name) => Ok(Source::Layout(opened(Layout::open(path, name.clone()))?)),
    }
}

/// Whether a daemon is asked what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    Yes,
    No,
}

fn target(means: &Means<'_>, place: &Place, from: &Place, ask: Ask) -> Result<Target, CliError> {
    let Means { cli, client } = means;
    match place {
        Place::Registry(name) => {
            let auth = registry::auth(cli, name)?;
            let beside = match from {
                Place::Registry(source) if source.domain() == name.domain() => Some(source.path()),
                _ => None,
            };
            let others: Vec<&str> = beside.into_iter().collect();
            let repository = registry::open(client, auth.as_ref(), name, Wanted::Write(&others));
            let repository = cli.wait(repository).map_err(|error| failed(&error))?;
            let beside = beside.filter(|path| *path != name.path()).map(str::to_owned);
            Ok(Target::Registry { repository: Box::new(repository), name: name.clone(), beside })
        }
        Place::Layout(path, name) => {
            Ok(Target::Layout(opened(Layout::create(path, name.clone()))?))
        }
        Place::Archive(path, name) => {
            let name = name.clone().or_else(|| name_of(from));
            // As `save` names it: it is nobody else's file.
            let partial = PathBuf::from(format!("{}.{}.tmp", path.display(), std::process::id()));
            let file = File::create_new(&partial).map_err(CopyError::file("make", &partial));
            let file = opened(file)?;
            let writer = Box::new(RefCell::new(Some(Writer::new(file, path))));
            let end = End::File(partial, path.clone());
            Ok(Target::Archive { writer, end, name, known: RefCell::new(None) })
        }
        Place::Daemon(name) => to_daemon(cli.client()?.clone(), name, ask),
        Place::Ssh(host, name) => to_daemon(cli.client_at(host)?, name, ask),
    }
}

fn of_daemon(
    means: &Means<'_>,
    daemon: &Daemon,
    place: &str,
    name: &Reference,
    compress: bool,
) -> Result<Source, CliError> {
    // Blobs that a registry is to have are compressed, for which they are needed whole.
    if !compress && let Some(image) = opened(means.cli.wait(ServedImage::open(daemon, name)))? {
        return Ok(Source::Daemon(Box::new(image)));
    }
    let file = opened(means.cli.wait(saved(daemon, name)))?;
    let archive = Archive::open(file, Path::new(place), Some(name), compress);
    Ok(Source::Archive(Box::new(opened(archive)?)))
}

fn to_daemon(daemon: Daemon, name: &Reference, ask: Ask) -> Result<Target, CliError> {
    let file = opened(stream::nameless())?;
    let writer = Box::new(RefCell::new(Some(Writer::new(file, Path::new("archive")))));
    let known = RefCell::new((ask == Ask::Yes).then(HashSet::new));
    Ok(Target::Archive { writer, end: End::Load(daemon), name: Some(name.clone()), known })
}

/// The name that an image has where it comes from.
fn name_of(place: &Place) -> Option<Reference> {
    match place {
        Place::Registry(name) | Place::Daemon(name) | Place::Ssh(_, name) => Some(name.clone()),
        Place::Archive(_, name) => name.clone(),
        Place::Layout(..) => None,
    }
    .filter(|name| name.tag().is_some())
}
