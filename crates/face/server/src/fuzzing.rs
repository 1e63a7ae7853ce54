//! What a fuzzer may throw at: the parts of this face that read what clients send, without an engine behind them. Each function
//! panics when something does not hold that should; the targets are in `fuzz/`.

use bytes::Bytes;
use ferry_docker_api::{ApiVersion, ContainerCreateRequest};
use http::Method;
use tokio::sync::mpsc;

use crate::{
    convert,
    detach::{DetachKeys, Typed},
    handlers::attach_ws,
    query::Query,
    table, versions,
};

/// Parameters that handlers read as something else than text.
const NAMES: [&str; 6] = ["filters", "since", "tail", "t", "h", "all"];

/// Reads a request as far as it goes without an engine: version, row, parameters, query, what older versions say differently.
///
/// # Panics
/// Something does not hold.
pub fn request(method: &[u8], target: &str, body: &[u8]) {
    let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
    let mut query = Query::parse(query);
    read(&query);
    let (version, path) = table::split_version(path);
    let version: Option<ApiVersion> = version.and_then(|text| text.parse().ok());
    let Ok(method) = Method::from_bytes(method) else { return };
    let Some((endpoint, params)) = table::find(&method, path) else { return };
    assert_eq!(params.len(), endpoint.path.matches('{').count(), "a parameter for each");
    let changes = versions::Changes::since(version.unwrap_or(ApiVersion::MAX), endpoint);
    changes.upgrade_query(&mut query);
    read(&query);
    let upgraded = match changes.upgrade_body(body) {
        Ok(Some(upgraded)) => upgraded,
        Ok(None) => body.to_vec(),
        Err(_) => return,
    };
    if endpoint.path == "/containers/create"
        && let Ok(wanted) = serde_json::from_slice::<ContainerCreateRequest>(&upgraded)
    {
        // What it is refused with is not this one's affair.
        drop(convert::create::request(query.text("name"), query.text("platform"), wanted));
    }
}

fn read(query: &Query) {
    for name in NAMES {
        assert_eq!(query.text(name).is_some(), !query.get(name).is_empty());
        assert!(!query.flag_or(name, false) || !query.all(name).is_empty());
        drop(query.integer(name));
    }
    drop(query.filters(&["label", "name", "id"]));
}

/// Watches `input` for detach keys, whole and in pieces: what is passed on is the same.
///
/// # Panics
/// It is not, or something was passed on that nobody typed.
pub fn detach(keys: &str, input: &[u8], piece: usize) {
    let whole = typed(keys, std::iter::once(input));
    let pieces = typed(keys, input.chunks(piece.max(1)));
    assert_eq!(whole, pieces, "it depends on the pieces");
    if let Some((passed, left)) = whole {
        assert!(passed.len() <= input.len(), "more was passed on than typed");
        assert!(left || input.starts_with(&passed), "something else was passed on than typed");
    }
}

/// What was passed on, and whether the keys came.
fn typed<'a>(keys: &str, pieces: impl Iterator<Item = &'a [u8]>) -> Option<(Vec<u8>, bool)> {
    let mut keys = DetachKeys::parse(keys).ok()?;
    let mut passed = Vec::new();
    for piece in pieces {
        match keys.typed(piece) {
            Typed::Pass(bytes) => passed.extend_from_slice(&bytes),
            Typed::Detach(bytes) => {
                passed.extend_from_slice(&bytes);
                return Some((passed, true));
            }
        }
    }
    Some((passed, false))
}

/// Reads a client's WebSocket frames: no more comes out than went in.
///
/// # Panics
/// More came out.
pub async fn websocket(stream: &[u8]) {
    let (input, mut data) = mpsc::channel::<Bytes>(16);
    let (control, mut rest) = mpsc::channel::<(u8, Bytes)>(4);
    let count = async {
        let mut total = 0;
        loop {
            tokio::select! {
                Some(bytes) = data.recv() => total += bytes.len(),
                Some((_, bytes)) = rest.recv() => total += bytes.len(),
                else => return total,
            }
        }
    };
    let ((), total) = tokio::join!(attach_ws::read_messages(stream, input, control), count);
    assert!(total <= stream.len(), "more came out than went in");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_read_and_requests_that_do_not() {
        let create = br#"{"Image":"busybox","HostConfig":{"Binds":["/a:/b:ro"]}}"#;
        request(b"POST", "/v1.24/containers/create?name=a&platform=linux", create);
        request(b"POST", "/v1.51/containers/create?name=%zz", b"{");
        request(b"GET", "/containers/json?all=1&filters=%7B%22label%22%3A%5B%22a%22%5D%7D", b"");
        request(b"GET", "/v1.41/containers//json?all&all=0&=&&%", b"");
        request(b"BREW", "/", b"");
        request(b"not a method", "?", b"");
    }

    #[test]
    fn keys_in_pieces() {
        detach("", b"abc\x10\x11def", 1);
        detach("ctrl-a,a,b", b"\x01a\x01ab", 2);
        detach("a,a,a", b"aabaaa", 3);
        detach("nonsense", b"x", 1);
    }

    #[tokio::test]
    async fn frames() {
        websocket(&[0x81, 0x82, 1, 2, 3, 4, b'a' ^ 1, b'b' ^ 2, 0x88, 0x80, 0, 0, 0, 0]).await;
        websocket(&[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).await;
        websocket(b"").await;
    }
}
