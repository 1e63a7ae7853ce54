//! The examples of `docs/guide` are run as they stand there: `$ ` lines in a shell, and what they print is compared with the
//! lines below them. `…` stands for anything in a line; a line that is only `…` for any number of lines.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use ferry_testkit::{Sandbox, programs};

/// What a shell prints behind each command's output.
const MARK: &str = "@@ the command has ended @@";

macro_rules! pages {
    ($($name:ident = $file:literal),+ $(,)?) => { $(#[test] fn $name() { check($file); })+ };
}

pages!(
    first_container = "01-first-container.md",
    images_and_registries = "02-images-and-registries.md",
    volumes = "03-volumes.md",
    networks_and_ports = "04-networks-and-ports.md",
    limits_and_isolation = "05-limits-and-isolation.md",
    logs = "06-logs.md",
    daemon_and_recovery = "07-daemon-and-recovery.md",
    health_and_usage = "08-health-and-usage.md",
    files_of_containers = "09-files-of-containers.md",
    building_images = "10-building-images.md",
    compose = "11-compose.md",
    when_something_fails = "14-when-something-fails.md",
    registry = "12-registry.md",
    desktop = "13-desktop.md",
    kubernetes = "15-kubernetes.md",
);

fn guide() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide")
}

#[test]
fn every_page_is_checked() {
    let pages = std::fs::read_dir(guide()).unwrap().flatten();
    let mut pages: Vec<String> =
        pages.map(|page| page.file_name().to_string_lossy().into_owned()).collect();
    pages.sort();
    let own = include_str!("guide.rs");
    for page in pages {
        assert!(own.contains(&format!("\"{page}\"")), "{page} is not in the list of pages");
    }
}

fn check(page: &str) {
    if programs::all(["curl", "ip", "nft"]).is_none() {
        return;
    }
    let text = std::fs::read_to_string(guide().join(page)).unwrap();
    let sandbox = Sandbox::start();
    sandbox.busybox();
    let work = sandbox.dir().join("work");
    let bin = sandbox.dir().join("bin");
    std::fs::create_dir_all(&work).unwrap();
    std::fs::create_dir_all(&bin).unwrap();
    let binary = sandbox.command(&[]).get_program().to_owned();
    std::os::unix::fs::symlink(binary, bin.join("ferry")).unwrap();
    let mut shell = Command::new("bash")
        .env("DOCKER_HOST", sandbox.host())
        .env("DOCKER_CONFIG", sandbox.dir().join("config"))
        .env("XDG_DATA_HOME", sandbox.dir().join("config/share"))
        .env("WORK", &work)
        .env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()))
        .current_dir(&work)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = shell.stdin.take().unwrap();
    let mut output = BufReader::new(shell.stdout.take().unwrap());
    writeln!(input, "exec 2>&1").unwrap();
    let mut wrong = Vec::new();
    for (command, expected) in steps(&text) {
        writeln!(input, "{command}\necho \"{MARK}\"").unwrap();
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(
                output.read_line(&mut line).unwrap(),
                0,
                "the shell ended at `{command}`:\n{seen}"
            );
            if let Some(last) = line.trim_end().strip_suffix(MARK) {
                seen.push_str(last);
                break;
            }
            seen.push_str(&line);
        }
        let seen: Vec<&str> = seen.lines().collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        if !fits(&expected, &seen) {
            wrong.push(format!(
                "$ {command}\nexpected:\n{}\nseen:\n{}",
                expected.join("\n"),
                seen.join("\n")
            ));
        }
    }
    drop(input);
    shell.wait().unwrap();
    assert!(wrong.is_empty(), "{page}:\n{}", wrong.join("\n\n"));
}

/// The commands of a page with the lines that follow them.
fn steps(text: &str) -> Vec<(String, Vec<String>)> {
    let mut steps: Vec<(String, Vec<String>)> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match (line, line.strip_prefix("$ ")) {
            ("```console", _) => inside = true,
            ("```", _) => inside = false,
            (_, Some(command)) if inside => steps.push((command.to_owned(), Vec::new())),
            (line, None) if inside => steps.last_mut().unwrap().1.push(line.to_owned()),
            _ => {}
        }
    }
    assert!(!steps.is_empty(), "a page without examples");
    steps
}

fn fits(expected: &[&str], seen: &[&str]) -> bool {
    match expected.split_first() {
        None => seen.is_empty(),
        Some((&"…", rest)) => (0..=seen.len()).any(|skip| fits(rest, &seen[skip..])),
        Some((first, rest)) => match seen.split_first() {
            Some((line, others)) => line_fits(first, line) && fits(rest, others),
            None => false,
        },
    }
}

fn line_fits(pattern: &str, line: &str) -> bool {
    match pattern.split_once('…') {
        None => pattern == line,
        Some((head, tail)) => match line.strip_prefix(head) {
            Some(rest) => (0..=rest.len())
                .filter(|at| rest.is_char_boundary(*at))
                .any(|at| line_fits(tail, &rest[at..])),
            None => false,
        },
    }
}

#[test]
fn patterns_fit_as_they_say() {
    assert!(fits(&["a…c", "…", "z"], &["abbc", "1", "2", "z"]));
    assert!(fits(&["…"], &[]));
    assert!(!fits(&["a"], &["b"]));
    assert!(!fits(&["a"], &["a", "b"]));
}
