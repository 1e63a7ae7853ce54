//! Flags of networks, volumes and of our own registry.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use ferry_testkit::{Client, FerryRegistry, run};

use crate::with_busybox;

through_both!(networks, volumes);
against_docker!(volumes);

fn networks(client: Client) {
    let sandbox = with_busybox(client);
    let link = format!("fz{}", std::process::id());
    let name = format!("com.docker.network.bridge.name={link}");
    sandbox.ok(&[
        "network",
        "create",
        "--driver",
        "bridge",
        "--ipam-driver",
        "default",
        "--ipam-opt",
        "a=b",
        "--ipv4",
        "--attachable",
        "--scope",
        "local",
        "--opt",
        &name,
        "office",
    ]);
    run(std::process::Command::new("ip").args(["link", "show", &link])).ok();
    let format =
        "{{.Driver}} {{.Attachable}} {{.Scope}} {{.EnableIPv4}} {{.IPAM.Driver}} {{.IPAM.Options}}";
    assert_eq!(
        sandbox.ok(&["network", "inspect", "--verbose", "--format", format, "office"]),
        "bridge true local true default map[a:b]"
    );
    let create =
        |flags: &[&str]| sandbox.run(&[&["network", "create"], flags, &["other"]].concat());
    create(&["--driver", "nope"]).fails(1).says("plugin \"nope\" not found");
    create(&["--ipam-driver", "nope"]).fails(1).says("\"nope\"");
    for flags in [
        &["--scope", "swarm"][..],
        &["--ingress"],
        &["--config-from", "nothing"],
        &["--config-only", "--config-from", "nothing"],
    ] {
        let seen = create(flags);
        assert_eq!(seen.code, 1, "{seen}");
    }
    // The first network by priority has the default route.
    sandbox.ok(&["network", "create", "second"]);
    sandbox.ok(&["create", "--name", "box", "--network", "office", "busybox", "sleep", "1000"]);
    let options = "org.example.note=x";
    sandbox.ok(&[
        "network",
        "connect",
        "--gw-priority",
        "7",
        "--driver-opt",
        options,
        "second",
        "box",
    ]);
    sandbox.ok(&["start", "box"]);
    let gateway = sandbox.inspect("box", "{{.NetworkSettings.Networks.second.Gateway}}");
    let routes = sandbox.ok(&["exec", "box", "ip", "route"]);
    assert!(routes.contains(&format!("default via {gateway}")), "{routes}");
    let of = |network: &str, field: &str| {
        sandbox.inspect("box", &format!("{{{{json .NetworkSettings.Networks.{network}.{field}}}}}"))
    };
    assert_eq!((of("second", "GwPriority"), of("office", "GwPriority")), ("7".into(), "0".into()));
    assert_eq!(of("second", "DriverOpts"), r#"{"org.example.note":"x"}"#);
    // Taken, or refused by its name: never without a word.
    let local = ["network", "connect", "--link-local-ip", "169.254.7.7", "office", "box"];
    sandbox.ok(&["network", "disconnect", "office", "box"]);
    let seen = sandbox.run(&local);
    if seen.code == 0 {
        let addresses = sandbox.ok(&["exec", "box", "ip", "address"]);
        assert!(addresses.contains("169.254.7.7"), "{addresses}");
    } else {
        seen.says("link-local");
    }
    sandbox.ok(&["rm", "--force", "box"]);
}

fn volumes(client: Client) {
    let sandbox = with_busybox(client);
    sandbox
        .run(&["volume", "create", "--driver", "nope", "v"])
        .fails(1)
        .says("create v: error looking up volume plugin nope: plugin \"nope\" not found");
    let options = ["--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=1m"];
    sandbox.ok(&[&["volume", "create", "--driver", "local"], &options[..], &["small"]].concat());
    assert_eq!(
        sandbox.ok(&["volume", "inspect", "--format", "{{json .Options}}", "small"]),
        r#"{"device":"tmpfs","o":"size=1m","type":"tmpfs"}"#
    );
    let look = "df -k /data | tail -n 1";
    let seen = sandbox.ok(&["run", "--rm", "--volume", "small:/data", "busybox", "sh", "-c", look]);
    assert!(seen.contains(" 1024 "), "{seen}");
    sandbox.ok(&["volume", "rm", "small"]);
}

/// The registry's own limits: how large a blob, how many connections and requests, how long an upload may wait.
#[test]
fn registry_limits() {
    // Its log is beside it.
    let directory = crate::scratch("registry-limits");
    let root = directory.join("root");
    let flags =
        ["--max-blob-size", "1k", "--max-connections", "2", "--max-rate", "20", "--gc-grace", "1s"];
    let registry = FerryRegistry::start(&root, &flags);
    let http = registry.http();
    let begun = http.send("POST", "/v2/team/x/blobs/uploads/", &[], b"").is(202);
    let place = begun.header("location").to_owned();
    let path = place.find("/v2/").map_or(place.as_str(), |at| &place[at..]).to_owned();
    let refused =
        http.send("PATCH", &path, &[("Content-Type", "application/octet-stream")], &[0; 4096]);
    assert!(refused.status >= 400, "{refused:?}");
    // Idle connections take all the places; one that goes gives the next its turn.
    let idle: Vec<_> =
        (0..2).map(|_| std::net::TcpStream::connect(registry.host()).unwrap()).collect();
    let address = registry.host().to_owned();
    let waiting =
        std::thread::spawn(move || ferry_testkit::Http::new(&address).ask("GET", "/v2/").status);
    std::thread::sleep(Duration::from_millis(300));
    assert!(!waiting.is_finished(), "a third connection waits");
    drop(idle);
    assert_eq!(waiting.join().unwrap(), 200);
    // All at once on one connection: so many in a second that the server has to say so.
    let mut stream = TcpStream::connect(registry.host()).unwrap();
    let request = "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n";
    let last = request.replace("Host", "Connection: close\r\nHost");
    stream.write_all((request.repeat(200) + &last).as_bytes()).unwrap();
    let mut answers = Vec::new();
    drop(stream.read_to_end(&mut answers));
    let answers = String::from_utf8_lossy(&answers);
    assert!(answers.contains("HTTP/1.1 429"), "more than twenty in a second: {answers}");
    std::thread::sleep(Duration::from_millis(2100));
    let words = ["gc", "--grace", "0s", "--uploads", "1s"];
    let said = FerryRegistry::command(&root, &words).ok();
    assert!(said.contains("1 uploads"), "{said}");
}
