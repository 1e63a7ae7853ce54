//! `docker build`: sends a context and shows what the daemon says of it.

use std::{collections::BTreeMap, io::Write, path::Path};

use ferry_docker_api::JsonMessage;
use ferry_errkind::chain;

use super::context;
use crate::{
    config::registry_config,
    framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome, write_fd},
    run::progress,
};

pub(crate) const COMMAND: Command = Command {
    name: "build",
    top: Some("build"),
    short: "Build an image from a Dockerfile",
    usage: "[OPTIONS] PATH | URL | -",
    aliases_help: "docker image build, docker build, docker builder build",
    common: Some(3),
    flags: FLAGS,
    args: Args::Exactly(1),
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::list("add-host", "Add a custom host-to-IP mapping (\"host:ip\")"),
    Flag::list("build-arg", "Set build-time variables"),
    Flag::value("cache-from", "strings", "Images to consider as cache sources"),
    Flag::string(
        "cgroup-parent",
        "Set the parent cgroup for the \"RUN\" instructions during build",
    ),
    Flag::bool("compress", "Compress the build context using gzip"),
    Flag::int("cpu-period", "Limit the CPU CFS (Completely Fair Scheduler) period"),
    Flag::int("cpu-quota", "Limit the CPU CFS (Completely Fair Scheduler) quota"),
    Flag::int("cpu-shares", "CPU shares (relative weight)").short('c'),
    Flag::string("cpuset-cpus", "CPUs in which to allow execution (0-3, 0,1)"),
    Flag::string("cpuset-mems", "MEMs in which to allow execution (0-3, 0,1)"),
    Flag::bool("disable-content-trust", "Skip image verification").default("true"),
    Flag::string("file", "Name of the Dockerfile (Default is \"PATH/Dockerfile\")").short('f'),
    Flag::bool("force-rm", "Always remove intermediate containers"),
    Flag::string("iidfile", "Write the image ID to the file"),
    Flag::string("isolation", "Container isolation technology"),
    Flag::list("label", "Set metadata for an image"),
    Flag::bytes("memory", "Memory limit").short('m'),
    Flag::bytes("memory-swap", "Swap limit equal to memory plus swap: -1 to enable unlimited swap"),
    Flag::string("network", "Set the networking mode for the RUN instructions during build")
        .default("default"),
    Flag::bool("no-cache", "Do not use cache when building the image"),
    Flag::string("platform", "Set platform if server is multi-platform capable"),
    Flag::bool("pull", "Always attempt to pull a newer version of the image"),
    Flag::bool("quiet", "Suppress the build output and print image ID on success").short('q'),
    Flag::bool("rm", "Remove intermediate containers after a successful build").default("true"),
    Flag::value("security-opt", "strings", "Security options"),
    Flag::bytes("shm-size", "Size of \"/dev/shm\""),
    Flag::bool("squash", "Squash newly built layers into a single new layer"),
    Flag::list("tag", "Name and optionally a tag in the \"name:tag\" format").short('t'),
    Flag::string("target", "Set the target build stage to build."),
    Flag::value("ulimit", "ulimit", "Ulimit options").shown("[]"),
];

/// Flags that need more than the classic builder has.
const REFUSED: [&str; 4] = ["cache-from", "isolation", "security-opt", "squash"];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    for name in REFUSED {
        if matches.is_set(name) {
            return Err(CliError::new(format!("not supported yet: {} --{name}", cli.path())));
        }
    }
    // A pipe can only be read by somebody who waits.
    let context = cli.wait(async { context::open(matches.arg(0), matches.text("file")) })?;
    let json = |value: &BTreeMap<String, Option<String>>| {
        serde_json::to_string(value).map_err(|error| CliError::new(chain(&error)))
    };
    let arguments = json(&pairs(matches.texts("build-arg"), |name| cli.env(name)))?;
    let labels = pairs(matches.texts("label"), |_| Some(String::new()));
    let labels = json(&labels)?;
    let auths = registry_config(cli)?;
    let client = cli.client()?;
    let quiet = matches.flag("quiet");
    let mut id = String::new();
    let outcome = cli.wait(async {
        let mut call = client
            .post("/build")
            .query("version", "1")
            .query("dockerfile", &context.dockerfile)
            .query("buildargs", arguments)
            .query("labels", labels)
            .query("rm", "1")
            .query_if(quiet, "q", "1")
            .query_if(matches.flag("no-cache"), "nocache", "1")
            .query_if(matches.flag("pull"), "pull", "1")
            .query("networkmode", matches.text("network"))
            .header("X-Registry-Config", auths);
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
        for (flag, name) in
            [("memory", "memory"), ("memory-swap", "memswap"), ("shm-size", "shmsize")]
        {
            let value = matches.bytes(flag);
            call = call.query_if(value != 0, name, value);
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
        let call = call.upload("application/x-tar", context.input, None);
        show(call.lines::<JsonMessage>().await?, quiet, &mut id).await
    });
    outcome?;
    let file = matches.text("iidfile");
    if !file.is_empty() {
        std::fs::write(Path::new(file), &id).map_err(|error| {
            CliError::new(format!("cannot write the image ID to {file}: {error}"))
        })?;
    }
    Ok(0)
}

/// Shows messages. A failed step's exit code is ours, as docker has it.
async fn show(
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
