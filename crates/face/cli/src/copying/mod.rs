//! `docker cp`: Docker's rules for what a path at either end means, and the two directions.

mod from;
mod local;
mod paths;
mod plan;
mod progress;
mod to;

use base64::Engine as _;
use ferry_client::{Answer, ClientError};
use ferry_docker_api::PathStat;

pub(crate) use from::from_container;
pub(crate) use to::to_container;

use crate::framework::CliError;

/// What is to be copied, and how.
#[derive(Debug)]
pub(crate) struct Copy<'a> {
    /// The container at one end.
    pub(crate) container: &'a str,
    /// Path of the source.
    pub(crate) source: &'a str,
    /// Path of the destination.
    pub(crate) destination: &'a str,
    /// `-L`.
    pub(crate) follow_link: bool,
    /// `-a`.
    pub(crate) archive: bool,
    /// `-q`.
    pub(crate) quiet: bool,
}

/// Splits `CONTAINER:PATH`. A local path with a colon in it starts with a slash or a dot.
pub(crate) fn split(argument: &str) -> (&str, &str) {
    match argument.split_once(':') {
        _ if argument.starts_with('/') => ("", argument),
        Some((container, path)) if !container.starts_with('.') => (container, path),
        _ => ("", argument),
    }
}

/// What the daemon says a path is.
fn path_stat(answer: &Answer) -> Result<PathStat, CliError> {
    let wrong =
        |why: String| CliError::new(format!("unable to decode container path stat header: {why}"));
    let header = answer.header("x-docker-container-path-stat").unwrap_or_default();
    let json = base64::engine::general_purpose::STANDARD
        .decode(header)
        .map_err(|error| wrong(error.to_string()))?;
    serde_json::from_slice(&json).map_err(|error| wrong(error.to_string()))
}

/// What a path in a container is.
async fn stat(
    client: &ferry_client::Client,
    container: &str,
    path: &str,
) -> Result<PathStat, CliError> {
    let place = format!("/containers/{}/archive", ferry_client::path_segment(container));
    let answer = client.head(place).query("path", path).send().await;
    path_stat(&answer.map_err(CliError::from)?)
}

/// The request for a path of a container, answered.
async fn get(
    client: &ferry_client::Client,
    container: &str,
    path: &str,
) -> Result<Answer, ClientError> {
    let place = format!("/containers/{}/archive", ferry_client::path_segment(container));
    client.get(place).query("path", path).send().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_is_a_containers_unless_the_path_says_otherwise() {
        assert_eq!(split("web:/etc/x"), ("web", "/etc/x"));
        assert_eq!(split("web:etc"), ("web", "etc"));
        assert_eq!(split("./a:b"), ("", "./a:b"));
        assert_eq!(split("/a:b"), ("", "/a:b"));
        assert_eq!(split("plain"), ("", "plain"));
        assert_eq!(split(":x"), ("", "x"));
    }
}
