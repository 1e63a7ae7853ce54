//! Dockerfiles and `.dockerignore` files as data.
//!
//! Knows: the language: lines, directives, heredocs, flags, the 18 instructions, variables, ignore patterns. Does not know: files,
//! images, what an instruction does. Start with [`parse`], [`Dockerfile`], [`Instruction`], [`expand`], [`IgnoreFile`].
//!
//! Invariants:
//! - what is read is bounded ([`MAX_DOCKERFILE`], [`MAX_INSTRUCTIONS`]), and so is what a variable can grow to;
//! - a flag or directive that is not understood is an error that names it, never skipped.

mod error;
mod flags;
mod glob;
mod ignore;
mod instruction;
mod lex;
mod mode;
mod read;
mod suggest;
#[cfg(test)]
mod tests;
mod variable;
mod words;

pub use error::{ExpandError, ParseError};
pub use glob::path_matches;
pub use ignore::{IgnoreError, IgnoreFile};
pub use instruction::{
    Arg, Command, CopyFlags, Health, Heredoc, Instruction, Kind, Mount, MountKind, RunFlags, Source,
};
pub use lex::{MAX_DOCKERFILE, MAX_INSTRUCTIONS};
pub use mode::FileMode;
pub use read::{Dockerfile, parse, parse_instruction};
pub use suggest::suggestion;
pub use variable::{MAX_VALUE, expand, expand_words};
