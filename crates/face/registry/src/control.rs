//! `<root>/control.sock`: how the commands reach the server that has the directory. Who may open the socket (mode 0600) may do it all.
//!
//! A request is a line of JSON, the answer another one. The same work is done here when no server runs.

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use ferry_errkind::chain;
use ferry_registry_store::{Collected, Expired, GcOptions, Rule, Scrubbed, Store};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
};

use crate::{journal::Audit, rules::Rules};

/// What a server, or the command itself, is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Collect garbage, after rules have taken tags away.
    Collect(GcOptions, Vec<String>),
    /// Verify everything.
    Scrub,
    /// Say how the rules between registries stand, and perhaps wake them.
    Rules {
        /// Whether they are to look now.
        run: bool,
    },
}

/// What `Collect` answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CollectAnswer {
    pub(crate) expired: Vec<Expired>,
    pub(crate) collected: Collected,
}

/// Longest line.
const MAX_LINE: u64 = 1 << 20;

/// Does it; the answer as JSON.
fn perform(
    store: &Store,
    audit: Option<&Audit>,
    rules: Option<&Rules>,
    request: &Request,
) -> Result<String, String> {
    match request {
        Request::Collect(options, rules) => {
            let rules: Vec<Rule> = rules
                .iter()
                .map(|rule| rule.parse::<Rule>().map_err(|error| error.to_string()))
                .collect::<Result<_, _>>()?;
            let answer = collect(store, audit, options, &rules)?;
            serde_json::to_string(&answer).map_err(|error| error.to_string())
        }
        Request::Scrub => {
            let scrubbed: Scrubbed = store.scrub().map_err(|error| chain(&error))?;
            if let Some(audit) = audit.filter(|_| !scrubbed.damage.is_empty()) {
                let damage: Vec<String> = scrubbed.damage.iter().map(ToString::to_string).collect();
                audit.record(json!({ "action": "scrub", "damage": damage }));
            }
            serde_json::to_string(&scrubbed).map_err(|error| error.to_string())
        }
        Request::Rules { run } => {
            let rules = rules.ok_or("no registry runs: rules are a server's")?;
            if *run {
                rules.wake();
            }
            serde_json::to_string(&rules.reports()).map_err(|error| error.to_string())
        }
    }
}

/// Takes tags away by rules, then what nobody needs.
pub(crate) fn collect(
    store: &Store,
    audit: Option<&Audit>,
    options: &GcOptions,
    rules: &[Rule],
) -> Result<CollectAnswer, String> {
    let expired = store.expire(rules, options.dry).map_err(|error| chain(&error))?;
    let collected = store.collect(options).map_err(|error| chain(&error))?;
    if let Some(audit) = audit.filter(|_| !options.dry) {
        for tag in &expired {
            audit.record(json!({ "action": "expire tag", "repository": tag.repository, "tag": tag.tag, "digest": tag.digest.to_string() }));
        }
        if collected != Collected::default() {
            audit.record(json!({ "action": "collect", "blobs": collected.blobs, "bytes": collected.bytes, "manifests": collected.manifests, "uploads": collected.uploads }));
        }
    }
    Ok(CollectAnswer { expired, collected })
}

/// Serves the socket for as long as it is polled.
pub(crate) async fn serve(
    store: Arc<Store>,
    audit: Arc<Audit>,
    rules: Arc<Rules>,
) -> io::Result<()> {
    let path = store.root().join("control.sock");
    // Whoever had it is gone: we have the directory's lock.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (store, audit, rules) = (Arc::clone(&store), Arc::clone(&audit), Arc::clone(&rules));
        tokio::spawn(async move {
            if let Err(error) = answer(stream, store, audit, rules).await {
                tracing::debug!("control socket: {error}");
            }
        });
    }
}

async fn answer(
    mut stream: UnixStream,
    store: Arc<Store>,
    audit: Arc<Audit>,
    rules: Arc<Rules>,
) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut line = String::new();
    BufReader::new(reader.take(MAX_LINE)).read_line(&mut line).await?;
    let work = move || {
        let request = serde_json::from_str(&line).map_err(|error| error.to_string())?;
        perform(&store, Some(&audit), Some(&rules), &request)
    };
    let done: Result<String, String> =
        tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?;
    let text = match done {
        Ok(answer) => format!("{{\"ok\":{answer}}}\n"),
        Err(words) => format!("{}\n", json!({ "error": words })),
    };
    writer.write_all(text.as_bytes()).await
}

#[derive(Deserialize)]
enum Reply<T> {
    #[serde(rename = "ok")]
    Done(T),
    #[serde(rename = "error")]
    Failed(String),
}

/// Has a running server do it.
pub(crate) async fn ask<T: DeserializeOwned>(root: &Path, request: &Request) -> Result<T, String> {
    let path = root.join("control.sock");
    let failed =
        |error: io::Error| format!("cannot talk to the registry by {}: {error}", path.display());
    let mut stream = UnixStream::connect(&path).await.map_err(failed)?;
    let line = serde_json::to_string(request).map_err(|error| error.to_string())?;
    stream.write_all(format!("{line}\n").as_bytes()).await.map_err(failed)?;
    let mut text = String::new();
    BufReader::new(stream).read_line(&mut text).await.map_err(failed)?;
    match serde_json::from_str(&text).map_err(|error| error.to_string())? {
        Reply::Done(answer) => Ok(answer),
        Reply::Failed(words) => Err(words),
    }
}

/// Does it in this process.
pub(crate) fn here<T: DeserializeOwned>(store: &Store, request: &Request) -> Result<T, String> {
    let audit = Audit::open(&store.root().join("audit.log")).ok();
    let text = perform(store, audit.as_ref(), None, request)?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}
