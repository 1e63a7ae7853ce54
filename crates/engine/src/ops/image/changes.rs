//! `--change`: the Dockerfile instructions that only change what containers inherit.

use std::collections::{BTreeMap, BTreeSet};

use ferry_errkind::{ErrorKind, Failure};
use ferry_oci::{ContainerDefaults, HealthDefaults};

/// Longest instruction that is read, in bytes.
const MAX_CHANGE: usize = 64 << 10;

/// Applies one instruction, such as `CMD ["sh"]` or `ENV A=b C="d e"`.
pub(crate) fn apply(defaults: &mut ContainerDefaults, change: &str) -> Result<(), Failure> {
    let change = change.trim();
    if change.len() > MAX_CHANGE {
        return Err(invalid("a change is longer than 64 KiB".to_owned()));
    }
    let (instruction, rest) = change.split_once(char::is_whitespace).unwrap_or((change, ""));
    let (instruction, rest) = (instruction.to_ascii_uppercase(), rest.trim());
    if !matches!(
        instruction.as_str(),
        "CMD"
            | "ENTRYPOINT"
            | "ENV"
            | "EXPOSE"
            | "LABEL"
            | "ONBUILD"
            | "STOPSIGNAL"
            | "USER"
            | "VOLUME"
            | "WORKDIR"
            | "SHELL"
            | "HEALTHCHECK"
    ) {
        return Err(match instruction.as_str() {
            "" => invalid("file with no instructions".to_owned()),
            "FROM" | "RUN" | "COPY" | "ADD" | "ARG" | "MAINTAINER" => {
                invalid(format!("{} is not a valid change command", instruction.to_lowercase()))
            }
            _ => invalid(format!(
                "dockerfile parse error on line 1: unknown instruction: {instruction}"
            )),
        });
    }
    if rest.is_empty() {
        return Err(invalid(format!("{instruction} requires at least one argument")));
    }
    match instruction.as_str() {
        "CMD" => defaults.cmd = Some(command(rest, defaults.shell.as_deref())?),
        "ENTRYPOINT" => defaults.entrypoint = Some(command(rest, defaults.shell.as_deref())?),
        "SHELL" => {
            let shell = json_list(rest).ok_or_else(|| {
                invalid("SHELL requires the arguments to be in JSON form".to_owned())
            })?;
            defaults.shell = Some(shell);
        }
        "ENV" => set_env(defaults, rest)?,
        "LABEL" => {
            let labels = defaults.labels.get_or_insert_with(BTreeMap::new);
            labels.extend(pairs("LABEL", rest)?);
        }
        "EXPOSE" => expose(defaults, rest)?,
        "VOLUME" => {
            let paths = match json_list(rest) {
                Some(paths) => paths,
                None => words(rest)?,
            };
            defaults.volumes.get_or_insert_with(BTreeSet::new).extend(paths);
        }
        "ONBUILD" => defaults.on_build.get_or_insert_with(Vec::new).push(rest.to_owned()),
        "HEALTHCHECK" => defaults.healthcheck = Some(healthcheck(rest)?),
        "STOPSIGNAL" => defaults.stop_signal = Some(one("STOPSIGNAL", rest)?),
        "USER" => defaults.user = Some(one("USER", rest)?),
        _ => {
            let directory = one("WORKDIR", rest)?;
            let base = defaults.working_dir.take().unwrap_or_default();
            let full =
                if directory.starts_with('/') { directory } else { format!("{base}/{directory}") };
            defaults.working_dir = Some(full);
        }
    }
    Ok(())
}

fn invalid(words: String) -> Failure {
    Failure::new(ErrorKind::InvalidArgument, words)
}

/// `NONE`, or options and `CMD` with a command in either form.
fn healthcheck(text: &str) -> Result<HealthDefaults, Failure> {
    let mut check = HealthDefaults::default();
    let mut rest = text;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, behind) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
        let (name, value) = option
            .split_once('=')
            .ok_or_else(|| invalid(format!("Missing a value on flag: {option}")))?;
        set_health_option(&mut check, name, value)?;
        rest = behind.trim_start();
    }
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let command = command.trim();
    check.test = Some(match kind.to_ascii_uppercase().as_str() {
        "NONE" if command.is_empty() => vec!["NONE".to_owned()],
        "NONE" => return Err(invalid("HEALTHCHECK NONE takes no arguments".to_owned())),
        "CMD" if command.is_empty() => {
            return Err(invalid("Missing command after HEALTHCHECK CMD".to_owned()));
        }
        "CMD" => match json_list(command) {
            Some(list) => std::iter::once("CMD".to_owned()).chain(list).collect(),
            None => vec!["CMD-SHELL".to_owned(), command.to_owned()],
        },
        _ => return Err(invalid(format!("Unknown type {kind:?} in HEALTHCHECK (try CMD)"))),
    });
    Ok(check)
}

fn set_health_option(check: &mut HealthDefaults, name: &str, value: &str) -> Result<(), Failure> {
    let place = match name {
        "interval" => &mut check.interval,
        "timeout" => &mut check.timeout,
        "start-period" => &mut check.start_period,
        "start-interval" => &mut check.start_interval,
        "retries" => {
            let retries = value.parse::<i32>().map_err(|_| {
                invalid(format!("strconv.ParseInt: parsing {value:?}: invalid syntax"))
            })?;
            if retries < 0 {
                let words = format!("--retries cannot be negative ({retries})");
                return Err(invalid(words));
            }
            check.retries = Some(retries.into()).filter(|retries| *retries != 0);
            return Ok(());
        }
        name => return Err(invalid(format!("unknown flag: --{name}"))),
    };
    let nanos =
        ferry_stdx::duration::parse_go(value).map_err(|error| invalid(error.to_string()))?;
    if nanos != 0 && nanos < 1_000_000 {
        return Err(invalid(format!("Interval {name:?} cannot be less than 1ms")));
    }
    *place = Some(nanos).filter(|nanos| *nanos != 0);
    Ok(())
}

/// `["a", "b"]`, or a line for the shell.
fn command(text: &str, shell: Option<&[String]>) -> Result<Vec<String>, Failure> {
    if let Some(list) = json_list(text) {
        return Ok(list);
    }
    let default = ["/bin/sh".to_owned(), "-c".to_owned()];
    let mut command = shell.unwrap_or(&default).to_vec();
    command.push(text.to_owned());
    Ok(command)
}

fn json_list(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

fn set_env(defaults: &mut ContainerDefaults, text: &str) -> Result<(), Failure> {
    let env = defaults.env.get_or_insert_with(Vec::new);
    for (name, value) in pairs("ENV", text)? {
        let start = format!("{name}=");
        env.retain(|known| !known.starts_with(&start));
        env.push(format!("{start}{value}"));
    }
    Ok(())
}

fn expose(defaults: &mut ContainerDefaults, text: &str) -> Result<(), Failure> {
    let ports = defaults.exposed_ports.get_or_insert_with(BTreeSet::new);
    for port in words(text)? {
        let (number, protocol) = port.split_once('/').unwrap_or((&port, "tcp"));
        let range = number.split_once('-').unwrap_or((number, number));
        let (Ok(first), Ok(last)) = (range.0.parse::<u16>(), range.1.parse::<u16>()) else {
            return Err(invalid(format!("invalid containerPort: {port}")));
        };
        if first > last || !matches!(protocol, "tcp" | "udp" | "sctp") {
            return Err(invalid(format!("invalid containerPort: {port}")));
        }
        ports.extend((first..=last).map(|number| format!("{number}/{protocol}")));
    }
    Ok(())
}

/// `a=b "c d"=e`, or the old form `name the value`.
fn pairs(instruction: &str, text: &str) -> Result<Vec<(String, String)>, Failure> {
    let words = words(text)?;
    let pair = |word: &String| {
        word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    if words.first().is_some_and(|first| !first.contains('=')) {
        let (name, value) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        if value.trim().is_empty() {
            return Err(invalid(format!("{instruction} must have two arguments")));
        }
        return Ok(vec![(name.to_owned(), value.trim().to_owned())]);
    }
    words
        .iter()
        .map(|word| match pair(word) {
            Some((name, _)) if name.is_empty() => {
                Err(invalid(format!("{instruction} names can not be blank")))
            }
            Some(pair) => Ok(pair),
            None => Err(invalid(format!(
                "Syntax error - can't find = in {word:?}. Must be of the form: name=value"
            ))),
        })
        .collect()
}

fn one(instruction: &str, text: &str) -> Result<String, Failure> {
    match <[String; 1]>::try_from(words(text)?) {
        Ok([word]) => Ok(word),
        Err(_) => Err(invalid(format!("{instruction} requires exactly one argument"))),
    }
}

/// Words as a shell splits them: quotes and backslashes taken away.
fn words(text: &str) -> Result<Vec<String>, Failure> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_with(String::new);
            }
            (None | Some('"'), '\\') => word.get_or_insert_with(String::new).extend(chars.next()),
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_with(String::new).push(c),
        }
    }
    if quote.is_some() {
        return Err(invalid(
            "unexpected end of statement while looking for matching quote".to_owned(),
        ));
    }
    words.extend(word);
    Ok(words)
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
            r#"ENV A=b "C=d e" F='g'"#,
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
        assert_eq!(defaults.env.unwrap(), ["C=d e", "F=g", "A=over written"]);
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
            ("LABEL a='b", "matching quote"),
        ] {
            let error = apply(&mut ContainerDefaults::default(), change).unwrap_err();
            assert!(error.message().contains(words), "{change}: {error}");
        }
    }
}
