//! What can be wrong with a template.

/// A template does not read. The words are Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template: {name}:{line}: {words}")]
pub struct ParseError {
    pub(crate) name: &'static str,
    pub(crate) line: usize,
    pub(crate) words: String,
}

/// A template cannot be executed with these values. The words are Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template: {file}:{line}:{column}: executing {name:?} at <{at}>: {words}")]
pub struct ExecError {
    pub(crate) file: &'static str,
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) name: String,
    pub(crate) at: String,
    pub(crate) words: String,
}
