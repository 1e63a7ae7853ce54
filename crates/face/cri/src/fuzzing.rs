//! What a fuzzer may throw at: frames of SPDY, and messages of the interface as far as they go without an engine. Each function panics
//! when something does not hold that should; the targets are in `fuzz/`.

use ferry_model::container::{Container, ContainerSpec, PodPart};
use ferry_oci::Digest;
use prost::Message;

use crate::{
    api, convert,
    record::{Member, Sandbox},
    stream::spdy::{Frame, Reader},
};

/// Most bytes of a frame's headers, uncompressed, and of a piece of data.
const MOST: usize = 64 * 1024;

/// Reads frames until the end or the first wrong one. Answers how many there were.
///
/// # Panics
/// A frame is larger than the limits, or more data comes out than went in.
pub async fn frames(bytes: &[u8]) -> usize {
    let mut reader = Reader::new(bytes);
    let (mut count, mut data) = (0, 0);
    while let Ok(frame) = reader.next().await {
        count += 1;
        match frame {
            Frame::Open { headers, .. } => {
                let whole: usize =
                    headers.iter().map(|(name, value)| name.len() + value.len()).sum();
                assert!(whole <= 2 * MOST, "{whole} bytes of headers");
            }
            Frame::Data { bytes, .. } => {
                assert!(bytes.len() <= MOST, "a piece of {} bytes", bytes.len());
                data += bytes.len();
            }
            Frame::Reset { .. } | Frame::Ping(_) | Frame::GoAway | Frame::Other => {}
        }
    }
    assert!(data <= bytes.len(), "{data} bytes of data from {}", bytes.len());
    count
}

/// Reads a pod's and a container's request, converts them, and shows what was made of them. A record is believed, and shown, whatever is
/// in it.
///
/// # Panics
/// A request that was taken does not read back from its record.
pub fn requests(pod: &[u8], container: &[u8], cni: bool) {
    let Ok(pod) = api::RunPodSandboxRequest::decode(pod) else { return };
    let Ok((name, spec)) = convert::sandbox::spec(&pod, cni) else { return };
    assert!(name.matches('_').count() >= 3, "{name}");
    let made = record(spec);
    let Some(sandbox) = Sandbox::of(&made) else { panic!("a pod is none") };
    assert_eq!(Some(&sandbox.config), pod.config.as_ref());
    drop(convert::status::sandbox_status(&sandbox));
    let Ok(request) = api::CreateContainerRequest::decode(container) else { return };
    let Ok(new) = convert::container::spec(&request, &sandbox) else { return };
    let made = record(new.spec);
    let Some(member) = Member::of(&made) else { panic!("a container is none") };
    assert_eq!(Some(&member.config), request.config.as_ref());
    drop(convert::status::container_status(&member, None));
}

/// Shows a record that somebody else wrote.
pub fn record_of(request: &str, is_container: bool) {
    let sandbox = is_container.then(|| "pod".to_owned());
    let part = PodPart { request: request.to_owned(), sandbox, ..PodPart::default() };
    let made = record(ContainerSpec { pod: Some(part), ..ContainerSpec::default() });
    if let Some(sandbox) = Sandbox::of(&made) {
        drop(convert::status::sandbox_status(&sandbox));
    }
    if let Some(member) = Member::of(&made) {
        drop(convert::status::container_status(&member, None));
    }
}

/// Reads limits, as they come with an update.
pub fn limits(bytes: &[u8]) {
    if let Ok(limits) = api::LinuxContainerResources::decode(bytes) {
        drop(convert::resources(&limits));
    }
}

fn record(spec: ContainerSpec) -> Container {
    Container::new("0".repeat(64), Digest::sha256_of(b""), spec)
}
