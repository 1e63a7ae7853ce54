//! Whatever is edited, a build with the cache makes the same files and the same configuration as one without.

use std::collections::BTreeMap;

use ferry_testkit::{Client, Sandbox, run};

use super::context;
use crate::with_busybox;

/// A stream of numbers that is the same every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % limit as u64).unwrap()
    }
}

/// Lines that steps are made of; `{}` is a number.
const LINES: [&str; 12] = [
    "RUN echo {} > /r{}",
    "COPY a.txt /copied{}",
    "COPY d /d{}/",
    "COPY --chown={} d /owned",
    "ENV E{}=v{}",
    "WORKDIR /w{}/deep",
    "RUN echo $E1 $PWD > /env{}",
    "COPY --link b.txt /l{}/",
    "LABEL l{}=x",
    "RUN rm -f /r{} /copied{}",
    "COPY --parents d/e/c.txt /p{}/",
    "RUN --mount=type=bind,target=/m cat /m/a.txt > /m{}",
];

/// How many Dockerfiles are edited.
const DOCKERFILES: u64 = 20;

/// `FERRY_TEST_EDITS=1000` edits each of the twenty Dockerfiles fifty times, `50@3` only the third, fifty times.
fn asked() -> (usize, std::ops::Range<u64>) {
    let text = std::env::var("FERRY_TEST_EDITS").unwrap_or_default();
    if let Some((edits, which)) = text.split_once('@') {
        let which = which.parse().unwrap();
        return (edits.parse().unwrap(), which..which + 1);
    }
    match text.parse::<usize>() {
        Ok(edits) => (edits.div_ceil(20), 0..DOCKERFILES),
        Err(_) => (6, 0..2),
    }
}

#[test]
fn a_cached_build_is_what_a_clean_one_is() {
    let sandbox = with_busybox(Client::Ferry);
    let (edits, dockerfiles) = asked();
    for dockerfile in dockerfiles {
        edit(&sandbox, dockerfile, edits);
    }
}

fn edit(sandbox: &Sandbox, dockerfile: u64, edits: usize) {
    let mut numbers = Numbers(20_260_721 + dockerfile * 7919);
    let mut files: BTreeMap<&str, String> = BTreeMap::from([
        ("a.txt", "a".to_owned()),
        ("b.txt", "b".to_owned()),
        ("d/x.txt", "x".to_owned()),
        ("d/e/c.txt", "c".to_owned()),
    ]);
    let line = |numbers: &mut Numbers| {
        let line = LINES[numbers.below(LINES.len())];
        line.replace("{}", &(1 + numbers.below(2)).to_string())
    };
    let mut lines: Vec<String> = (0..3 + dockerfile % 5).map(|_| line(&mut numbers)).collect();
    for round in 0..edits {
        match numbers.below(4) {
            0 => {
                let names: Vec<&str> = files.keys().copied().collect();
                let name = names[numbers.below(names.len())];
                files.insert(name, format!("{}", numbers.below(3)));
            }
            1 if lines.len() > 2 => {
                let at = numbers.below(lines.len());
                lines.remove(at);
            }
            2 if lines.len() > 2 => {
                let (at, to) = (numbers.below(lines.len()), numbers.below(lines.len()));
                lines.swap(at, to);
            }
            _ => {
                let line = line(&mut numbers);
                let at = numbers.below(lines.len() + 1);
                lines.insert(at, line);
            }
        }
        // Every third has a stage before the one that counts, and what it makes is copied.
        let mut text = format!("FROM busybox\n{}\n", lines.join("\n"));
        if dockerfile % 3 == 2 {
            let (first, last) = lines.split_at(lines.len() / 2);
            text = format!(
                "FROM busybox AS first\nRUN mkdir /made\n{}\nRUN cp -r /r* /d* /w* /made/ || true\nFROM busybox\n{}\nCOPY --from=first /made /made/\n",
                first.join("\n"),
                last.join("\n"),
            );
        }
        let mut all: Vec<(&str, &str)> =
            files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        all.push(("Dockerfile", &text));
        let directory = context(sandbox, "c", &all);
        let outcome = |flags: &[&str]| {
            let words =
                [&["build", "-q", "-t", "edited"], flags, &[directory.to_str().unwrap()]].concat();
            run(&mut sandbox.command(&words)).ok();
            seen(sandbox)
        };
        let (cached, clean) = (outcome(&[]), outcome(&["--no-cache"]));
        assert_eq!(cached, clean, "Dockerfile {dockerfile}, edit {round}:\n{text}");
    }
    eprintln!("Dockerfile {dockerfile}: {edits} edits");
}

/// The files of the image and its configuration.
fn seen(sandbox: &Sandbox) -> String {
    let script = "find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /etc/hosts -o -path /etc/hostname -o -path /etc/resolv.conf \\) -prune -o -exec stat -c '%n %A %u %g' {} + | sort; \
        cat /r* /c* /e* /m* /d*/x.txt /env* 2>/dev/null; true";
    let files = sandbox.ok(&["run", "--rm", "--entrypoint", "sh", "edited", "-c", script]);
    let config = sandbox.ok(&["image", "inspect", "-f", "{{json .Config}}", "edited"]);
    format!("{files}\n{config}")
}
