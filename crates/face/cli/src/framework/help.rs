//! Help texts, in the layout of docker's (cobra and pflag with Docker's template).

use std::fmt::Write;

use super::{
    command::{Command, Group},
    flag::{Flag, Shape},
    plugins::Listed,
};

/// How wide help is where the terminal does not tell.
pub(crate) const DEFAULT_WIDTH: usize = 80;

/// `docker run [OPTIONS] IMAGE…`: how a command called as `path` is used.
pub fn usage_line(path: &str, command: &Command) -> String {
    if command.usage.is_empty() { path.to_owned() } else { format!("{path} {}", command.usage) }
}

/// Help of one command.
pub fn command_help(path: &str, command: &Command, width: usize) -> String {
    let about = if command.long.is_empty() { command.short } else { command.long };
    let mut text = format!("Usage:  {}\n\n{}", usage_line(path, command), about.trim());
    let program = path.split(' ').next().unwrap_or(path);
    if !command.aliases_help.is_empty() {
        let aliases = command.aliases_help.replace("docker ", &format!("{program} "));
        let _ = write!(text, "\n\nAliases:\n  {aliases}");
    }
    let mut flags = with_help_flag(command.flags);
    flags.retain(|flag| !flag.beyond || program != "docker");
    if flags.iter().any(|flag| !flag.hidden) {
        let _ = write!(text, "\n\nOptions:\n{}", flag_usages(&flags, width));
    }
    text.push('\n');
    text
}

/// `--help` is listed only where `-h` means something else, as in docker.
fn with_help_flag(flags: &[Flag]) -> Vec<Flag> {
    let mut all = flags.to_vec();
    if flags.iter().any(|flag| flag.short == Some('h')) {
        all.push(Flag::bool("help", "Print usage"));
        all.sort_by_key(|flag| flag.long);
    }
    all
}

/// Help of a management command.
pub(crate) fn group_help(path: &str, group: &Group, tree: &super::tree::Tree) -> String {
    let mut text = format!("Usage:  {path} COMMAND\n\n{}\n\nCommands:\n", group.short);
    let mut rows: Vec<(&str, &str)> = tree
        .commands_of(group.name)
        .filter(|command| !command.hidden)
        .map(|command| (command.name, command.short))
        .collect();
    rows.sort_unstable();
    text.push_str(&list(&rows));
    let _ = write!(text, "\nRun '{path} COMMAND --help' for more information on a command.\n");
    text
}

/// Help of the program.
pub(crate) fn root_help(
    program: &str,
    tree: &super::tree::Tree,
    plugins: &[Listed],
    width: usize,
) -> String {
    let mut text = format!(
        "Usage:  {program} [OPTIONS] COMMAND\n\nA self-sufficient runtime for containers\n"
    );
    let mut common: Vec<(u8, &str, &str)> = Vec::new();
    let mut others: Vec<(&str, &str)> = Vec::new();
    for (name, command) in tree.top_level().filter(|(_, command)| !command.hidden) {
        match command.common {
            Some(place) => common.push((place, name, command.short)),
            None => others.push((name, command.short)),
        }
    }
    if program != "docker" {
        others.push(crate::DAEMON);
    }
    common.sort_unstable();
    others.sort_unstable();
    let common: Vec<(&str, &str)> =
        common.into_iter().map(|(_, name, short)| (name, short)).collect();
    let mut groups: Vec<(&str, &str)> =
        tree.groups().map(|group| (group.name, group.short)).collect();
    // One whose word is a command, too, is told of there.
    let extensions = tree.extensions().iter().filter(|known| !tree.is_top_level(known.name));
    groups.extend(extensions.map(|extension| (extension.name, extension.short)));
    let (mut starred, mut broken) = (Vec::new(), Vec::new());
    for plugin in plugins {
        match &plugin.told {
            Ok(short) => starred.push((format!("{}*", plugin.name), short.as_str())),
            Err(why) => broken.push((plugin.name.as_str(), why.as_str())),
        }
    }
    groups.extend(starred.iter().map(|(name, short)| (name.as_str(), *short)));
    groups.sort_unstable();
    for (title, rows) in
        [("Common Commands", common), ("Management Commands", groups), ("Commands", others)]
    {
        let _ = write!(text, "\n{title}:\n{}", list(&rows));
    }
    if !broken.is_empty() {
        let _ = write!(text, "\nInvalid Plugins:\n{}", list(&broken));
    }
    let _ = write!(
        text,
        "\nGlobal Options:\n{}\n\nRun '{program} COMMAND --help' for more information on a command.\n",
        flag_usages(super::globals::FLAGS, width)
    );
    text
}

/// Rows of commands, names padded to cobra's minimum of eleven.
fn list(rows: &[(&str, &str)]) -> String {
    let pad = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(11);
    rows.iter().fold(String::new(), |mut text, (name, short)| {
        let _ = writeln!(text, "  {name:pad$} {short}");
        text
    })
}

/// The table of flags: pflag's `FlagUsagesWrapped(width - 1)` without trailing space.
pub fn flag_usages(flags: &[Flag], width: usize) -> String {
    let mut rows: Vec<(String, String)> = Vec::new();
    for flag in flags.iter().filter(|flag| !flag.hidden) {
        let mut head = match flag.short {
            Some(short) => format!("  -{short}, --{}", flag.long),
            None => format!("      --{}", flag.long),
        };
        if !flag.kind.is_empty() {
            head.push(' ');
            head.push_str(flag.kind);
        }
        rows.push((head, format!("{}{}", flag.help, default_note(flag))));
    }
    let widest = rows.iter().map(|(head, _)| head.len()).max().unwrap_or(0) + 1;
    let lines: Vec<String> = rows
        .iter()
        .map(|(head, help)| {
            let help = wrap(widest + 2, width.saturating_sub(1), help);
            format!("{head:widest$}  {help}").trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

/// `(default "no")`; nothing for zero values.
fn default_note(flag: &Flag) -> String {
    if let Some(shown) = flag.shown {
        return format!(" (default {shown})");
    }
    if let Some(rest) = flag.default.strip_prefix("~/.docker") {
        let directory = super::globals::default_config_dir();
        return format!(" (default {})", super::quote(&format!("{}{rest}", directory.display())));
    }
    let zero = matches!(flag.default, "" | "0" | "false" | "0s") && flag.shape != Shape::Many;
    match (flag.default, flag.kind) {
        ("", _) => String::new(),
        _ if zero => String::new(),
        (default, "string") => format!(" (default {})", super::quote(default)),
        (default, _) => format!(" (default {default})"),
    }
}

/// pflag's `wrap`: `indent` columns on the left, `width` in all.
fn wrap(mut indent: usize, width: usize, text: &str) -> String {
    const SLOP: usize = 5;
    let mut room = width.saturating_sub(indent);
    let mut wrapped = String::new();
    if room < 24 {
        indent = 16;
        room = width.saturating_sub(indent);
        wrapped.push('\n');
        wrapped.push_str(&" ".repeat(indent));
    }
    if room < 24 {
        return text.replace('\n', &wrapped);
    }
    let room = room - SLOP;
    let newline = format!("\n{}", " ".repeat(indent));
    let (first, mut rest) = split_at_width(room, SLOP, text);
    wrapped.push_str(&first.replace('\n', &newline));
    while !rest.is_empty() {
        let (line, after) = split_at_width(room, SLOP, rest);
        wrapped.push_str(&newline);
        wrapped.push_str(&line.replace('\n', &newline));
        rest = after;
    }
    wrapped
}

/// pflag's `wrapN`: a first piece of up to `room` bytes, a bit more when that is all there is.
fn split_at_width(room: usize, slop: usize, text: &str) -> (&str, &str) {
    if room + slop > text.len() {
        return (text, "");
    }
    let Some(head) = text.get(..room) else { return (text, "") };
    let Some(space) = head.rfind([' ', '\t', '\n']).filter(|at| *at > 0) else {
        return (text, "");
    };
    match head.rfind('\n').filter(|at| *at > 0 && *at < space) {
        Some(newline) => (&text[..newline], &text[newline + 1..]),
        None => (&text[..space], &text[space + 1..]),
    }
}
