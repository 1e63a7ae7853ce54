//! Flags in the form of Go's package: `--name value`, `--name=value`, one or two dashes, all before the first other word.

use std::collections::BTreeMap;

use ferry_errkind::Failure;

use crate::report::invalid;

/// A flag of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    name: &'static str,
    short: Option<char>,
    has_value: bool,
}

impl Flag {
    pub(crate) const fn switch(name: &'static str) -> Flag {
        Flag { name, short: None, has_value: false }
    }

    pub(crate) const fn value(name: &'static str) -> Flag {
        Flag { name, short: None, has_value: true }
    }

    pub(crate) const fn short(self, short: char) -> Flag {
        Flag { short: Some(short), ..self }
    }

    /// As help shows it.
    pub(crate) fn shown(&self) -> String {
        let value = if self.has_value { " value" } else { "" };
        match self.short {
            Some(short) => format!("--{}{value}, -{short}{value}", self.name),
            None => format!("--{}{value}", self.name),
        }
    }

    fn is(&self, word: &str) -> bool {
        self.name == word || self.short.is_some_and(|short| word.chars().eq([short]))
    }
}

/// What a command was given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Arguments {
    flags: BTreeMap<&'static str, Vec<String>>,
    /// What is no flag.
    pub(crate) rest: Vec<String>,
}

const HELP: Flag = Flag::switch("help").short('h');

/// Reads the words of a command.
pub(crate) fn parse(command: &str, flags: &[Flag], words: &[String]) -> Result<Arguments, Failure> {
    let mut arguments = Arguments::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) else {
            arguments.rest.push(word.clone());
            break;
        };
        if word == "--" {
            break;
        }
        let name = name.strip_prefix('-').unwrap_or(name);
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (name, None),
        };
        let found = flags.iter().chain([&HELP]).find(|flag| flag.is(name));
        let Some(flag) = found else {
            let of = if command.is_empty() { String::new() } else { format!("{command}: ") };
            return Err(invalid(format!("{of}flag provided but not defined: -{name}")));
        };
        let value = match (flag.has_value, value) {
            (true, Some(value)) => value,
            (true, None) => words
                .next()
                .cloned()
                .ok_or_else(|| invalid(format!("flag needs an argument: -{name}")))?,
            (false, value) => value.unwrap_or_else(|| "true".to_owned()),
        };
        arguments.flags.entry(flag.name).or_default().push(value);
    }
    arguments.rest.extend(words.cloned());
    Ok(arguments)
}

impl Arguments {
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.one(name).is_some_and(|value| matches!(value, "true" | "1" | "t"))
    }

    pub(crate) fn one(&self, name: &str) -> Option<&str> {
        self.all(name).last().map(String::as_str)
    }

    pub(crate) fn all(&self, name: &str) -> &[String] {
        self.flags.get(name).map_or(&[], Vec::as_slice)
    }

    /// A number, if the flag was given.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        self.one(name)
            .map(|text| {
                text.parse()
                    .map_err(|_| invalid(format!("invalid value {text:?} for flag -{name}")))
            })
            .transpose()
    }

    /// The container that a command is about, and nothing more.
    pub(crate) fn only_id(&self, command: &str) -> Result<&str, Failure> {
        match self.rest.as_slice() {
            [id] => Ok(id),
            _ => Err(invalid(format!("\"{command}\" requires exactly 1 argument(s)"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn flags_come_first_in_any_of_their_forms() {
        let flags = [Flag::value("pid-file"), Flag::switch("detach").short('d')];
        let given = parse("x", &flags, &words("--pid-file /p -d id --not a")).unwrap();
        assert_eq!(given.one("pid-file"), Some("/p"));
        assert!(given.is_set("detach"));
        assert_eq!(given.rest, ["id", "--not", "a"]);
        let given = parse("x", &flags, &words("-pid-file=/p --detach=false id")).unwrap();
        assert_eq!(given.one("pid-file"), Some("/p"));
        assert!(!given.is_set("detach"));
        let given = parse("x", &flags, &words("-- -d")).unwrap();
        assert_eq!(given.rest, ["-d"]);
        assert!(parse("x", &flags, &words("--nope")).is_err());
        assert!(parse("x", &flags, &words("--pid-file")).is_err());
    }
}
