//! `docker build` and `docker buildx build`.
//!
//! Our daemon is asked in our own words ([`ask`]) and told everything; any other one, and whoever sets `DOCKER_BUILDKIT=0`, gets the
//! classic builder ([`classic`]).

mod ask;
mod attest;
mod classic;
mod context;
mod layout;
mod outputs;
mod progress;
mod report;
mod ssh;

use std::path::Path;

use ferry_client::Call;
use ferry_docker_api::{
    JsonMessage,
    solve::{
        BUILD_ASK, BuildAsk, CALL_ID, FILES_ID, KEPT_ID, PLACE_ID, Place, STATUS_ID, VERIFIED_ID,
        Verified,
    },
};

use self::{
    ask::Question,
    outputs::{Layers, Output, Outputs},
    progress::{Mode, Progress},
};
use crate::{
    framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome},
    run::{download::Target, hand_over},
};

pub(crate) const COMMAND: Command = Command {
    name: "build",
    top: Some("build"),
    short: "Build an image from a Dockerfile",
    usage: "[OPTIONS] PATH | URL | -",
    aliases_help: "docker image build, docker build, docker buildx build, docker builder build",
    common: Some(3),
    flags: FLAGS,
    args: Args::Exactly(1),
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::list("add-host", "Add a custom host-to-IP mapping (\"host:ip\")"),
    Flag::value("allow", "stringArray", "Allow extra privileged entitlement (e.g., \"network.host\", \"security.insecure\")"),
    Flag::value("attest", "stringArray", "Attestation parameters (format: \"type=sbom\")"),
    Flag::list("build-arg", "Set build-time variables"),
    Flag::value("build-context", "stringArray", "Additional build contexts (e.g., name=path)"),
    Flag::value("cache-from", "stringArray", "External cache sources (e.g., \"user/app:cache\", \"type=registry,ref=user/app\")"),
    Flag::value("cache-to", "stringArray", "Cache export destinations (e.g., \"type=inline\")"),
    Flag::string("call", "Set method for evaluating build (\"check\", \"outline\", \"targets\")").default("build"),
    Flag::string(
        "cgroup-parent",
        "Set the parent cgroup for the \"RUN\" instructions during build",
    ),
    Flag::bool("check", "Shorthand for \"--call=check\""),
    Flag::bool("compress", "Compress the build context using gzip"),
    Flag::int("cpu-period", "Limit the CPU CFS (Completely Fair Scheduler) period"),
    Flag::int("cpu-quota", "Limit the CPU CFS (Completely Fair Scheduler) quota"),
    Flag::int("cpu-shares", "CPU shares (relative weight)").short('c'),
    Flag::string("cpuset-cpus", "CPUs in which to allow execution (0-3, 0,1)"),
    Flag::string("cpuset-mems", "MEMs in which to allow execution (0-3, 0,1)"),
    Flag::bool("disable-content-trust", "Skip image verification").default("true"),
    Flag::bool("explain", "Say of every step that is not cached what has changed").beyond_docker(),
    Flag::string("file", "Name of the Dockerfile (Default is \"PATH/Dockerfile\")").short('f'),
    Flag::bool("force-rm", "Always remove intermediate containers"),
    Flag::string("iidfile", "Write the image ID to the file"),
    Flag::string("isolation", "Container isolation technology"),
    Flag::list("label", "Set metadata for an image"),
    Flag::bool("load", "Shorthand for \"--output=type=docker\""),
    Flag::bytes("memory", "Memory limit").short('m'),
    Flag::bytes("memory-swap", "Swap limit equal to memory plus swap: -1 to enable unlimited swap"),
    Flag::string("metadata-file", "Write build result metadata to a file"),
    Flag::string("network", "Set the networking mode for the RUN instructions during build")
        .default("default"),
    Flag::bool("no-cache", "Do not use cache when building the image"),
    Flag::value("no-cache-filter", "stringArray", "Do not cache specified stages"),
    Flag::string("on-error", "Open a \"shell\" in what a step that failed has written").beyond_docker(),
    Flag::value("output", "stringArray", "Output destination (format: \"type=local,dest=path\")").short('o'),
    Flag::string("platform", "Set target platform for build, several between commas"),
    Flag::string("progress", "Set type of progress output (\"auto\", \"plain\", \"quiet\", \"rawjson\", \"tty\"). Use plain to show container output").default("auto"),
    Flag::string("provenance", "Shorthand for \"--attest=type=provenance\""),
    Flag::bool("pull", "Always attempt to pull a newer version of the image"),
    Flag::bool("push", "Shorthand for \"--output=type=registry\""),
    Flag::bool("quiet", "Suppress the build output and print image ID on success").short('q'),
    Flag::bool("reproducible", "Make the same image of the same files, with no time of today in it (SOURCE_DATE_EPOCH, else 1980)").beyond_docker(),
    Flag::bool("rm", "Remove intermediate containers after a successful build").default("true"),
    Flag::string("sbom", "Shorthand for \"--attest=type=sbom\""),
    Flag::value("secret", "stringArray", "Secret to expose to the build (format: \"id=mysecret[,src=/local/secret]\")"),
    Flag::value("security-opt", "strings", "Security options"),
    Flag::bytes("shm-size", "Size of \"/dev/shm\""),
    Flag::bool("squash", "Squash newly built layers into a single new layer"),
    Flag::value("ssh", "stringArray", "SSH agent socket or keys to expose to the build (format: \"default|<id>[=<socket>|<key>[,<key>]]\")"),
    Flag::list("tag", "Name and optionally a tag in the \"name:tag\" format").short('t'),
    Flag::string("target", "Set the target build stage to build."),
    Flag::value("ulimit", "ulimit", "Ulimit options").shown("[]"),
    Flag::string("verify", "Build anew and name the first thing in which an image differs from that").beyond_docker(),
];

/// Flags that nothing here can honour.
const REFUSED: [&str; 3] = ["isolation", "security-opt", "squash"];

/// Flags that the classic builder knows nothing of.
const MODERN: [&str; 17] = [
    "allow",
    "attest",
    "build-context",
    "cache-to",
    "call",
    "check",
    "explain",
    "metadata-file",
    "no-cache-filter",
    "on-error",
    "output",
    "progress",
    "push",
    "reproducible",
    "secret",
    "ssh",
    "verify",
];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    for name in REFUSED {
        if matches.is_set(name) {
            return Err(CliError::new(format!("not supported yet: {} --{name}", cli.path())));
        }
    }
    if super::trusts_only_signed(cli, matches) {
        return Err(CliError::new("content trust (Notary v1) is not supported"));
    }
    if cli.env("DOCKER_BUILDKIT").is_some_and(|value| matches!(value.as_str(), "0" | "false")) {
        return run_classic(cli, matches, "DOCKER_BUILDKIT=0 chooses the classic builder");
    }
    if !hand_over::is_ours(cli)? {
        return run_classic(
            cli,
            matches,
            "the daemon is not Ferry's: use docker's own command line with buildx",
        );
    }
    run_modern(cli, matches)
}

fn run_classic(cli: &Cli, matches: &Matches, why: &str) -> Outcome {
    let off = |name: &str| matches!(matches.text(name), "" | "false" | "0");
    let said = ["provenance", "sbom"].into_iter().filter(|name| !off(name));
    let refused = MODERN.into_iter().filter(|name| matches.is_set(name)).chain(said).next();
    if let Some(name) = refused {
        return Err(CliError::new(format!("--{name} is not supported by the classic builder"))
            .with_hint(why));
    }
    // A pipe can only be read by somebody who waits.
    let context = cli.wait(async { context::open(matches.arg(0), matches.text("file")) })?;
    let call = classic::call(cli, matches, &context.dockerfile, true)?;
    let mut id = String::new();
    let quiet = matches.flag("quiet");
    let outcome = cli.wait(async {
        let call = match context.remote {
            Some(url) => call.query("remote", url),
            None => call.upload("application/x-tar", context.input()?, None),
        };
        classic::show(call.lines::<JsonMessage>().await?, quiet, &mut id).await
    });
    outcome?;
    write_id(matches, &id)?;
    Ok(0)
}

/// What comes of a build that was told in our own words.
#[derive(Default)]
struct Told {
    id: String,
    place: Option<Place>,
    /// The image of what a step that failed has written.
    kept: Option<String>,
    found: Option<serde_json::Value>,
    verified: Option<Verified>,
}

fn run_modern(cli: &Cli, matches: &Matches) -> Outcome {
    let mut names = matches.texts("tag").to_vec();
    let outputs = Outputs::of(matches, &mut names)?;
    let mode = Mode::of(matches.text("progress"), matches.flag("quiet"), cli.stderr_is_terminal())?;
    let mut question = Question::of(cli, matches)?;
    question.ask.result = outputs.result().to_owned();
    question.ask.call = match (matches.flag("check"), matches.text("call")) {
        (true, _) => "check".to_owned(),
        (false, "build") => String::new(),
        (false, name @ ("check" | "outline" | "targets")) => name.to_owned(),
        (false, other) => return Err(CliError::new(format!("invalid call {other:?}"))),
    };
    question.ask.keep_failed = match matches.text("on-error") {
        "" => false,
        "shell" => true,
        other => {
            return Err(CliError::new(format!("invalid --on-error {other:?}: there is shell")));
        }
    };
    question.ask.explain = matches.flag("explain");
    question.ask.verify = verify(matches)?.to_owned();
    attest::read(matches, &mut question.ask)?;
    question.ask.layout = outputs.layout.clone();
    let mut progress = Progress::new(mode);
    let mut told = Told::default();
    let built =
        cli.wait(ask_and_show(cli, matches, &mut question, &outputs, &mut progress, &mut told));
    progress.end()?;
    if question.ask.explain {
        let text = progress.explanation(built.is_ok());
        if !text.is_empty() {
            cli.warn(text.trim_end());
        }
    }
    if let Err(error) = built {
        let mut text = progress.failed_output().unwrap_or_default();
        text.push_str(&told.place.as_ref().map(report::excerpt).unwrap_or_default());
        cli.warn(text.trim_end());
        if let Some(image) = &told.kept {
            look_around(cli, image)?;
        }
        return Err(error.map_message(|words| format!("failed to build: failed to solve: {words}")));
    }
    if let Some(found) = &told.found {
        return called(cli, &question.ask, found, matches);
    }
    if let Some(verified) = &told.verified {
        let (text, same) = report::verified(&question.ask.verify, verified);
        cli.print(&text)?;
        return Ok(u8::from(!same));
    }
    let (cache, image) = (question.cache.take(), question.ask.cache_image.take());
    for name in &question.loaded {
        ask::forget(cli, name)?;
    }
    if let (Some(cache), Some(image)) = (cache, image) {
        cache.send(cli, &image)?;
    }
    finish(cli, matches, &outputs, &names, &told.id)
}

/// The image of `--verify`: nothing comes of such a build that could go anywhere.
fn verify(matches: &Matches) -> Result<&str, CliError> {
    let image = matches.text("verify");
    let others =
        ["tag", "output", "push", "load", "iidfile", "metadata-file", "call", "check", "cache-to"];
    match others.iter().find(|name| !image.is_empty() && matches.is_set(name)) {
        Some(other) => Err(CliError::new(format!("--verify and --{other} exclude each other"))),
        None => Ok(image),
    }
}

async fn ask_and_show(
    cli: &Cli,
    matches: &Matches,
    question: &mut Question,
    outputs: &Outputs,
    progress: &mut Progress,
    told: &mut Told,
) -> Result<(), CliError> {
    let local = matches!(cli.client()?.endpoint(), ferry_client::Endpoint::Unix(_));
    let (source, file) = (matches.arg(0), matches.text("file"));
    let handed = if local { context::hand_over(source, file, question)? } else { None };
    let mut lines = match handed {
        Some(dockerfile) => {
            let head = head(&question.ask)?;
            let call = classic::call(cli, matches, &dockerfile, false)?;
            let body = std::io::Cursor::new(head);
            call.upload(BUILD_ASK, body, None).lines::<JsonMessage>().await?
        }
        None => {
            let context = context::open(source, file)?;
            question.ask.remote.clone_from(&context.remote);
            let head = head(&question.ask)?;
            let call = classic::call(cli, matches, &context.dockerfile, false)?;
            let body = tokio::io::AsyncReadExt::chain(std::io::Cursor::new(head), context.input()?);
            call.upload(BUILD_ASK, body, None).lines::<JsonMessage>().await?
        }
    };
    let wrong = |error: serde_json::Error| {
        CliError::new(format!("the daemon's answer does not read: {error}"))
    };
    while let Some(message) = lines.next().await? {
        let aux = message.aux.unwrap_or_default();
        match message.id.as_str() {
            STATUS_ID => progress.update(serde_json::from_value(aux).map_err(wrong)?)?,
            PLACE_ID => told.place = Some(serde_json::from_value(aux).map_err(wrong)?),
            CALL_ID => told.found = Some(aux),
            VERIFIED_ID => told.verified = Some(serde_json::from_value(aux).map_err(wrong)?),
            KEPT_ID => told.kept = aux.as_str().map(str::to_owned),
            FILES_ID => return outputs.take(lines.into_rest()).await,
            _ => {
                if let Some(detail) = message.error_detail {
                    return Err(CliError::new(detail.message));
                }
                if let Some(id) = aux["ID"].as_str() {
                    told.id = id.to_owned();
                }
            }
        }
    }
    Ok(())
}

/// A shell in what a step that failed has written: a container of our own `run`, gone afterwards with its image.
fn look_around(cli: &Cli, image: &str) -> Result<(), CliError> {
    let wrong = |error: std::io::Error| CliError::new(format!("cannot open a shell: {error}"));
    let host = match cli.client()?.endpoint() {
        ferry_client::Endpoint::Unix(path) => format!("unix://{}", path.display()),
        ferry_client::Endpoint::Tcp { written, .. } => written.clone(),
        ferry_client::Endpoint::Ssh(_) => {
            cli.warn(&format!("What the step has written is the image {image}"));
            return Ok(());
        }
    };
    cli.warn("A shell in what the failed step has written; what it had mounted is not there:");
    let mut command = std::process::Command::new(std::env::current_exe().map_err(wrong)?);
    command.args(["--host", &host, "run", "--rm", "-i", "--entrypoint", "/bin/sh"]);
    if cli.stdin_is_terminal() {
        command.arg("-t");
    }
    command.arg(image).status().map_err(wrong)?;
    let call = cli.client()?.delete(super::path(image, "")).query("force", 1);
    Ok(cli.wait(call.done())?)
}

/// A question as it goes in front of a context.
fn head(ask: &BuildAsk) -> Result<Vec<u8>, CliError> {
    let text = serde_json::to_vec(ask).map_err(|error| CliError::new(error.to_string()))?;
    let length =
        u32::try_from(text.len()).map_err(|_| CliError::new("the secrets are too long"))?;
    Ok([length.to_le_bytes().as_slice(), &text].concat())
}

fn called(cli: &Cli, ask: &BuildAsk, found: &serde_json::Value, matches: &Matches) -> Outcome {
    match ask.call.as_str() {
        "outline" => cli.print(&report::outline(found))?,
        "targets" => cli.print(&report::targets(found))?,
        _ => {
            let file =
                if matches.text("file").is_empty() { "Dockerfile" } else { matches.text("file") };
            let (text, count) = report::check(found, file);
            cli.print(&text)?;
            return Ok(u8::from(count > 0));
        }
    }
    Ok(0)
}

/// Does what is to be done with the image: files about it, an archive, a push.
fn finish(cli: &Cli, matches: &Matches, outputs: &Outputs, names: &[String], id: &str) -> Outcome {
    write_id(matches, id)?;
    let file = matches.text("metadata-file");
    if !file.is_empty() {
        let mut metadata = serde_json::json!({ "buildx.build.ref": format!("default/default/{}", id.trim_start_matches("sha256:").get(..25).unwrap_or_default()) });
        if !id.is_empty() {
            metadata["containerimage.config.digest"] = id.into();
            metadata["containerimage.digest"] = id.into();
        }
        if !names.is_empty() {
            let names: Vec<String> = names.iter().filter_map(|name| canonical(name)).collect();
            metadata["image.name"] = names.join(",").into();
        }
        let text = serde_json::to_string_pretty(&metadata)
            .map_err(|error| CliError::new(error.to_string()))?;
        std::fs::write(file, text)
            .map_err(|error| CliError::new(format!("cannot write metadata to {file}: {error}")))?;
    }
    for name in names.iter().filter(|name| !matches.texts("tag").contains(name)) {
        // By a name, as other platforms stand beside the image there.
        tag(cli, matches.texts("tag").first().map_or(id, String::as_str), name)?;
    }
    outputs.all.iter().try_for_each(|output| deliver(cli, output, names, id))?;
    if matches.flag("quiet") && !id.is_empty() {
        cli.println(id)?;
    }
    Ok(0)
}

/// Brings the image where it is to go, beyond the image store.
fn deliver(cli: &Cli, output: &Output, names: &[String], id: &str) -> Result<(), CliError> {
    match output {
        Output::Archive(path, layers) => {
            let target = if path == Path::new("-") {
                Target::new("")
            } else {
                Target::new(&path.to_string_lossy())
            };
            let (target, call) = (target?, archive(cli, names, id, layers)?);
            cli.wait(async { target.save(call.send().await?).await })?;
        }
        Output::Layout(path, layers) => {
            layout::save(cli, path, archive(cli, names, id, layers)?)?;
        }
        Output::Image { push: true, layers } => {
            if names.is_empty() {
                return Err(CliError::new("tag is needed when pushing to registry"));
            }
            for name in names {
                super::push::one(cli, name, &layers.query())?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Asks for the image as an archive.
fn archive(cli: &Cli, names: &[String], id: &str, layers: &Layers) -> Result<Call, CliError> {
    let wanted = if names.is_empty() { vec![id.to_owned()] } else { names.to_vec() };
    let mut call = cli.client()?.get("/images/get");
    for name in &wanted {
        call = call.query("names", name);
    }
    for (name, value) in layers.query() {
        call = call.query(name, value);
    }
    Ok(call)
}

fn tag(cli: &Cli, id: &str, name: &str) -> Result<(), CliError> {
    let reference =
        ferry_oci::Reference::parse(name).map_err(|error| CliError::new(error.to_string()))?;
    let reference = reference.with_default_tag();
    let call = cli
        .client()?
        .post(super::path(id, "/tag"))
        .query("repo", reference.familiar_name())
        .query("tag", reference.tag().unwrap_or_default());
    Ok(cli.wait(call.done())?)
}

fn canonical(name: &str) -> Option<String> {
    ferry_oci::Reference::parse(name).ok().map(|name| name.with_default_tag().canonical())
}

fn write_id(matches: &Matches, id: &str) -> Result<(), CliError> {
    let file = matches.text("iidfile");
    if file.is_empty() {
        return Ok(());
    }
    std::fs::write(Path::new(file), id)
        .map_err(|error| CliError::new(format!("cannot write the image ID to {file}: {error}")))
}
