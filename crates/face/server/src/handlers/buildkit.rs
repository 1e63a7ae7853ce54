//! `/grpc` and `/session`: connections that become HTTP/2, of which BuildKit's face knows more.

use ferry_errkind::Failure;
use http::{HeaderValue, StatusCode, header};
use hyper::upgrade::OnUpgrade;

use crate::{body::Body, refuse::invalid, reply::Reply, request::Request};

/// The client calls us.
pub(crate) async fn grpc(request: Request) -> Result<Reply, Failure> {
    let (reply, upgrade, request) = upgraded(request)?;
    let buildkit = request.buildkit;
    tokio::spawn(async move {
        if let Ok(io) = upgrade.await {
            buildkit.grpc(io).await;
        }
    });
    Ok(reply)
}

/// We call the client.
pub(crate) async fn session(request: Request) -> Result<Reply, Failure> {
    request.buildkit.check_session(&request.headers)?;
    let (reply, upgrade, request) = upgraded(request)?;
    let (buildkit, headers) = (request.buildkit, request.headers);
    tokio::spawn(async move {
        if let Ok(io) = upgrade.await {
            buildkit.session(&headers, io).await;
        }
    });
    Ok(reply)
}

/// Only `h2c` is spoken; the answer says so.
fn upgraded(mut request: Request) -> Result<(Reply, OnUpgrade, Request), Failure> {
    let protocol = request.headers.get(header::UPGRADE);
    let protocol = protocol.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let Some(upgrade) = request.upgrade.take() else {
        return Err(invalid("no upgrade proto in request"));
    };
    if protocol != "h2c" {
        return Err(invalid(format!("protocol {protocol} not supported")));
    }
    let mut reply = Reply::new(Body::empty());
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = reply.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("h2c"));
    Ok((reply, upgrade, request))
}
