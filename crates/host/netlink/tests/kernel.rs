//! Requests as the kernel takes them, in a network namespace of the test's own. Needs root.

use std::{
    net::Ipv4Addr,
    process::{Child, Command},
    thread,
    time::Duration,
};

use ferry_netlink::{
    Errno, Family, NetlinkError, Socket,
    address::{self, Address},
    link::{self, Change, Veth},
    namespace::NetNamespace,
    nft::{self, Batch, Chain, Element, Field, Hook, Ip, Set},
    route,
};

/// A process in a new network namespace.
struct Sleeper(Child);

impl Sleeper {
    /// `None` unless this is root.
    fn new() -> Option<(Self, NetNamespace)> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let child =
            Command::new("unshare").args(["--net", "sleep", "60"]).spawn().expect("unshare");
        let sleeper = Sleeper(child);
        let pid = i32::try_from(sleeper.0.id()).expect("a pid");
        for _ in 0..1000 {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if name.trim_end() == "sleep" {
                return Some((sleeper, NetNamespace::of(pid).expect("its namespace")));
            }
            thread::sleep(Duration::from_millis(2));
        }
        panic!("no new network namespace");
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn refused(result: Result<(), NetlinkError>) -> (String, String, Errno) {
    match result.expect_err("refused") {
        NetlinkError::Refused { what, message, source } => (what, message, source),
        other => panic!("{other:?}"),
    }
}

#[test]
fn links_are_made_changed_and_removed() {
    let Some((_sleeper, namespace)) = Sleeper::new() else { return };
    let mut socket = namespace.socket(Family::Route).expect("a socket");
    let veth = Veth {
        host: "a0",
        master: 0,
        peer: "a1",
        namespace: namespace.fd(),
        mac: [2, 0, 0, 0, 0, 9],
        mtu: 1300,
        group: 77,
    };
    let bridge = link::create_bridge("br", [2, 0, 0, 0, 0, 1]);
    socket.exchange(&[bridge, link::create_veth(&veth)], |_| ()).expect("made");
    let bridge = link::find(&mut socket, "br").expect("asked").expect("there");
    assert_eq!((bridge.kind.as_str(), bridge.up, bridge.mac.last()), ("bridge", true, Some(&1)));
    let a0 = link::find(&mut socket, "a0").expect("asked").expect("there");
    assert_eq!((a0.kind.as_str(), a0.mtu, a0.group), ("veth", 1300, 77));
    let onto = Change { master: Some(bridge.index), mtu: Some(1200), ..Change::default() };
    socket
        .exchange(&[link::set("a0", &onto), link::port("a0", true, false)], |_| ())
        .expect("changed");
    let ports = link::ports(&mut socket, bridge.index).expect("listed");
    assert_eq!(
        ports.iter().map(|port| (&*port.name, port.mtu)).collect::<Vec<_>>(),
        [("a0", 1200)]
    );
    let renamed = Change { name: Some("b0"), mac: Some([2, 0, 0, 0, 0, 7]), ..Change::default() };
    let off = Change { up: Some(false), master: Some(0), ..Change::default() };
    socket
        .exchange(&[link::set("a0", &off), link::set_by_index(a0.index, &renamed)], |_| ())
        .expect("renamed");
    let b0 = link::find(&mut socket, "b0").expect("asked").expect("there");
    assert_eq!((b0.index, b0.master, b0.up, b0.mac.last()), (a0.index, 0, false, Some(&7)));
    socket.exchange(&[link::delete("b0"), link::delete("br")], |_| ()).expect("removed");
    let names: Vec<_> =
        link::all(&mut socket).expect("listed").into_iter().map(|link| link.name).collect();
    assert!(names.contains(&"lo".to_owned()), "{names:?}");
    assert!(
        !names.iter().any(|name| ["a0", "a1", "b0", "br"].contains(&name.as_str())),
        "{names:?}"
    );
}

#[test]
fn addresses_and_routes_are_read_back_and_refusals_have_words() {
    let Some((_sleeper, namespace)) = Sleeper::new() else { return };
    let mut socket = namespace.socket(Family::Route).expect("a socket");
    socket.exchange(&[link::create_bridge("br", [2, 0, 0, 0, 0, 1])], |_| ()).expect("made");
    let index = link::find(&mut socket, "br").expect("asked").expect("there").index;
    let address = Address { link: index, ip: Ipv4Addr::new(10, 9, 8, 1).into(), prefix_len: 24 };
    let gateway = Ipv4Addr::new(10, 9, 8, 7).into();
    socket
        .exchange(&[address::add(&address), route::set_default(index, gateway)], |_| ())
        .expect("added");
    assert_eq!(address::all(&mut socket).expect("listed"), [address]);
    let routes = route::all(&mut socket).expect("listed");
    let default = routes.iter().find(|route| route.is_default()).expect("a default route");
    assert_eq!((default.link, default.gateway), (index, Some(gateway)));
    // The first of several failures is told; the rest is done all the same.
    let requests = [address::add(&address), route::set_default(index, gateway), link::delete("br")];
    let (what, message, errno) = refused(socket.exchange(&requests, |_| ()));
    assert_eq!((what.as_str(), errno), ("add address 10.9.8.1/24", Errno::EXIST));
    assert!(message.contains("already assigned"), "{message:?}");
    assert_eq!(link::find(&mut socket, "br").expect("asked"), None);
}

#[test]
fn a_batch_is_done_as_a_whole_or_not_at_all() {
    let Some((_sleeper, namespace)) = Sleeper::new() else { return };
    let mut socket = namespace.socket(Family::Netfilter).expect("a socket");
    let element = |port: u16| Element { key: port.to_be_bytes().into(), ..Element::default() };
    let mut batch = Batch::new(Ip::V4);
    batch.add_table("t");
    batch.add_set("t", &Set { name: "s", key: &[Field::Port], value: &[], interval: false });
    batch.add_chain("t", &Chain { name: "c", base: Some(("filter", Hook::Forward, 3)) });
    batch.add_chain("t", &Chain { name: "inner", base: None });
    batch.add_elements("t", "s", &[element(1), element(2)]);
    batch.commit(&mut socket).expect("committed");
    let names = nft::chain_names(&mut socket).expect("listed");
    let named = |name: &str| ("t".to_owned(), name.to_owned());
    assert_eq!(names, [named("c"), named("inner")]);
    let chains = nft::hooked_chains(&mut socket).expect("listed");
    assert_eq!((chains.len(), chains[0].name.as_str(), chains[0].drops), (1, "c", false));
    let mut batch = Batch::new(Ip::V4);
    batch.add_elements("t", "s", &[element(3)]);
    batch.delete_elements("t", "s", &[element(9)]);
    let (what, _, errno) = refused(batch.commit(&mut socket));
    assert_eq!((what.as_str(), errno), ("remove elements from t s", Errno::NOENT));
    let mut found = nft::elements(&mut socket, Ip::V4, "t", "s").expect("listed").expect("a set");
    found.sort();
    assert_eq!(found, [element(1), element(2)]);
    let mut batch = Batch::new(Ip::V4);
    batch.delete_table("t");
    batch.commit(&mut socket).expect("removed");
    assert_eq!(nft::elements(&mut socket, Ip::V4, "t", "s").expect("asked"), None);
}

#[test]
fn work_in_a_namespace_leaves_the_thread_where_it_was() {
    let Some((_sleeper, namespace)) = Sleeper::new() else { return };
    let of = || std::fs::read_link("/proc/thread-self/ns/net").expect("a namespace");
    let home = of();
    let inside = namespace.run(of).expect("went in");
    assert_ne!(home, inside);
    assert_eq!(of(), home);
    Socket::open(Family::Route).expect("a socket");
    let nobody = NetNamespace::of(0x3f_ffff).expect_err("no such process");
    assert!(nobody.is_absent(), "{nobody:?}");
}
