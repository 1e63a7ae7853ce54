//! `compose snapshot` and `restore`: the volumes of a project, frozen together and brought back together.
//!
//! Over the Engine API only. Containers are paused all at once, so that what belongs together is of one moment. Ferry's daemon keeps
//! snapshots of the volumes then, which share their blocks where the file system can, and they are read when all run again. Where it cannot
//! (ext4), they are copies: the pause lasts as long as they take, and the disk holds them until they are read. With Docker's daemon, and
//! where a volume lies elsewhere, a volume is read through a container that has it while they stand still.
//!
//! Each tar is as `cp` has it of the place in a container: all of it is in a directory that is called as that is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use ferry_cli::{
    face::{Args, CliError, Command, Outcome},
    flags::{Flag, Matches},
};
use ferry_client::{Call, path_segment};
use futures_util::future::{join_all, try_join_all};
use tokio::signal::unix::{SignalKind, signal};

use super::{Compose, DRY, Verb, scale::keep_counts, up::stop_in_order};
use crate::{
    model::Project,
    run::{
        Change, Container, Session,
        converge::{self, Plan},
        images, start,
    },
};

const DIRECTORY: Flag = Flag::string(
    "directory",
    "Where snapshots are kept (default: .compose-snapshots in the project's directory)",
)
.short('d');

pub(super) static SNAPSHOT: Verb = Verb {
    command: Command {
        name: "snapshot",
        short: "Save the volumes of a project, all of one moment (beyond Docker)",
        usage: "[OPTIONS] NAME",
        args: Args::Exactly(1),
        flags: &[
            DIRECTORY,
            DRY,
            Flag::bool("no-pause", "Do not pause containers while their volumes are read"),
        ],
        ..Command::NEW
    },
    run: snapshot,
};

pub(super) static RESTORE: Verb = Verb {
    command: Command {
        name: "restore",
        short: "Bring back the volumes of a project as a snapshot has them (beyond Docker)",
        usage: "[OPTIONS] NAME",
        args: Args::Exactly(1),
        flags: &[
            DIRECTORY,
            DRY,
            Flag::bool("force", "Don't ask to confirm that today's data is lost").short('f'),
        ],
        ..Command::NEW
    },
    run: restore,
};

/// Where a snapshot of that name is.
fn place(project: &Project, matches: &Matches) -> Result<PathBuf, CliError> {
    let name = matches.arg(0);
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.starts_with('.') || !name.chars().all(good) {
        return Err(CliError::new(format!(
            "invalid snapshot name {name:?}: only letters, digits, hyphens, underscores and dots"
        )));
    }
    let base = match matches.text("directory") {
        "" => project.directory.join(".compose-snapshots"),
        given => PathBuf::from(given),
    };
    Ok(base.join(name))
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> CliError {
    let path = path.display().to_string();
    move |error| CliError::new(format!("{path}: {error}"))
}

/// For each volume of the project a container that has it, and where; `roots` are what those places must be called.
fn seats<'a>(
    project: &Project,
    containers: &'a [Container],
    roots: &BTreeMap<String, String>,
) -> BTreeMap<String, (&'a Container, String)> {
    let mut seats = BTreeMap::new();
    for (key, volume) in project.volumes.iter().filter(|(_, volume)| !volume.external) {
        for container in containers {
            let mounts = container.summary.mounts.as_deref().unwrap_or_default();
            let fits = |place: &str| roots.get(key).is_none_or(|root| root == root_of(place));
            let here = |mount: &&ferry_docker_api::MountPoint| {
                mount.name == volume.name && fits(&mount.destination)
            };
            if let Some(mount) = mounts.iter().find(here) {
                seats.insert(key.clone(), (container, mount.destination.clone()));
                break;
            }
        }
    }
    seats
}

fn snapshot(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let project = compose.project()?;
    let directory = place(&project, matches)?;
    let session = compose.session()?;
    let all = compose.cli.wait(session.containers(&project.name, false))?;
    let seats = seats(&project, &all, &BTreeMap::new());
    if seats.is_empty() {
        return Err(CliError::new("no container of the project has one of its volumes"));
    }
    if directory.exists() {
        return Err(CliError::new(format!("snapshot {} already exists", directory.display())));
    }
    for (key, _) in
        project.volumes.iter().filter(|(key, one)| !one.external && !seats.contains_key(*key))
    {
        compose.cli.warn(&format!("volume {key} is not saved: no container of the project has it"));
    }
    // What is not complete has a name that no snapshot can have.
    let partial = directory.with_file_name(format!(".{}.partial", matches.arg(0)));
    drop(fs::remove_dir_all(&partial));
    if !session.dry {
        fs::create_dir_all(&partial).map_err(failed(&partial))?;
    }
    let users: BTreeSet<&str> = seats
        .keys()
        .filter_map(|key| project.volumes.get(key))
        .map(|volume| volume.name.as_str())
        .collect();
    let uses = |one: &&Container| one.summary.state == "running" && one.has_any(&users);
    let still: Vec<&Container> =
        if matches.flag("no-pause") { Vec::new() } else { all.iter().filter(uses).collect() };
    let pauses = !matches.flag("no-pause");
    let outcome = compose.cli.wait(async {
        // Without a pause a volume is read as it lies: the daemon would make whoever writes to it stand still.
        let daemon_keeps = pauses && session.hands_over().await?;
        let saves: Vec<Save<'_>> = seats
            .iter()
            .filter_map(|(key, (container, target))| {
                let volume = project.volumes.get(key)?;
                let own = matches!(volume.driver.as_str(), "" | "local")
                    && !volume.driver_opts.contains_key("type");
                let kept = (daemon_keeps && own).then(|| format!("compose-{}", matches.arg(0)));
                let file = partial.join(format!("{key}.tar"));
                Some(Save {
                    session: &session,
                    key,
                    volume: &volume.name,
                    container,
                    target,
                    kept,
                    file,
                })
            })
            .collect();
        let saved = all_of(&session, &saves, &still).await;
        for (save, forgotten) in saves.iter().zip(join_all(saves.iter().map(Save::forget)).await) {
            // What was read is good all the same.
            if let (Err(error), Some(name)) = (forgotten, &save.kept) {
                let what = format!("the daemon's copy {name} of volume {}", save.volume);
                compose.cli.warn(&format!("WARNING: {what} is still there: {}", error.message()));
            }
        }
        saved?;
        if session.dry {
            return Ok(());
        }
        let roots: BTreeMap<&str, &str> =
            saves.iter().map(|one| (one.key, root_of(one.target))).collect();
        let said = serde_json::json!({ "project": project.name, "roots": roots });
        let path = partial.join(SAID);
        fs::write(&path, format!("{said:#}\n")).map_err(failed(&path))
    });
    if let Err(error) = outcome {
        drop(fs::remove_dir_all(&partial));
        return Err(error);
    }
    if !session.dry {
        fs::rename(&partial, &directory).map_err(failed(&directory))?;
        compose.cli.println(&directory.display().to_string())?;
    }
    Ok(0)
}

/// Does work until Ctrl-C or the like.
async fn until_a_signal(work: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    let caught = |kind| {
        signal(kind).map_err(|error| CliError::new(format!("cannot catch signals: {error}")))
    };
    let mut interrupt = caught(SignalKind::interrupt())?;
    let mut terminate = caught(SignalKind::terminate())?;
    tokio::select! {
        done = work => done,
        _ = interrupt.recv() => Err(CliError::silent(130)),
        _ = terminate.recv() => Err(CliError::silent(143)),
    }
}

/// Saves volumes: those that the daemon keeps are read when nobody stands still any more.
async fn all_of(
    session: &Session<'_>,
    saves: &[Save<'_>],
    still: &[&Container],
) -> Result<(), CliError> {
    // Of somebody who was killed.
    try_join_all(saves.iter().map(Save::forget)).await?;
    while_paused(session, still, async {
        try_join_all(saves.iter().map(Save::still)).await.map(drop)
    })
    .await?;
    until_a_signal(async { try_join_all(saves.iter().map(Save::later)).await.map(drop) }).await
}

/// Does work while containers are paused. Whatever becomes of it, a signal as well, nobody stays paused.
async fn while_paused(
    session: &Session<'_>,
    still: &[&Container],
    work: impl Future<Output = Result<(), CliError>>,
) -> Result<(), CliError> {
    let why = "volumes are to be of one moment";
    // To the end, so that it is known who is paused.
    let pauses = join_all(still.iter().map(|one| each(session, one, "pause", why))).await;
    let paused = still.iter().zip(&pauses).filter(|(_, paused)| paused.is_ok());
    let paused: Vec<&Container> = paused.map(|(one, _)| *one).collect();
    let done = match pauses.into_iter().collect::<Result<Vec<()>, CliError>>() {
        Err(error) => Err(error),
        Ok(_) => until_a_signal(work).await,
    };
    let why = "volumes have been read";
    let resumes = join_all(paused.into_iter().map(|one| each(session, one, "unpause", why))).await;
    done.and_then(|()| resumes.into_iter().collect())
}

async fn each(
    session: &Session<'_>,
    one: &Container,
    verb: &str,
    why: &str,
) -> Result<(), CliError> {
    session.make(Change::container(&one.id, &one.name, verb), why).await
}

/// What a snapshot says of itself, beside its tars.
const SAID: &str = "snapshot.json";

/// One volume that is saved.
struct Save<'a> {
    session: &'a Session<'a>,
    key: &'a str,
    volume: &'a str,
    container: &'a Container,
    target: &'a str,
    /// The name of the daemon's snapshot, where it keeps one.
    kept: Option<String>,
    file: PathBuf,
}

impl Save<'_> {
    fn snapshots(&self, change: fn(String) -> Change, name: &str) -> Change {
        change(format!("/volumes/{}/snapshots", path_segment(self.volume)))
            .shown_as(format!("/volumes/{}/snapshots", self.volume))
            .query("name", name)
    }

    /// What is done while nobody writes.
    async fn still(&self) -> Result<(), CliError> {
        let Some(name) = &self.kept else {
            let path = format!("/containers/{}/archive", path_segment(&self.container.id));
            let call = self.session.client.get(path).query("path", self.target);
            let shown = format!("/containers/{}/archive?path={}", self.container.name, self.target);
            return self.read(call, &shown).await;
        };
        let why = format!("volume {} is to be of one moment with the others", self.key);
        self.session.make(self.snapshots(Change::post, name), &why).await
    }

    /// What can wait until they run again.
    async fn later(&self) -> Result<(), CliError> {
        let Some(name) = &self.kept else { return Ok(()) };
        let path = format!("/volumes/{}/export", path_segment(self.volume));
        let root = root_of(self.target);
        let call = self.session.client.get(path).query("snapshot", name).query("root", root);
        let shown = format!("/volumes/{}/export?snapshot={name}&root={root}", self.volume);
        self.read(call, &shown).await
    }

    /// The daemon need not keep it any more.
    async fn forget(&self) -> Result<(), CliError> {
        match &self.kept {
            Some(name) if !self.session.dry => {
                let change = self.snapshots(Change::delete, name);
                self.session.make_if_there(change, "it has been read").await
            }
            _ => Ok(()),
        }
    }

    async fn read(&self, call: Call, shown: &str) -> Result<(), CliError> {
        let Save { session, key, file: path, .. } = self;
        if session.dry {
            return session.cli.println(&format!("GET {shown}  # volume {key}"));
        }
        session.progress("Volume", key, "Saving");
        let mut file = File::create(path).map_err(failed(path))?;
        let mut answer = call.send().await?;
        while let Some(chunk) = answer.chunk().await? {
            file.write_all(&chunk).map_err(failed(path))?;
        }
        file.sync_all().map_err(failed(path))?;
        session.progress("Volume", key, "Saved");
        Ok(())
    }
}

/// What a volume's tar calls its root.
fn root_of(target: &str) -> &str {
    target.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// What the tars call their roots, as the snapshot says it.
fn roots(directory: &Path) -> Result<BTreeMap<String, String>, CliError> {
    let path = directory.join(SAID);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        text => text.map_err(failed(&path))?,
    };
    let said: serde_json::Value = serde_json::from_str(&text)
        .map_err(|error| CliError::new(format!("{}: {error}", path.display())))?;
    let named = said["roots"].as_object().into_iter().flatten();
    Ok(named.filter_map(|(key, root)| Some((key.clone(), root.as_str()?.to_owned()))).collect())
}

fn restore(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let project = compose.project()?;
    let directory = place(&project, matches)?;
    let mut saved = BTreeMap::new();
    for entry in fs::read_dir(&directory).map_err(failed(&directory))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(key) =
            name.strip_suffix(".tar").filter(|key| project.volumes.contains_key(*key))
        {
            saved.insert(key.to_owned(), entry.path());
        }
    }
    if saved.is_empty() {
        return Err(CliError::new(format!(
            "{} has no volume of this project",
            directory.display()
        )));
    }
    let roots = roots(&directory)?;
    for (key, root) in roots.iter().filter(|(key, _)| saved.contains_key(*key)) {
        let mounts = || project.services.values().flat_map(|service| &service.volumes);
        let mut places = mounts().filter(|mount| mount.source == *key).map(|mount| &mount.target);
        if !places.any(|place| root_of(place) == root) {
            let words =
                format!("volume {key} was saved from a place called {root}, and no service");
            return Err(CliError::new(format!("{words} has it at one of that name now"))
                .with_hint("mount it there for the restore"));
        }
    }
    let names: Vec<&str> = saved.keys().map(String::as_str).collect();
    let question = format!("Replace the data of volumes {}?", names.join(", "));
    let session = compose.session()?;
    if !matches.flag("force") && !session.dry && !compose.cli.confirm(&question)? {
        return Ok(0);
    }
    let services: BTreeSet<String> = project.services.keys().cloned().collect();
    let ids = images::prepare(&session, &project, &services, &images::How::default())?;
    let mut plan = Plan { images: ids, only_create: true, ..Plan::default() };
    compose.cli.wait(async {
        let before = session.containers(&project.name, true).await?;
        let volumes: BTreeSet<&str> =
            saved.keys().map(|key| project.volumes[key].name.as_str()).collect();
        if let Some(one) = before.iter().find(|one| one.oneoff && one.has_any(&volumes)) {
            return Err(CliError::new(format!(
                "container {} of run has a volume that is to be restored: remove it first",
                one.name
            )));
        }
        let before: Vec<Container> = before.into_iter().filter(|one| !one.oneoff).collect();
        keep_counts(&session, &project, &services, &mut plan.scale).await?;
        stop_in_order(&session, &project, &before, None).await?;
        let why = "its volumes are made anew";
        try_join_all(before.iter().map(|one| session.remove(one, false, why))).await?;
        for key in saved.keys() {
            let name = &project.volumes[key].name;
            let change = Change::delete(format!("/volumes/{}", path_segment(name)));
            session.make_if_there(change, "it is restored").await?;
        }
        converge::create(&session, &project, &services, &plan).await?;
        let made = session.containers(&project.name, false).await?;
        let seats = seats(&project, &made, &roots);
        for (key, path) in &saved {
            match seats.get(key) {
                Some((container, target)) => {
                    let into = Path::new(target).parent().unwrap_or(Path::new("/"));
                    fill(&session, key, container, into, path).await?;
                }
                None if session.dry => {
                    session.cli.println(&format!("PUT /containers/…/archive  # volume {key}"))?;
                }
                None => return Err(CliError::new(format!("no service uses volume {key}"))),
            }
        }
        // As many run as before.
        let ran =
            before.iter().filter(|one| one.running()).map(|one| one.service.clone()).collect();
        start::start(&session, &project, &ran).await?;
        Ok(0)
    })
}

async fn fill(
    session: &Session<'_>,
    key: &str,
    container: &Container,
    into: &Path,
    path: &Path,
) -> Result<(), CliError> {
    let change = Change::put(format!("/containers/{}/archive", path_segment(&container.id)))
        .shown_as(format!("/containers/{}/archive", container.name))
        .query("path", into.display());
    let why = format!("volume {key} is restored");
    let Some((call, _permit)) = session.change(&change, &why).await? else { return Ok(()) };
    session.progress("Volume", key, "Restoring");
    let file = tokio::fs::File::open(path).await.map_err(failed(path))?;
    let length = file.metadata().await.map_err(failed(path))?.len();
    call.upload("application/x-tar", file, Some(length)).done().await?;
    session.progress("Volume", key, "Restored");
    Ok(())
}
