//! What a container is given besides files of the host: devices by name, images, groups.

use std::fs;

use ferry_cri::api::{self, NamespaceMode};
use ferry_testkit::CriOptions;

use super::{Bed, IDLE, client::call, on_both, on_both_given, with_namespaces};

/// A vendor's device, which is `/dev/zero` under another name.
const VENDOR: &str = r#"
cdiVersion: "0.6.0"
kind: "ferry.test/dev"
devices:
  - name: one
    containerEdits:
      env: ["DEVICE=one"]
      deviceNodes:
        - path: /dev/one
          hostPath: /dev/zero
"#;

/// In process ids of its own: the program is the first.
pub(crate) fn alone(container: &mut api::ContainerConfig) {
    let options =
        api::NamespaceOption { pid: NamespaceMode::Container.into(), ..Default::default() };
    with_namespaces(container, options);
}

#[test]
fn devices_by_the_names_of_their_vendors() {
    let vendors = std::env::temp_dir().join(format!("ferry-cri-cdi-{}", std::process::id()));
    fs::create_dir_all(&vendors).unwrap();
    fs::write(vendors.join("vendor.yaml"), VENDOR).unwrap();
    let flags = ["--cdi-spec-dir", vendors.to_str().unwrap()];
    let options = CriOptions { cdi: Some(vendors.clone()), ..CriOptions::default() };
    on_both_given(
        &options,
        || Bed::ours(&flags),
        |bed| {
            let config = bed.pod("cdi");
            let pod = bed.cri.run_pod(config.clone()).unwrap();
            let with = |container: &str, device: &str| {
                let mut wanted = bed.container(container, IDLE);
                alone(&mut wanted);
                wanted.cdi_devices = vec![api::CdiDevice { name: device.to_owned() }];
                let id = bed.cri.create(&pod, wanted, &config)?;
                bed.cri.start(&id).map(|()| id)
            };
            let id = with("main", "ferry.test/dev=one").unwrap();
            let look = "tr '\\0' '\\n' < /proc/1/environ | grep DEVICE; head -c 2 /dev/one | wc -c";
            assert_eq!(bed.cri.output(&id, look), "DEVICE=one\n2");
            let refused = with("other", "ferry.test/dev=two").unwrap_err();
            assert!(refused.message().contains("ferry.test/dev=two"), "{refused}");
        },
    );
    fs::remove_dir_all(vendors).unwrap();
}

#[test]
fn images_are_mounted() {
    on_both(|bed| {
        let config = bed.pod("volumes");
        let pod = bed.cri.run_pod(config.clone()).unwrap();
        let image = api::ImageSpec { image: bed.image.clone(), ..api::ImageSpec::default() };
        let id = api::ImageStatusRequest { image: Some(image.clone()), verbose: false };
        let id = call!(bed.cri, image.image_status(id)).unwrap().image.unwrap().id;
        let mount = |place: &str, below: &str| api::Mount {
            container_path: place.to_owned(),
            // A kubelet names the image by what the pull has answered.
            image: Some(api::ImageSpec { image: id.clone(), ..api::ImageSpec::default() }),
            image_sub_path: below.to_owned(),
            readonly: true,
            ..api::Mount::default()
        };
        let mut container = bed.container("main", IDLE);
        container.mounts = vec![mount("/whole", ""), mount("/part", "bin")];
        let id = bed.cri.create(&pod, container, &config).unwrap();
        bed.cri.start(&id).unwrap();
        let said = |script: &str| bed.cri.output(&id, script);
        assert_eq!(said("cmp /whole/bin/busybox /bin/busybox && echo same"), "same");
        assert!(said("touch /whole/x 2>&1").contains("Read-only"));
        // containerd 2.1 knows nothing of parts of images.
        if !bed.is_ours() {
            return;
        }
        assert_eq!(said("cmp /part/busybox /bin/busybox && echo same"), "same");
        let request = api::RemoveImageRequest { image: Some(image) };
        assert!(call!(bed.cri, image.remove_image(request)).is_err(), "a pod uses it");

        let mut container = bed.container("other", IDLE);
        container.mounts = vec![mount("/nowhere", "no/such/place")];
        let refused = bed.cri.create(&pod, container, &config).unwrap_err();
        assert!(refused.message().contains("no/such/place"), "{refused}");
    });
}

#[test]
fn groups_of_the_image_come_along_or_not() {
    on_both(|bed| {
        let cri = &bed.cri;
        let config = bed.pod("groups");
        let pod = cri.run_pod(config.clone()).unwrap();
        let groups = |name: &str, policy: api::SupplementalGroupsPolicy| {
            let mut container = bed.container(name, IDLE);
            alone(&mut container);
            let linux = container.linux.get_or_insert_default();
            let security = linux.security_context.get_or_insert_default();
            security.run_as_user = Some(api::Int64Value { value: 65534 });
            security.supplemental_groups = vec![60000];
            security.supplemental_groups_policy = policy.into();
            let id = cri.create(&pod, container, &config).unwrap();
            cri.start(&id).unwrap();
            let sorted = |mut all: Vec<i64>| {
                all.sort_unstable();
                all.dedup();
                all
            };
            let of = |script: &str| {
                let words = cri.output(&id, script);
                sorted(words.split_whitespace().map(|id| id.parse().unwrap()).collect())
            };
            // Its own program, and a further one.
            let own = of("sed -n 's/^Groups://p' /proc/1/status");
            assert_eq!(own, of("sed -n 's/^Groups://p' /proc/self/status"));
            let told = || {
                let user = cri.status(&id).unwrap().user.unwrap().linux.unwrap();
                (user.uid, user.gid, sorted(user.supplemental_groups))
            };
            assert_eq!(told(), (65534, 65534, own.clone()));
            cri.stop(&id, 0).unwrap();
            assert_eq!(told(), (65534, 65534, own.clone()), "also when it has ended");
            own
        };
        assert_eq!(groups("merge", api::SupplementalGroupsPolicy::Merge), [50, 60000, 65534]);
        assert_eq!(groups("strict", api::SupplementalGroupsPolicy::Strict), [60000, 65534]);
        let status = call!(cri, runtime.status(api::StatusRequest { verbose: false })).unwrap();
        assert!(status.features.unwrap().supplemental_groups_policy);
    });
}
