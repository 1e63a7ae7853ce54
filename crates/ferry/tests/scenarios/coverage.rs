//! Every endpoint that is served and every flag of every command has a test: the first by the table here, which names it, the second
//! by being typed in a scenario or in the guide.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use ferry_testkit::run;

/// Endpoints and a scenario that uses them, mostly through a command line.
const ENDPOINTS: &[(&str, &str)] = &[
    ("HEAD /_ping", "containers::a_life"),
    ("GET /_ping", "docker_py::system"),
    ("GET /version", "docker_py::system"),
    ("GET /info", "devices::devices_by_name"),
    ("GET /events", "settings::a_hangup_reads_the_file_again"),
    ("POST /auth", "push::credentials_and_refusals"),
    ("GET /system/df", "disk::figures_are_those_of_du"),
    ("GET /containers/json", "containers::a_life"),
    ("POST /containers/create", "containers::a_life"),
    ("POST /containers/prune", "disk::prune_takes_what_is_unused"),
    ("GET /containers/{id}/json", "containers::create_options_show_in_inspect"),
    ("GET /containers/{id}/top", "docker_py::containers"),
    ("GET /containers/{id}/logs", "logs::streams_and_tails"),
    ("GET /containers/{id}/changes", "copying::changes_are_told_as_docker_tells_them"),
    ("GET /containers/{id}/export", "copying::an_exported_file_system"),
    ("GET /containers/{id}/stats", "stats::a_stream_follows"),
    ("GET /containers/{id}/attach/ws", "settings::attach_over_a_websocket"),
    ("HEAD /containers/{id}/archive", "copying::links_and_endings"),
    ("GET /containers/{id}/archive", "copying::links_and_endings"),
    ("PUT /containers/{id}/archive", "copying::links_and_endings"),
    ("POST /containers/{id}/start", "containers::a_life"),
    ("POST /containers/{id}/stop", "containers::a_life"),
    ("POST /containers/{id}/restart", "docker_py::containers"),
    ("POST /containers/{id}/kill", "containers::signals"),
    ("POST /containers/{id}/pause", "docker_py::containers"),
    ("POST /containers/{id}/unpause", "docker_py::containers"),
    ("POST /containers/{id}/wait", "containers::exit_codes"),
    ("POST /containers/{id}/resize", "docker_py::containers"),
    ("POST /containers/{id}/attach", "containers::input_and_terminal"),
    ("POST /containers/{id}/rename", "containers::names_and_ids"),
    ("POST /containers/{id}/update", "update::limits_change_in_the_kernel"),
    ("GET /containers/{id}/why", "why::twenty_five_faults"),
    ("POST /containers/{id}/ports", "update::ports_change_while_it_runs"),
    ("POST /containers/{id}/reveal", "compose_rolling::one_container_takes_another_ones_place"),
    ("POST /containers/{id}/withdraw", "compose_rolling::one_container_takes_another_ones_place"),
    ("POST /containers/{id}/exec", "containers::exec_runs_inside"),
    ("DELETE /containers/{id}", "containers::a_life"),
    ("POST /exec/{id}/start", "containers::exec_runs_inside"),
    ("POST /exec/{id}/resize", "containers::input_and_terminal"),
    ("GET /exec/{id}/json", "containers::exec_runs_inside"),
    ("GET /images/json", "docker_py::images"),
    ("GET /images/get", "archives::save_and_load_give_the_same_image"),
    ("GET /images/search", "image_copy::searching"),
    ("GET /served/repositories", "image_copy::what_a_daemon_has_is_served"),
    ("GET /served/manifest", "image_copy::what_a_daemon_has_is_served"),
    ("GET /served/blob", "image_copy::what_a_daemon_has_is_served"),
    ("POST /served/layers", "image_copy::an_image_goes_to_another_machine_and_comes_back"),
    ("GET /images/{name}/get", "archives::save_and_load_give_the_same_image"),
    ("GET /images/{name}/history", "archives::history_and_tags"),
    ("GET /images/{name}/json", "docker_py::images"),
    ("POST /images/load", "archives::save_and_load_give_the_same_image"),
    ("POST /images/create", "registry::pull_by_tag_and_digest"),
    ("POST /images/prune", "disk::prune_takes_what_is_unused"),
    ("POST /images/{name}/push", "push::pushed_and_read_by_skopeo"),
    ("POST /images/{name}/tag", "archives::history_and_tags"),
    ("DELETE /images/{name}", "containers::the_image_stays_as_it_is"),
    ("POST /commit", "commit::a_container_becomes_an_image"),
    ("POST /build", "build::stages_and_a_config"),
    ("POST /build/prune", "disk::prune_takes_what_is_unused"),
    ("GET /build/history", "desktop::builds_are_remembered"),
    ("GET /build/history/{id}", "desktop::builds_are_remembered"),
    ("GET /distribution/{name}/json", "push::platforms"),
    ("GET /distribution/catalog", "desktop::in_a_browser"),
    ("GET /distribution/{name}/tags", "desktop::in_a_browser"),
    ("GET /names", "host_names::a_project_answers_by_name"),
    ("GET /networks", "networks::networks_come_and_go"),
    ("GET /networks/", "networks::networks_come_and_go"),
    ("POST /networks/create", "networks::networks_come_and_go"),
    ("POST /networks/prune", "docker_py::networks_and_volumes"),
    ("POST /networks/{id}/connect", "networks::a_stopped_container_keeps_its_wishes"),
    ("POST /networks/{id}/disconnect", "networks::a_stopped_container_keeps_its_wishes"),
    ("GET /networks/{id}", "networks::networks_come_and_go"),
    ("DELETE /networks/{id}", "networks::networks_come_and_go"),
    ("GET /volumes", "docker_py::networks_and_volumes"),
    ("POST /volumes/create", "volumes::named_volumes_keep_data"),
    ("POST /volumes/prune", "docker_py::networks_and_volumes"),
    ("GET /volumes/{name}", "docker_py::networks_and_volumes"),
    ("DELETE /volumes/{name}", "volumes::named_volumes_keep_data"),
    ("POST /volumes/{name}/clone", "volume_content::clones_keep_everything"),
    ("POST /volumes/{name}/rename", "volume_content::another_name"),
    ("GET /volumes/{name}/snapshots", "volume_content::snapshots_bring_back"),
    ("POST /volumes/{name}/snapshots", "volume_content::snapshots_bring_back"),
    ("DELETE /volumes/{name}/snapshots", "volume_content::snapshots_bring_back"),
    ("POST /volumes/{name}/restore", "volume_content::snapshots_bring_back"),
    ("GET /volumes/{name}/export", "volume_content::out_and_in_again"),
    ("POST /volumes/{name}/import", "volume_content::out_and_in_again"),
    ("POST /session", "buildkit::a_context_becomes_an_image_and_progress_is_shown"),
    ("POST /grpc", "buildkit::a_context_becomes_an_image_and_progress_is_shown"),
    ("GET /plugins", "docker_py::networks_and_volumes"),
    ("GET /plugins/{name}/json", "containers::names_and_ids"),
];

fn tests() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests"))
}

#[test]
fn every_endpoint_has_a_test() {
    let missing: Vec<String> = ferry_server::endpoints()
        .iter()
        .filter(|endpoint| endpoint.is_served())
        .map(|endpoint| format!("{} {}", endpoint.method, endpoint.path))
        .filter(|endpoint| !ENDPOINTS.iter().any(|(known, _)| known == endpoint))
        .collect();
    assert!(missing.is_empty(), "endpoints without a test in this table: {missing:#?}");
    for (endpoint, test) in ENDPOINTS {
        let (module, function) = test.split_once("::").unwrap();
        let text = std::fs::read_to_string(tests().join(format!("scenarios/{module}.rs"))).unwrap();
        assert!(text.contains(&format!("fn {function}(")), "{endpoint}: there is no {test}");
    }
}

/// The flags of a command, as its help shows them: the letter, where it has one, and the name.
fn flags(words: &[String]) -> Vec<(Option<char>, String)> {
    let mut command = Command::new(ferry_testkit::binary());
    let help = run(command.args(words).arg("--help")).stdout;
    let names = help.lines().filter_map(|line| {
        let line = line.trim_start();
        let rest = line.strip_prefix('-').filter(|rest| !rest.starts_with('-'));
        let letter = rest.and_then(|rest| rest.chars().next());
        let line = rest.map_or(line, |rest| rest.get(1..).unwrap_or_default());
        let name = line.trim_start_matches(", ").strip_prefix("--")?;
        Some((letter, name.split([' ', '=']).next().unwrap_or(name).to_owned()))
    });
    names.collect()
}

/// The commands below some words.
fn commands(words: &[String]) -> Vec<Vec<String>> {
    let mut command = Command::new(ferry_testkit::binary());
    let help = run(command.args(words).arg("--help")).stdout;
    let mut found = Vec::new();
    let mut listed = false;
    for line in help.lines() {
        match line {
            line if line.ends_with("ommands:") => listed = true,
            "" => listed = false,
            line if listed && line.starts_with("  ") => {
                let name = line.split_whitespace().next().unwrap().trim_end_matches('*');
                found.push([words, &[name.to_owned()]].concat());
            }
            _ => {}
        }
    }
    found
}

/// The text of all files below a directory.
fn read_all(directory: &Path, text: &mut String) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        if entry.file_name() == "compose_switches.rs" {
            // Compose's flags have a list of their own.
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            read_all(&entry.path(), text);
        } else {
            text.push_str(&std::fs::read_to_string(entry.path()).unwrap());
        }
    }
}

/// What stands between a word and the quotation mark behind it, wherever the word is.
fn behind<'t>(text: &'t str, word: &str) -> Vec<&'t str> {
    let names = text.match_indices(word).filter_map(|(at, _)| {
        let name = text[at + word.len()..].split('"').next()?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (!name.is_empty() && name.chars().all(plain)).then_some(name)
    });
    names.collect()
}

/// A parameter is sent by our command line, whose flags all have tests, by a registry that serves a daemon's images, or typed into a
/// request of a scenario.
#[test]
fn every_query_parameter_has_a_test() {
    let crates = tests().join("../..");
    let text = |place: &str| {
        let mut text = String::new();
        read_all(&crates.join(place), &mut text);
        text
    };
    let handlers = text("face/server/src/handlers");
    let read: BTreeSet<&str> = ["text", "get", "flag", "flag_or", "integer", "all"]
        .iter()
        .flat_map(|kind| behind(&handlers, &format!("query.{kind}(\"")))
        .collect();
    assert!(read.len() > 50, "the parameters were not found: {read:?}");
    let client = text("face/cli/src") + &text("face/registry/src");
    let typed = text("ferry/tests/scenarios");
    let tested = |name: &&&str| {
        client.contains(&format!("\"{name}\"")) || typed.contains(&format!("{name}="))
    };
    let missing: Vec<&&str> = read.iter().filter(|name| !tested(name)).collect();
    assert!(missing.is_empty(), "query parameters that nothing sends: {missing:?}");
}

/// Other words for a command: what `docker` has at top level and in a group, and tables of flags that two commands share.
const ALSO: &[(&str, &str)] = &[
    ("container create", "run"),
    ("create", "run"),
    ("container ls", "ps"),
    ("image ls", "images"),
    ("image rm", "rmi"),
    ("image build", "build"),
    ("builder build", "build"),
    ("buildx prune", "builder prune"),
    ("buildx du", "builder du"),
    ("system info", "info"),
    ("daemon", "start_with"),
    ("daemon", "prepared"),
    ("registry serve", "FerryRegistry start"),
    ("registry gc", "root gc"),
    ("registry rules", "root rules"),
    ("manifest annotate", "annotate"),
];

/// A file of scenarios, a script of theirs, or a page of the guide: what is in it belongs together.
struct Story {
    /// Words, in their order, without what is between them.
    words: Vec<String>,
    flags: BTreeSet<String>,
}

fn story(text: &str) -> Story {
    let words: Vec<String> = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    let mut flags = BTreeSet::new();
    for word in &words {
        match (word.strip_prefix("--"), word.strip_prefix('-')) {
            (Some(name), _) => drop(flags.insert(name.to_owned())),
            // Letters may stand together.
            (None, Some(letters)) => flags.extend(letters.chars().map(String::from)),
            (None, None) => {}
        }
    }
    Story { words, flags }
}

fn stories() -> Vec<Story> {
    let mut files = Vec::new();
    for directory in [tests().join("scenarios"), tests().join("../../../docs/guide")] {
        list_all(&directory, &mut files);
    }
    files.iter().map(|path| story(&std::fs::read_to_string(path).unwrap())).collect()
}

fn list_all(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            list_all(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

/// Some story types the command and the flag.
#[test]
fn every_flag_has_a_test() {
    let stories = stories();
    // Compose's flags have a test of their own.
    let mut all: Vec<Vec<String>> = Vec::new();
    for first in commands(&[]).into_iter().filter(|words| words[0] != "compose") {
        match commands(&first) {
            below if below.is_empty() => all.push(first),
            below => all.extend(below),
        }
    }
    assert!(all.len() > 100, "the commands were not found: {all:?}");
    let top: BTreeSet<String> = commands(&[]).into_iter().map(|words| words[0].clone()).collect();
    let mut untested = Vec::new();
    for command in all {
        let name = command.join(" ");
        let mut names = vec![name.clone()];
        names.extend(command.last().filter(|last| top.contains(*last)).cloned());
        names.extend(
            ALSO.iter().filter(|(known, _)| *known == name).map(|(_, other)| (*other).to_owned()),
        );
        let names: Vec<Vec<&str>> = names.iter().map(|name| name.split(' ').collect()).collect();
        let about = |story: &&Story| {
            names.iter().any(|name| story.words.windows(name.len()).any(|words| words == &name[..]))
        };
        let typed: BTreeSet<&String> =
            stories.iter().filter(about).flat_map(|story| &story.flags).collect();
        for (letter, flag) in flags(&command) {
            let short = letter.is_some_and(|letter| typed.contains(&letter.to_string()));
            if flag != "help" && !short && !typed.contains(&flag) {
                untested.push(format!("{name} --{flag}"));
            }
        }
    }
    assert!(untested.is_empty(), "flags that no scenario types with their command: {untested:#?}");
}
