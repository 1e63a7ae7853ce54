//! The command line parser: what spf13/pflag does, in its words.

use super::{
    check,
    flag::{Flag, Shape},
};

/// What a command line said: the values of its flags, and what was no flag.
#[derive(Debug, Clone)]
pub struct Matches {
    flags: &'static [Flag],
    values: Vec<(&'static str, Vec<String>)>,
    args: Vec<String>,
    args_before_dash: Option<usize>,
}

/// A command line that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// `--help`, or `-h` where that is no flag: the caller prints help.
    #[error("help requested")]
    Help {
        /// `-h`, which docker calls deprecated.
        shorthand: bool,
    },
    /// pflag's words for anything else.
    #[error("{0}")]
    Invalid(String),
}

impl Matches {
    /// Reads `args` by the table `flags`. With `interspersed`, flags may stand behind arguments; without, the first
    /// argument ends the flags.
    pub fn parse(
        flags: &'static [Flag],
        args: &[String],
        interspersed: bool,
    ) -> Result<(Matches, Vec<String>), ParseError> {
        let mut parser = Parser {
            matches: Matches {
                flags,
                values: Vec::new(),
                args: Vec::new(),
                args_before_dash: None,
            },
            notices: Vec::new(),
            help: None,
        };
        parser.run(args, interspersed)?;
        match parser.help {
            Some(shorthand) => Err(ParseError::Help { shorthand }),
            None => Ok((parser.matches, parser.notices)),
        }
    }

    /// Whether the command has such a flag.
    pub fn has(&self, name: &str) -> bool {
        self.declared(name).is_some()
    }

    /// Whether the flag was given.
    pub fn is_set(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// A switch.
    pub fn flag(&self, name: &str) -> bool {
        check::parse_bool(self.text(name)).unwrap_or(false)
    }

    /// The last value of a flag, or its default.
    pub fn text(&self, name: &str) -> &str {
        match self.find(name).and_then(|values| values.last()) {
            Some(value) => value,
            None => self.declared(name).map_or("", |flag| flag.default),
        }
    }

    /// All values of a flag, in order.
    pub fn texts(&self, name: &str) -> &[String] {
        self.find(name).unwrap_or(&[])
    }

    /// A number, or the flag's default.
    pub fn int(&self, name: &str) -> i64 {
        check::parse_int(self.text(name)).unwrap_or(0)
    }

    /// A size in bytes; -1 as it is.
    pub fn bytes(&self, name: &str) -> i64 {
        let text = self.text(name);
        if text == "-1" { -1 } else { ferry_stdx::size::parse_bytes(text).unwrap_or(0) }
    }

    /// A duration in nanoseconds.
    pub fn nanoseconds(&self, name: &str) -> i64 {
        ferry_stdx::duration::parse_go(self.text(name)).unwrap_or(0)
    }

    /// A flag of filters, for a request.
    pub(crate) fn filters(&self, name: &str) -> ferry_docker_api::Filters {
        let mut filters = ferry_docker_api::Filters::default();
        for (key, value) in self.texts(name).iter().filter_map(|text| text.split_once('=')) {
            filters.add(key.trim().to_lowercase().as_str(), value.trim());
        }
        filters
    }

    /// What was no flag.
    pub fn args(&self) -> &[String] {
        &self.args
    }

    /// The argument at `index`; empty when there is none.
    pub fn arg(&self, index: usize) -> &str {
        self.args.get(index).map_or("", String::as_str)
    }

    /// How many arguments stood before `--`, when there was one.
    pub fn args_before_dash(&self) -> Option<usize> {
        self.args_before_dash
    }

    fn find(&self, name: &str) -> Option<&[String]> {
        debug_assert!(self.declared(name).is_some(), "no flag --{name} in the table");
        self.values.iter().find(|(known, _)| *known == name).map(|(_, values)| values.as_slice())
    }

    fn declared(&self, name: &str) -> Option<&'static Flag> {
        self.flags.iter().find(|flag| flag.long == name)
    }

    fn add(&mut self, flag: &Flag, value: &str) {
        let name = flag.same_as.unwrap_or(flag.long);
        match self.values.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value.to_owned()),
            None => self.values.push((name, vec![value.to_owned()])),
        }
    }
}

struct Parser {
    matches: Matches,
    notices: Vec<String>,
    /// Help was asked for; with `true` by `-h`. Flags behind it are still read: what is wrong with them comes first.
    help: Option<bool>,
}

impl Parser {
    fn run(&mut self, args: &[String], interspersed: bool) -> Result<(), ParseError> {
        let mut rest = args;
        while let Some((word, after)) = rest.split_first() {
            rest = after;
            if word == "--" {
                self.matches.args_before_dash = Some(self.matches.args.len());
                self.matches.args.extend_from_slice(rest);
                return Ok(());
            }
            if let Some(long) = word.strip_prefix("--") {
                rest = self.long(long, rest)?;
            } else if word.len() > 1 && word.starts_with('-') {
                rest = self.shorts(&word[1..], rest)?;
            } else {
                self.matches.args.push(word.clone());
                if !interspersed {
                    self.matches.args.extend_from_slice(rest);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn long<'a>(&mut self, word: &str, rest: &'a [String]) -> Result<&'a [String], ParseError> {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        if name.is_empty() || name.starts_with('-') {
            return Err(ParseError::Invalid(format!("bad flag syntax: --{word}")));
        }
        let Some(flag) = self.matches.flags.iter().find(|flag| flag.long == name) else {
            if name == "help" {
                self.help.get_or_insert(false);
                return Ok(rest);
            }
            return Err(ParseError::Invalid(format!("unknown flag: --{name}")));
        };
        match (value, flag.shape, rest.split_first()) {
            (Some(value), _, _) => self.set(flag, value).map(|()| rest),
            (None, Shape::Switch, _) => self.set(flag, "true").map(|()| rest),
            (None, _, Some((value, rest))) => self.set(flag, value).map(|()| rest),
            (None, _, None) => {
                Err(ParseError::Invalid(format!("flag needs an argument: --{name}")))
            }
        }
    }

    fn shorts<'a>(
        &mut self,
        mut word: &str,
        mut rest: &'a [String],
    ) -> Result<&'a [String], ParseError> {
        while let Some(letter) = word.chars().next() {
            let behind = &word[letter.len_utf8()..];
            let Some(flag) = self.matches.flags.iter().find(|flag| flag.short == Some(letter))
            else {
                if letter == 'h' {
                    self.help = Some(true);
                    word = behind;
                    continue;
                }
                return Err(ParseError::Invalid(format!(
                    "unknown shorthand flag: {letter:?} in -{word}"
                )));
            };
            if let Some(value) = behind.strip_prefix('=').filter(|value| !value.is_empty()) {
                return self.set(flag, value).map(|()| rest);
            }
            if flag.shape == Shape::Switch {
                self.set(flag, "true")?;
                word = behind;
                continue;
            }
            if !behind.is_empty() {
                return self.set(flag, behind).map(|()| rest);
            }
            let Some((value, after)) = rest.split_first() else {
                return Err(ParseError::Invalid(format!(
                    "flag needs an argument: {letter:?} in -{word}"
                )));
            };
            self.set(flag, value)?;
            rest = after;
            word = behind;
        }
        Ok(rest)
    }

    fn set(&mut self, flag: &Flag, value: &str) -> Result<(), ParseError> {
        if let Some(Err(why)) = flag.check.map(|check| check(value)) {
            let spelled = flag.spelled();
            return Err(ParseError::Invalid(format!(
                "invalid argument {} for {spelled:?} flag: {why}",
                super::quote(value)
            )));
        }
        self.matches.add(flag, value);
        if let Some(words) = flag.deprecated {
            self.notices.push(format!("Flag --{} has been deprecated, {words}", flag.long));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static FLAGS: &[Flag] = &[
        Flag::bool("all", "").short('a'),
        Flag::bool("tty", "").short('t'),
        Flag::bool("sig-proxy", "").default("true"),
        Flag::list("publish", "").short('p'),
        Flag::list("env", "").short('e'),
        Flag::bytes("memory", "").short('m'),
        Flag::int("last", "").short('n').default("-1"),
        Flag::value("network", "network", ""),
        Flag::value("net", "network", "").same_as("network"),
    ];

    fn parse(line: &str) -> Result<Matches, String> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Matches::parse(FLAGS, &args, false).map(|(m, _)| m).map_err(|error| error.to_string())
    }

    #[test]
    fn switches_run_together_and_values_stick_to_letters() {
        let m = parse("-atp80:80 -p 81:81 -p=82 -e=A --env B=1 --env=C= image -x --all").unwrap();
        assert!(m.flag("all") && m.flag("tty"));
        assert_eq!(m.texts("publish"), ["80:80", "81:81", "82"]);
        assert_eq!(m.texts("env"), ["A", "B=1", "C="]);
        assert_eq!(m.args(), ["image", "-x", "--all"]);
    }

    #[test]
    fn defaults_and_negations() {
        let m = parse("--sig-proxy=false --net x --network y").unwrap();
        assert!(!m.flag("sig-proxy"));
        assert_eq!(m.int("last"), -1);
        assert!(!m.is_set("last"));
        assert_eq!(m.texts("network"), ["x", "y"]);
    }

    #[test]
    fn double_dash_ends_the_flags() {
        let m = parse("-a -- -p image").unwrap();
        assert_eq!(m.args(), ["-p", "image"]);
        assert_eq!(m.args_before_dash(), Some(0));
    }

    #[test]
    fn errors_have_the_words_of_pflag() {
        for (line, words) in [
            ("--foo", "unknown flag: --foo"),
            ("-xyz", "unknown shorthand flag: 'x' in -xyz"),
            ("-axy", "unknown shorthand flag: 'x' in -xy"),
            ("--memory", "flag needs an argument: --memory"),
            ("-am", "flag needs an argument: 'm' in -m"),
            ("-m x", "invalid argument \"x\" for \"-m, --memory\" flag: invalid size: 'x'"),
            (
                "-n x",
                "invalid argument \"x\" for \"-n, --last\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
            (
                "--all=x",
                "invalid argument \"x\" for \"-a, --all\" flag: strconv.ParseBool: parsing \"x\": invalid syntax",
            ),
            ("--=x", "bad flag syntax: --=x"),
            ("---x", "bad flag syntax: ---x"),
        ] {
            assert_eq!(parse(line).unwrap_err(), words, "{line}");
        }
    }
}
