//! Compose: projects of services, from Compose files to calls of the Engine API, and from there to what runs.
//!
//! Knows: Compose files and their rules, Compose's names, labels and words; the client and the wire types. Does not know: the
//! engine, or which daemon answers: every command works against dockerd, too.
//! Start with `load` (files to a `model::Project`), `run/create/` (a service to the body of container create), `run/decide.rs`
//! (what is to be done to its containers), `run/converge.rs` and `run/start.rs` (`up`), `kubernetes/mod.rs` (a project as Kubernetes' objects),
//! `commands/mod.rs` (all of the commands).
//!
//! Invariants: names, labels and config hashes are Docker Compose's, so that either program takes over a project of the other;
//! what cannot be honoured is refused by name.

mod app;
mod bundle;
mod commands;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod coverage;
mod kubernetes;
mod load;
mod model;
mod remote;
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

/// Runs a command line as `docker-compose`; the exit code. Docker's command line runs it as its plugin, too: asked who it is, it tells,
/// and `compose` stands in front of what is for it.
pub fn main(program: &str, args: &[String]) -> u8 {
    ferry_cli::main_of(&EXTENSION, program, args)
}

/// The canonical form of a project that is one text, with these variables and no other file; `Err` is what is wrong with it.
pub fn canonical(
    text: &str,
    environment: std::collections::BTreeMap<String, String>,
) -> Result<String, String> {
    let words = |error: load::LoadError| ferry_errkind::chain(&error);
    let project = load::from_text(text, environment).map_err(words)?;
    load::config(&project.tree, load::Form::Yaml, false).map_err(|error| error.to_string())
}

/// The variables of a `.env` file; `Err` is what is wrong with it.
pub fn variables(text: &str) -> Result<std::collections::BTreeMap<String, String>, String> {
    load::variables_in(text)
}
