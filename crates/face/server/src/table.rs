//! The table of endpoints, and how a path finds its row.

use std::{future::Future, pin::Pin};

use ferry_docker_api::ApiVersion;
use ferry_errkind::Failure;
use http::Method;

use crate::{query::percent_decode, reply::Reply, request::Request};

mod rows;
#[cfg(test)]
mod tests;

/// What a handler returns.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send>>;

/// An endpoint of Docker's API.
#[derive(Debug)]
pub struct Endpoint {
    /// HTTP method.
    pub method: Method,
    /// Path without the version; `{…}` stands for a parameter, which may contain slashes.
    pub path: &'static str,
    /// The API version that brought it, or the oldest that is spoken.
    pub since: ApiVersion,
    /// What it does, in one line.
    pub doc: &'static str,
    pub(crate) serve: Serve,
}

/// How an endpoint answers.
#[derive(Clone, Copy)]
pub(crate) enum Serve {
    /// By this handler.
    Here(fn(Request) -> Answer),
    /// 501: Docker has it, Ferry not yet.
    NotYet,
    /// 503, as a dockerd that is no swarm manager: that is what Ferry always is.
    NotASwarm,
}

impl std::fmt::Debug for Serve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Serve::Here(_) => "Here",
            Serve::NotYet => "NotYet",
            Serve::NotASwarm => "NotASwarm",
        })
    }
}

impl Endpoint {
    /// Whether Ferry serves it.
    pub fn is_served(&self) -> bool {
        matches!(self.serve, Serve::Here(_))
    }
}

/// Wraps an async handler for a row.
macro_rules! here {
    ($handler:path) => {
        $crate::table::Serve::Here(|request| Box::pin($handler(request)))
    };
}
use here;

/// All endpoints of Docker's API, served or not.
pub fn endpoints() -> &'static [Endpoint] {
    rows::ENDPOINTS
}

/// Finds the row for a path without version, and the path's parameters, decoded.
pub(crate) fn find(method: &Method, path: &str) -> Option<(&'static Endpoint, Vec<String>)> {
    endpoints().iter().filter(|endpoint| endpoint.method == *method).find_map(|endpoint| {
        let params = match_path(endpoint.path, path)?;
        Some((endpoint, params.into_iter().map(|param| percent_decode(param, false)).collect()))
    })
}

/// Matches a path against a pattern such as `/images/{name}/json`. A parameter takes as much as it can (image names contain
/// slashes), but not nothing.
fn match_path<'a>(pattern: &str, path: &'a str) -> Option<Vec<&'a str>> {
    let Some((before, rest)) = pattern.split_once('{') else {
        return (pattern == path).then(Vec::new);
    };
    let path = path.strip_prefix(before)?;
    let (_, after) = rest.split_once('}')?;
    // The fixed text up to the next parameter ends this one: at the end of the path, or at its last occurrence.
    let fixed = after.split_once('{').map_or(after, |(fixed, _)| fixed);
    let end = if fixed.len() == after.len() {
        path.strip_suffix(fixed)?.len()
    } else {
        path.rfind(fixed)?
    };
    let (param, tail) = path.split_at(end);
    if param.is_empty() {
        return None;
    }
    let mut params = vec![param];
    params.extend(match_path(after, tail)?);
    Some(params)
}

/// Splits the version off a path: `/v1.24/info` is `1.24` and `/info`. A prefix that is no version stays.
pub(crate) fn split_version(path: &str) -> (Option<&str>, &str) {
    let split = path.strip_prefix("/v").and_then(|rest| {
        let end = rest.find('/')?;
        let (version, rest) = rest.split_at(end);
        let digits = version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        (!version.is_empty() && digits).then_some((version, rest))
    });
    split.map_or((None, path), |(version, rest)| (Some(version), rest))
}
