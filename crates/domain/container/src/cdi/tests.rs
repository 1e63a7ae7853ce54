use ferry_oci::runtime::{Linux, Process, Spec};

use super::*;
use crate::spec::HostDevice;

const FILE: &str = r#"
cdiVersion: "0.6.0"
kind: nvidia.com/gpu
devices:
  - name: "0"
    containerEdits:
      deviceNodes:
        - path: /dev/nvidia0
          fileMode: 0640
  - name: all
    containerEdits:
      env: [WHICH=all]
containerEdits:
  env: ["SHARED=1", "PATH=/x"]
  mounts:
    - hostPath: /usr/lib/libcuda.so
      containerPath: /usr/lib/libcuda.so
      options: [ro, nosuid, bind]
  hooks:
    - hookName: createContainer
      path: /usr/bin/ldconfig-hook
      args: [hook, update]
"#;

fn registry() -> CdiRegistry {
    CdiRegistry::new(vec![(0, read_cdi(FILE).unwrap())])
}

fn spec() -> Spec {
    let process = Process { env: vec!["PATH=/bin".to_owned()], ..Process::default() };
    Spec { process: Some(process), linux: Some(Linux::default()), ..Spec::default() }
}

fn node(path: &str) -> Result<HostDevice, crate::SpecError> {
    Ok(HostDevice {
        path: path.to_owned(),
        kind: 'c',
        major: 195,
        minor: 0,
        mode: 0o666,
        uid: 0,
        gid: 0,
    })
}

#[test]
fn a_device_brings_what_its_file_says() {
    let mut spec = spec();
    registry().inject(&["nvidia.com/gpu=0".to_owned()], &mut spec, &node).unwrap();
    let linux = spec.linux.unwrap();
    assert_eq!(linux.devices[0].file_mode, Some(0o640));
    assert_eq!(linux.resources.unwrap().devices[0].major, Some(195));
    assert_eq!(spec.process.unwrap().env, ["PATH=/x", "SHARED=1"]);
    assert_eq!(spec.mounts[0].options, ["ro", "nosuid", "bind"]);
    assert_eq!(spec.hooks.unwrap().create_container[0].args, ["hook", "update"]);
}

#[test]
fn gpus_are_devices_of_a_vendor() {
    let request = |count, ids: &[&str], driver: &str| DeviceRequest {
        driver: driver.to_owned(),
        count,
        device_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        capabilities: vec![vec!["gpu".to_owned()]],
        ..DeviceRequest::default()
    };
    let names = |request: DeviceRequest| registry().resolve(&[request]);
    assert_eq!(names(request(-1, &[], "")).unwrap(), ["nvidia.com/gpu=all"]);
    assert_eq!(names(request(1, &[], "nvidia")).unwrap(), ["nvidia.com/gpu=0"]);
    assert_eq!(names(request(0, &["0"], "")).unwrap(), ["nvidia.com/gpu=0"]);
    assert_eq!(
        names(request(-1, &[], "foo")).unwrap_err().to_string(),
        r#"could not select device driver "foo" with capabilities: [[gpu]]"#
    );
    let none = CdiRegistry::default().resolve(&[request(-1, &[], "")]).unwrap_err();
    assert_eq!(none.to_string(), r#"could not select device driver "" with capabilities: [[gpu]]"#);
}

#[test]
fn what_contradicts_itself_is_no_device() {
    let file = read_cdi(FILE).unwrap();
    let twice = CdiRegistry::new(vec![(0, file.clone()), (0, file.clone())]);
    let error = twice.inject(&["nvidia.com/gpu=0".to_owned()], &mut spec(), &node).unwrap_err();
    assert_eq!(
        error.to_string(),
        "CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=0"
    );
    let later = CdiRegistry::new(vec![(0, file.clone()), (1, file)]);
    assert_eq!(later.names(), ["nvidia.com/gpu=0", "nvidia.com/gpu=all"]);
}

#[test]
fn what_is_not_understood_is_refused() {
    for (from, to, words) in [
        ("0.6.0", "2.0.0", "version 2.0.0"),
        ("nvidia.com/gpu", "gpu", "invalid kind"),
        ("env: [WHICH=all]", "intelRdt: {closID: a}", "intelRdt is not supported"),
        ("createContainer", "later", "invalid hook name"),
        ("env: [WHICH=all]", "envs: []", "unknown field"),
        ("path: /dev/nvidia0", "path: nvidia0", "not an absolute path"),
    ] {
        let error = read_cdi(&FILE.replace(from, to)).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    assert!(read_cdi("{").is_err() && read_cdi("").is_err() && read_cdi("- &a *a").is_err());
}
