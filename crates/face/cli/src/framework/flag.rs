//! Flags as data: one record per flag, from which parsing, checking and help come.

use super::check;

/// How a flag takes values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// No value needed; `--flag=false` is possible.
    Switch,
    /// The last value counts.
    One,
    /// Every value counts.
    Many,
}

/// Checks a value as it is parsed. The message goes behind `invalid argument "x" for "--flag" flag: `.
pub(crate) type Check = fn(&str) -> Result<(), String>;

/// A flag. Made with one of the constructors, then refined: `Flag::int("last", "Show n").short('n').default("-1")`.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    pub(crate) long: &'static str,
    pub(crate) short: Option<char>,
    pub(crate) shape: Shape,
    /// What help shows behind the name; empty for switches.
    pub(crate) kind: &'static str,
    pub(crate) check: Option<Check>,
    pub(crate) default: &'static str,
    /// What help shows as the default where that is not `default` itself.
    pub(crate) shown: Option<&'static str>,
    pub(crate) help: &'static str,
    pub(crate) hidden: bool,
    /// Docker has no such flag: the program under Docker's name takes it, but does not tell of it.
    pub(crate) beyond: bool,
    /// Name of the flag that this one is another spelling of.
    pub(crate) same_as: Option<&'static str>,
    pub(crate) deprecated: Option<&'static str>,
}

impl Flag {
    const fn new(long: &'static str, shape: Shape, kind: &'static str, help: &'static str) -> Flag {
        Flag {
            long,
            short: None,
            shape,
            kind,
            check: None,
            default: "",
            shown: None,
            help,
            hidden: false,
            beyond: false,
            same_as: None,
            deprecated: None,
        }
    }

    /// On or off; off unless a default says otherwise.
    pub const fn bool(long: &'static str, help: &'static str) -> Flag {
        Flag::new(long, Shape::Switch, "", help).check(check::boolean)
    }

    /// Any text.
    pub const fn string(long: &'static str, help: &'static str) -> Flag {
        Flag::new(long, Shape::One, "string", help)
    }

    /// A signed number, as Go reads literals (`0x10` too).
    pub const fn int(long: &'static str, help: &'static str) -> Flag {
        Flag::new(long, Shape::One, "int", help).check(check::int).default("0")
    }

    /// A number from 0 to 65535.
    pub const fn uint16(long: &'static str, help: &'static str) -> Flag {
        Flag::new(long, Shape::One, "uint16", help).check(check::uint16).default("0")
    }

    /// A number that is not negative.
    pub const fn uint(long: &'static str, help: &'static str) -> Flag {
        Flag::new(long, Shape::One, "uint", help).check(check::uint).default("0")
    }

    /// A size: `64m`, `1.5g`.
    pub const fn bytes(long: &'static str, help: &'static str) -> Flag {
        Flag::new(long, Shape::One, "bytes", help).check(check::bytes).default("0")
    }

    /// A decimal number with up to nine digits behind the point.
    pub const fn decimal(long: &'static str, help: &'static str) -> Flag {
        Flag::new(long, Shape::One, "decimal", help).check(check::decimal)
    }

    /// A duration as Go writes it: `1m30s`.
    pub const fn duration(long: &'static str, help: &'static str) -> Flag {
        Flag::new(long, Shape::One, "duration", help).check(check::duration).default("0s")
    }

    /// Any number of values.
    pub const fn list(long: &'static str, help: &'static str) -> Flag {
        Flag::new(long, Shape::Many, "list", help)
    }

    /// Any number of `key=value`.
    pub const fn map(long: &'static str, help: &'static str) -> Flag {
        Flag::new(long, Shape::Many, "map", help)
    }

    /// Any number of `name=value` to select by.
    pub(crate) const fn filter(long: &'static str, help: &'static str) -> Flag {
        Flag::new(long, Shape::Many, "filter", help).check(check::filter)
    }

    /// Any number of values of a kind that help names, such as `filter`, `mount`, `network`.
    pub const fn value(long: &'static str, kind: &'static str, help: &'static str) -> Flag {
        Flag::new(long, Shape::Many, kind, help)
    }

    /// A one-letter name.
    #[must_use]
    pub const fn short(mut self, short: char) -> Flag {
        self.short = Some(short);
        self
    }

    /// The value when the flag is not given.
    #[must_use]
    pub const fn default(mut self, default: &'static str) -> Flag {
        self.default = default;
        self
    }

    /// What help shows as default: pflag shows some empty values (`[]`, `map[]`, `0s`) of types it does not know.
    #[must_use]
    pub const fn shown(mut self, shown: &'static str) -> Flag {
        self.shown = Some(shown);
        self
    }

    /// Checks every value when it is parsed.
    #[must_use]
    pub const fn check(mut self, check: Check) -> Flag {
        self.check = Some(check);
        self
    }

    /// Beyond Docker.
    #[must_use]
    pub const fn beyond_docker(mut self) -> Flag {
        self.beyond = true;
        self
    }

    /// Not in help.
    #[must_use]
    pub const fn hidden(mut self) -> Flag {
        self.hidden = true;
        self
    }

    /// Another spelling of the flag `long`: hidden, and its values become that flag's.
    #[must_use]
    pub const fn same_as(mut self, long: &'static str) -> Flag {
        self.same_as = Some(long);
        self.hidden = true;
        self
    }

    /// Works, but says `Flag --x has been deprecated, <words>` on stderr. Not in help.
    #[must_use]
    pub const fn deprecated(mut self, words: &'static str) -> Flag {
        self.deprecated = Some(words);
        self.hidden = true;
        self
    }

    /// Its long name.
    pub const fn name(&self) -> &'static str {
        self.long
    }

    /// `-n, --last` or `--last`, as messages name it.
    pub(crate) fn spelled(&self) -> String {
        match self.short {
            Some(short) => format!("-{short}, --{}", self.long),
            None => format!("--{}", self.long),
        }
    }
}
