//! `ferry kube play|down|generate|apply`.

use std::io::Read;

use ferry_cli::{
    face::{Args, Cli, CliError, Command, Outcome, command_help, usage_line},
    flags::{Flag, Matches, ParseError, terminal_width},
};
use ferry_client::path_segment;
use serde_json::Value;

use crate::{generate, manifest, plan, play::Player};

/// Longest manifest.
const MAX_BYTES: u64 = 8 << 20;

/// A command.
struct Verb {
    command: Command,
    run: fn(&Cli, &Matches) -> Outcome,
}

static VERBS: [Verb; 4] = [
    Verb {
        command: Command {
            name: "apply",
            short: "Hand manifests of containers to a cluster, through kubectl",
            usage: "[OPTIONS] CONTAINER [CONTAINER...]",
            args: Args::AtLeast(1),
            flags: GENERATE_FLAGS,
            ..Command::NEW
        },
        run: apply,
    },
    Verb {
        command: Command {
            name: "down",
            short: "Take down what play brought up",
            usage: "FILE|-",
            args: Args::Exactly(1),
            ..Command::NEW
        },
        run: down,
    },
    Verb {
        command: Command {
            name: "generate",
            short: "Write containers as Kubernetes manifests",
            usage: "[OPTIONS] CONTAINER [CONTAINER...]",
            args: Args::AtLeast(1),
            flags: GENERATE_FLAGS,
            ..Command::NEW
        },
        run: generate,
    },
    Verb {
        command: Command {
            name: "play",
            short: "Run the pods of manifests on this machine",
            usage: "FILE|-",
            args: Args::Exactly(1),
            ..Command::NEW
        },
        run: play,
    },
];

const GENERATE_FLAGS: &[Flag] = &[
    Flag::string("name", "Name of the pod (default is the first container's)"),
    Flag::bool("service", "Write a service for published ports, too").short('s'),
    Flag::string("type", "\"pod\" or \"deployment\"").default("pod"),
];

/// Runs `kube` with what stands behind it.
pub(crate) fn run(cli: &Cli, args: &[String]) -> Outcome {
    let program = format!("{} kube", cli.program());
    let Some((name, rest)) = args.split_first() else {
        cli.print(&help(&program))?;
        return Ok(0);
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        cli.print(&help(&program))?;
        return Ok(0);
    }
    let verb = VERBS.iter().find(|verb| verb.command.name == name);
    let verb = verb.ok_or_else(|| CliError::new(format!("unknown command: \"kube {name}\"")))?;
    let path = format!("{program} {name}");
    let matches = match Matches::parse(verb.command.flags, rest, true) {
        Ok((matches, _)) => matches,
        Err(ParseError::Help { .. }) => {
            cli.print(&command_help(&path, &verb.command, terminal_width()))?;
            return Ok(0);
        }
        Err(ParseError::Invalid(words)) => {
            return Err(CliError::new(format!("{words}\nSee '{path} --help'.")));
        }
    };
    let usage = usage_line(&path, &verb.command);
    if let Some(complaint) = verb.command.args.complaint(matches.args().len(), &path, &usage) {
        return Err(CliError::new(complaint));
    }
    (verb.run)(cli, &matches)
}

fn help(program: &str) -> String {
    let rows =
        VERBS.iter().map(|verb| format!("  {:<11} {}\n", verb.command.name, verb.command.short));
    format!(
        "Usage:  {program} COMMAND\n\nKubernetes manifests on this machine\n\nCommands:\n{}\nRun '{program} COMMAND --help' for more information on a command.\n",
        rows.collect::<String>()
    )
}

/// Reads a file of manifests and plans its pods. What has no meaning here is said.
fn planned(
    cli: &Cli,
    matches: &Matches,
) -> Result<(manifest::Manifests, Vec<plan::PodPlan>), CliError> {
    let name = matches.args().first().map_or("-", String::as_str);
    let text = read(name)?;
    let wrong = |words: String| CliError::new(format!("{name}: {words}"));
    let documents = ferry_compose::yaml_documents(&text).map_err(wrong)?;
    let mut manifests = manifest::read(documents).map_err(wrong)?;
    let mut notices = std::mem::take(&mut manifests.notices);
    let pods = manifests.pods.iter().map(|pod| plan::plan(pod, &manifests, &mut notices));
    let pods = pods.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    notices.dedup();
    for notice in notices {
        cli.warn(&format!("{name}: {notice}"));
    }
    Ok((manifests, pods))
}

fn read(name: &str) -> Result<String, CliError> {
    let failed = |error: std::io::Error| CliError::new(format!("cannot read {name}: {error}"));
    let mut text = String::new();
    let source: Box<dyn Read> = match name {
        "-" => Box::new(std::io::stdin()),
        path => Box::new(std::fs::File::open(path).map_err(failed)?),
    };
    source.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(CliError::new(format!("{name} has more than {MAX_BYTES} bytes")));
    }
    Ok(text)
}

fn play(cli: &Cli, matches: &Matches) -> Outcome {
    let (manifests, pods) = planned(cli, matches)?;
    let player = Player { cli, client: cli.client()? };
    cli.wait(player.play(&manifests, &pods))?;
    Ok(0)
}

fn down(cli: &Cli, matches: &Matches) -> Outcome {
    let (_, pods) = planned(cli, matches)?;
    let player = Player { cli, client: cli.client()? };
    cli.wait(player.down(&pods))?;
    Ok(0)
}

fn generate(cli: &Cli, matches: &Matches) -> Outcome {
    let text = manifests(cli, matches)?;
    cli.print(&text)?;
    Ok(0)
}

/// The manifests of containers, as one text.
fn manifests(cli: &Cli, matches: &Matches) -> Result<String, CliError> {
    let client = cli.client()?;
    let mut containers = Vec::new();
    for name in matches.args() {
        let path = format!("/containers/{}/json", path_segment(name));
        containers.push(cli.wait(client.get(path).json::<Value>())?);
    }
    let named = match matches.text("name") {
        "" => containers.first().and_then(|one| one["Name"].as_str()).unwrap_or_default(),
        name => name,
    };
    let name = generate::object_name(named);
    let pod = generate::pod(&name, &containers);
    let mut documents = generate::claims(&pod);
    documents.extend(generate::service(&name, &pod).filter(|_| matches.flag("service")));
    documents.push(match matches.text("type") {
        "pod" => pod,
        "deployment" => generate::deployment(&name, pod),
        other => return Err(CliError::new(format!("--type \"{other}\": use pod or deployment"))),
    });
    let texts: Vec<String> = documents.iter().map(ferry_compose::yaml_text).collect();
    Ok(texts.join("---\n"))
}

fn apply(cli: &Cli, matches: &Matches) -> Outcome {
    let text = manifests(cli, matches)?;
    let failed = |error: std::io::Error| CliError::new(format!("cannot run kubectl: {error}"));
    let mut child = std::process::Command::new("kubectl")
        .args(["apply", "-f", "-"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        std::io::Write::write_all(&mut stdin, text.as_bytes()).map_err(failed)?;
    }
    let ended = child.wait().map_err(failed)?;
    Ok(ended.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
