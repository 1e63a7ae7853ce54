//! What a kubelet's cAdvisor asks containerd about cgroups that it has found, and asks ours as well.

use std::collections::HashMap;

use ferry_testkit::grpc::Connection;
use http::uri::PathAndQuery;
use prost::Message;
use tonic::{Code, Status, client::Grpc};
use tonic_prost::ProstCodec;

use super::{Bed, IDLE, client::Cri, on_both};

#[derive(Clone, PartialEq, Message)]
struct Version {
    #[prost(string, tag = "1")]
    version: String,
}

/// The request of both other calls: whose it is.
#[derive(Clone, PartialEq, Message)]
struct Get {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, Message)]
struct Found<T: std::fmt::Debug + Message + Default> {
    #[prost(message, optional, tag = "1")]
    it: Option<T>,
}

#[derive(Clone, PartialEq, Message)]
struct Container {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(map = "string, string", tag = "2")]
    labels: HashMap<String, String>,
    #[prost(string, tag = "3")]
    image: String,
    #[prost(message, optional, tag = "5")]
    spec: Option<Spec>,
}

#[derive(Clone, PartialEq, Message)]
struct Spec {
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Process {
    #[prost(string, tag = "2")]
    id: String,
    #[prost(uint32, tag = "3")]
    pid: u32,
    #[prost(int32, tag = "4")]
    status: i32,
    #[prost(uint32, tag = "9")]
    exit_status: u32,
}

/// containerd's words for what a task does.
const RUNNING: i32 = 2;
const STOPPED: i32 = 3;

/// Calls a method of containerd's interface in the namespace of Kubernetes.
fn ask<Q, A>(cri: &Cri, method: &'static str, question: Q) -> Result<A, Status>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    cri.block(async move |connection: Connection| {
        let origin = http::Uri::from_static("http://localhost");
        let mut client = Grpc::with_origin(connection, origin);
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut request = tonic::Request::new(question);
        request.metadata_mut().insert("containerd-namespace", "k8s.io".parse().unwrap());
        let path = PathAndQuery::from_static(method);
        client.unary(request, path, ProstCodec::<Q, A>::default()).await
    })
}

fn container(bed: &Bed, id: &str) -> Result<Container, Status> {
    let path = "/containerd.services.containers.v1.Containers/Get";
    let found: Found<Container> = ask(&bed.cri, path, Get { id: id.to_owned() })?;
    Ok(found.it.unwrap())
}

fn process(bed: &Bed, id: &str) -> Result<Process, Status> {
    let path = "/containerd.services.tasks.v1.Tasks/Get";
    let found: Found<Process> = ask(&bed.cri, path, Get { id: id.to_owned() })?;
    Ok(found.it.unwrap())
}

#[test]
fn whose_a_cgroup_is() {
    on_both(|bed| {
        let version: Version =
            ask(&bed.cri, "/containerd.services.version.v1.Version/Version", ()).unwrap();
        assert!(!version.version.is_empty());

        let (pod, id) = bed.running("whose", IDLE);
        let it = container(bed, &id).unwrap();
        assert_eq!((&it.id, it.image.as_str()), (&id, "docker.io/library/busybox:latest"));
        let label = |it: &Container, name: &str| it.labels.get(name).cloned().unwrap_or_default();
        assert_eq!(label(&it, "role"), "main");
        assert_eq!(label(&it, "io.cri-containerd.kind"), "container");
        let spec: serde_json::Value = serde_json::from_slice(&it.spec.unwrap().value).unwrap();
        assert!(spec["process"]["env"].is_array(), "{spec}");
        let holder = container(bed, &pod).unwrap();
        assert_eq!(label(&holder, "io.cri-containerd.kind"), "sandbox");
        assert_eq!(label(&holder, "app"), "whose");

        // Whose network and files a process sees is found by its number.
        for whose in [&id, &pod] {
            let process = process(bed, whose).unwrap();
            assert_eq!((&process.id, process.status), (whose, RUNNING));
            let cgroup = std::fs::read_to_string(format!("/proc/{}/cgroup", process.pid)).unwrap();
            assert!(cgroup.contains(whose.as_str()), "{cgroup}");
        }
        bed.cri.stop(&id, 0).unwrap();
        let ended = process(bed, &id);
        match ended {
            Ok(process) => assert_eq!((process.status, process.exit_status), (STOPPED, 137)),
            // containerd forgets the task of one that has ended.
            Err(status) => assert!(!bed.is_ours() && status.code() == Code::NotFound, "{status}"),
        }
        for absent in ["0".repeat(64), id[..12].to_owned(), String::new()] {
            let status = container(bed, &absent).unwrap_err();
            assert!(matches!(status.code(), Code::NotFound | Code::InvalidArgument), "{status}");
        }
    });
}
