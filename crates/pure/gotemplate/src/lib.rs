//! Go's text/template over JSON values, with the functions that docker adds, in Go's words when something is wrong.
//!
//! Knows: the language (`https://pkg.go.dev/text/template`) and docker's functions (docker/cli `templates`). Does not know: what
//! the values are, tables, the command line. Start with [`Template`], [`Options`], `exec.rs`.
//!
//! Not there, because docker's templates have no use for it: `call`, complex numbers, methods other than those that
//! [`Options::method`] answers.

mod error;
mod exec;
mod funcs;
mod lex;
mod parse;
mod print;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::Value;

pub use error::{ExecError, ParseError};

/// Longest template that is read, in bytes.
pub const MAX_TEMPLATE: usize = 1 << 20;

/// A template that was read.
#[derive(Debug, Clone)]
pub struct Template {
    pub(crate) main: Vec<parse::Node>,
    pub(crate) named: BTreeMap<String, Vec<parse::Node>>,
    pub(crate) text: String,
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

/// How a template is executed.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// What a key that is not there means.
    pub missing: Missing,
    /// Methods of the root value.
    pub method: Option<Method<'a>>,
    /// How a null below a key is printed: Go prints an empty list as `[]`, JSON has only one null.
    pub null: Option<fn(&str) -> Option<&'static str>>,
    /// `json` writes `<`, `>` and `&` as Go's encoder does by default; docker's lists do, its inspect does not.
    pub escape_html: bool,
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
        parse::parse(text)
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
