//! Flags that daily work types in another form or hardly ever: each is typed here in its long form, and its effect looked up in the
//! kernel, in a file or in the record. With `coverage.rs` no flag of any command is without a test.

mod daemon;
mod images;
mod machine;
mod resources;
mod running;
mod terminals;
