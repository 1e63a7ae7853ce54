use std::collections::HashSet;

use super::*;

fn check(method: Method, path: &str, pattern: &str, params: &[&str]) {
    let (endpoint, found) = find(&method, path).unwrap_or_else(|| panic!("{path} finds a row"));
    assert_eq!((endpoint.path, found.as_slice()), (pattern, params.map_owned().as_slice()));
}

trait MapOwned {
    fn map_owned(&self) -> Vec<String>;
}

impl MapOwned for [&str] {
    fn map_owned(&self) -> Vec<String> {
        self.iter().map(|text| (*text).to_owned()).collect()
    }
}

#[test]
fn paths_find_their_rows() {
    check(Method::GET, "/containers/json", "/containers/json", &[]);
    check(Method::GET, "/containers/json/json", "/containers/{id}/json", &["json"]);
    check(Method::GET, "/images/json", "/images/json", &[]);
    check(Method::GET, "/images/a/b/c:d/json", "/images/{name}/json", &["a/b/c:d"]);
    check(Method::GET, "/images/a%2Fb/json", "/images/{name}/json", &["a/b"]);
    check(Method::DELETE, "/images/localhost:5000/a/b", "/images/{name}", &["localhost:5000/a/b"]);
    check(Method::POST, "/images/create", "/images/create", &[]);
    check(Method::POST, "/images/create/tag", "/images/{name}/tag", &["create"]);
    check(
        Method::DELETE,
        "/containers/a/checkpoints/b",
        "/containers/{id}/checkpoints/{checkpoint}",
        &["a", "b"],
    );
    check(Method::GET, "/containers/x/attach/ws", "/containers/{id}/attach/ws", &["x"]);
    check(Method::GET, "/networks", "/networks", &[]);
    check(Method::GET, "/networks/", "/networks/", &[]);
}

#[test]
fn what_is_not_there_is_not_found() {
    for (method, path) in [
        (Method::GET, "/nope"),
        (Method::PUT, "/containers/json"),
        (Method::GET, "/containers//json"),
        (Method::GET, "/containers/x/y"),
        (Method::GET, "/"),
    ] {
        assert!(find(&method, path).is_none(), "{method} {path}");
    }
}

#[test]
fn versions_come_off_the_path() {
    assert_eq!(split_version("/v1.24/info"), (Some("1.24"), "/info"));
    assert_eq!(split_version("/version"), (None, "/version"));
    assert_eq!(split_version("/volumes/x"), (None, "/volumes/x"));
    assert_eq!(split_version("/vfoo/info"), (None, "/vfoo/info"));
    assert_eq!(split_version("/v1.24"), (None, "/v1.24"));
}

#[test]
fn no_row_is_twice_and_each_has_words() {
    let mut seen = HashSet::new();
    for endpoint in endpoints() {
        assert!(seen.insert((endpoint.method.clone(), endpoint.path)), "{endpoint:?}");
        assert!(!endpoint.doc.is_empty() && !endpoint.doc.ends_with('.'), "{endpoint:?}");
    }
}

/// What is ours alone: `why`, what changes or hands over ports, volumes as a whole, the history of builds,
/// what registries list, and what is here as a registry has it.
fn is_beyond(path: &str) -> bool {
    ["/why", "/ports", "/reveal", "/withdraw"].iter().any(|end| path.ends_with(end))
        || path.starts_with("/volumes/{name}/")
        || path.starts_with("/build/history")
        || path.starts_with("/served/")
        || ["/distribution/catalog", "/distribution/{name}/tags", "/names"].contains(&path)
}

/// The routers of dockerd 28.5 register 121 pairs: these without what is ours, and eight for OPTIONS and the profiler.
#[test]
fn the_table_is_all_of_dockers_api() {
    let beyond = endpoints().iter().filter(|endpoint| is_beyond(endpoint.path)).count();
    assert_eq!((endpoints().len() - beyond, beyond), (113, 21));
    assert!(endpoints().iter().filter(|endpoint| endpoint.is_served()).count() >= 50);
}
