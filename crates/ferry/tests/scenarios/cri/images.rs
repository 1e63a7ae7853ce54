//! Images as a kubelet sees them.

use ferry_cri::api;
use ferry_testkit::{Registry, RegistryOptions};
use tonic::Code;

use super::{Bed, IDLE, client::call};

fn spec(image: &str) -> Option<api::ImageSpec> {
    Some(api::ImageSpec { image: image.to_owned(), ..api::ImageSpec::default() })
}

/// `user:password` as an authorisation file has it.
fn base64_text(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bytes = [chunk[0], *chunk.get(1).unwrap_or(&0), *chunk.get(2).unwrap_or(&0)];
        let number = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
        for place in 0..4 {
            let digit = (number >> (18 - 6 * place)) & 63;
            out.push(if place > chunk.len() { '=' } else { char::from(ALPHABET[digit as usize]) });
        }
    }
    out
}

#[test]
fn images_are_pulled_listed_and_removed() {
    let bed = Bed::ours(&[]);
    let ferry = bed.ferry();
    let login = Some(("me".to_owned(), "se:cret".to_owned()));
    let options = RegistryOptions { login, ..RegistryOptions::default() };
    let Some(registry) = Registry::start(ferry.dir(), &options) else { return };
    let name = format!("{}/team/box:v1", registry.host());
    ferry.ok(&["tag", "busybox", &name]);
    ferry.ok(&["login", "-u", "me", "-p", "se:cret", &registry.host()]);
    ferry.ok(&["push", &name]);
    ferry.ok(&["rmi", &name, "busybox"]);

    let status = |image: &str| {
        let request = api::ImageStatusRequest { image: spec(image), verbose: true };
        call!(bed.cri, image.image_status(request)).unwrap()
    };
    assert_eq!(status(&name).image, None, "what is not there is no error");
    let pull = |auth| {
        let request = api::PullImageRequest { image: spec(&name), auth, sandbox_config: None };
        call!(bed.cri, image.pull_image(request)).map(|answer| answer.image_ref)
    };
    assert!(pull(None).unwrap_err().message().contains(&name), "it wants to know who asks");
    let auth = api::AuthConfig { auth: base64_text("me:se:cret"), ..api::AuthConfig::default() };
    let id = pull(Some(auth)).unwrap();
    assert!(id.starts_with("sha256:"), "{id}");

    let found = status(&name).image.unwrap();
    assert_eq!((&found.id, &found.repo_tags), (&id, &vec![name.clone()]));
    assert!(found.repo_digests[0].starts_with(&format!("{}/team/box@sha256:", registry.host())));
    assert!(found.size > 100_000 && found.uid == Some(api::Int64Value { value: 0 }));
    assert_eq!(status(&id).image, Some(found.clone()));
    assert!(status(&name).info["info"].contains("imageSpec"));
    let list = || {
        let request = api::ListImagesRequest { filter: None };
        call!(bed.cri, image.list_images(request)).unwrap().images
    };
    assert_eq!(list(), [found]);
    let info = call!(bed.cri, image.image_fs_info(api::ImageFsInfoRequest {})).unwrap();
    let used = info.image_filesystems[0].used_bytes.unwrap().value;
    assert!(used > 100_000, "{used}");

    // An image that a pod runs stays; without it, it goes with all its names.
    let config = bed.pod("user");
    let pod = bed.cri.run_pod(config.clone()).unwrap();
    let mut container = bed.container("main", IDLE);
    container.image = spec(&id);
    let container = bed.cri.create(&pod, container, &config).unwrap();
    bed.cri.start(&container).unwrap();
    let remove = || {
        let request = api::RemoveImageRequest { image: spec(&id) };
        call!(bed.cri, image.remove_image(request))
    };
    assert_eq!(remove().unwrap_err().code(), Code::FailedPrecondition);
    bed.cri.remove_pod(&pod).unwrap();
    for _ in 0..2 {
        remove().unwrap();
    }
    assert_eq!(list(), []);
}
