//! `docker image`: one file for each command.

mod build;
mod history;
mod import;
mod inspect;
mod load;
mod ls;
mod prune;
mod pull;
mod push;
mod rm;
mod save;
mod tag;
mod tree;

use ferry_client::path_segment;
use ferry_oci::{InvalidPlatform, Platform};

use crate::framework::{CliError, Group, quote};

pub(crate) use build::COMMAND as BUILD;
pub(crate) use prune::told;
pub(crate) use pull::trusts_only_signed;

/// The group.
pub(crate) const GROUP: Group = Group {
    name: "image",
    short: "Manage images",
    commands: &[
        build::COMMAND,
        push::COMMAND,
        history::COMMAND,
        import::COMMAND,
        inspect::COMMAND,
        load::COMMAND,
        ls::COMMAND,
        prune::COMMAND,
        pull::COMMAND,
        rm::COMMAND,
        save::COMMAND,
        tag::COMMAND,
    ],
};

/// The path of something about an image.
fn path(image: &str, what: &str) -> String {
    format!("/images/{}{what}", path_segment(image))
}

/// A platform as JSON, which is how newer parts of the API want it; empty stays empty.
fn platform_json(text: &str) -> Result<String, CliError> {
    if text.is_empty() {
        return Ok(String::new());
    }
    if text.split('/').count() > 3 {
        let quoted = quote(text);
        return Err(CliError::new(format!(
            "{quoted}: cannot parse platform specifier: invalid argument"
        )));
    }
    let platform: Platform =
        text.parse().map_err(|error: InvalidPlatform| CliError::new(error.to_string()))?;
    serde_json::to_string(&platform)
        .map_err(|error| CliError::new(format!("cannot write the platform as JSON: {error}")))
}

/// As [`platform_json`], for commands that say what is invalid.
fn named_platform_json(text: &str) -> Result<String, CliError> {
    platform_json(text)
        .map_err(|error| error.map_message(|words| format!("invalid platform: {words}")))
}
