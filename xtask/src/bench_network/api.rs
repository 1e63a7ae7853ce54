//! An engine by its socket: one request a connection, so that no command line's time is counted.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
};

use serde_json::Value;

/// A daemon that speaks Docker's API.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    pub(super) name: String,
    pub(super) socket: PathBuf,
}

impl Engine {
    /// `name=/path/of.sock`
    pub(super) fn parse(text: &str) -> Option<Engine> {
        let (name, socket) = text.split_once('=')?;
        let socket = PathBuf::from(socket.trim_start_matches("unix://"));
        Some(Engine { name: name.to_owned(), socket })
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        self.call("POST", path, &body.to_string())
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, String> {
        self.call("GET", path, "")
    }

    pub(super) fn delete(&self, path: &str) -> Result<Value, String> {
        self.call("DELETE", path, "")
    }

    /// What it calls itself, and its version.
    pub(super) fn version(&self) -> Result<String, String> {
        let shown = self.get("/version")?;
        let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        let part = &shown["Components"][0];
        Ok(format!(
            "{} {}, kernel {}",
            text(&part["Name"]),
            text(&shown["Version"]),
            text(&shown["KernelVersion"])
        ))
    }

    /// Makes a container of busybox and starts it. Answers its id.
    pub(super) fn container(&self, name: &str, mut body: Value) -> Result<String, String> {
        let image = body["Image"].as_str().unwrap_or("busybox").to_owned();
        body["Image"] = image.into();
        // Left by a run that was cut off.
        self.delete(&format!("/containers/{name}?force=true")).ok();
        let made = self.post(&format!("/containers/create?name={name}"), &body)?;
        Ok(made["Id"].as_str().unwrap_or_default().to_owned())
    }

    pub(super) fn start(&self, container: &str) -> Result<(), String> {
        self.post(&format!("/containers/{container}/start"), &Value::Null).map(drop)
    }

    pub(super) fn remove(&self, container: &str) {
        self.delete(&format!("/containers/{container}?force=true&v=true")).ok();
    }

    pub(super) fn inspect(&self, container: &str) -> Result<Value, String> {
        self.get(&format!("/containers/{container}/json"))
    }

    /// The process of a container, and its address on a network.
    pub(super) fn place(&self, container: &str, network: &str) -> Result<(i64, String), String> {
        let shown = self.inspect(container)?;
        let address = shown["NetworkSettings"]["Networks"][network]["IPAddress"].as_str();
        let pid = shown["State"]["Pid"].as_i64().ok_or("no process")?;
        Ok((pid, address.unwrap_or_default().to_owned()))
    }

    fn call(&self, method: &str, path: &str, body: &str) -> Result<Value, String> {
        let failed = |why: String| format!("{}: {method} {path}: {why}", self.name);
        let io = |error: std::io::Error| failed(error.to_string());
        let mut stream = UnixStream::connect(&self.socket).map_err(io)?;
        let body = if body == "null" { "" } else { body };
        let head = format!(
            "{method} /v1.44{path} HTTP/1.0\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).map_err(io)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(io)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).unwrap_or_default();
        if !status.starts_with('2') && status != "304" {
            return Err(failed(format!("{status} {}", body.trim())));
        }
        Ok(serde_json::from_str(body).unwrap_or_default())
    }
}
