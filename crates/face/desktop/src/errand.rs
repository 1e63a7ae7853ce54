//! What the Engine API has no words for, done by Ferry's own commands as the user would type them: Compose, `login`, `logout`.
//!
//! The page names the errand, never a program or its arguments; the daemon and its credentials are those that `ferry desktop` was
//! started with.

use std::{ffi::OsString, path::Path, process::Stdio, sync::Arc};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    reply::{Reply, failure, reply},
    server::Shared,
    tunnel::{Broken, Socket, refuse},
};

/// A Compose file is never larger.
const FILE: u64 = 1 << 20;
/// Files of a project.
const FILES: usize = 32;
/// Credentials are short.
const LOGIN: usize = 16 << 10;
/// Bytes of output in one message.
const PIECE: usize = 16 << 10;
/// What `login` says is short.
const SAID: u64 = 64 << 10;

/// What stands before `desktop` on our own command line: which daemon, which configuration.
pub(crate) fn globals() -> Vec<OsString> {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let at = words.iter().position(|word| word == "desktop").unwrap_or(0);
    words[..at].to_vec()
}

fn ferry(shared: &Shared) -> Command {
    // What runs now, even where the file was replaced meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command.args(&shared.globals).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// What is to be done with a Compose project.
#[derive(Debug, Deserialize)]
pub(crate) struct Errand {
    verb: String,
    files: Vec<String>,
    #[serde(default)]
    directory: String,
    #[serde(default)]
    project: String,
    /// `down`: its volumes go, too.
    #[serde(default)]
    volumes: bool,
}

impl Errand {
    /// The words behind `compose`, or why not.
    fn words(&self) -> Result<Vec<String>, String> {
        let verb: &[&str] = match self.verb.as_str() {
            "up" => &["up", "-d", "--remove-orphans"],
            "down" => &["down"],
            "diff" => &["diff"],
            "config" => &["config"],
            "pull" => &["pull"],
            "build" => &["build"],
            other => return Err(format!("there is no errand {other:?}")),
        };
        if self.files.is_empty() {
            return Err("the project's files are not known".to_owned());
        }
        let mut words = vec!["compose".to_owned()];
        if matches!(self.verb.as_str(), "up" | "down" | "pull" | "build") {
            words.push("--progress=plain".to_owned());
        }
        for file in &self.files {
            check(file)?;
            words.push(format!("--file={file}"));
        }
        if !self.directory.is_empty() {
            words.push(format!("--project-directory={}", self.directory));
        }
        if !self.project.is_empty() {
            words.push(format!("--project-name={}", self.project));
        }
        words.extend(verb.iter().map(|word| (*word).to_owned()));
        if self.verb == "down" && self.volumes {
            words.push("--volumes".to_owned());
        }
        Ok(words)
    }
}

/// A Compose file by its name: nothing else is read.
fn check(file: &str) -> Result<(), String> {
    let path = Path::new(file);
    let known = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    if path.is_absolute() && known && !file.contains('\0') {
        return Ok(());
    }
    Err(format!("{file:?} is not the absolute path of a .yaml or .yml file"))
}

/// Runs a Compose errand and tells what it says, until it is done or the page closes.
pub(crate) async fn compose(
    mut socket: Socket,
    shared: &Shared,
    body: Option<Value>,
) -> Result<(), Broken> {
    let errand = body.map(serde_json::from_value::<Errand>);
    let words = match errand {
        Some(Ok(errand)) => errand.words(),
        Some(Err(error)) => Err(format!("invalid request: {error}")),
        None => Err("invalid request: no errand".to_owned()),
    };
    let words = match words {
        Ok(words) => words,
        Err(why) => return refuse(socket, 400, &why, None).await,
    };
    let mut command = ferry(shared);
    command.args(&words).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return refuse(socket, 500, &format!("cannot start: {error}"), None).await,
    };
    socket.send(Message::text(json!({ "status": 200, "raw": true }).to_string())).await?;
    let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
        return socket.close(None).await;
    };
    if !tell(&mut socket, out, err).await? {
        // The page has gone: what it wanted ends, as with Ctrl-C.
        end(&mut child).await;
        return Ok(());
    }
    match child.wait().await {
        Ok(status) if status.success() => socket.close(None).await,
        Ok(status) => refuse(socket, 500, &format!("compose has failed ({status})"), None).await,
        Err(error) => refuse(socket, 500, &format!("cannot wait: {error}"), None).await,
    }
}

/// Sends both outputs on; false when the page has gone.
async fn tell(
    socket: &mut Socket,
    mut out: impl AsyncRead + Unpin,
    mut err: impl AsyncRead + Unpin,
) -> Result<bool, Broken> {
    let (mut from_out, mut from_err) = (vec![0; PIECE], vec![0; PIECE]);
    let (mut out_open, mut err_open) = (true, true);
    while out_open || err_open {
        tokio::select! {
            count = out.read(&mut from_out), if out_open => match count {
                Ok(count @ 1..) => {
                    socket.send(Message::binary(Bytes::copy_from_slice(&from_out[..count]))).await?;
                }
                _ => out_open = false,
            },
            count = err.read(&mut from_err), if err_open => match count {
                Ok(count @ 1..) => {
                    socket.send(Message::binary(Bytes::copy_from_slice(&from_err[..count]))).await?;
                }
                _ => err_open = false,
            },
            message = socket.next() => match message {
                None | Some(Err(_) | Ok(Message::Close(_))) => return Ok(false),
                Some(Ok(_)) => {}
            },
        }
    }
    Ok(true)
}

async fn end(child: &mut Child) {
    let id =
        child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(id) = id {
        // It may have ended by itself.
        let _ = rustix::process::kill_process(id, rustix::process::Signal::INT);
        drop(child.wait().await);
    }
}

#[derive(Serialize)]
struct Text {
    path: String,
    text: String,
}

/// Answers `/files/compose`: the files of a project, whose paths the labels of its containers name.
pub(crate) async fn files(list: &str) -> Reply {
    let mut texts = Vec::new();
    for path in list.split(',').filter(|path| !path.is_empty()).take(FILES) {
        if let Err(why) = check(path) {
            return failure(400, &why, None);
        }
        match read(path).await {
            Ok(text) => texts.push(Text { path: path.to_owned(), text }),
            Err(error) => {
                let words = format!("cannot read {path}: {error}");
                let hint =
                    "the files of a project are read on the machine where `ferry desktop` runs";
                return failure(404, &words, Some(hint));
            }
        }
    }
    reply(StatusCode::OK, "application/json", json!({ "files": texts }).to_string())
}

async fn read(path: &str) -> std::io::Result<String> {
    let file = tokio::fs::File::open(path).await?;
    if !file.metadata().await?.is_file() {
        return Err(std::io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    file.take(FILE + 1).read_to_end(&mut bytes).await?;
    if bytes.len() as u64 > FILE {
        return Err(std::io::Error::other("it is too large"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[derive(Deserialize)]
struct Login {
    registry: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

/// Answers `/logins`: the registries that there are credentials for; `POST` logs in, `DELETE` logs out.
pub(crate) async fn logins(shared: &Arc<Shared>, method: &Method, body: Incoming) -> Reply {
    if *method == Method::GET {
        let logins = shared.logins.clone();
        let known = tokio::task::spawn_blocking(move || logins.servers()).await.unwrap_or_default();
        return reply(StatusCode::OK, "application/json", json!({ "servers": known }).to_string());
    }
    let Ok(bytes) = Limited::new(body, LOGIN).collect().await else {
        return failure(413, "the request is too large", None);
    };
    let login: Login = match serde_json::from_slice(&bytes.to_bytes()) {
        Ok(login) => login,
        Err(error) => return failure(400, &format!("invalid request: {error}"), None),
    };
    // A word that begins like an option would be one.
    if login.registry.is_empty() || login.registry.starts_with('-') {
        return failure(400, "a registry is needed", None);
    }
    let mut command = ferry(shared);
    match *method {
        Method::POST => {
            if login.username.is_empty() {
                return failure(400, "a user name is needed", None);
            }
            command.arg("login").arg(format!("--username={}", login.username));
            command.args(["--password-stdin", login.registry.as_str()]);
        }
        Method::DELETE => drop(command.args(["logout", login.registry.as_str()])),
        _ => return failure(405, "method not allowed", None),
    }
    match said(command, login.password.as_bytes()).await {
        Ok((true, words)) => {
            reply(StatusCode::OK, "application/json", json!({ "message": words }).to_string())
        }
        Ok((false, words)) => match words.split_once("\nhint: ") {
            Some((words, hint)) => failure(401, words, Some(hint)),
            None => failure(401, &words, None),
        },
        Err(error) => failure(500, &format!("cannot run: {error}"), None),
    }
}

/// Whether it went well, and the last of what it said.
async fn said(mut command: Command, input: &[u8]) -> std::io::Result<(bool, String)> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // It may have said no before it read this.
        drop(stdin.write_all(input).await);
    }
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let all = async |pipe: Option<&mut (dyn AsyncRead + Unpin + Send)>| {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            drop(pipe.take(SAID).read_to_end(&mut bytes).await);
        }
        String::from_utf8_lossy(&bytes).trim().to_owned()
    };
    let (mut out, mut err) = (out, err);
    let (out, err) = tokio::join!(
        all(out.as_mut().map(|pipe| pipe as _)),
        all(err.as_mut().map(|pipe| pipe as _)),
    );
    let good = child.wait().await?.success();
    Ok((good, if good && !out.is_empty() { out } else { err }))
}

/// The name whose credentials a request to the daemon needs, if it is one that a registry answers in the end.
pub(crate) fn registry_of(method: &Method, path: &str, query: Option<&str>) -> Option<String> {
    let value = |name: &str| {
        let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        let found = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next();
        found.and_then(crate::files::unescape)
    };
    if *method == Method::POST && path == "/images/create" {
        return value("fromImage");
    }
    if path == "/distribution/catalog" {
        let host = value("registry")?;
        return Some(format!("{}/catalog", host.split('/').next().unwrap_or(&host)));
    }
    let rest = match *method {
        Method::POST => path.strip_prefix("/images/")?.strip_suffix("/push")?,
        _ => {
            let rest = path.strip_prefix("/distribution/")?;
            rest.strip_suffix("/json").or_else(|| rest.strip_suffix("/tags"))?
        }
    };
    crate::files::unescape(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errands_are_those_that_there_are() {
        let errand = |verb: &str, file: &str| Errand {
            verb: verb.to_owned(),
            files: vec![file.to_owned()],
            directory: "/app".to_owned(),
            project: "demo".to_owned(),
            volumes: false,
        };
        let words = errand("up", "/app/compose.yaml").words().unwrap();
        assert_eq!(words[0], "compose");
        assert!(words.contains(&"--file=/app/compose.yaml".to_owned()), "{words:?}");
        assert!(errand("exec", "/app/compose.yaml").words().is_err());
        for wrong in ["compose.yaml", "/etc/shadow", "-x.yaml", "/a\0.yaml"] {
            assert!(errand("up", wrong).words().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn requests_name_their_registry() {
        let of = |method, path, query| registry_of(&method, path, query);
        assert_eq!(
            of(Method::POST, "/images/create", Some("fromImage=a.b%2Fc&tag=x")).as_deref(),
            Some("a.b/c")
        );
        assert_eq!(of(Method::POST, "/images/a.b%2Fc/push", None).as_deref(), Some("a.b/c"));
        assert_eq!(of(Method::GET, "/distribution/a.b/c/tags", None).as_deref(), Some("a.b/c"));
        assert_eq!(
            of(Method::GET, "/distribution/catalog", Some("registry=a.b")).as_deref(),
            Some("a.b/catalog")
        );
        assert_eq!(of(Method::GET, "/containers/json", None), None);
    }
}
