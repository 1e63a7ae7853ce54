//! Go's text/template over JSON values, with the functions that docker adds, in Go's words when something is wrong.
//!
//! Knows: the language (`https://pkg.go.dev/text/template`) and docker's functions (docker/cli `templates`). Does not know: what
//! the values are, tables, the command line. Start with [`Template`], [`Options`], `exec.rs`.
//!
//! Not there, because docker's templates have no use for it: functions among the values, complex numbers, methods other than those that
//! [`Options::method`] answers.

mod call;
mod error;
mod exec;
mod funcs;
mod lex;
mod parse;
mod print;
#[cfg(test)]
mod tests;
mod tree;
mod value;

use std::collections::BTreeMap;

use serde_json::Value;

pub use error::{ExecError, ParseError};

/// Longest template that is read, in bytes.
pub const MAX_TEMPLATE: usize = 1 << 20;

/// A template that was read.
#[derive(Debug, Clone)]
pub struct Template {
    pub(crate) main: Vec<tree::Node>,
    pub(crate) named: BTreeMap<String, Vec<tree::Node>>,
    pub(crate) text: String,
    /// What errors call the template; docker names few of them.
    pub(crate) name: &'static str,
}

/// What a key that is not there means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missing {
    /// Go's default for maps: it prints `<no value>`.
    #[default]
    NoValue,
    /// An error, as `docker inspect` has it.
    Error,
    /// An error at the root only, whose type is called this: a Go structure.
    Strict(&'static str),
}

/// A method of the root value: its answer to these arguments; `None` when there is no such method.
pub type Method<'a> = &'a dyn Fn(&str, &[Value]) -> Option<Result<Value, String>>;

/// A key that is not there, asked for by the object, the object's own key (`Mounts[]` for an item of `Mounts`) and the key's name.
/// `Some(Some(value))` is what a Go structure has there although JSON leaves it out, `Some(None)` is what a Go map answers.
pub type Absent = fn(&serde_json::Map<String, Value>, &str, &str) -> Option<Option<Value>>;

/// How a value below a key prints, where that is not how JSON has it: Go's empty lists, times.
pub type Shown = fn(&str, &Value) -> Option<String>;

/// How a template is executed.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// What a key that is not there means.
    pub missing: Missing,
    /// Methods of the root value.
    pub method: Option<Method<'a>>,
    /// Fields that Go spells in another way than JSON: JSON's name and Go's. Only the latter is known then.
    pub names: &'a [(&'static str, &'static str)],
    /// What Go calls the types of objects below some keys: there, a key that is not known is as wrong as at a strict root.
    pub types: Option<fn(&str) -> Option<&'static str>>,
    /// How values below some keys are printed.
    pub shown: Option<Shown>,
    /// What stands for a field that is not there, before [`Missing`] is asked.
    pub absent: Option<Absent>,
    /// `json` of an object escapes `<`, `>` and `&`: docker's rows do that to themselves, whatever the encoder is told.
    pub escape_html: bool,
    /// docker's functions give back their first argument: values are column titles.
    pub titles: bool,
}

impl Options<'_> {
    /// JSON alone, without a Go structure that it came from.
    fn is_plain(&self) -> bool {
        self.missing == Missing::Error && self.absent.is_none()
    }

    /// What JSON calls a field that Go calls `name`; nothing if only JSON calls it so.
    fn json_name<'n>(&self, name: &'n str) -> &'n str {
        match self.names.iter().find(|(json, go)| *go == name || *json == name) {
            Some((json, go)) if *go == name => json,
            Some(_) => "",
            None => name,
        }
    }
}

impl std::fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Options({:?}, methods: {})", self.missing, self.method.is_some())
    }
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`ParseError`], in Go's words.
    pub fn parse(text: &str) -> Result<Template, ParseError> {
        parse::parse("", text)
    }

    /// As [`Template::parse`], for a template that has a name in errors.
    ///
    /// # Errors
    /// [`ParseError`], in Go's words.
    pub fn parse_named(name: &'static str, text: &str) -> Result<Template, ParseError> {
        parse::parse(name, text)
    }

    /// Whether some field `name` is asked for, or all of the root at once.
    pub fn mentions(&self, name: &str) -> bool {
        let nodes = self.named.values().chain(std::iter::once(&self.main));
        nodes.flatten().any(|node| tree::node_mentions(node, name))
    }

    /// Executes it and appends the result.
    ///
    /// # Errors
    /// [`ExecError`], in Go's words. What was written before stays in `out`, as in Go.
    pub fn execute(
        &self,
        data: &Value,
        options: &Options<'_>,
        out: &mut String,
    ) -> Result<(), ExecError> {
        exec::execute(self, data, options, out)
    }
}
