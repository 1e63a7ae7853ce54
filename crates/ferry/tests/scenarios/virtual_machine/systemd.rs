//! The systemd cgroup driver, where systemd is the first process of the machine.

use std::{fs, path::Path};

use ferry_testkit::programs;

use super::{check, executable, with_libraries, with_scenarios};

/// Where the package has it, whatever the release.
const SYSTEMD: &str = "/lib/systemd/systemd";

const BOOT: &str = "cgroup_no_v1=all systemd.unified_cgroup_hierarchy=1 systemd.show_status=0 systemd.log_target=console \
    systemd.log_level=warning systemd.default_standard_output=null";

#[test]
fn scopes_of_systemd() {
    let Some([systemctl, dbus, apparmor]) =
        programs::all(["systemctl", "dbus-daemon", "apparmor_parser"])
    else {
        return;
    };
    if !Path::new(SYSTEMD).exists() {
        programs::may_be_missing("systemd");
        eprintln!("SKIPPED: there is no {SYSTEMD}");
        return;
    }
    check(include_str!("systemd.sh"), BOOT, &[], |root| {
        let lib = root.join("lib/systemd");
        fs::create_dir_all(lib.join("system")).unwrap();
        with_libraries(Path::new(SYSTEMD), &lib.join("systemd"), root);
        // Newer releases start programs with its help.
        let executor = Path::new("/lib/systemd/systemd-executor");
        if executor.exists() {
            with_libraries(executor, &lib.join("systemd-executor"), root);
        }
        fs::remove_file(root.join("bin/systemctl")).ok();
        with_libraries(&systemctl, &root.join("bin/systemctl"), root);
        with_libraries(&dbus, &root.join("bin/dbus-daemon"), root);
        with_libraries(&apparmor, &root.join("sbin/apparmor_parser"), root);
        with_scenarios(root);
        executable(&root.join("bin/other-runtime"), "#!/bin/sh\nexec ferry oci \"$@\"\n");
        fs::create_dir_all(root.join("usr/local/bin")).unwrap();
        std::os::unix::fs::symlink("/bin/ferry", root.join("usr/local/bin/ferry")).unwrap();
        units(root);
    });
}

/// The few units of this machine, the engine's own as the guide has it.
fn units(root: &Path) {
    let etc = root.join("etc");
    let units = etc.join("systemd/system");
    fs::create_dir_all(units.join("ferry.service.d")).unwrap();
    fs::create_dir_all(etc.join("ferry")).unwrap();
    let guide = include_str!("../../../../../docs/guide/15-kubernetes.md");
    let (_, unit) = guide.split_once("```ini\n").unwrap();
    let (unit, _) = unit.split_once("```").unwrap();
    let files = [
        ("systemd/system/ferry.service", unit),
        (
            "systemd/system/ferry.service.d/log.conf",
            "[Unit]\nDefaultDependencies=no\n[Service]\nStandardError=append:/run/daemon.log\nEnvironment=PATH=/bin:/sbin\n",
        ),
        ("ferry/daemon.json", r#"{"runtimes": {"other": {"path": "/bin/other-runtime"}}}"#),
        (
            "systemd/system/default.target",
            "[Unit]\nDefaultDependencies=no\nRequires=tests.service\n",
        ),
        (
            "systemd/system/tests.service",
            "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/init\nExecStopPost=/bin/poweroff -f\n",
        ),
        (
            "systemd/system/dbus.socket",
            "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=/run/dbus/system_bus_socket\n",
        ),
        (
            "systemd/system/dbus.service",
            "[Unit]\nDefaultDependencies=no\nRequires=dbus.socket\nAfter=dbus.socket\n[Service]\nType=notify\n\
             ExecStart=/bin/dbus-daemon --config-file=/etc/dbus.conf --nofork --nopidfile --systemd-activation\n",
        ),
        (
            "dbus.conf",
            "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
             \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n<busconfig>\n\
             <type>system</type><listen>systemd:</listen><auth>EXTERNAL</auth>\n\
             <policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/><allow send_destination=\"*\"/>\
             <allow receive_sender=\"*\"/></policy>\n</busconfig>\n",
        ),
        ("machine-id", "0123456789abcdef0123456789abcdef\n"),
        ("passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        ("group", "root:x:0:\n"),
    ];
    for (name, text) in files {
        fs::write(etc.join(name), text).unwrap();
    }
}
