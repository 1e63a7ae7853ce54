//! Help against docker's own, as docker 28 prints it eighty columns wide with a Linux daemon.

use super::{
    help::{command_help, usage_line},
    tree::{Found, Tree},
};

/// `### words` and what `docker words --help` prints.
const DOCKERS: &str = include_str!("../../tests/help.txt");

#[test]
fn help_is_dockers() {
    let tree = Tree::new(crate::commands::GROUPS);
    let (mut wrong, mut same) = (Vec::new(), 0);
    for section in DOCKERS.split("### ").filter(|section| !section.is_empty()) {
        let (words, theirs) = section.split_once('\n').unwrap();
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let Found::Command(command, named) = tree.find(&words) else { continue };
        if named != words.len() {
            continue;
        }
        let ours = command_help(&format!("docker {}", words.join(" ")), command, 80);
        if ours == theirs {
            same += 1;
        } else {
            wrong.push(format!("--- docker\n{theirs}+++ ours\n{ours}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(same >= 40, "only {same} were compared");
}

#[test]
fn flags_beyond_docker_are_told_of_under_our_name() {
    let tree = Tree::new(crate::commands::GROUPS);
    let help = |program: &str, line: &str| {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let Found::Command(command, _) = tree.find(&words) else { panic!("no {line}") };
        command_help(&format!("{program} {line}"), command, 80)
    };
    for (line, flag) in [("run", "--health-on-failure"), ("system prune", "--dry-run")] {
        assert!(help("ferry", line).contains(flag), "{line}");
        assert!(!help("docker", line).contains(flag), "{line}");
    }
}

#[test]
fn commands_are_where_docker_has_them() {
    let tree = Tree::new(crate::commands::GROUPS);
    let find = |line: &str| {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match tree.find(&words) {
            Found::Command(command, named) => format!("{} {named}", command.name),
            Found::Group(group) => format!("group {}", group.name),
            Found::UnknownIn(group) => format!("unknown in {}", group.name),
            Found::Unknown => "unknown".to_owned(),
        }
    };
    assert_eq!(find("run x"), "run 1");
    assert_eq!(find("container run x"), "run 2");
    assert_eq!(find("container remove x"), "rm 2");
    assert_eq!(find("remove x"), "unknown");
    assert_eq!(find("prune"), "unknown");
    assert_eq!(find("container"), "group container");
    assert_eq!(find("container --help"), "group container");
    assert_eq!(find("container foo"), "unknown in container");
}

#[test]
fn names_are_unique() {
    let tree = Tree::new(crate::commands::GROUPS);
    let mut seen = std::collections::BTreeSet::new();
    for (name, command) in tree.top_level() {
        assert!(seen.insert(name), "{name} is there twice");
        assert!(!usage_line(name, command).is_empty());
    }
    for group in tree.groups() {
        let mut seen = std::collections::BTreeSet::new();
        for command in group.commands {
            for name in std::iter::once(&command.name).chain(command.aliases) {
                assert!(seen.insert(*name), "{} {name} is there twice", group.name);
            }
        }
    }
}
