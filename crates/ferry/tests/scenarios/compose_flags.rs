//! Every command and flag of Docker Compose is one of ours: its own help is the table that ours is compared with.

use std::{collections::BTreeSet, process::Command};

use ferry_testkit::{binary, run};

use crate::compose::real;

/// The names of flags and commands in a help text.
fn flags(help: &str) -> BTreeSet<String> {
    let options = help.lines().filter(|line| line.trim_start().starts_with('-'));
    options
        .filter_map(|line| {
            let at = line.find("--")?;
            let name: String = line[at + 2..]
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '-')
                .collect();
            Some(name)
        })
        .collect()
}

fn commands(help: &str) -> BTreeSet<String> {
    let rows = help.split("Commands:\n").skip(1).flat_map(str::lines);
    let names = rows.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn every_flag_of_docker_compose_is_one_of_ours() {
    let Some(compose) = real() else { return };
    let theirs = |args: &[&str]| run(Command::new(&compose).args(args)).stdout;
    let ours = |args: &[&str]| run(Command::new(binary()).arg("compose").args(args)).stdout;
    let missing: Vec<String> = flags(&theirs(&["--help"]))
        .difference(&flags(&ours(&["--help"])))
        .map(|flag| format!("--{flag}"))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    let names = commands(&theirs(&["--help"]));
    assert!(names.len() > 30, "{names:?}");
    // It is refused by name.
    let refused = ["bridge"];
    let mut missing = Vec::new();
    for name in names.iter().filter(|name| !refused.contains(&name.as_str())) {
        let own = flags(&ours(&[name, "--help"]));
        let other = flags(&theirs(&[name, "--help"]));
        missing.extend(other.difference(&own).map(|flag| format!("{name} --{flag}")));
    }
    assert!(missing.is_empty(), "{missing:?}");
    for name in refused {
        let refusal = run(Command::new(binary()).args(["compose", name]));
        assert_eq!(refusal.stderr.trim(), format!("not supported yet: compose {name}"));
    }
}
