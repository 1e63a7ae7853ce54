//! `ferry daemon`: reads what it was told, brings the engine up, and serves it until a signal comes.

mod builder;
mod file;
mod flags;
mod listen;
mod log;
mod names;
mod notify;
mod own_file;
mod registries;
mod remap;
mod runtimes;
mod settings;

use std::{path::PathBuf, process::ExitCode};

use ferry_buildkit::BuildKit;
use ferry_cri::CriListener;
use ferry_engine::Engine;
use ferry_names::{Names, NamesSettings};
use ferry_server::{Listener, Product};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use self::flags::Invocation;

/// Runs the daemon; `name` is what it was called as.
pub(crate) fn run(name: &str, args: &[String]) -> ExitCode {
    match start(name, args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            eprintln!("{name}: {words}");
            ExitCode::FAILURE
        }
    }
}

fn start(name: &str, args: &[String]) -> Result<(), String> {
    let settings = match flags::read(name, args)? {
        Invocation::Help(text) => {
            print!("{text}");
            return Ok(());
        }
        Invocation::Version => {
            println!("Ferry version {}, build {}", env!("CARGO_PKG_VERSION"), commit());
            return Ok(());
        }
        Invocation::Settings(settings) => settings,
    };
    let settings = file::merged(*settings)?;
    let engine = settings.engine_config()?;
    let addresses = listen::addresses(&settings)?;
    let names = names::read(&settings, own_file::read()?)?;
    let product = settings.cri()?;
    if settings.switch("validate") {
        eprintln!("configuration OK");
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        return Err("the daemon needs root: it makes namespaces, mounts and cgroups".to_owned());
    }
    let inherited = ferry_sys::inherited::sockets();
    let relevel = log::to_stderr(&settings);
    let (name_settings, changes) = watch::channel(names.clone());
    let (name, args) = (name.to_owned(), args.to_vec());
    let reload = Reload { name, args, names: name_settings, relevel };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start threads: {error}"))?;
    let pid_file = settings.pid_file();
    runtime.block_on(async {
        let exec_root = engine.exec_root.clone();
        let engine = Engine::boot(engine).await.map_err(|error| ferry_errkind::chain(&error))?;
        let listeners = listen::open(&addresses, &settings, inherited).await?;
        let metrics = match settings.one("metrics-addr") {
            Some(address) => Some(
                tokio::net::TcpListener::bind(address)
                    .await
                    .map_err(|error| format!("cannot serve metrics on {address}: {error}"))?,
            ),
            None => None,
        };
        let cri = settings.one("cri").map(CriListener::bind).transpose();
        let cri = cri.map_err(|error| ferry_errkind::chain(&error))?;
        let cri = cri.map(|listener| (listener, product));
        let names = match &names {
            Some(settings) => Some(Names::open(engine.clone(), settings).await),
            None => None,
        };
        let names = (names, changes);
        let _pid_file = PidFile::write(pid_file)?;
        tracing::info!(exec_root = %exec_root.display(), "the engine is up");
        // A quarter of the daemon's memory is code that only the start needed.
        if let Err(errno) = ferry_sys::code::let_go() {
            tracing::debug!("code that only the start needed stays mapped: {errno}");
        }
        serve(engine, listeners, Beside { cri, metrics, names }, reload).await
    })?;
    // A thread that waits for a container's disk must not keep a daemon that has said goodbye.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    Ok(())
}

/// What is served beside Docker's API, if it is wanted.
struct Beside {
    cri: Option<(CriListener, ferry_cri::Product)>,
    metrics: Option<tokio::net::TcpListener>,
    names: (Option<Names>, watch::Receiver<Option<NamesSettings>>),
}

/// Serves on all sockets until the daemon is told to end.
async fn serve(
    engine: Engine,
    listeners: Vec<Listener>,
    beside: Beside,
    reload: Reload,
) -> Result<(), String> {
    let (stop, stopped) = watch::channel(false);
    let mut servers = tokio::task::JoinSet::new();
    let Beside { cri, metrics, names } = beside;
    let (names, changes) = names;
    let mut names_stopped = stopped.clone();
    servers.spawn(ferry_names::follow(engine.clone(), names, changes, async move {
        names_stopped.wait_for(|stop| *stop).await.ok();
    }));
    if let Some((listener, product)) = cri {
        let mut stopped = stopped.clone();
        let stop = async move {
            stopped.wait_for(|stop| *stop).await.ok();
        };
        tracing::info!("CRI listen on {listener:?}");
        servers.spawn(ferry_cri::serve(engine.clone(), product, listener, stop));
    }
    let buildkit = BuildKit::new(engine.clone(), product().version);
    for listener in listeners {
        let mut stopped = stopped.clone();
        let stop = async move {
            // The sender lives until all servers have ended.
            stopped.wait_for(|stop| *stop).await.ok();
        };
        tracing::info!("API listen on {listener:?}");
        servers.spawn(ferry_server::serve(
            engine.clone(),
            buildkit.clone(),
            product(),
            listener,
            stop,
        ));
    }
    if let Some(metrics) = metrics {
        let mut stopped = stopped.clone();
        let stop = async move {
            // As above.
            stopped.wait_for(|stop| *stop).await.ok();
        };
        servers.spawn(ferry_server::serve_metrics(engine.clone(), product(), metrics, stop));
    }
    notify::tell("READY=1");
    wait_for_signal(|| reload.run(&engine))
        .await
        .map_err(|error| format!("cannot wait for signals: {error}"))?;
    notify::tell("STOPPING=1");
    tracing::info!("ending; containers go on");
    stop.send_replace(true);
    let patience = std::time::Duration::from_secs(5);
    let drained = async { while servers.join_next().await.is_some() {} };
    if tokio::time::timeout(patience, drained).await.is_err() {
        tracing::warn!("clients are still connected: leaving them");
    }
    engine.shutdown().await;
    Ok(())
}

/// What SIGHUP does.
struct Reload {
    name: String,
    args: Vec<String>,
    /// Where names are to be served.
    names: watch::Sender<Option<NamesSettings>>,
    /// Changes what is logged.
    relevel: Box<dyn Fn(tracing_subscriber::EnvFilter) -> bool>,
}

impl Reload {
    /// Reads everything again, and takes over what may change while the engine runs, as dockerd. A configuration with a mistake
    /// changes nothing.
    fn run(&self, engine: &Engine) {
        let read = || -> Result<(), String> {
            let Invocation::Settings(settings) = flags::read(&self.name, &self.args)? else {
                return Ok(());
            };
            let settings = file::merged(*settings)?;
            let config = settings.engine_config()?;
            let names = names::read(&settings, own_file::read()?)?;
            engine.reload(&config);
            self.names.send_if_modified(|wanted| {
                let changed = *wanted != names;
                *wanted = names;
                changed
            });
            if !(self.relevel)(log::filter(&settings)) {
                tracing::warn!("the level of logging could not be changed");
            }
            Ok(())
        };
        match read() {
            Ok(()) => tracing::info!("the configuration was read again"),
            Err(why) => tracing::error!("the configuration stays as it is: {why}"),
        }
    }
}

async fn wait_for_signal(reload: impl Fn()) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hang_up.recv() => reload(),
        }
    }
}

fn product() -> Product {
    Product {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        git_commit: commit().to_owned(),
        build_time: option_env!("FERRY_BUILD_TIME").unwrap_or_default().to_owned(),
    }
}

fn commit() -> &'static str {
    option_env!("FERRY_COMMIT").unwrap_or("unknown")
}

/// The file with the daemon's process id; goes with the daemon.
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: PathBuf) -> Result<PidFile, String> {
        let failed = |error| format!("cannot write pid file {}: {error}", path.display());
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        std::fs::write(&path, std::process::id().to_string()).map_err(failed)?;
        Ok(PidFile(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // A file that stays says a process id that nobody has: harmless.
        drop(std::fs::remove_file(&self.0));
    }
}
