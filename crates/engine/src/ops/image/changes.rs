//! `--change`: the Dockerfile instructions that only change what containers inherit.

use ferry_build::{BuildError, State};
use ferry_dockerfile::{Kind, ParseError, parse_instruction};
use ferry_errkind::{ErrorKind, Failure};
use ferry_oci::ContainerDefaults;

/// Longest instruction that is read, in bytes.
const MAX_CHANGE: usize = 64 << 10;

/// Applies one instruction, such as `CMD ["sh"]` or `ENV A=b C="d e"`.
pub(crate) fn apply(defaults: &mut ContainerDefaults, change: &str) -> Result<(), Failure> {
    let change = change.trim();
    if change.len() > MAX_CHANGE {
        return Err(invalid("a change is longer than 64 KiB"));
    }
    let (word, rest) = change.split_once(char::is_whitespace).unwrap_or((change, ""));
    let word = word.to_ascii_uppercase();
    let lower = match word.as_str() {
        "FROM" | "RUN" | "COPY" | "ADD" | "ARG" | "MAINTAINER" => word.to_ascii_lowercase(),
        _ if rest.trim().is_empty() && is_known(&word) => {
            return Err(invalid(format!("{word} requires at least one argument")));
        }
        _ => String::new(),
    };
    if !lower.is_empty() {
        return Err(invalid(format!("{lower} is not a valid change command")));
    }
    let kind = parse_instruction(change).map_err(|error| unreadable(&error, &word))?.kind;
    let mut state = State::bare(std::mem::take(defaults), '\\');
    // That a command is there already is for whoever applies several changes to say.
    let (command, escaped) = (state.config.cmd.clone(), state.config.args_escaped);
    let applied = state.apply(&kind);
    *defaults = state.config;
    if matches!(kind, Kind::Entrypoint(_)) {
        defaults.cmd = command;
    }
    defaults.args_escaped = escaped;
    applied.map(drop).map_err(|error| match error {
        BuildError::Port(port) => invalid(format!("invalid containerPort: {port}")),
        other => invalid(ferry_errkind::chain(&other)),
    })
}

fn is_known(word: &str) -> bool {
    [
        "CMD",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "HEALTHCHECK",
        "LABEL",
        "ONBUILD",
        "SHELL",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    ]
    .contains(&word)
}

/// Docker names the line only where it does not know the instruction.
fn unreadable(error: &ParseError, word: &str) -> Failure {
    match error {
        ParseError::Line { words, .. } if is_known(word) => invalid(words.clone()),
        ParseError::Line { line, words } => {
            let word = words.strip_prefix("unknown instruction: ").map(str::to_ascii_uppercase);
            let words = word.map_or(words.clone(), |word| format!("unknown instruction: {word}"));
            invalid(ParseError::Line { line: *line, words }.to_string())
        }
        other => invalid(other.to_string()),
    }
}

fn invalid(words: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::InvalidArgument, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> ContainerDefaults {
        let mut defaults = ContainerDefaults::default();
        for change in changes {
            apply(&mut defaults, change).unwrap_or_else(|error| panic!("{change}: {error}"));
        }
        defaults
    }

    #[test]
    fn instructions_change_what_containers_inherit() {
        let defaults = changed(&[
            r#"CMD ["sh", "-c", "x"]"#,
            "entrypoint echo hi",
            r#"ENV A=b C="d e" F='g'"#,
            "ENV A over written",
            "EXPOSE 80 53/udp 8000-8002",
            "LABEL x=1 y=\"two words\"",
            "WORKDIR /srv",
            "WORKDIR app",
            "VOLUME /data /more",
            "USER nobody",
            "STOPSIGNAL SIGQUIT",
        ]);
        assert_eq!(defaults.cmd.unwrap(), ["sh", "-c", "x"]);
        assert_eq!(defaults.entrypoint.unwrap(), ["/bin/sh", "-c", "echo hi"]);
        assert_eq!(defaults.env.unwrap(), ["A=over written", "C=d e", "F=g"]);
        let ports: Vec<String> = defaults.exposed_ports.unwrap().into_iter().collect();
        assert_eq!(ports, ["53/udp", "80/tcp", "8000/tcp", "8001/tcp", "8002/tcp"]);
        assert_eq!(defaults.labels.unwrap()["y"], "two words");
        assert_eq!(defaults.working_dir.unwrap(), "/srv/app");
        assert_eq!(defaults.volumes.unwrap().len(), 2);
    }

    #[test]
    fn health_checks_are_read() {
        let check = |change: &str| changed(&[change]).healthcheck.unwrap();
        let full = check("HEALTHCHECK --interval=5s --retries=3 CMD [\"true\", \"x\"]");
        assert_eq!(full.test.unwrap(), ["CMD", "true", "x"]);
        assert_eq!((full.interval, full.retries), (Some(5_000_000_000), Some(3)));
        assert_eq!(check("HEALTHCHECK CMD a | b").test.unwrap(), ["CMD-SHELL", "a | b"]);
        assert_eq!(check("HEALTHCHECK NONE").test.unwrap(), ["NONE"]);
        for bad in ["FOO", "CMD", "--interval=x CMD a", "--interval=1ns CMD a", "--no=1 CMD a"] {
            let change = format!("HEALTHCHECK {bad}");
            assert!(apply(&mut ContainerDefaults::default(), &change).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_change_is_refused() {
        for (change, words) in [
            ("RUN ls", "run is not a valid change command"),
            ("FOO bar", "unknown instruction: FOO"),
            ("CMD", "requires at least one argument"),
            ("ENV a=b c", "can't find ="),
            ("EXPOSE 99999", "invalid containerPort"),
            ("LABEL a='b", "looking for matching single-quote"),
        ] {
            let error = apply(&mut ContainerDefaults::default(), change).unwrap_err();
            assert!(error.message().contains(words), "{change}: {error}");
        }
    }
}
