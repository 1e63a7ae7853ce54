//! Compose: projects of services, from Compose files to calls of the Engine API, and from there to what runs.
//!
//! Knows: Compose files and their rules, Compose's names, labels and words; the client and the wire types. Does not know: the
//! engine, or which daemon answers: every command works against dockerd, too.
//! Start with `load` (files to a `model::Project`), `run/create.rs` (a service to the body of container create),
//! `run/converge.rs` (`up`), `commands/mod.rs` (all of the commands).
//!
//! Invariants: names, labels and config hashes are Docker Compose's, so that either program takes over a project of the other;
//! what cannot be honoured is refused by name.

mod commands;
mod load;
mod model;
mod run;
mod yaml;

use ferry_cli::face::Extension;

/// `ferry compose`.
pub const EXTENSION: Extension = Extension {
    name: "compose",
    short: "Define and run multi-container applications",
    run: commands::run,
};

/// The documents of a YAML text, within limits, as values.
///
/// # Errors
/// It is no YAML that is understood here, in words.
pub fn yaml_documents(text: &str) -> Result<Vec<serde_json::Value>, String> {
    let nodes = yaml::parse(text).map_err(|error| error.to_string())?;
    Ok(nodes.iter().map(yaml::Node::to_value).collect())
}

/// A value as YAML.
pub fn yaml_text(value: &serde_json::Value) -> String {
    yaml::to_yaml(value)
}

/// Runs a command line as `docker-compose`; the exit code.
pub fn main(program: &str, args: &[String]) -> u8 {
    ferry_cli::main_of(&EXTENSION, program, args)
}
