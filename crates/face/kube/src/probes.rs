//! Probes and hooks of a container. What a health check of Docker's can say becomes one; the rest is for the pod's keeper.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{manifest::Pod, reader::Reader};

/// What is asked, or done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    /// A program in the container.
    Exec(Vec<String>),
    /// A page; an empty host is the pod.
    Http { tls: bool, host: String, port: u16, path: String, headers: Vec<(String, String)> },
    /// A connection.
    Tcp { host: String, port: u16 },
    /// The health service of gRPC.
    Grpc { port: u16, service: String },
    /// Time, in seconds.
    Sleep(u64),
}

/// A question that is asked again and again; times in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Probe {
    pub(crate) action: Action,
    pub(crate) period: u64,
    pub(crate) timeout: u64,
    pub(crate) delay: u64,
    pub(crate) failures: u64,
    pub(crate) successes: u64,
    /// How long the container has to end when the probe has failed.
    pub(crate) grace: Option<u64>,
}

/// Everything that a keeper does about a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Watch {
    pub(crate) container: String,
    pub(crate) startup: Option<Probe>,
    pub(crate) liveness: Option<Probe>,
    pub(crate) readiness: Option<Probe>,
    pub(crate) post_start: Option<Action>,
    pub(crate) pre_stop: Option<Action>,
    /// What ends is started again.
    pub(crate) restarts: bool,
    pub(crate) grace: u64,
}

impl Watch {
    /// Of a container of which nothing is asked.
    pub(crate) fn of(container: &str) -> Self {
        Watch { container: container.to_owned(), ..Watch::default() }
    }

    /// Whether its container says when it is ready; else it is when it runs.
    pub(crate) fn says_when_ready(&self) -> bool {
        self.readiness.is_some() || self.startup.is_some()
    }
}

/// Whether a pod says when it is ready, by a probe or since several containers have to run; else it is when it runs.
pub(crate) fn say_when_ready(pod: &Pod) -> bool {
    let list = |key: &str| pod.spec.get(key).and_then(Value::as_array).into_iter().flatten();
    let has = |one: &Value, key| one.get(key).is_some_and(|probe| !probe.is_null());
    let mut all = list("containers").chain(list("initContainers"));
    if all.any(|one| has(one, "readinessProbe") || has(one, "startupProbe")) {
        return true;
    }
    // Nobody asks for a pod by its name that has no network of its own.
    let on_host = pod.spec.get("hostNetwork") == Some(&Value::Bool(true));
    let sidecars = list("initContainers").filter(|one| has(one, "restartPolicy")).count();
    !on_host && list("containers").count() + sidecars > 1
}

/// Reads them, if there are any; `names` are the container's ports.
pub(crate) fn read(
    reader: &mut Reader<'_>,
    names: &BTreeMap<String, u16>,
) -> Result<Option<Watch>, String> {
    let mut watch = Watch {
        startup: probe(reader, "startupProbe", names)?,
        liveness: probe(reader, "livenessProbe", names)?,
        readiness: probe(reader, "readinessProbe", names)?,
        ..Watch::default()
    };
    let mut lifecycle = reader.inside("lifecycle")?;
    watch.post_start = hook(&mut lifecycle, "postStart", names)?;
    watch.pre_stop = hook(&mut lifecycle, "preStop", names)?;
    lifecycle.finish()?;
    Ok((watch != Watch::default()).then_some(watch))
}

/// Docker's health check, if it says the same: one program, asked for one thing or for both.
pub(crate) fn health(watch: &Watch) -> Option<Value> {
    let Watch { startup, liveness, readiness, post_start: None, pre_stop: None, .. } = watch else {
        return None;
    };
    let probe = liveness.as_ref().or(readiness.as_ref())?;
    let same = |other: &Probe| Probe { delay: probe.delay, ..other.clone() } == *probe;
    let all = [startup, liveness, readiness].into_iter().flatten();
    let plain = |one: &Probe| {
        matches!(one.action, Action::Exec(_)) && one.successes == 1 && one.grace.is_none()
    };
    if !all.clone().all(plain) || !readiness.as_ref().is_none_or(same) {
        return None;
    }
    // It asks the same thing from the start, and only liveness ends what never starts.
    if startup.as_ref().is_some_and(|one| liveness.is_none() || one.action != probe.action) {
        return None;
    }
    let Action::Exec(command) = &probe.action else { return None };
    let nanos = |seconds: u64| seconds.saturating_mul(1_000_000_000);
    let test: Vec<&str> = ["CMD"].into_iter().chain(command.iter().map(String::as_str)).collect();
    let mut check = json!({
        "Test": test,
        "Interval": nanos(probe.period),
        "Timeout": nanos(probe.timeout),
        "StartPeriod": nanos(probe.delay),
        "Retries": probe.failures,
    });
    if liveness.is_none() && probe.delay == 0 {
        // Who is ready soon is found soon.
        check["StartPeriod"] = json!(nanos(probe.period));
        check["StartInterval"] = json!(nanos(1));
    }
    if let Some(start) = startup {
        // Failures count for nothing for as long as the first probe would be asked.
        let period = start.period.saturating_mul(start.failures).saturating_add(start.delay);
        check["StartPeriod"] = json!(nanos(period.max(probe.delay)));
        check["StartInterval"] = json!(nanos(start.period));
    }
    Some(check)
}

fn probe(
    reader: &mut Reader<'_>,
    kind: &str,
    names: &BTreeMap<String, u16>,
) -> Result<Option<Probe>, String> {
    let mut probe = reader.inside(kind)?;
    let Some(action) = action(&mut probe, names, true)? else {
        probe.finish()?;
        return Ok(None);
    };
    let mut number = |key: &str, default: u64, least: u64| match probe.number(key)? {
        None => Ok(default),
        // As Kubernetes' own defaults: nothing is as if it was not said.
        Some(0) => Ok(default),
        Some(number) => {
            match u64::try_from(number).ok().filter(|number| (least..=MOST).contains(number)) {
                Some(number) => Ok(number),
                None => Err(format!(
                    "{}.{key}: {number} is not between {least} and {MOST}",
                    probe.path()
                )),
            }
        }
    };
    let (period, timeout) = (number("periodSeconds", 10, 1)?, number("timeoutSeconds", 1, 1)?);
    let delay = number("initialDelaySeconds", 0, 0)?;
    let (failures, successes) =
        (number("failureThreshold", 3, 1)?, number("successThreshold", 1, 1)?);
    if successes > 1 && kind != "readinessProbe" {
        return Err(format!("{}.successThreshold must be 1", probe.path()));
    }
    let grace = match probe.number("terminationGracePeriodSeconds")? {
        None => None,
        Some(seconds) => Some(u64::try_from(seconds).map_err(|_| {
            format!("{}.terminationGracePeriodSeconds: {seconds} cannot be", probe.path())
        })?),
    };
    probe.finish()?;
    Ok(Some(Probe { action, period, timeout, delay, failures, successes, grace }))
}

/// Most seconds of a probe, and most failures.
const MOST: u64 = 1_000_000;

fn hook(
    reader: &mut Reader<'_>,
    kind: &str,
    names: &BTreeMap<String, u16>,
) -> Result<Option<Action>, String> {
    let mut hook = reader.inside(kind)?;
    let action = action(&mut hook, names, false)?;
    hook.finish()?;
    Ok(action)
}

/// One way of asking, at most.
fn action(
    of: &mut Reader<'_>,
    names: &BTreeMap<String, u16>,
    is_probe: bool,
) -> Result<Option<Action>, String> {
    let mut all = Vec::new();
    if of.has("exec") {
        let command = of.inside("exec")?.texts("command")?;
        if command.is_empty() {
            return Err(format!("{}.exec.command is required", of.path()));
        }
        all.push(Action::Exec(command));
    }
    if of.has("httpGet") {
        all.push(http(of, names)?);
    }
    if of.has("tcpSocket") {
        let mut tcp = of.inside("tcpSocket")?;
        let port = port(&mut tcp, names)?;
        all.push(Action::Tcp { host: tcp.text("host")?, port });
        tcp.finish()?;
    }
    if is_probe && of.has("grpc") {
        let mut grpc = of.inside("grpc")?;
        let port = port(&mut grpc, &BTreeMap::new())?;
        all.push(Action::Grpc { port, service: grpc.text("service")? });
        grpc.finish()?;
    }
    if !is_probe && of.has("sleep") {
        let mut sleep = of.inside("sleep")?;
        let seconds = sleep.number("seconds")?.and_then(|seconds| u64::try_from(seconds).ok());
        let seconds = seconds.ok_or_else(|| format!("{}.seconds is required", sleep.path()))?;
        all.push(Action::Sleep(seconds));
        sleep.finish()?;
    }
    if all.len() > 1 {
        return Err(format!("{}: one way of asking can be, not {}", of.path(), all.len()));
    }
    Ok(all.pop())
}

/// A page.
fn http(of: &mut Reader<'_>, names: &BTreeMap<String, u16>) -> Result<Action, String> {
    let mut http = of.inside("httpGet")?;
    let tls = match http.text("scheme")?.as_str() {
        "" | "HTTP" => false,
        "HTTPS" => true,
        other => {
            return Err(format!("{}.scheme: \"{other}\" is neither HTTP nor HTTPS", http.path()));
        }
    };
    let headers = http.each("httpHeaders", |mut header| {
        let pair = (header.needed("name")?, header.text("value")?);
        let is_line = |text: &str| text.bytes().all(|byte| byte >= b' ' && byte != 127);
        if !is_line(&pair.0) || !is_line(&pair.1) {
            return Err(format!("{}: a header is one line", header.path()));
        }
        header.finish()?;
        Ok(pair)
    })?;
    let path = match http.text("path")? {
        path if path.starts_with('/') => path,
        path => format!("/{path}"),
    };
    if path.bytes().any(|byte| byte <= b' ' || byte == 127) {
        return Err(format!("{}.path: \"{path}\" is no path of a page", http.path()));
    }
    let port = port(&mut http, names)?;
    let host = http.text("host")?;
    http.finish()?;
    Ok(Action::Http { tls, host, port, path, headers })
}

/// A port by number or by its name in the container.
fn port(of: &mut Reader<'_>, names: &BTreeMap<String, u16>) -> Result<u16, String> {
    let found = match of.take("port") {
        Value::String(name) => names.get(&name).copied().or_else(|| name.parse().ok()),
        other => other.as_i64().and_then(|port| u16::try_from(port).ok()),
    };
    let wrong =
        || format!("{}.port: expected a port or the name of one of the container's", of.path());
    found.filter(|port| *port > 0).ok_or_else(wrong)
}
