//! Devices by name (CDI), `--gpus` through them, and Docker's words where there is none.

use std::sync::atomic::{AtomicU32, Ordering};

use ferry_testkit::{Client, Sandbox};

through_both!(devices_by_name, graphics);

const VENDOR: &str = r#"
cdiVersion: "0.6.0"
kind: ferry.test/dev
devices:
  - name: one
    containerEdits:
      env: ["DEVICE=one"]
      deviceNodes:
        - path: /dev/one
          hostPath: /dev/zero
      additionalGids: [4321]
containerEdits:
  env: ["VENDOR=here"]
  mounts:
    - hostPath: /proc/version
      containerPath: /vendor-version
      options: [ro, bind]
"#;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A daemon whose vendors' files are the test's own.
fn with_files(client: Client, files: &[(&str, &str)]) -> Sandbox {
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let place = format!("/var/tmp/ferry-cdi-{}-{number}", std::process::id());
    std::fs::create_dir_all(&place).unwrap();
    for (name, text) in files {
        std::fs::write(format!("{place}/{name}"), text).unwrap();
    }
    let sandbox = Sandbox::start_with(&["--cdi-spec-dir", &place]).through(client);
    sandbox.busybox();
    sandbox
}

fn devices_by_name(client: Client) {
    let sandbox = with_files(client, &[("vendor.yaml", VENDOR), ("broken.json", "{")]);
    let look =
        "echo $DEVICE $VENDOR; head -c 2 /dev/one | wc -c; id -G; grep -c Linux /vendor-version";
    let run = ["run", "--rm", "--device", "ferry.test/dev=one", "busybox", "sh", "-c", look];
    assert_eq!(sandbox.ok(&run), "one here\n2\n0 4321\n1");
    sandbox
        .run(&["run", "--rm", "--device", "ferry.test/dev=two", "busybox", "true"])
        .fails(125)
        .says("CDI device injection failed: unresolvable CDI devices ferry.test/dev=two");
    let (_, info) = sandbox.api().call("GET", "/info", None);
    assert_eq!(info["DiscoveredDevices"][0]["ID"], "ferry.test/dev=one");
    sandbox.ok(&["create", "--name", "later", "--device", "ferry.test/dev=one", "busybox"]);
    assert_eq!(
        sandbox.inspect("later", "{{json .HostConfig.DeviceRequests}}"),
        r#"[{"Driver":"cdi","Count":0,"DeviceIDs":["ferry.test/dev=one"],"Capabilities":null,"Options":null}]"#
    );
    std::fs::remove_dir_all(info["CDISpecDirs"][0].as_str().unwrap()).unwrap();
}

fn graphics(client: Client) {
    let vendor =
        VENDOR.replace("ferry.test/dev", "nvidia.com/gpu").replace("name: one", "name: \"0\"");
    let sandbox = with_files(client, &[("nvidia.yaml", &vendor)]);
    let run = |gpus: &str| {
        sandbox.run(&["run", "--rm", "--gpus", gpus, "busybox", "sh", "-c", "echo $DEVICE"])
    };
    assert_eq!(run("all").ok(), "one");
    assert_eq!(run("1").ok(), "one");
    assert_eq!(run("device=0").ok(), "one");
    run("2").fails(125).says("unresolvable CDI devices nvidia.com/gpu=1");
    run("driver=foo")
        .fails(125)
        .says(r#"could not select device driver "foo" with capabilities: [[gpu]]"#);
    let (_, info) = sandbox.api().call("GET", "/info", None);
    std::fs::remove_dir_all(info["CDISpecDirs"][0].as_str().unwrap()).unwrap();
    let without = Sandbox::start_with(&["--feature", "cdi=false"]).through(client);
    without.busybox();
    without
        .run(&["run", "--rm", "--gpus", "all", "busybox", "true"])
        .fails(125)
        .says(r#"could not select device driver "" with capabilities: [[gpu]]"#);
}
