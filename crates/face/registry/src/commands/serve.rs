//! `ferry registry serve`.

use std::{io::IsTerminal, path::Path, sync::Arc};

use ferry_cli::{
    face::{Args, Cli, CliError, Command, Outcome},
    flags::{Flag, Matches},
};
use ferry_registry_store::{Limits, Pattern, Store};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

use crate::{dispatch::State, serve::Server};

pub(super) const COMMAND: Command = Command {
    name: "serve",
    short: "Serve a registry from a directory",
    usage: "[OPTIONS]",
    flags: &[
        Flag::string("addr", "Address to listen on").default("127.0.0.1:5000"),
        Flag::list(
            "immutable",
            "Tags that stay as they are once set: REPOSITORY[:TAG], with * for any characters",
        ),
        Flag::bool("insecure-http", "Serve without TLS on an address that is not loopback"),
        Flag::string("log-level", "Set the logging level (\"debug\"|\"info\"|\"warn\"|\"error\")")
            .default("info"),
        Flag::uint("max-connections", "Most connections at once; further ones wait")
            .default("4096"),
        Flag::bytes("max-blob-size", "Largest blob").default("64g"),
        Flag::string("root", "Directory with the registry's content")
            .default("/var/lib/ferry-registry"),
    ],
    args: Args::None,
    run,
    ..Command::NEW
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    log_to_stderr(matches.text("log-level"))?;
    let limits = Limits {
        blob: u64::try_from(matches.bytes("max-blob-size")).unwrap_or(0),
        ..Limits::default()
    };
    let immutable = matches.texts("immutable").iter().map(|text| Pattern::new(text)).collect();
    let store = Store::open(Path::new(matches.text("root")), limits, immutable)
        .map_err(|error| CliError::new(ferry_errkind::chain(&error)))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(32)
        .enable_all()
        .build()
        .map_err(|error| CliError::new(format!("cannot start threads: {error}")))?;
    runtime.block_on(serve(cli, matches, store))
}

async fn serve(cli: &Cli, matches: &Matches, store: Store) -> Outcome {
    let address = matches.text("addr");
    let failed = |error| CliError::new(format!("cannot listen on {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    if !address.ip().is_loopback() && !matches.flag("insecure-http") {
        return Err(CliError::new(format!(
            "{address} is not loopback, and without TLS everybody on the way can read and change images"
        ))
        .with_hint("give --insecure-http to do it all the same"));
    }
    let root = store.root().display().to_string();
    let state = Arc::new(State { store: Arc::new(store) });
    let connections = usize::try_from(matches.int("max-connections")).unwrap_or(1).max(1);
    let server = Server { listener, tls: None, connections };
    cli.println(&format!("registry of {root} on http://{address}"))?;
    server.run(state, told_to_end()).await;
    Ok(0)
}

async fn told_to_end() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        // Without handlers, signals end the process at once.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn log_to_stderr(level: &str) -> Result<(), CliError> {
    if !matches!(level, "debug" | "info" | "warn" | "error") {
        return Err(CliError::new(format!("invalid logging level: {level}")));
    }
    let filter = EnvFilter::try_from_env("FERRY_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    Ok(())
}
