use ferry_model::container::{BindMount, ContainerSpec, MountKind};

use super::*;

fn bind(text: &str) -> BindMount {
    BindMount { text: text.to_owned(), ..BindMount::default() }
}

#[test]
fn the_forms_of_v() {
    let point = parse_bind("/src:/dst:ro,rslave").unwrap();
    assert_eq!(
        (point.kind, point.rw, point.propagation.as_str()),
        (MountKind::Bind, false, "rslave")
    );
    assert_eq!(point.source, "/src");
    let point = parse_bind("data:/var/lib/").unwrap();
    assert_eq!((point.kind, point.name.as_deref()), (MountKind::Volume, Some("data")));
    assert_eq!(point.destination, "/var/lib");
    let point = parse_bind("/only").unwrap();
    assert!(point.anonymous && point.kind == MountKind::Volume && point.rw);
    assert!(parse_bind("data:/x:nocopy").unwrap().no_copy);
}

#[test]
fn what_docker_refuses() {
    for (text, words) in [
        ("a:b:c:d", "invalid volume specification: 'a:b:c:d'"),
        (":/x", "invalid volume specification: ':/x'"),
        ("/x:ro", "invalid volume specification: '/x:ro'"),
        ("/a:/b:bogus", "invalid mode: bogus"),
        ("/a:/b:ro,rw", "invalid mode: ro,rw"),
        ("vol:/b:rshared", "invalid mode: rshared"),
        ("/a:/", "destination can't be '/'"),
        (
            "/a:rel",
            "invalid volume specification: '/a:rel': invalid mount config for type \"bind\": invalid mount path: 'rel'",
        ),
        ("v:/x", "create v: volume name is too short"),
        ("b@d:/x", "includes invalid characters for a local volume name"),
    ] {
        let error = parse_bind(text).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn what_the_user_mounts_hides_the_images_volume() {
    let mut spec = ContainerSpec::default();
    spec.volumes.insert("/data".into());
    spec.volumes.insert("/cache".into());
    spec.host.binds.push(bind("mine:/data"));
    let points = plan_mounts(&spec, Vec::new()).unwrap();
    let seen: Vec<_> =
        points.iter().map(|point| (point.destination.as_str(), point.anonymous)).collect();
    assert_eq!(seen, [("/cache", true), ("/data", false)]);
}

#[test]
fn one_path_takes_one_mount() {
    let mut spec = ContainerSpec::default();
    spec.host.binds = vec![bind("/a:/x"), bind("/b:/x/")];
    assert_eq!(plan_mounts(&spec, Vec::new()), Err(MountError::Duplicate("/x".into())));
}

#[test]
fn paths_are_cleaned_as_go_does() {
    for (path, clean) in [("/", "/"), ("//a//b/", "/a/b"), ("/a/../b/.", "/b"), ("/../..", "/")] {
        assert_eq!(clean_path(path), clean);
    }
}
