//! Pods under a kernel with cgroup v2: this program itself, which has the scenarios, runs in the machine.

use ferry_testkit::programs;

use super::{check, with_libraries, with_scenarios};

#[test]
fn pods_with_cgroup_version_2() {
    let Some([apparmor]) = programs::all(["apparmor_parser"]) else { return };
    check(include_str!("pods.sh"), "cgroup_no_v1=all", &[], |root| {
        with_libraries(&apparmor, &root.join("sbin/apparmor_parser"), root);
        with_scenarios(root);
    });
}
