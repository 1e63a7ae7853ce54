//! Logical lines to instructions.

use crate::{
    Arg, Command, Health, Heredoc, Instruction, Kind, ParseError, Source, flags,
    lex::{self, Line, MAX_DOCKERFILE},
    suggestion, words,
};

/// A Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// The escape character: `\`, or the backtick of `# escape`.
    pub escape: char,
    /// The frontend of `# syntax=`.
    pub syntax: Option<String>,
    /// The value of `# check=`.
    pub check: Option<String>,
    /// The instructions.
    pub instructions: Vec<Instruction>,
}

/// Reads a Dockerfile.
///
/// # Errors
/// In Docker's words, with the line.
pub fn parse(bytes: &[u8]) -> Result<Dockerfile, ParseError> {
    if bytes.len() > MAX_DOCKERFILE {
        return Err(ParseError::TooLong { limit: MAX_DOCKERFILE });
    }
    let text = std::str::from_utf8(bytes).map_err(|_| ParseError::NotText)?;
    let read = lex::lines(text)?;
    if read.lines.is_empty() {
        return Err(ParseError::Empty);
    }
    let mut instructions = Vec::with_capacity(read.lines.len());
    for line in read.lines {
        instructions.push(instruction(line, read.escape)?);
    }
    Ok(Dockerfile { escape: read.escape, syntax: read.syntax, check: read.check, instructions })
}

/// Reads one instruction, such as an image's trigger.
///
/// # Errors
/// As for [`parse`].
pub fn parse_instruction(text: &str) -> Result<Instruction, ParseError> {
    let mut read = parse(text.as_bytes())?.instructions;
    match (read.pop(), read.is_empty()) {
        (Some(one), true) => Ok(one),
        _ => Err(ParseError::Line { line: 2, words: "only one instruction is allowed".to_owned() }),
    }
}

fn instruction(line: Line, escape: char) -> Result<Instruction, ParseError> {
    let Line { number, last, text, heredocs } = line;
    let kind =
        kind(&text, heredocs, escape).map_err(|words| ParseError::Line { line: number, words })?;
    Ok(Instruction { line: number, last_line: last, text, kind })
}

fn kind(text: &str, heredocs: Vec<Heredoc>, escape: char) -> Result<Kind, String> {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let keyword = word.to_ascii_uppercase();
    let known = [
        "FROM",
        "RUN",
        "CMD",
        "ENTRYPOINT",
        "COPY",
        "ADD",
        "ENV",
        "LABEL",
        "ARG",
        "WORKDIR",
        "USER",
        "EXPOSE",
        "VOLUME",
        "STOPSIGNAL",
        "SHELL",
        "HEALTHCHECK",
        "ONBUILD",
        "MAINTAINER",
    ];
    if !known.contains(&keyword.as_str()) {
        return Err(format!("unknown instruction: {word}{}", suggestion(word, &known)));
    }
    let (flags, rest) = flags::split(rest, escape);
    let rest = rest.trim();
    if !matches!(keyword.as_str(), "FROM" | "RUN" | "COPY" | "ADD" | "HEALTHCHECK")
        && let Some(flag) = flags.first()
    {
        return Err(flags::unknown(flag, &[]));
    }
    if rest.is_empty() && !matches!(keyword.as_str(), "CMD" | "ENTRYPOINT" | "RUN" | "ONBUILD") {
        return Err(arity(&keyword));
    }
    match keyword.as_str() {
        "FROM" => from(&flags, rest),
        "RUN" => run(&flags, rest, heredocs, escape),
        "CMD" => Ok(Kind::Cmd(command(rest))),
        "ENTRYPOINT" => Ok(Kind::Entrypoint(command(rest))),
        "COPY" | "ADD" => copy(&keyword, &flags, rest, heredocs, escape),
        "ENV" => Ok(Kind::Env(pairs("ENV", rest, escape)?)),
        "LABEL" => Ok(Kind::Label(pairs("LABEL", rest, escape)?)),
        "ARG" => arg(rest, escape),
        "WORKDIR" => Ok(Kind::Workdir(rest.to_owned())),
        "USER" => Ok(Kind::User(rest.to_owned())),
        "EXPOSE" => Ok(Kind::Expose(rest.split_whitespace().map(str::to_owned).collect())),
        "VOLUME" => {
            let paths = list(rest);
            match paths.iter().any(|path| path.trim().is_empty()) {
                true => Err("VOLUME specified can not be an empty string".to_owned()),
                false => Ok(Kind::Volume(paths)),
            }
        }
        "STOPSIGNAL" => Ok(Kind::StopSignal(rest.to_owned())),
        "SHELL" => match words::json_list(rest) {
            Some(shell) if !shell.is_empty() => Ok(Kind::Shell(shell)),
            Some(_) => Err("SHELL requires at least one argument".to_owned()),
            None => Err("SHELL requires the arguments to be in JSON form".to_owned()),
        },
        "HEALTHCHECK" => health(&flags, rest),
        "ONBUILD" => on_build(rest, &heredocs),
        _ => Ok(Kind::Maintainer(rest.to_owned())),
    }
}

fn arity(keyword: &str) -> String {
    let count = match keyword {
        "FROM" => return "FROM requires either one or three arguments".to_owned(),
        "COPY" | "ADD" => return missing_files(keyword),
        "WORKDIR" | "USER" | "STOPSIGNAL" | "MAINTAINER" => "exactly one argument",
        _ => "at least one argument",
    };
    format!("{keyword} requires {count}")
}

fn missing_files(keyword: &str) -> String {
    format!(
        "{keyword} requires at least two arguments, but only one was provided. Destination could not be determined"
    )
}

fn from(flags: &[String], rest: &str) -> Result<Kind, String> {
    let mut platform = None;
    for flag in flags {
        match flags::pair(flag) {
            ("platform", Some(value)) => platform = Some(value.to_owned()),
            _ => return Err(flags::unknown(flag, &["platform"])),
        }
    }
    let words: Vec<&str> = rest.split_whitespace().collect();
    let (image, name) = match words.as_slice() {
        [image] => (*image, None),
        [image, r#as, name] if r#as.eq_ignore_ascii_case("as") => (*image, Some(stage_name(name)?)),
        _ => return Err("FROM requires either one or three arguments".to_owned()),
    };
    Ok(Kind::From { image: image.to_owned(), platform, name })
}

fn stage_name(name: &str) -> Result<String, String> {
    let lower = name.to_ascii_lowercase();
    let mut chars = lower.chars();
    let starts = chars.next().is_some_and(|char| char.is_ascii_lowercase());
    let goes_on = chars
        .all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || "-_.".contains(char));
    if !starts || !goes_on {
        return Err(format!(
            "invalid name for build stage: {name:?}, name can't start with a number or contain symbols"
        ));
    }
    Ok(lower)
}

fn run(
    flags: &[String],
    rest: &str,
    mut heredocs: Vec<Heredoc>,
    escape: char,
) -> Result<Kind, String> {
    let flags = flags::run(flags)?;
    // A line that is nothing but `<<EOF` is the document, for the shell or the program in its first line.
    let only = words::split_raw(rest, escape).len() == 1 && heredocs.len() == 1;
    if only && Heredoc::announced(rest).is_some() {
        let content = heredocs.pop().map(|document| document.content).unwrap_or_default();
        return Ok(Kind::Run { flags, command: Command::Shell(content), heredocs });
    }
    Ok(Kind::Run { flags, command: command(rest), heredocs })
}

fn command(text: &str) -> Command {
    match words::json_list(text) {
        Some(words) => Command::Exec(words),
        None => Command::Shell(text.to_owned()),
    }
}

fn list(text: &str) -> Vec<String> {
    match words::json_list(text) {
        Some(words) => words,
        None => text.split_whitespace().map(str::to_owned).collect(),
    }
}

fn copy(
    keyword: &str,
    flags: &[String],
    rest: &str,
    heredocs: Vec<Heredoc>,
    escape: char,
) -> Result<Kind, String> {
    let add = keyword == "ADD";
    let flags = flags::copy(add, flags)?;
    let mut words = match words::json_list(rest) {
        Some(words) => words,
        None => words::split_raw(rest, escape),
    };
    let Some(destination) = words.pop().filter(|_| !words.is_empty()) else {
        return Err(missing_files(keyword));
    };
    let mut heredocs = heredocs.into_iter();
    let mut sources = Vec::with_capacity(words.len());
    for word in words {
        sources.push(match Heredoc::announced(&word) {
            Some(_) => match heredocs.next() {
                Some(document) => Source::Document(document),
                None => return Err("unterminated heredoc".to_owned()),
            },
            None => Source::Path(word),
        });
    }
    Ok(Kind::Copy { add, flags, sources, destination })
}

/// `a=b "c d"=e`, or the old form `name the value`.
fn pairs(keyword: &str, rest: &str, escape: char) -> Result<Vec<(String, String)>, String> {
    let words = words::split_raw(rest, escape);
    if words.first().is_some_and(|first| !first.contains('=')) {
        let (name, value) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let value = value.trim_start();
        return match value.is_empty() {
            true => Err(format!("{keyword} must have two arguments")),
            false => Ok(vec![(name.to_owned(), value.to_owned())]),
        };
    }
    let mut pairs = Vec::with_capacity(words.len());
    for word in words {
        let Some((name, value)) = word.split_once('=') else {
            return Err(format!(
                "Syntax error - can't find = in {word:?}. Must be of the form: name=value"
            ));
        };
        if name.is_empty() {
            return Err(format!("{keyword} names can not be blank"));
        }
        pairs.push((name.to_owned(), value.to_owned()));
    }
    Ok(pairs)
}

fn arg(rest: &str, escape: char) -> Result<Kind, String> {
    let mut args = Vec::new();
    for word in words::split_raw(rest, escape) {
        let (name, default) = match word.split_once('=') {
            Some((name, default)) => (name.to_owned(), Some(default.to_owned())),
            None => (word, None),
        };
        if name.is_empty() {
            return Err("ARG names can not be blank".to_owned());
        }
        args.push(Arg { name, default });
    }
    Ok(Kind::Arg(args))
}

fn health(flags: &[String], rest: &str) -> Result<Kind, String> {
    let mut health = Health::default();
    let (kind, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let text = text.trim();
    match kind.to_ascii_uppercase().as_str() {
        "NONE" if !text.is_empty() => return Err("HEALTHCHECK NONE takes no arguments".to_owned()),
        "NONE" => return Ok(Kind::Healthcheck(health)),
        "CMD" if text.is_empty() => return Err("Missing command after HEALTHCHECK CMD".to_owned()),
        "CMD" => health.command = Some(command(text)),
        _ => return Err(format!("Unknown type {kind:?} in HEALTHCHECK (try CMD)")),
    }
    for flag in flags {
        let (name, Some(value)) = flags::pair(flag) else {
            return Err(format!("Missing a value on flag: {}", flags::pair(flag).0));
        };
        let place = match name {
            "interval" => &mut health.interval,
            "timeout" => &mut health.timeout,
            "start-period" => &mut health.start_period,
            "start-interval" => &mut health.start_interval,
            "retries" => {
                let retries: i32 = value
                    .parse()
                    .map_err(|_| format!("strconv.ParseInt: parsing {value:?}: invalid syntax"))?;
                if retries < 0 {
                    return Err(format!("--retries cannot be negative ({retries})"));
                }
                health.retries = retries.into();
                continue;
            }
            _ => return Err(flags::unknown(flag, &HEALTH_FLAGS)),
        };
        let nanos = ferry_stdx::duration::parse_go(value).map_err(|error| error.to_string())?;
        if nanos < 0 || nanos != 0 && nanos < 1_000_000 {
            return Err(format!("Interval {name:?} cannot be less than 1ms"));
        }
        *place = nanos;
    }
    Ok(Kind::Healthcheck(health))
}

const HEALTH_FLAGS: [&str; 5] =
    ["interval", "timeout", "start-period", "start-interval", "retries"];

fn on_build(rest: &str, heredocs: &[Heredoc]) -> Result<Kind, String> {
    let word = rest.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    match word.as_str() {
        "" => Err("ONBUILD requires at least one argument".to_owned()),
        "ONBUILD" => Err("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".to_owned()),
        "FROM" | "MAINTAINER" => Err(format!("{word} isn't allowed as an ONBUILD trigger")),
        _ => {
            // Documents go along, as they are written.
            let mut text = rest.to_owned();
            for Heredoc { name, content, .. } in heredocs {
                text.push_str(&format!("\n{content}{name}"));
            }
            // What cannot be read later is better said now.
            let read = parse_instruction(&text);
            read.map(|_| Kind::OnBuild(text)).map_err(|error| match error {
                ParseError::Line { words, .. } => words,
                other => other.to_string(),
            })
        }
    }
}
