//! `ferry kube play|down|generate|apply`.

use std::{collections::BTreeSet, io::Read};

use crate::{
    cron::zone,
    files, generate, jobs, keep, manifest,
    play::{Plans, Player},
    source,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ferry_cli::{
    face::{Args, Cli, CliError, Command, Outcome, command_help, usage_line},
    flags::{Flag, Matches, ParseError, terminal_width},
};

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
            usage: "[OPTIONS] CONTAINER|POD|PROJECT...",
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
            usage: "FILE|DIRECTORY|-...",
            args: Args::AtLeast(1),
            ..Command::NEW
        },
        run: down,
    },
    Verb {
        command: Command {
            name: "generate",
            short: "Write containers as Kubernetes manifests",
            usage: "[OPTIONS] CONTAINER|POD|PROJECT...",
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
            usage: "FILE|DIRECTORY|-...",
            args: Args::AtLeast(1),
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
    if name == "keep" {
        return keep::run(cli, rest);
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

/// Reads manifests and plans their pods. What has no meaning here is said.
fn planned(cli: &Cli, matches: &Matches) -> Result<(manifest::Manifests, Plans), CliError> {
    let (documents, whole) = files::documents(matches.args())?;
    let wrong = |words: String| CliError::new(format!("{whole}: {words}"));
    let mut manifests = manifest::read(documents, &zone_file).map_err(wrong)?;
    let mut notices = std::mem::take(&mut manifests.notices);
    let plans = jobs::plans(&manifests, &mut notices).map_err(wrong)?;
    let mut told = BTreeSet::new();
    for notice in notices.iter().filter(|notice| told.insert(notice.as_str())) {
        cli.warn(&format!("{whole}: {notice}"));
    }
    Ok((manifests, plans))
}

/// The file of a time zone, as base64.
fn zone_file(name: &str) -> Result<String, String> {
    let is_name = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte))
    };
    if !name.split('/').all(is_name) {
        return Err(format!("\"{name}\" is no time zone"));
    }
    let path = format!("/usr/share/zoneinfo/{name}");
    let failed = |error: std::io::Error| format!("cannot read {path}: {error}");
    let mut bytes = Vec::new();
    let file = std::fs::File::open(&path).map_err(failed)?;
    file.take(zone::MAX_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(STANDARD.encode(bytes))
}

fn play(cli: &Cli, matches: &Matches) -> Outcome {
    let (manifests, plans) = planned(cli, matches)?;
    let player = Player { cli, client: cli.client()? };
    cli.wait(player.play(&manifests, &plans))?;
    Ok(0)
}

fn down(cli: &Cli, matches: &Matches) -> Outcome {
    let (manifests, plans) = planned(cli, matches)?;
    let player = Player { cli, client: cli.client()? };
    cli.wait(player.down(&manifests, &plans))?;
    Ok(0)
}

fn generate(cli: &Cli, matches: &Matches) -> Outcome {
    let text = manifests(cli, matches)?;
    cli.print(&text)?;
    Ok(0)
}

/// The manifests of containers, pods and projects, as one text.
fn manifests(cli: &Cli, matches: &Matches) -> Result<String, CliError> {
    let player = Player { cli, client: cli.client()? };
    let mut groups = cli.wait(source::groups(&player, matches.args()))?;
    match (matches.text("name"), groups.as_mut_slice()) {
        ("", _) => {}
        (name, [one]) => name.clone_into(&mut one.name),
        _ => return Err(CliError::new("--name is for one pod, and these are several")),
    }
    let mut documents = Vec::new();
    for group in groups {
        let name = generate::object_name(&group.name);
        let pod = generate::pod(&name, &group.containers);
        for claim in generate::claims(&pod) {
            if !documents.contains(&claim) {
                documents.push(claim);
            }
        }
        documents.extend(generate::service(&name, &pod).filter(|_| matches.flag("service")));
        documents.push(match matches.text("type") {
            "pod" => pod,
            "deployment" => generate::deployment(&name, pod, group.replicas),
            other => {
                return Err(CliError::new(format!("--type \"{other}\": use pod or deployment")));
            }
        });
    }
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
