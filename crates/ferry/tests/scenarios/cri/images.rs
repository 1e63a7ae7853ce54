//! Images as a kubelet sees them.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use ferry_cri::api;
use ferry_testkit::{Registry, RegistryOptions, run};
use tonic::Code;

use super::{
    Bed, IDLE, Side,
    client::{Cri, call},
    on_both,
};

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

/// Puts an image into a registry that wants to know who does it, and keeps none.
fn publish(bed: &Bed, name: &str) {
    match &bed.side {
        Side::Containerd(other) => {
            other.run(&["images", "tag", &bed.image, name]).ok();
            other.run(&["images", "push", "--plain-http", "-u", "me:se:cret", name]).ok();
            other.run(&["images", "rm", name, &bed.image]).ok();
        }
        _ => {
            let (registry, _) = name.split_once('/').unwrap();
            bed.ferry().ok(&["tag", "busybox", name]);
            bed.ferry().ok(&["login", "-u", "me", "-p", "se:cret", registry]);
            bed.ferry().ok(&["push", name]);
            bed.ferry().ok(&["rmi", name, "busybox"]);
        }
    }
}

#[test]
fn images_are_pulled_listed_and_removed() {
    on_both(|bed| {
        let login = Some(("me".to_owned(), "se:cret".to_owned()));
        let options = RegistryOptions { login, ..RegistryOptions::default() };
        let Some(registry) = Registry::start(&bed.directory, &options) else { return };
        let name = format!("{}/team/box:v1", registry.host());
        publish(bed, &name);
        life(bed, &name, &format!("{}/team/box@sha256:", registry.host()));
    });
}

/// From the pull of an image to its removal.
fn life(bed: &Bed, name: &str, digest: &str) {
    let status = |image: &str| {
        let request = api::ImageStatusRequest { image: spec(image), verbose: true };
        call!(bed.cri, image.image_status(request)).unwrap()
    };
    assert_eq!(status(name).image, None, "what is not there is no error");
    let pull = |auth| {
        let request = api::PullImageRequest { image: spec(name), auth, sandbox_config: None };
        call!(bed.cri, image.pull_image(request)).map(|answer| answer.image_ref)
    };
    assert!(pull(None).unwrap_err().message().contains(name), "it wants to know who asks");
    let auth = api::AuthConfig { auth: base64_text("me:se:cret"), ..api::AuthConfig::default() };
    let id = pull(Some(auth)).unwrap();
    assert!(id.starts_with("sha256:"), "{id}");
    // The same in words of its own.
    let here = format!("http://{}", name.split('/').next().unwrap());
    let as_me = |password: &str, server: &str| {
        pull(Some(api::AuthConfig {
            username: "me".to_owned(),
            password: password.to_owned(),
            server_address: server.to_owned(),
            ..api::AuthConfig::default()
        }))
    };
    assert_eq!(as_me("se:cret", &here).unwrap(), id);
    assert!(as_me("wrong", &here).unwrap_err().message().contains(name));
    // Nobody else's credentials are sent.
    assert!(as_me("se:cret", "http://registry.example").unwrap_err().message().contains(name));

    let found = status(name).image.unwrap();
    assert_eq!((&found.id, &found.repo_tags), (&id, &vec![name.to_owned()]));
    assert!(found.repo_digests[0].starts_with(digest), "{found:?}");
    assert!(found.size > 100_000, "{found:?}");
    assert_eq!(status(&id).image, Some(found.clone()));
    assert!(status(name).info["info"].contains("imageSpec"));
    // containerd has the one that holds its pods, too.
    let list = || {
        let request = api::ListImagesRequest { filter: None };
        let mut images = call!(bed.cri, image.list_images(request)).unwrap().images;
        images.retain(|image| !image.repo_tags.iter().any(|tag| tag.contains("/pause:")));
        images
    };
    assert_eq!(list(), std::slice::from_ref(&found));

    let config = bed.pod("user");
    let pod = bed.cri.run_pod(config.clone()).unwrap();
    let mut container = bed.container("main", IDLE);
    container.image = spec(&id);
    let container = bed.cri.create(&pod, container, &config).unwrap();
    bed.cri.start(&container).unwrap();
    // A kubelet names images by their ids, and shows its users this.
    let shown = bed.cri.status(&container).unwrap();
    let words = shown.image.map(|image| image.image);
    assert_eq!((words.as_deref(), &shown.image_ref), (Some(name), &found.repo_digests[0]));
    let listed = bed.cri.containers().pop().unwrap();
    assert_eq!((listed.image.unwrap().image, &listed.image_ref), (id.clone(), &id));
    let remove = || {
        let request = api::RemoveImageRequest { image: spec(&id) };
        call!(bed.cri, image.remove_image(request))
    };
    if bed.is_ours() {
        assert_eq!(found.uid, Some(api::Int64Value { value: 0 }));
        let info = call!(bed.cri, image.image_fs_info(api::ImageFsInfoRequest {})).unwrap();
        let used = info.image_filesystems[0].used_bytes.unwrap().value;
        assert!(used > 100_000, "{used}");
        // An image that a pod runs stays.
        assert_eq!(remove().unwrap_err().code(), Code::FailedPrecondition);
    }
    // Without it, it goes with all its names.
    bed.cri.remove_pod(&pod).unwrap();
    for _ in 0..2 {
        remove().unwrap();
    }
    assert_eq!(list(), []);
}

/// How a registry gives what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// A little, again and again.
    Slow,
    /// Something, and then nothing more.
    Stalls,
}

/// A way to a registry on this machine, which passes answers on at a pace. Answers its address.
fn paced(registry: String, pace: Pace) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(&registry).unwrap();
            let (mut asked, mut upstream) =
                (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut asked, &mut upstream));
            thread::spawn(move || pass_on(server, client, pace));
        }
    });
    address
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, pace: Pace) {
    let mut chunk = [0; 16 << 10];
    let mut passed = 0;
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        if to.write_all(&chunk[..count]).is_err() {
            return;
        }
        passed += count;
        // What is said about an image is quick; its layer takes longer than a pull may stand still.
        if passed > 64 << 10 {
            thread::sleep(if pace == Pace::Slow { BEAT } else { Duration::from_secs(600) });
        }
    }
    to.shutdown(Shutdown::Write).ok();
}

/// Between two pieces of a slow registry, and how long a pull may stand still in these scenarios.
const BEAT: Duration = Duration::from_millis(100);
const PATIENCE: &str = "--cri-pull-timeout=3";

/// A runtime without images, and a registry that has one, by its own address.
fn with_registry(flags: &[&str]) -> Option<(Bed, Registry)> {
    let bed = Bed::ours(flags);
    let registry = Registry::start(bed.ferry().dir(), &RegistryOptions::default())?;
    for tag in ["v1", "v2"] {
        let name = format!("{}/team/box:{tag}", registry.host());
        bed.ferry().ok(&["tag", "busybox", &name]);
        bed.ferry().ok(&["push", &name]);
        bed.ferry().ok(&["rmi", &name]);
    }
    bed.ferry().ok(&["rmi", "busybox"]);
    Some((bed, registry))
}

fn pull(cri: &Cri, name: &str) -> Result<String, tonic::Status> {
    let request = api::PullImageRequest { image: spec(name), ..Default::default() };
    call!(cri, image.pull_image(request)).map(|answer| answer.image_ref)
}

#[test]
fn a_pull_that_gets_on_may_take_its_time() {
    let Some((bed, registry)) = with_registry(&[PATIENCE]) else { return };
    let stalled = format!("{}/team/box:v1", paced(registry.host(), Pace::Stalls));
    let late = pull(&bed.cri, &stalled).unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late}");
    assert!(late.message().contains("made no progress for 3 s"), "{late}");

    let slow = format!("{}/team/box:v1", paced(registry.host(), Pace::Slow));
    // The daemon dies in the midst of it; what it had fetched is no hindrance.
    let (socket, name) = (bed.cri.socket().to_owned(), slow.clone());
    let pulling = thread::spawn(move || pull(&Cri::new(&socket), &name));
    thread::sleep(BEAT * 10);
    bed.ferry().kill_daemon();
    assert!(pulling.join().unwrap().is_err());
    bed.ferry().start_daemon(None);
    let begun = Instant::now();
    let id = pull(&bed.cri, &slow).unwrap();
    assert!(begun.elapsed() > Duration::from_secs(3), "it was no test of patience");
    // Two at once, the one of them known already by its content.
    let others =
        [format!("{}/team/box:v1", registry.host()), format!("{}/team/box:v2", registry.host())];
    let pulls = others.map(|name| {
        let socket = bed.cri.socket().to_owned();
        thread::spawn(move || pull(&Cri::new(&socket), &name).unwrap())
    });
    assert!(pulls.into_iter().all(|pull| pull.join().unwrap() == id));
}

#[test]
fn images_that_a_kubelet_must_not_collect() {
    let bed = Bed::ours(&["--cri-pinned-image=busybox"]);
    bed.ferry().ok(&["tag", "busybox", "other:v1"]);
    let request = api::ImageStatusRequest { image: spec("busybox"), verbose: false };
    assert!(call!(bed.cri, image.image_status(request)).unwrap().image.unwrap().pinned);
    bed.ferry().ok(&["rmi", "busybox"]);
    let all = call!(bed.cri, image.list_images(api::ListImagesRequest { filter: None })).unwrap();
    assert_eq!(all.images.iter().map(|image| image.pinned).collect::<Vec<_>>(), [false]);
}

#[test]
fn the_room_of_images_is_that_of_du() {
    let bed = Bed::ours(&[]);
    let info = call!(bed.cri, image.image_fs_info(api::ImageFsInfoRequest {})).unwrap();
    let used = info.image_filesystems[0].used_bytes.unwrap().value;
    let layers = bed.ferry().data().join("layers");
    let du = run(Command::new("du").args(["-s", "-B1"]).arg(layers)).ok();
    let du: u64 = du.split_whitespace().next().unwrap().parse().unwrap();
    // Directories around the layers are not of any of them.
    assert!(used <= du && du - used < 64 << 10, "{used} of {du}");
}
