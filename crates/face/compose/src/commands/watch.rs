//! `compose watch`: what `develop.watch` says is done when files change.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use ferry_archive::{Entry, TarWriter};
use ferry_cli::{
    face::{Args, CliError, Command, Outcome, run_words},
    flags::{Flag, Matches},
};
use ferry_client::path_segment;
use ferry_dockerfile::IgnoreFile;

use super::{Compose, DRY, Verb, scale, select};
use crate::{
    model::{Hook, Project, Service, Trigger},
    run::{
        Change, Container, Session,
        builds::{self, Building},
        changes::Changes,
        converge::Plan,
        decide::Policy,
        hooks,
    },
};

/// One change copies no more than this.
const MAX_SYNC: u64 = 512 << 20;

pub(super) static WATCH: Verb = Verb {
    command: Command {
        name: "watch",
        short: "Watch build context for service and rebuild/refresh containers when files are updated",
        usage: "[SERVICE...]",
        args: Args::Any,
        flags: &[
            DRY,
            Flag::bool("no-up", "Do not build & start services before watching"),
            Flag::bool("prune", "Prune dangling images on rebuild").default("true"),
            Flag::bool("quiet", "hide build output"),
        ],
        ..Command::NEW
    },
    run: watch,
};

/// What one service wants done.
struct Watched<'a> {
    service: &'a Service,
    trigger: &'a Trigger,
    ignore: IgnoreFile,
    /// Nothing else counts, where there is something.
    include: IgnoreFile,
}

impl Watched<'_> {
    /// The path below the trigger's, if it is one that counts.
    fn matches(&self, path: &Path) -> Option<PathBuf> {
        let below = path.strip_prefix(&self.trigger.path).ok()?;
        let text = below.to_string_lossy();
        let counts = self.include.is_empty() || self.include.ignores(&text);
        (counts && (text.is_empty() || !self.ignore.ignores(&text))).then(|| below.to_owned())
    }
}

/// Directories and files that nobody means.
fn never(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    name == ".git"
        || name.ends_with('~')
        || name.ends_with(".swp")
        || name.starts_with(".#")
        || name == "4913"
}

/// Names the process of an `up --watch` to the one that watches for it.
pub(super) const WATCHES_FOR: &str = "FERRY_WATCHES_FOR";

/// Ends with the `up --watch` that this watches for, also when that is killed.
fn end_with_parent() -> Result<(), CliError> {
    let Some(parent) = std::env::var(WATCHES_FOR).ok().and_then(|pid| pid.parse::<i32>().ok())
    else {
        return Ok(());
    };
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))
        .map_err(|errno| CliError::new(format!("cannot watch over `up`: {errno}")))?;
    // It may have ended before that.
    match rustix::process::getppid() {
        Some(now) if now.as_raw_nonzero().get() == parent => Ok(()),
        _ => Err(CliError::new("`up` has ended")),
    }
}

fn watch(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    end_with_parent()?;
    let mut project = compose.project()?;
    let names = select(&mut project, matches.args(), true)?;
    let watched = triggers(&project, &names)?;
    if watched.is_empty() {
        return Err(CliError::new(
            "none of the selected services is configured for watch, consider setting a 'develop' section",
        ));
    }
    let paths: BTreeSet<PathBuf> =
        watched.iter().map(|one| PathBuf::from(&one.trigger.path)).collect();
    let paths: Vec<PathBuf> = paths.into_iter().collect();
    let fail = |error: std::io::Error| CliError::new(format!("cannot watch files: {error}"));
    // What changes while all is built and started is told afterwards.
    let changes = (!compose.dry).then(|| Changes::of(&paths, never)).transpose().map_err(fail)?;
    if !matches.flag("no-up") {
        let mut started = project.clone();
        // Sources may have changed while nobody was watching.
        for service in started.services.values_mut().filter(|one| one.develop.is_some()) {
            if service.build.is_some() {
                service.pull_policy = "build".to_owned();
            }
        }
        scale::up(compose, &mut started, &names, Plan::default())?;
    }
    let Some(mut changes) = changes else {
        for one in &watched {
            compose.cli.println(&format!(
                "# service {}: {} when {} changes",
                one.service.name, one.trigger.action, one.trigger.path
            ))?;
        }
        return Ok(0);
    };
    let work = Work { compose, project: &project, matches };
    for one in watched.iter().filter(|one| one.trigger.initial_sync) {
        let all = BTreeSet::from([PathBuf::from(&one.trigger.path)]);
        // `up --watch` may not have started them yet.
        let own = work.containers(&one.service.name)?;
        work.sync(one, &all, &own)?;
    }
    compose.progress.finish();
    compose.cli.println("Watch enabled")?;
    loop {
        let batch = changes.next().map_err(fail)?;
        let outcome = work.react(&watched, &batch);
        compose.progress.finish();
        if let Err(error) = outcome {
            // A mistake in a file that is being edited is no reason to stop looking at it.
            compose.cli.warn(error.message());
        }
    }
}

fn triggers<'a>(
    project: &'a Project,
    names: &BTreeSet<String>,
) -> Result<Vec<Watched<'a>>, CliError> {
    let mut all = Vec::new();
    for service in names.iter().filter_map(|name| project.services.get(name)) {
        let Some(develop) = &service.develop else { continue };
        let context = service.build.as_ref().map(|build| build.context.as_str());
        for trigger in &develop.watch {
            let known = ["sync", "rebuild", "restart", "sync+restart", "sync+exec"];
            if !known.contains(&trigger.action.as_str()) {
                return Err(CliError::new(format!(
                    "services.{}.develop.watch: unsupported action {:?}",
                    service.name, trigger.action
                )));
            }
            if trigger.action.starts_with("sync") && trigger.target.is_empty() {
                return Err(CliError::new(format!(
                    "services.{}.develop.watch: target is required for {}",
                    service.name, trigger.action
                )));
            }
            if trigger.action == "rebuild" && service.build.is_none() {
                return Err(CliError::new(format!(
                    "can't watch service {:?} with action rebuild without a build context",
                    service.name
                )));
            }
            let wrong = |error: ferry_dockerfile::IgnoreError| CliError::new(error.to_string());
            let mut ignored = trigger.ignore.clone();
            // What the build does not see is not worth a copy either.
            if context == Some(trigger.path.as_str())
                && let Ok(text) =
                    std::fs::read_to_string(Path::new(&trigger.path).join(".dockerignore"))
            {
                ignored.extend(text.lines().map(str::to_owned));
            }
            let ignore = IgnoreFile::of(&ignored).map_err(wrong)?;
            let include = IgnoreFile::of(&trigger.include).map_err(wrong)?;
            all.push(Watched { service, trigger, ignore, include });
        }
    }
    Ok(all)
}

struct Work<'a> {
    compose: &'a Compose<'a>,
    project: &'a Project,
    matches: &'a Matches,
}

impl Work<'_> {
    /// Does what a batch of changes asks for: each service is rebuilt or restarted once.
    fn react(&self, watched: &[Watched<'_>], batch: &BTreeSet<PathBuf>) -> Result<(), CliError> {
        let (mut rebuild, mut restart) = (BTreeSet::new(), BTreeSet::new());
        let mut sync: BTreeMap<usize, BTreeSet<PathBuf>> = BTreeMap::new();
        for path in batch.iter().filter(|path| !path.ancestors().any(never)) {
            for (at, one) in
                watched.iter().enumerate().filter(|(_, one)| one.matches(path).is_some())
            {
                match one.trigger.action.as_str() {
                    "rebuild" => drop(rebuild.insert(one.service.name.clone())),
                    "restart" => drop(restart.insert(one.service.name.clone())),
                    _ => drop(sync.entry(at).or_default().insert(path.clone())),
                }
            }
        }
        for (at, paths) in sync {
            let one = &watched[at];
            if rebuild.contains(&one.service.name) {
                continue;
            }
            let own = self.running(&one.service.name)?;
            self.sync(one, &paths, &own)?;
            match one.trigger.action.as_str() {
                "sync+restart" => drop(restart.insert(one.service.name.clone())),
                "sync+exec" => self.exec(one)?,
                _ => {}
            }
        }
        for name in restart.difference(&rebuild) {
            self.restart(name)?;
        }
        rebuild.iter().try_for_each(|name| self.rebuild(name))
    }

    /// The containers of a service, also those that do not run.
    fn containers(&self, service: &str) -> Result<Vec<Container>, CliError> {
        let session = self.compose.session()?;
        let all = self.compose.cli.wait(session.containers(&self.project.name, false))?;
        Ok(all.into_iter().filter(|one| one.service == service).collect())
    }

    fn running(&self, service: &str) -> Result<Vec<Container>, CliError> {
        Ok(self.containers(service)?.into_iter().filter(Container::running).collect())
    }

    /// Copies files into containers of the service, and removes what is gone.
    fn sync(
        &self,
        one: &Watched<'_>,
        paths: &BTreeSet<PathBuf>,
        own: &[Container],
    ) -> Result<(), CliError> {
        let session = self.compose.session()?;
        let target = Path::new(&one.trigger.target);
        let inside = |below: &Path| {
            if below.as_os_str().is_empty() { target.to_owned() } else { target.join(below) }
        };
        let mut tar = TarWriter::new(Vec::new());
        let (mut gone, mut room) = (Vec::new(), MAX_SYNC);
        for path in paths {
            let Some(below) = one.matches(path) else { continue };
            if path.symlink_metadata().is_err() {
                gone.push(inside(&below).display().to_string());
                continue;
            }
            pack(&mut tar, path, one, &inside, &mut room).map_err(|error| {
                CliError::new(format!("cannot copy {}: {error}", path.display()))
            })?;
        }
        let tar = tar.finish().map_err(|error| CliError::new(error.to_string()))?;
        let shown = format!(
            "Syncing service {:?} after {} changes were detected",
            one.service.name,
            paths.len()
        );
        self.compose.cli.println(&shown)?;
        self.compose.cli.wait(async {
            for container in own {
                let change =
                    Change::put(format!("/containers/{}/archive", path_segment(&container.id)));
                let change = change.query("path", "/");
                if let Some((call, _permit)) = session.change(&change, "files have changed").await?
                {
                    let body = std::io::Cursor::new(tar.clone());
                    call.upload("application/x-tar", body, Some(tar.len() as u64)).done().await?;
                }
                if !gone.is_empty() {
                    let mut command = vec!["rm".to_owned(), "-rf".to_owned()];
                    command.extend(gone.iter().cloned());
                    let hook = Hook { command, user: "root".to_owned(), ..Hook::default() };
                    hooks::run(
                        &session,
                        one.service,
                        &hook,
                        &container.id,
                        &container.name,
                        "watch",
                    )
                    .await?;
                }
            }
            Ok(())
        })
    }

    fn exec(&self, one: &Watched<'_>) -> Result<(), CliError> {
        let Some(hook) = &one.trigger.exec else { return Ok(()) };
        let session = Session { attached: true, ..self.compose.session()? };
        let own = self.running(&one.service.name)?;
        self.compose.cli.wait(async {
            for container in &own {
                hooks::run(&session, one.service, hook, &container.id, &container.name, "watch")
                    .await?;
            }
            Ok(())
        })
    }

    fn restart(&self, name: &str) -> Result<(), CliError> {
        let session = self.compose.session()?;
        let own = self.running(name)?;
        self.compose
            .cli
            .println(&format!("Restarting service {name:?} after changes were detected"))?;
        self.compose.cli.wait(async {
            for container in &own {
                session.progress("Container", &container.name, "Restarting");
                let change = Change::container(&container.id, &container.name, "restart");
                session.make(change, "files have changed").await?;
                session.progress("Container", &container.name, "Started");
            }
            Ok(())
        })
    }

    fn rebuild(&self, name: &str) -> Result<(), CliError> {
        let session = self.compose.session()?;
        let Some(service) = self.project.services.get(name) else { return Ok(()) };
        self.compose
            .cli
            .println(&format!("Rebuilding service {name:?} after changes were detected..."))?;
        let quiet = self.matches.flag("quiet");
        let how = Building { quiet, one_platform: true, ..Building::default() };
        builds::build(&session, self.project, service, &how, "files have changed")?;
        let mut project = self.project.clone();
        let names = BTreeSet::from([name.to_owned()]);
        let plan = Plan { policy: Policy::Diverged, named: names.clone(), ..Plan::default() };
        scale::up(self.compose, &mut project, &names, plan)?;
        if self.matches.flag("prune") {
            let filter = format!("--filter=label=com.docker.compose.project={}", self.project.name);
            let words = ["image", "prune", "--force", filter.as_str()].map(str::to_owned);
            run_words(self.compose.cli, &words)?;
        }
        self.compose.cli.println(&format!("service {name:?} successfully built"))
    }
}

/// Adds a file, or the files below a directory.
fn pack(
    tar: &mut TarWriter<Vec<u8>>,
    path: &Path,
    one: &Watched<'_>,
    inside: &dyn Fn(&Path) -> PathBuf,
    room: &mut u64,
) -> std::io::Result<()> {
    let found = path.metadata()?;
    let Some(below) = one.matches(path).filter(|_| !never(path)) else { return Ok(()) };
    if found.is_dir() {
        for entry in std::fs::read_dir(path)? {
            pack(tar, &entry?.path(), one, inside, room)?;
        }
        return Ok(());
    }
    if !found.is_file() {
        return Ok(());
    }
    let size = found.len();
    *room =
        room.checked_sub(size).ok_or_else(|| std::io::Error::other("the files are too large"))?;
    let name = inside(&below).display().to_string();
    let entry = Entry {
        path: name.trim_start_matches('/').as_bytes().to_vec(),
        mode: found.permissions().mode() & 0o7777,
        size,
        stored: size,
        ..Entry::default()
    };
    tar.append_file(&entry, std::io::Read::take(File::open(path)?, size))
}
