//! The classic builder: a context goes up, words come down. Also what both ways of asking have in common.

use std::{collections::BTreeMap, io::Write};

use ferry_client::Call;
use ferry_docker_api::JsonMessage;
use ferry_errkind::chain;

use crate::{
    config::registry_config,
    framework::{Cli, CliError, Matches, write_fd},
    run::progress,
};

/// The request, as far as Docker's classic builder knows one.
pub(super) fn call(
    cli: &Cli,
    matches: &Matches,
    dockerfile: &str,
    classic: bool,
) -> Result<Call, CliError> {
    let json = |value: &BTreeMap<String, Option<String>>| {
        serde_json::to_string(value).map_err(|error| CliError::new(chain(&error)))
    };
    let arguments = json(&arguments(cli, matches))?;
    let labels = json(&pairs(matches.texts("label"), |_| Some(String::new())))?;
    let mut call = cli
        .client()?
        .post("/build")
        .query("version", "1")
        .query("dockerfile", dockerfile)
        .query("buildargs", arguments)
        .query("labels", labels)
        .query("rm", "1")
        .query_if(matches.flag("quiet"), "q", "1")
        .query_if(matches.flag("no-cache"), "nocache", "1")
        .query_if(matches.flag("pull"), "pull", "1")
        .query("networkmode", matches.text("network"))
        .header("X-Registry-Config", registry_config(cli)?);
    for tag in matches.texts("tag") {
        call = call.query("t", tag);
    }
    for (flag, name) in [
        ("target", "target"),
        ("platform", "platform"),
        ("cgroup-parent", "cgroupparent"),
        ("cpuset-cpus", "cpusetcpus"),
        ("cpuset-mems", "cpusetmems"),
    ] {
        let value = matches.text(flag);
        call = call.query_if(!value.is_empty(), name, value);
    }
    for (flag, name) in
        [("cpu-period", "cpuperiod"), ("cpu-quota", "cpuquota"), ("cpu-shares", "cpushares")]
    {
        let value = matches.int(flag);
        call = call.query_if(value != 0, name, value);
    }
    for (flag, name) in [("memory", "memory"), ("memory-swap", "memswap"), ("shm-size", "shmsize")]
    {
        let value = matches.bytes(flag);
        call = call.query_if(value != 0, name, value);
    }
    if !matches.texts("cache-from").is_empty() && classic {
        let images = serde_json::to_string(matches.texts("cache-from"));
        call = call.query("cachefrom", images.map_err(|error| CliError::new(chain(&error)))?);
    }
    if !matches.texts("add-host").is_empty() {
        let hosts = serde_json::to_string(matches.texts("add-host"));
        call = call.query("extrahosts", hosts.map_err(|error| CliError::new(chain(&error)))?);
    }
    if !matches.texts("ulimit").is_empty() {
        let limits =
            crate::run::options::ulimits(matches.texts("ulimit")).map_err(CliError::new)?;
        let limits = serde_json::to_string(&limits);
        call = call.query("ulimits", limits.map_err(|error| CliError::new(chain(&error)))?);
    }
    Ok(call)
}

/// `--build-arg`, with what the environment says.
pub(super) fn arguments(cli: &Cli, matches: &Matches) -> BTreeMap<String, Option<String>> {
    let mut arguments = pairs(matches.texts("build-arg"), |name| cli.env(name));
    if let Some(epoch) = cli.env("SOURCE_DATE_EPOCH") {
        arguments.entry("SOURCE_DATE_EPOCH".to_owned()).or_insert(Some(epoch));
    }
    arguments
}

/// Shows messages. A failed step's exit code is ours, as docker has it.
pub(super) async fn show(
    mut lines: ferry_client::JsonLines<JsonMessage>,
    quiet: bool,
    id: &mut String,
) -> Result<(), CliError> {
    while let Some(message) = lines.next().await? {
        if let Some(aux) = &message.aux {
            *id = aux["ID"].as_str().unwrap_or_default().to_owned();
            continue;
        }
        if let Some(detail) = &message.error_detail {
            let code = u8::try_from(detail.code).ok().filter(|code| *code != 0).unwrap_or(1);
            return Err(CliError::new(detail.message.clone()).with_code(code));
        }
        if !message.stream.is_empty() {
            write_fd(rustix::stdio::stdout(), message.stream.as_bytes())?;
        } else if !quiet {
            progress::once(&message)?;
        }
    }
    std::io::stdout().flush()?;
    Ok(())
}

/// `name=value`, or a name whose value is elsewhere.
fn pairs(
    given: &[String],
    value_of: impl Fn(&str) -> Option<String>,
) -> BTreeMap<String, Option<String>> {
    let read = |text: &String| match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (text.clone(), value_of(text)),
    };
    given.iter().map(read).collect()
}
