//! `/names`, beyond Docker.

use std::net::SocketAddr;

use ferry_docker_api::{NamedContainer, NamesInfo};
use ferry_engine::ops::names as ops;
use ferry_errkind::Failure;

use crate::{
    reply::{self, Reply},
    request::Request,
};

/// Where names of containers are served, and which there are.
pub(crate) async fn names(request: Request) -> Result<Reply, Failure> {
    let Some(told) = ops::announced(&request.engine) else {
        return reply::json(&NamesInfo::default());
    };
    let texts = |addresses: &[SocketAddr]| addresses.iter().map(SocketAddr::to_string).collect();
    let names = ops::list(&request.engine).into_iter().map(|one| {
        let (target, problem) = match one.target {
            Ok(target) => (target.to_string(), String::new()),
            Err(problem) => (String::new(), problem),
        };
        let name = format!("{}.localhost", one.name);
        NamedContainer { name, container: one.container, target, problem }
    });
    reply::json(&NamesInfo {
        enabled: true,
        http: texts(&told.http),
        https: texts(&told.https),
        dns: texts(&told.dns),
        authority: told
            .authority
            .as_ref()
            .map(|path| path.to_string_lossy().into_owned())
            .unwrap_or_default(),
        certificate: told.certificate.clone(),
        problems: told.problems.clone(),
        names: names.collect(),
    })
}
