//! `ferry registry serve`.

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ferry_access::Grant;
use ferry_cli::{
    face::{Args, Cli, CliError, Command, Outcome, logins},
    flags::{Flag, Matches},
};
use ferry_registry_store::{Limits, Pattern, Rule, Store};
use ferry_transfer::BucketAddress;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

use super::{
    ROOT, failed,
    rules::{self, Wished},
    seconds,
    tending::{keep_records, keep_tidy, options, save_records},
};
use crate::{
    access::{Access, AccessFile, Guard},
    control,
    dispatch::{Content, State},
    journal::{Audit, Requests},
    proxy::{Address, Upstream, Upstreams},
    rules::Rules,
    serve::Server,
    tls::TlsFiles,
};

pub(super) const COMMAND: Command = Command {
    name: "serve",
    short: "Serve a registry from a directory",
    long: "Serve a registry from a directory.\n\nWithout accounts (see 'registry user add', --htpasswd) anybody who reaches it may do everything, which has to be\nallowed by --open where that is not only this machine.",
    usage: "[OPTIONS]",
    flags: &[
        Flag::string("addr", "Address to listen on").default("127.0.0.1:5000"),
        Flag::list("anonymous-pull", "Repositories that anybody may pull: a prefix, or * for all"),
        Flag::bool(
            "from-engine",
            "Serve what the daemon has, to be pulled only; nothing is copied",
        ),
        Flag::duration("gc-every", "Collect garbage so often; 0s for never").default("24h0m0s"),
        Flag::duration(
            "gc-grace",
            "What a push sent or asked for stays for so long without a manifest",
        )
        .default("2h0m0s"),
        Flag::duration("gc-untagged", "Remove manifests without a tag after so long; 0s for never"),
        Flag::string("htpasswd", "File with users and bcrypt hashes, who may do everything"),
        Flag::list(
            "immutable",
            "Tags that stay as they are once set: REPOSITORY[:TAG], with * for any characters",
        ),
        Flag::bool("insecure-http", "Serve without TLS on an address that is not loopback"),
        Flag::string("log-level", "Set the logging level (\"debug\"|\"info\"|\"warn\"|\"error\")")
            .default("info"),
        Flag::bytes("max-blob-size", "Largest blob").default("64g"),
        Flag::uint("max-connections", "Most connections at once; further ones wait")
            .default("4096"),
        Flag::uint("max-rate", "Most requests of an address in a second; 0 for any number"),
        Flag::uint("max-uploads", "Most uploads that are begun and not finished").default("10000"),
        Flag::list(
            "mirror",
            "Bring images of another registry here: [PREFIX=]https://HOST/REPOSITORY[:TAG][,every=1h][,delete]",
        ),
        Flag::bool("open", "Let anybody do everything although others than this machine reach it"),
        Flag::list("proxy", "Keep copies of what another registry has: [PREFIX=]https://HOST"),
        Flag::duration("proxy-timeout", "An upstream that sends nothing for so long is away")
            .default("30s"),
        Flag::duration("proxy-ttl", "Ask an upstream again after so long where a tag points")
            .default("1m0s"),
        Flag::list(
            "replicate",
            "Send what is pushed here to another registry: REPOSITORY[:TAG]=https://HOST[/PREFIX][,delete]",
        ),
        Flag::string("request-log", "File to which every request is written"),
        Flag::list("retain", "Which tags stay: REPOSITORY[:TAG],keep=N,older=30d"),
        ROOT,
        Flag::string(
            "storage",
            "Keep blobs in a bucket of S3: s3://BUCKET[/PREFIX][?endpoint=URL&region=NAME&…]",
        ),
        Flag::string("tls-cert", "File with the server's certificate"),
        Flag::string(
            "tls-client-ca",
            "File with authorities of certificates that clients must have",
        ),
        Flag::string("tls-key", "File with the server's private key"),
        Flag::list(
            "tls-self-signed",
            "Make a certificate for these host names and addresses, if there is none yet",
        ),
        Flag::string(
            "url",
            "Where clients reach this registry, if it is behind a proxy: https://registry.example.com",
        ),
    ],
    args: Args::None,
    run,
    ..Command::NEW
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    log_to_stderr(matches.text("log-level"))?;
    let rules = retention(matches)?;
    let content = content(cli, matches)?;
    // A bucket answers later than a disk, and who waits for it is not to hold up others.
    let waiting = matches!(&content, Content::Store(store) if store.bucket().is_some());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(if waiting { 256 } else { 32 })
        .enable_all()
        .build()
        .map_err(|error| CliError::new(format!("cannot start threads: {error}")))?;
    let served = runtime.block_on(serve(cli, matches, content, rules));
    runtime.shutdown_timeout(Duration::from_secs(2));
    served
}

/// Flags about what is pushed, of which there is nothing where a daemon is served.
const ABOUT_PUSHES: [&str; 13] = [
    "gc-every",
    "gc-grace",
    "gc-untagged",
    "immutable",
    "max-blob-size",
    "max-uploads",
    "mirror",
    "proxy",
    "proxy-timeout",
    "proxy-ttl",
    "replicate",
    "retain",
    "storage",
];

fn content(cli: &Cli, matches: &Matches) -> Result<Content, CliError> {
    if matches.flag("from-engine") {
        if let Some(flag) = ABOUT_PUSHES.iter().find(|flag| matches.is_set(flag)) {
            let words =
                format!("--{flag} is about what is kept here: it does not go with --from-engine");
            return Err(CliError::new(words));
        }
        return Ok(Content::Daemon(cli.client()?.clone()));
    }
    let limits = Limits {
        blob: u64::try_from(matches.bytes("max-blob-size")).unwrap_or(0),
        uploads: usize::try_from(matches.int("max-uploads")).unwrap_or(1).max(1),
        ..Limits::default()
    };
    let immutable = matches.texts("immutable").iter().map(|text| Pattern::new(text)).collect();
    let storage = Some(matches.text("storage")).filter(|text| !text.is_empty());
    let storage = storage.map(str::parse::<BucketAddress>).transpose();
    let storage = storage.map_err(|error| CliError::new(error.to_string()))?;
    let store = Store::open_with(Path::new(matches.text("root")), limits, immutable, storage);
    Ok(Content::Store(Arc::new(store.map_err(|error| failed(&error))?)))
}

fn upstreams(cli: &Cli, matches: &Matches) -> Result<Upstreams, CliError> {
    let addresses = matches.texts("proxy").iter().map(|text| text.parse::<Address>());
    let addresses = addresses.collect::<Result<Vec<_>, _>>().map_err(CliError::new)?;
    let client = rules::client(addresses.iter(), patience(matches));
    let ttl = Duration::from_secs(seconds(matches, "proxy-ttl"));
    let all = addresses
        .into_iter()
        .map(|address| Upstream::new(address, ttl, client.clone(), logins(cli)));
    Upstreams::new(all.collect()).map_err(CliError::new)
}

/// How long another registry may say nothing.
fn patience(matches: &Matches) -> Duration {
    Duration::from_secs(seconds(matches, "proxy-timeout").max(1))
}

fn retention(matches: &Matches) -> Result<Vec<Rule>, CliError> {
    let rules = matches.texts("retain").iter().map(|text| text.parse::<Rule>());
    rules.collect::<Result<_, _>>().map_err(|error| CliError::new(error.to_string()))
}

async fn serve(cli: &Cli, matches: &Matches, content: Content, rules: Vec<Rule>) -> Outcome {
    let root = Path::new(matches.text("root"));
    let address = matches.text("addr");
    let refused = |error| CliError::new(format!("cannot listen on {address}: {error}"));
    let upstreams = upstreams(cli, matches)?;
    let wished = Wished::read(matches)?;
    wished.check(&upstreams)?;
    // It makes the directory, if there is none.
    let access = accounts(matches, root)?;
    let tls = tls(matches, root)?;
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let open = access.is_open(&access.loaded());
    check_exposure(matches, address.ip().is_loopback(), tls.is_some(), open)?;
    let audit = Arc::new(Audit::open(&root.join("audit.log")).map_err(|error| {
        CliError::new(format!("cannot open {}: {error}", root.join("audit.log").display()))
    })?);
    let acceptor = match &tls {
        Some(files) => Some(files.acceptor().map_err(|error| failed(&error))?),
        None => None,
    };
    let rate = u32::try_from(matches.int("max-rate")).unwrap_or(0);
    let url = Some(matches.text("url").trim_end_matches('/').to_owned());
    let url = url.filter(|url| !url.is_empty());
    let between = match &content {
        Content::Store(store) => wished.start(cli, patience(matches), store, &audit)?,
        Content::Daemon(_) => Rules::default(),
    };
    let state = Arc::new(State {
        content,
        rules: Arc::new(between),
        access: Access::new(access, Guard::new(rate), url, tls.is_some()),
        audit: Arc::clone(&audit),
        requests: request_log(matches)?,
        upstreams,
    });
    let connections = usize::try_from(matches.int("max-connections")).unwrap_or(1).max(1);
    let server = Server { listener, tls: acceptor, connections };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let of = match &state.content {
        Content::Store(store) => match store.bucket() {
            None => root.display().to_string(),
            Some(bucket) => format!("{} with its blobs in {bucket}", root.display()),
        },
        Content::Daemon(daemon) => daemon.endpoint().to_string(),
    };
    cli.println(&format!("registry of {of} on {scheme}://{address}"))?;
    if let Some(files) = &tls {
        let print = files.fingerprint().map_err(|error| failed(&error))?;
        cli.println(&format!("SHA-256 fingerprint of its certificate: {print}"))?;
    }
    if let Content::Store(store) = &state.content {
        let store = Arc::clone(store);
        if store.bucket().is_some() {
            tokio::spawn(keep_records(Arc::clone(&store)));
        }
        let rules_between = Arc::clone(&state.rules);
        tokio::spawn(keep_tidy(Arc::clone(&store), Arc::clone(&audit), options(matches), rules));
        tokio::spawn(async move {
            if let Err(error) = control::serve(store, audit, rules_between).await {
                tracing::error!("the control socket cannot be served: {error}");
            }
        });
    }
    let stored = match &state.content {
        Content::Store(store) => Some(Arc::clone(store)),
        Content::Daemon(_) => None,
    };
    server.run(state, told_to_end()).await;
    if let Some(store) = stored {
        save_records(store).await;
    }
    Ok(0)
}

fn tls(matches: &Matches, root: &Path) -> Result<Option<TlsFiles>, CliError> {
    let file = |name: &str| Some(matches.text(name)).filter(|text| !text.is_empty());
    let client_authorities = file("tls-client-ca").map(PathBuf::from);
    let names = matches.texts("tls-self-signed");
    match (file("tls-cert"), file("tls-key"), names.is_empty()) {
        (Some(certificate), Some(key), true) => Ok(Some(TlsFiles {
            certificate: certificate.into(),
            key: key.into(),
            client_authorities,
        })),
        (None, None, false) => {
            let files = TlsFiles::self_signed(root, names.to_vec());
            let files = files.map_err(|error| failed(&error))?;
            Ok(Some(TlsFiles { client_authorities, ..files }))
        }
        (None, None, true) if client_authorities.is_none() => Ok(None),
        (None, None, true) => Err(CliError::new("--tls-client-ca needs TLS")),
        _ => Err(CliError::new("give --tls-cert and --tls-key, or --tls-self-signed")),
    }
}

fn accounts(matches: &Matches, root: &Path) -> Result<AccessFile, CliError> {
    let htpasswd = Some(matches.text("htpasswd")).filter(|text| !text.is_empty());
    let anonymous: Result<Vec<Grant>, _> = matches
        .texts("anonymous-pull")
        .iter()
        .map(|prefix| format!("{prefix}=pull").parse::<Grant>())
        .collect();
    let anonymous = anonymous.map_err(|error| CliError::new(error.to_string()))?;
    AccessFile::open(root, htpasswd.map(PathBuf::from), anonymous).map_err(|error| failed(&error))
}

/// What others than this machine reach needs TLS and accounts, unless the user insists.
fn check_exposure(
    matches: &Matches,
    loopback: bool,
    tls: bool,
    open: bool,
) -> Result<(), CliError> {
    if loopback {
        return Ok(());
    }
    if !tls && !matches.flag("insecure-http") {
        let words = "without TLS everybody on the way to an address that is not loopback can read and change images";
        return Err(CliError::new(words)
            .with_hint("give --tls-cert and --tls-key, or --tls-self-signed HOST, or --insecure-http to do it all the same"));
    }
    if open && !matches.flag("open") {
        let words = "without accounts everybody who reaches this address may push and delete";
        return Err(CliError::new(words).with_hint(
            "add one with 'ferry registry user add', or give --open to do it all the same",
        ));
    }
    Ok(())
}

fn request_log(matches: &Matches) -> Result<Option<Requests>, CliError> {
    let path = matches.text("request-log");
    if path.is_empty() {
        return Ok(None);
    }
    let opened = Requests::open(Path::new(path));
    opened.map(Some).map_err(|error| CliError::new(format!("cannot open {path}: {error}")))
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
