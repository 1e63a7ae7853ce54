use serde::{Serialize, de::DeserializeOwned};

use super::*;

/// What dockerd 28.5 wrote must read and write again byte for byte: order, null, [], {} and what is left out.
fn check_same<T: Serialize + DeserializeOwned>(captured: &str) {
    for line in captured.lines().filter(|line| !line.is_empty()) {
        let parsed: T = serde_json::from_str(line).expect("reads");
        assert_eq!(serde_json::to_string(&parsed).expect("writes"), line);
    }
}

#[test]
fn dockerd_answers_survive_a_round_trip() {
    check_same::<ContainerInspect>(include_str!("../testdata/container-created.json"));
    check_same::<ContainerInspect>(include_str!("../testdata/container-running.json"));
    check_same::<Vec<ContainerSummary>>(include_str!("../testdata/containers.json"));
    check_same::<Vec<ImageSummary>>(include_str!("../testdata/images.json"));
    check_same::<ImageInspect>(include_str!("../testdata/image.json"));
    check_same::<Vec<HistoryItem>>(include_str!("../testdata/history.json"));
    check_same::<Vec<Network>>(include_str!("../testdata/networks.json"));
    check_same::<Network>(include_str!("../testdata/network.json"));
    check_same::<VolumeList>(include_str!("../testdata/volumes.json"));
    check_same::<DiskUsage>(include_str!("../testdata/df.json"));
    check_same::<StatsResponse>(include_str!("../testdata/stats.json"));
    check_same::<StatsResponse>(include_str!("../testdata/stats-stopped.json"));
    check_same::<ExecInspect>(include_str!("../testdata/exec-created.json"));
    check_same::<ExecInspect>(include_str!("../testdata/exec-ended.json"));
    check_same::<EventMessage>(include_str!("../testdata/events.jsonl"));
    check_same::<Version>(include_str!("../testdata/version.json"));
    check_same::<SystemInfo>(include_str!("../testdata/info.json"));
    check_same::<TopResponse>(include_str!("../testdata/top.json"));
    check_same::<Vec<FilesystemChange>>(include_str!("../testdata/changes.json"));
    check_same::<JsonMessage>(include_str!("../testdata/pull.jsonl"));
}

#[test]
fn null_reads_as_default_everywhere() {
    let text = r#"{"Image":"x","Env":null,"Tty":null,"Labels":null,"Healthcheck":null,"StopTimeout":null,
        "HostConfig":{"Binds":null,"LogConfig":null,"ConsoleSize":null,"Memory":null,"Ulimits":null,"RestartPolicy":null,
        "PortBindings":{"80/tcp":null},"Tmpfs":null,"Mounts":null},"NetworkingConfig":{"EndpointsConfig":{"n":null}},"Unknown":{"x":1}}"#;
    let request: ContainerCreateRequest = serde_json::from_str(text).expect("reads");
    assert_eq!(request.config, ContainerConfig { image: "x".into(), ..Default::default() });
    let host = request.host_config.expect("given");
    assert_eq!(host.port_bindings, Some(PortMap::from([("80/tcp".to_owned(), None)])));
    assert_eq!(
        host,
        HostConfig { port_bindings: host.port_bindings.clone(), ..Default::default() }
    );
    let endpoints = request.networking_config.and_then(|config| config.endpoints_config);
    assert_eq!(endpoints.expect("given").get("n"), Some(&None));
}

#[test]
fn commands_are_a_string_or_a_list() {
    let config: ContainerConfig =
        serde_json::from_str(r#"{"Cmd":"ls","Entrypoint":["a","b"],"Shell":null}"#).expect("reads");
    assert_eq!(config.cmd.0, Some(vec!["ls".to_owned()]));
    assert_eq!(config.entrypoint.0, Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(config.shell.0, None);
    assert!(serde_json::from_str::<ContainerConfig>(r#"{"Cmd":5}"#).is_err());
}

#[test]
fn sets_accept_whatever_stands_for_nothing() {
    let config: ContainerConfig = serde_json::from_str(
        r#"{"ExposedPorts":{"80/tcp":{}},"Volumes":{"/a":null,"/b":{"x":1}}}"#,
    )
    .expect("reads");
    assert_eq!(config.exposed_ports.len(), 1);
    let text = serde_json::to_string(&config.volumes).expect("writes");
    assert_eq!(text, r#"{"/a":{},"/b":{}}"#);
}

#[test]
fn host_config_has_every_field() {
    let full = HostConfig {
        annotations: [("a".to_owned(), "b".to_owned())].into(),
        storage_opt: [("a".to_owned(), "b".to_owned())].into(),
        tmpfs: [("a".to_owned(), "b".to_owned())].into(),
        sysctls: [("a".to_owned(), "b".to_owned())].into(),
        runtime: "r".into(),
        mounts: vec![Mount::default()],
        init: Some(true),
        resources: Resources { kernel_memory: 1, kernel_memory_tcp: 1, ..Default::default() },
        ..Default::default()
    };
    let json = serde_json::to_value(&full).expect("writes");
    // The newest swagger has 69; KernelMemory (until 1.41) and KernelMemoryTCP are still read.
    assert_eq!(json.as_object().map(serde_json::Map::len), Some(71));
    let back: HostConfig = serde_json::from_value(json).expect("reads");
    assert_eq!(back, full);
}

#[test]
fn filters_read_both_forms() {
    let expected = Filters([("a".to_owned(), vec!["1".to_owned(), "2".to_owned()])].into());
    assert_eq!(Filters::parse(r#"{"a":{"2":true,"1":true,"3":false}}"#), Ok(expected.clone()));
    assert_eq!(Filters::parse(r#"{"a":["2","1","2"]}"#), Ok(expected.clone()));
    assert_eq!(Filters::parse(&expected.to_json()), Ok(expected.clone()));
    assert_eq!(Filters::parse(""), Ok(Filters::default()));
    assert_eq!(Filters::default().to_json(), "");
    for bad in ["x", "[]", r#"{"a":1}"#, r#"{"a":{"b":"c"}}"#] {
        assert_eq!(Filters::parse(bad), Err(filters::InvalidFilters), "{bad}");
    }
    let mut filters = expected;
    filters.add("a", "1");
    filters.add("a", "0");
    assert_eq!(filters.get("a"), ["0", "1", "2"]);
    assert!(filters.get("b").is_empty());
}

#[test]
fn versions_compare_as_numbers() {
    let version = |text: &str| text.parse::<ApiVersion>();
    assert!(version("1.9").expect("valid") < version("1.24").expect("valid"));
    assert_eq!(version("1.51").expect("valid"), ApiVersion::MAX);
    assert_eq!(ApiVersion::MIN.to_string(), "1.24");
    for bad in ["", "1", "1.", ".1", "1.2.3", "v1.24", "1.+2", "1.99999999"] {
        assert!(version(bad).is_err(), "{bad}");
    }
}

#[test]
fn frames_come_apart_however_they_are_cut() {
    use stream::{Demultiplexer, StreamKind, encode_header};
    let mut wire = Vec::new();
    for (kind, payload) in
        [(StreamKind::Stdout, "hello"), (StreamKind::Stderr, ""), (StreamKind::Stderr, "no")]
    {
        wire.extend_from_slice(&encode_header(kind, payload.len() as u32));
        wire.extend_from_slice(payload.as_bytes());
    }
    for cut in 1..=wire.len() {
        let mut demultiplexer = Demultiplexer::default();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        for mut piece in wire.chunks(cut) {
            while let Some((kind, bytes)) = demultiplexer.next(&mut piece).expect("valid") {
                if kind == StreamKind::Stdout { &mut out } else { &mut err }
                    .extend_from_slice(bytes);
            }
        }
        assert_eq!((out.as_slice(), err.as_slice()), (&b"hello"[..], &b"no"[..]), "cut {cut}");
        assert!(demultiplexer.is_at_boundary());
    }
    let mut bad: &[u8] = &[7, 0, 0, 0, 0, 0, 0, 1, 0];
    assert_eq!(Demultiplexer::default().next(&mut bad), Err(stream::UnknownStream(7)));
}
