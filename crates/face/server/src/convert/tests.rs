use std::sync::Arc;

use ferry_docker_api::{
    ContainerCreateRequest, ContainerInspect, ContainerSummary, ImageInspect,
    Network as WireNetwork,
};
use ferry_errkind::ErrorKind;
use ferry_model::{
    container::{
        BindRecursion, Container, ContainerState, ContainerView, CreateContainer, IpcMode,
        ListedContainer, MountKind, MountPoint, NetworkMode, Phase, RestartPolicy,
    },
    image::{Image, ImageView},
    network::{
        EndpointRequest, EndpointStatus, IpamPool, Network, NetworkView, PortBinding, PortKey,
    },
};
use ferry_oci::ImageConfig;
use ferry_stdx::time::Timestamp;
use serde_json::{Value, json};

use super::container::Defaults;

fn read(request: Value) -> Result<(CreateContainer, Vec<String>), (ErrorKind, String)> {
    let wire: ContainerCreateRequest =
        serde_json::from_value(request).expect("JSON of the right types");
    super::create::request(None, None, wire)
        .map_err(|failure| (failure.kind(), failure.message().to_owned()))
}

fn refused(request: Value, words: &str) {
    let error = read(request).expect_err(words);
    assert_eq!(error, (ErrorKind::InvalidArgument, words.to_owned()));
}

fn host(fields: Value) -> Value {
    json!({"Image": "x", "HostConfig": fields})
}

fn defaults() -> Defaults {
    Defaults {
        log_driver: "json-file".into(),
        runtime: "runc".into(),
        storage_driver: "overlay2".into(),
        bridge: "peer0".into(),
        cgroup_v2: false,
    }
}

/// A container as the engine would hold it, made from what dockerd showed of one.
fn container(captured: &ContainerInspect) -> Container {
    let request = ContainerCreateRequest {
        config: captured.config.clone().expect("given"),
        host_config: captured.host_config.clone(),
        networking_config: None,
    };
    let (create, _) = super::create::request(None, None, request).expect("dockerd took it, too");
    let time = |text: &str| Timestamp::parse_rfc3339(text).filter(|time| time.nanos() > 0);
    let state = captured.state.clone().expect("given");
    let image = captured.image.parse().expect("a digest");
    Container {
        name: captured.name.trim_start_matches('/').to_owned(),
        created: time(&captured.created).expect("a time"),
        platform: "linux/amd64".into(),
        mounts: captured.mounts.iter().flatten().map(mount_point).collect(),
        state: ContainerState {
            phase: if state.running { Phase::Running } else { Phase::Created },
            pid: i32::try_from(state.pid).ok().filter(|pid| *pid > 0),
            started_at: time(&state.started_at),
            ..ContainerState::default()
        },
        endpoints: endpoints(captured),
        ports: ports(captured),
        ..Container::new(captured.id.clone(), image, create.spec)
    }
}

fn mount_point(wire: &ferry_docker_api::MountPoint) -> MountPoint {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    MountPoint {
        kind: match wire.kind.as_str() {
            "bind" => MountKind::Bind,
            "volume" => MountKind::Volume,
            _ => MountKind::Tmpfs,
        },
        name: text(&wire.name),
        source: wire.source.clone(),
        destination: wire.destination.clone(),
        driver: text(&wire.driver),
        mode: wire.mode.clone(),
        rw: wire.rw,
        propagation: wire.propagation.clone(),
        anonymous: false,
        no_copy: false,
        subpath: String::new(),
        create_source: false,
        idmap: false,
        maps: None,
        recursion: BindRecursion::Enabled,
        tmpfs_size: 0,
        tmpfs_mode: 0,
        tmpfs_options: String::new(),
        filesystem: None,
    }
}

fn endpoints(captured: &ContainerInspect) -> std::collections::BTreeMap<String, EndpointStatus> {
    let networks =
        captured.network_settings.as_ref().and_then(|settings| settings.networks.clone());
    let status = |(name, wire): (String, ferry_docker_api::EndpointSettings)| {
        let asked = wire.ipam_config.clone().unwrap_or_default();
        let status = EndpointStatus {
            request: EndpointRequest {
                ipv4: asked.ipv4_address.parse().ok(),
                aliases: wire.aliases.unwrap_or_default(),
                ..EndpointRequest::default()
            },
            network_id: wire.network_id,
            endpoint_id: wire.endpoint_id,
            ipv4: wire.ip_address.parse().ok(),
            prefix_len: u8::try_from(wire.ip_prefix_len).expect("a prefix length"),
            gateway: wire.gateway.parse().ok(),
            mac: wire.mac_address,
            dns_names: wire.dns_names.unwrap_or_default(),
            ..EndpointStatus::default()
        };
        (name, status)
    };
    networks.unwrap_or_default().into_iter().map(status).collect()
}

fn ports(captured: &ContainerInspect) -> std::collections::BTreeMap<PortKey, Vec<PortBinding>> {
    let ports = captured.network_settings.as_ref().and_then(|settings| settings.ports.clone());
    super::port::bindings(ports.unwrap_or_default()).expect("dockerd's ports")
}

fn view(container: Container) -> ContainerView {
    ContainerView {
        container: Arc::new(container),
        size: Some(ferry_model::container::DiskUse { rw: 0, total: 1_984_158 }),
        apparmor_profile: String::new(),
        exec_ids: Vec::new(),
        log_path: None,
        dir: String::new(),
        upper_dir: String::new(),
        work_dir: String::new(),
        lower_dirs: Vec::new(),
    }
}

const CREATED: &str = include_str!("../../../../pure/docker-api/testdata/container-created.json");
const RUNNING: &str = include_str!("../../../../pure/docker-api/testdata/container-running.json");

/// What of inspect does not depend on where dockerd and Ferry keep their files.
#[test]
fn inspect_shows_what_dockerd_shows() {
    for text in [CREATED, RUNNING] {
        let captured: ContainerInspect = serde_json::from_str(text).expect("reads");
        let mut shown = super::container::inspect(&view(container(&captured)), &defaults());
        let mut expected = captured;
        for inspect in [&mut shown, &mut expected] {
            inspect.graph_driver = ferry_docker_api::DriverData::default();
            for path in [
                &mut inspect.resolv_conf_path,
                &mut inspect.hostname_path,
                &mut inspect.hosts_path,
                &mut inspect.log_path,
            ] {
                path.clear();
            }
            let settings = inspect.network_settings.as_mut().expect("given");
            settings.sandbox_id.clear();
            settings.sandbox_key.clear();
            inspect.state.as_mut().expect("given").health = None;
        }
        let pretty = |inspect| serde_json::to_string_pretty(inspect).expect("writes");
        assert_eq!(pretty(&shown), pretty(&expected));
    }
}

#[test]
fn the_list_shows_what_dockerd_lists() {
    let captured: ContainerInspect = serde_json::from_str(RUNNING).expect("reads");
    let listed = include_str!("../../../../pure/docker-api/testdata/containers.json");
    let mut expected: Vec<ContainerSummary> = serde_json::from_str(listed).expect("reads");
    let mut container = container(&captured);
    container.mounts.sort_by(|a, b| a.source.cmp(&b.source));
    let now = container.state.started_at.expect("runs").plus(std::time::Duration::from_secs(3));
    let listed = ListedContainer { container: Arc::new(container), size: None };
    let mut shown = super::container::summary(&listed, now);
    expected[0].status = "Up 3 seconds".into();
    for summary in [&mut shown, &mut expected[0]] {
        // dockerd's order is by chance.
        summary.mounts.as_mut().expect("given").sort_by(|a, b| a.destination.cmp(&b.destination));
    }
    assert_eq!(shown, expected[0]);
}

#[test]
fn images_show_what_dockerd_shows() {
    let text = include_str!("../../../../pure/docker-api/testdata/image.json");
    let expected: ImageInspect = serde_json::from_str(text).expect("reads");
    let config = json!({
        "architecture": "amd64", "os": "linux", "created": expected.created, "docker_version": expected.docker_version,
        "comment": "Imported from -", "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": expected.root_fs.layers}, "history": []
    });
    let view = ImageView {
        image: Image {
            id: expected.id.parse().expect("a digest"),
            config_json: config.to_string(),
            manifest: None,
            stored: Timestamp::default(),
            size: 1_984_158,
        },
        config: ImageConfig::parse(config.to_string().as_bytes()).expect("reads"),
        repo_tags: expected.repo_tags.clone(),
        repo_digests: expected.repo_digests.clone(),
        containers: -1,
        shared_size: -1,
        last_tagged: Timestamp::parse_rfc3339(&expected.metadata.last_tag_time),
        lower_dirs: Vec::new(),
    };
    let shown = super::image::inspect(view, "overlay2");
    assert_eq!(shown, ImageInspect { graph_driver: shown.graph_driver.clone(), ..expected });
}

#[test]
fn networks_show_what_dockerd_shows() {
    let text = include_str!("../../../../pure/docker-api/testdata/network.json");
    let expected: WireNetwork = serde_json::from_str(text).expect("reads");
    let (id, on) = expected.containers.clone().and_then(|all| all.into_iter().next()).expect("one");
    let network = Network {
        id: expected.id.clone(),
        name: expected.name.clone(),
        created: Timestamp::parse_rfc3339(&expected.created).expect("a time"),
        driver: "bridge".into(),
        enable_ipv4: true,
        ipam: vec![IpamPool { subnet: "10.77.0.0/24".into(), ..IpamPool::default() }],
        // Docker's command line sends none as an empty object.
        ipam_options: Some(Default::default()),
        labels: [("a".to_owned(), "b".to_owned())].into(),
        ..Network::default()
    };
    let endpoint = EndpointStatus {
        endpoint_id: on.endpoint_id,
        mac: on.mac_address,
        ipv4: "10.77.0.9".parse().ok(),
        prefix_len: 24,
        ..EndpointStatus::default()
    };
    let view = NetworkView { network, containers: [(id, (on.name, endpoint))].into() };
    assert_eq!(super::network::to_wire(view.clone(), true), expected);
    assert_eq!(super::network::to_wire(view, false).containers, Some(Default::default()));
}

#[test]
fn settings_are_read() {
    let (create, warnings) = read(json!({
        "Image": "x", "MacAddress": "02:42:ac:11:00:02", "StopTimeout": 0, "Volumes": {"/v": {}},
        "HostConfig": {
            "NetworkMode": "web", "IpcMode": "container:a", "Memory": 8388608, "PidsLimit": -1, "MemorySwappiness": -1,
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}, "ConsoleSize": [24, 80],
            "Mounts": [{"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": true,
                "BindOptions": {"ReadOnlyNonRecursive": true}}],
            "PortBindings": {"80/tcp": [{"HostPort": "8000-8010"}], "53/udp": null}
        },
        "NetworkingConfig": {"EndpointsConfig": {"web": null}}
    }))
    .expect("valid");
    let spec = create.spec;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(spec.host.network_mode, NetworkMode::Named("web".into()));
    assert_eq!(spec.endpoints["web"].mac.as_deref(), Some("02:42:ac:11:00:02"));
    assert_eq!(spec.host.ipc_mode, Some(IpcMode::Container("a".into())));
    assert_eq!(spec.host.restart_policy, RestartPolicy::OnFailure { max_retries: 2 });
    assert_eq!(spec.host.resources.memory_swap, 16 << 20);
    assert_eq!(
        (spec.host.resources.pids_limit, spec.host.resources.memory_swappiness),
        (None, None)
    );
    assert_eq!(spec.host.console_size, Some((24, 80)));
    assert_eq!(spec.host.mounts[0].recursion, BindRecursion::Writable);
    assert_eq!(spec.stop_timeout, Some(0));
    let http: PortKey = "80/tcp".parse().expect("a port");
    let range = PortBinding { host_ip: None, host_port: 8000, host_port_end: 8010 };
    assert_eq!(spec.host.port_bindings[&http], [range]);
}

#[test]
fn wrong_settings_are_refused_in_dockers_words() {
    refused(host(json!({"IpcMode": "container:"})), "invalid IPC mode: container:");
    refused(host(json!({"PidMode": "x"})), "invalid PID mode: x");
    refused(host(json!({"UTSMode": "x"})), "invalid UTS mode: x");
    refused(host(json!({"CgroupnsMode": "x"})), "invalid cgroup namespace mode: x");
    refused(
        host(json!({"NetworkMode": "container:"})),
        "invalid network mode: invalid container format container:<name|id>",
    );
    refused(host(json!({"PortBindings": {"abc/tcp": []}})), "invalid port specification: \"abc\"");
    refused(
        host(json!({"PortBindings": {"80/tcp": [{"HostPort": "x"}]}})),
        "invalid port specification: \"x\"",
    );
    refused(
        host(json!({"RestartPolicy": {"Name": "sometimes"}})),
        "invalid restart policy: unknown policy 'sometimes'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
    );
    refused(
        host(json!({"RestartPolicy": {"Name": "always", "MaximumRetryCount": -1}})),
        "invalid restart policy: maximum retry count can only be used with 'on-failure' and cannot be negative",
    );
    refused(host(json!({"MemoryReservation": 1})), "Minimum memory reservation allowed is 6MB");
    refused(json!({}), "config cannot be empty in order to create a container");
    refused(
        json!({"Image": "x", "MacAddress": "foo"}),
        "invalid config for network bridge: invalid MAC address foo",
    );
    refused(host(json!({"ExtraHosts": ["x"]})), "bad format for add-host: \"x\"");
    refused(host(json!({"ExtraHosts": ["x:y"]})), "invalid IP address in add-host: \"y\"");
    refused(
        host(json!({"Mounts": [{"Type": "volume", "Target": "/x", "BindOptions": {}}]})),
        "BindOptions must not be specified on mount type \"volume\"",
    );
    refused(
        host(json!({"IOMaximumIOps": 5})),
        "invalid option: QoS maximum IOPs configuration is not supported on linux",
    );
    refused(json!({"Env": ["=x"]}), "invalid environment variable: =x");
    refused(
        json!({"WorkingDir": "x"}),
        "the working directory 'x' is invalid, it needs to be an absolute path",
    );
    refused(
        json!({"Healthcheck": {"Interval": 5}}),
        "Interval in Healthcheck cannot be less than 1ms",
    );
    refused(
        json!({"Hostname": "h", "HostConfig": {"NetworkMode": "container:x"}}),
        "conflicting options: hostname and the network mode",
    );
    refused(
        json!({"Image": "x", "NetworkingConfig": {"EndpointsConfig": {"n": {"IPAMConfig": {"IPv4Address": "::1"}}}}}),
        "invalid config for network n: invalid endpoint settings:\ninvalid IPv4 address: ::1",
    );
}

#[test]
fn what_is_not_supported_is_named() {
    let name = "HostConfig.Cgroup";
    let (kind, words) = read(host(json!({"Cgroup": "container:x"}))).expect_err(name);
    assert_eq!(kind, ErrorKind::NotImplemented);
    assert!(words.contains(name), "{words}");
}

#[test]
fn states_are_told_in_dockers_words() {
    let now = Timestamp::from_seconds(1000);
    let at = |phase, started: i64, finished: i64| ContainerState {
        phase,
        exit_code: 3,
        started_at: (started > 0).then(|| Timestamp::from_seconds(started)),
        finished_at: (finished > 0).then(|| Timestamp::from_seconds(finished)),
        ..ContainerState::default()
    };
    for (state, words) in [
        (at(Phase::Created, 0, 0), "Created"),
        (at(Phase::Running, 998, 0), "Up 2 seconds"),
        (at(Phase::Paused, 880, 0), "Up 2 minutes (Paused)"),
        (at(Phase::Restarting, 900, 999), "Restarting (3) 1 second ago"),
        (at(Phase::Exited, 900, 940), "Exited (3) About a minute ago"),
        (at(Phase::Exited, 0, 940), "Created"),
        (at(Phase::Removing, 900, 940), "Removal In Progress"),
        (at(Phase::Dead, 900, 940), "Dead"),
    ] {
        assert_eq!(super::state::in_words(&state, now), words);
    }
}

#[test]
fn progress_is_told_with_a_bar() {
    let message = super::progress::pull_message(ferry_engine::ops::image::PullProgress {
        id: Some("abc".into()),
        status: "Downloading".into(),
        current: Some(500_000),
        total: Some(1_000_000),
    });
    let bar = format!("[{}>{}]    500kB/1MB", "=".repeat(25), " ".repeat(25));
    assert_eq!(
        serde_json::to_value(message).expect("writes"),
        json!({"status": "Downloading", "id": "abc", "progressDetail": {"current": 500000, "total": 1000000}, "progress": bar})
    );
}

#[test]
fn events_pass_filters() {
    use ferry_docker_api::Filters;
    use ferry_model::event::{Event, Subject};
    let event = Event {
        subject: Subject::Container,
        action: "exec_create: sh".into(),
        id: "abcdef".into(),
        attributes: [("name", "web"), ("image", "nginx:1"), ("tier", "front")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        time: Timestamp::from_seconds(1),
    };
    let passes = |text: &str| super::event::passes(&event, &Filters::parse(text).expect("reads"));
    for yes in [
        r#"{}"#,
        r#"{"event":["exec_create"]}"#,
        r#"{"type":["image","container"]}"#,
        r#"{"container":["abc"]}"#,
        r#"{"container":["web"],"label":["tier=front","image"]}"#,
        r#"{"image":["nginx"]}"#,
        r#"{"scope":["local"]}"#,
    ] {
        assert!(passes(yes), "{yes}");
    }
    for no in [
        r#"{"event":["start"]}"#,
        r#"{"type":["image"]}"#,
        r#"{"container":["xyz"]}"#,
        r#"{"label":["tier=back"]}"#,
        r#"{"image":["ngin"]}"#,
        r#"{"network":["abc"]}"#,
    ] {
        assert!(!passes(no), "{no}");
    }
}
