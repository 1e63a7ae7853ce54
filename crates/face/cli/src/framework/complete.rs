//! `__complete`: what a half-typed command line may go on with, in cobra's protocol: a candidate a line, with a tab before what it is,
//! and last a colon with 4 (no files) or 0 (files, too).

use std::os::unix::net::UnixStream;

use serde_json::Value;

use super::{
    Cli, Command, Flag, Outcome, Tree, connect::DEFAULT_SOCKET, flag::Shape, globals, tree::Found,
};

/// The hidden command.
pub(super) const WORD: &str = "__complete";

/// Most names that are offered.
const MOST: usize = 1000;

/// What may come next.
#[derive(Debug, Default)]
struct Offer {
    candidates: Vec<(String, String)>,
    files: bool,
}

/// Prints what may stand for the last of `words`.
pub(super) fn run(tree: &Tree, cli: &Cli, words: &[String]) -> Outcome {
    let (last, before) = match words.split_last() {
        Some((last, before)) => (last.as_str(), before),
        None => ("", words),
    };
    let mut offer = offer(tree, cli, before, last);
    offer.candidates.retain(|(candidate, _)| candidate.starts_with(last));
    offer.candidates.truncate(MOST);
    let mut text = String::new();
    for (candidate, about) in &offer.candidates {
        // Names come from elsewhere: no line may pretend to be two.
        let clean = |text: &str| text.replace(['\n', '\t', '\r'], " ");
        text.push_str(&clean(candidate));
        if !about.is_empty() {
            text.push('\t');
            text.push_str(&clean(about));
        }
        text.push('\n');
    }
    text.push_str(if offer.files { ":0\n" } else { ":4\n" });
    cli.print(&text)?;
    Ok(0)
}

fn offer(tree: &Tree, cli: &Cli, before: &[String], last: &str) -> Offer {
    let start = skip_globals(before);
    let words = &before[start.min(before.len())..];
    match tree.find(words) {
        _ if words.is_empty() => top(tree, last),
        Found::Group(group) if words.len() == 1 => commands(tree.commands_of(group.name)),
        Found::Command(command, named) => arguments(cli, command, &words[named..], last),
        _ => Offer { files: true, ..Offer::default() },
    }
}

/// How many words are flags before the command, with their values.
fn skip_globals(words: &[String]) -> usize {
    let mut index = 0;
    while let Some(word) = words.get(index).filter(|word| word.starts_with('-')) {
        index += if takes_next(globals::FLAGS, word) { 2 } else { 1 };
    }
    index
}

/// Whether the word behind a flag is its value.
fn takes_next(flags: &[Flag], word: &str) -> bool {
    find_flag(flags, word).is_some_and(|flag| flag.shape != Shape::Switch && !word.contains('='))
}

fn find_flag<'f>(flags: &'f [Flag], word: &str) -> Option<&'f Flag> {
    if let Some(long) = word.strip_prefix("--") {
        let name = long.split_once('=').map_or(long, |(name, _)| name);
        return flags.iter().find(|flag| flag.long == name);
    }
    let short = word.strip_prefix('-')?.chars().last()?;
    flags.iter().find(|flag| flag.short == Some(short))
}

fn top(tree: &Tree, last: &str) -> Offer {
    if last.starts_with('-') {
        return flags(globals::FLAGS);
    }
    let mut offer = Offer::default();
    let mut add = |name: &str, about: &str| {
        offer.candidates.push((name.to_owned(), about.to_owned()));
    };
    tree.top_level()
        .filter(|(_, command)| !command.hidden)
        .for_each(|(name, command)| add(name, command.short));
    tree.groups().for_each(|group| add(group.name, group.short));
    tree.extensions().iter().for_each(|extension| add(extension.name, extension.short));
    offer.candidates.sort();
    offer.candidates.dedup_by(|a, b| a.0 == b.0);
    offer
}

fn commands<'a>(all: impl Iterator<Item = &'a Command>) -> Offer {
    let shown = all.filter(|command| !command.hidden);
    let candidates = shown.map(|command| (command.name.to_owned(), command.short.to_owned()));
    Offer { candidates: candidates.collect(), files: false }
}

fn flags(all: &[Flag]) -> Offer {
    let shown = all.iter().filter(|flag| !flag.hidden && flag.deprecated.is_none());
    let about = |flag: &Flag| flag.help.lines().next().unwrap_or_default().to_owned();
    let candidates = shown.map(|flag| (format!("--{}", flag.long), about(flag)));
    Offer { candidates: candidates.collect(), files: false }
}

/// Flags, their values, and names of what the command is about.
fn arguments(cli: &Cli, command: &Command, words: &[String], last: &str) -> Offer {
    let mut count = 0;
    let mut index = 0;
    while let Some(word) = words.get(index) {
        if word.starts_with('-') && (command.interspersed || count == 0) {
            let takes = takes_next(command.flags, word);
            if takes && index + 1 == words.len() {
                return value(cli, find_flag(command.flags, word).map_or("", |flag| flag.long));
            }
            index += usize::from(takes);
        } else {
            count += 1;
        }
        index += 1;
    }
    if last.starts_with('-') && (command.interspersed || count == 0) {
        return flags(command.flags);
    }
    // The command line of a container is nobody's business here.
    if !command.interspersed && count > 0 {
        return Offer { files: true, ..Offer::default() };
    }
    of_noun(cli, command, count)
}

/// Values of flags whose values have names.
fn value(cli: &Cli, flag: &str) -> Offer {
    let fixed = |words: &[&str]| Offer {
        candidates: words.iter().map(|word| ((*word).to_owned(), String::new())).collect(),
        files: false,
    };
    match flag {
        "network" => names(cli, "/networks", &["Name"], "Driver"),
        "volumes-from" | "link" => containers(cli, true),
        "log-driver" => fixed(&["json-file", "local", "journald", "syslog", "none"]),
        "restart" => fixed(&["no", "always", "on-failure", "unless-stopped"]),
        "pull" => fixed(&["always", "missing", "never"]),
        "signal" | "stop-signal" => {
            fixed(&["SIGHUP", "SIGINT", "SIGKILL", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2"])
        }
        "cgroupns" => fixed(&["host", "private"]),
        "format" => fixed(&["json", "table"]),
        _ => Offer { files: true, ..Offer::default() },
    }
}

fn of_noun(cli: &Cli, command: &Command, count: usize) -> Offer {
    let usage = command.usage;
    let many = usage.contains("...");
    let wants = |noun: &str| usage.contains(noun) && (count == 0 || many);
    match command.name {
        "run" | "create" if usage.contains("IMAGE") => images(cli),
        "start" | "rm" if wants("CONTAINER") => containers(cli, true),
        "inspect" | "logs" | "wait" | "diff" | "export" | "commit" | "rename" | "cp" | "why"
        | "update" | "port"
            if wants("CONTAINER") || (usage.contains("CONTAINER") && count == 0) =>
        {
            containers(cli, true)
        }
        _ if usage.contains("NETWORK") && count == 0 => {
            names(cli, "/networks", &["Name"], "Driver")
        }
        _ if usage.contains("NETWORK") && usage.contains("CONTAINER") => containers(cli, true),
        _ if wants("NETWORK") => names(cli, "/networks", &["Name"], "Driver"),
        _ if wants("CONTAINER") => containers(cli, false),
        _ if wants("IMAGE") => images(cli),
        _ if wants("VOLUME") => names(cli, "/volumes", &["Name"], "Driver"),
        _ if wants("CONTEXT") => Offer {
            candidates: crate::commands::context::names(cli)
                .into_iter()
                .map(|name| (name, String::new()))
                .collect(),
            files: false,
        },
        _ if wants("NAME|ID") => containers(cli, true),
        _ => Offer { files: !usage.is_empty(), ..Offer::default() },
    }
}

/// An answer of the daemon. Completion starts none.
fn ask(cli: &Cli, path: &str) -> Option<Value> {
    let named = !cli.globals().hosts().is_empty()
        || cli.globals().context().is_some()
        || ["FERRY_HOST", "DOCKER_HOST"].iter().any(|name| cli.env(name).is_some());
    if !named && UnixStream::connect(DEFAULT_SOCKET).is_err() {
        return None;
    }
    let client = cli.client().ok()?;
    cli.wait(client.get(path).json()).ok()
}

fn containers(cli: &Cli, all: bool) -> Offer {
    let mut path = "/containers/json".to_owned();
    if all {
        path.push_str("?all=1");
    }
    names(cli, &path, &["Names"], "Image")
}

fn images(cli: &Cli) -> Offer {
    let mut offer = names(cli, "/images/json", &["RepoTags"], "");
    offer.candidates.retain(|(name, _)| !name.contains("<none>"));
    // `latest` goes without saying.
    let short: Vec<_> = offer
        .candidates
        .iter()
        .filter_map(|(name, about)| Some((name.strip_suffix(":latest")?.to_owned(), about.clone())))
        .collect();
    offer.candidates.extend(short);
    offer.candidates.sort();
    offer
}

/// The values of fields of everything in a list; `about` is the field that describes it.
fn names(cli: &Cli, path: &str, fields: &[&str], about: &str) -> Offer {
    let answer = ask(cli, path).unwrap_or_default();
    let items = match &answer {
        Value::Object(object) => object.get("Volumes").and_then(Value::as_array),
        other => other.as_array(),
    };
    let mut candidates = Vec::new();
    for item in items.into_iter().flatten().take(MOST) {
        let about = item[about].as_str().unwrap_or_default();
        for field in fields {
            let texts: Vec<&str> = match &item[*field] {
                Value::String(text) => vec![text],
                Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
                _ => Vec::new(),
            };
            let plain = texts.into_iter().map(|text| text.trim_start_matches('/').to_owned());
            candidates.extend(plain.map(|text| (text, about.to_owned())));
        }
    }
    candidates.sort();
    Offer { candidates, files: false }
}
