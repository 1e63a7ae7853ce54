use serde_json::json;

use super::*;
use crate::table;

fn changes(minor: u16, method: Method, path: &str) -> Changes {
    let (endpoint, _) = table::find(&method, path).expect("in the table");
    Changes::since(ApiVersion::new(1, minor), endpoint)
}

fn upgraded(minor: u16, path: &str, body: Value) -> Result<Value, Failure> {
    let bytes = changes(minor, Method::POST, path).upgrade_body(body.to_string().as_bytes())?;
    Ok(bytes.map_or(body, |bytes| serde_json::from_slice(&bytes).expect("JSON")))
}

fn downgraded(minor: u16, path: &str, body: &Value) -> Value {
    let mut reply = crate::reply::json(body).expect("writes");
    changes(minor, Method::GET, path).downgrade(&mut reply);
    let Body::Full(Some(bytes)) = reply.body() else { panic!("full") };
    serde_json::from_slice(bytes).expect("JSON")
}

#[test]
fn every_change_is_of_an_endpoint_that_there_is() {
    for change in HISTORY.iter().flat_map(|(_, changes)| changes.iter()) {
        let known = table::endpoints()
            .iter()
            .any(|endpoint| endpoint.method == change.method && endpoint.path == change.path);
        assert!(known, "{} {}", change.method, change.path);
    }
    assert!(HISTORY.windows(2).all(|pair| pair[0].0 < pair[1].0));
}

#[test]
fn the_newest_version_is_left_alone() {
    assert!(changes(51, Method::GET, "/images/json").0.is_empty());
    let body = json!({"HostConfig": {"AutoRemove": true}});
    assert_eq!(upgraded(51, "/containers/create", body.clone()).expect("valid"), body);
}

#[test]
fn old_creates_mean_what_they_meant() {
    let body = json!({"Image": "x", "HostConfig": {"AutoRemove": true, "Annotations": {"a": "b"}}});
    let new = upgraded(24, "/containers/create", body).expect("valid");
    assert_eq!(new["HostConfig"], json!({"AutoRemove": false, "IpcMode": "shareable"}));
    let new = upgraded(39, "/containers/create", json!({"Image": "x"})).expect("valid");
    assert_eq!(new["HostConfig"], json!({"IpcMode": "shareable"}));
    let body = json!({"HostConfig": {"Mounts": [{"Type": "bind", "ReadOnly": true}]}});
    let new = upgraded(43, "/containers/create", body).expect("valid");
    assert_eq!(
        new.pointer("/HostConfig/Mounts/0/BindOptions/ReadOnlyNonRecursive"),
        Some(&json!(true))
    );
    let two = json!({"NetworkingConfig": {"EndpointsConfig": {"a": {}, "b": null}}});
    let failure = upgraded(43, "/containers/create", two).expect_err("refused");
    assert_eq!(
        failure.message(),
        "Container cannot be created with multiple network endpoints: a, b"
    );
}

#[test]
fn old_answers_look_as_they_did() {
    let images = json!([{"RepoTags": [], "RepoDigests": [], "Size": 7, "Containers": 2}]);
    assert_eq!(downgraded(51, "/images/json", &images), images);
    assert_eq!(downgraded(50, "/images/json", &images)[0]["Containers"], json!(-1));
    let old = downgraded(40, "/images/json", &images);
    assert_eq!(old[0]["RepoTags"], json!(["<none>:<none>"]));
    assert_eq!(old[0]["VirtualSize"], json!(7));
}

#[test]
fn old_streams_are_all_raw() {
    let reply =
        || crate::reply::content("application/vnd.docker.multiplexed-stream", Body::empty());
    let kind = |minor| {
        let mut reply = reply();
        changes(minor, Method::GET, "/containers/x/logs").downgrade(&mut reply);
        reply.headers()[http::header::CONTENT_TYPE].clone()
    };
    assert_eq!(kind(42), "application/vnd.docker.multiplexed-stream");
    assert_eq!(kind(41), "application/vnd.docker.raw-stream");
}

#[test]
fn old_prunes_take_all_volumes() {
    let mut query = Query::parse(Some("filters=%7B%22label%22%3A%7B%22a%22%3Atrue%7D%7D"));
    changes(41, Method::POST, "/volumes/prune").upgrade_query(&mut query);
    assert_eq!(query.get("filters"), r#"{"all":{"true":true},"label":{"a":true}}"#);
}
