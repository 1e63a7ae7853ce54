//! Writes the seeds: small inputs of each target that get a fuzzer past the first checks.
//!
//! `cargo run --example seeds` in `fuzz/`. They are in git; run it again when a format changed.

use std::fs;
use std::path::Path;

use ferry_archive::{BLOCK, Entry, Kind, Mtime, Segment, TarWriter, Xattr};
use ferry_fuzz::tar::{record, set_checksum};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Names and contents.
type Inputs = Vec<(String, Vec<u8>)>;

fn main() -> std::io::Result<()> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let tars = [
        ("files", tar(&files())),
        ("links", tar(&links())),
        ("extended", extended()),
        ("gnu", gnu()),
        ("sparse", sparse()),
    ];
    for (target, inputs) in texts() {
        write(&seeds.join(target), &inputs)?;
    }
    // All targets that read whole tars are run with this one directory.
    let named = tars.map(|(name, tar)| (name.to_owned(), tar));
    write(&seeds.join("tar"), &named)
}

fn write(directory: &Path, inputs: &[(String, Vec<u8>)]) -> std::io::Result<()> {
    fs::create_dir_all(directory)?;
    for (name, bytes) in inputs {
        fs::write(directory.join(name), bytes)?;
    }
    Ok(())
}

fn tar(entries: &[(Entry, &[u8])]) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    for (entry, payload) in entries {
        let size = payload.len() as u64;
        let entry = Entry { size, stored: size, ..entry.clone() };
        tar.append_file(&entry, *payload).expect("a tar in memory");
    }
    tar.finish().expect("a tar in memory")
}

fn entry(path: &str, kind: Kind, link: &str) -> Entry {
    Entry { path: path.into(), kind, link: link.into(), mode: 0o755, ..Entry::default() }
}

fn files() -> Vec<(Entry, &'static [u8])> {
    vec![
        (entry("a", Kind::Directory, ""), b""),
        (entry("a/f", Kind::File, ""), b"text"),
        (entry("a/.wh.b", Kind::File, ""), b""),
        (entry("a/f", Kind::File, ""), b"again"),
    ]
}

fn links() -> Vec<(Entry, &'static [u8])> {
    vec![
        (entry("f", Kind::File, ""), b"text"),
        (entry("h", Kind::HardLink, "f"), b""),
        (entry("l", Kind::Symlink, "/dev/shm/o"), b""),
        (entry("l/x", Kind::File, ""), b"x"),
    ]
}

fn extended() -> Vec<u8> {
    let xattrs = vec![Xattr { name: b"user.a".into(), value: b"value".into() }];
    let mtime = Mtime { seconds: -2, nanos: 500_000_000 };
    let path = [&b"d/"[..], &[b'n'; 120]].concat();
    let file = Entry { path, xattrs, mtime, ..entry("", Kind::File, "") };
    tar(&[(file, b"x")])
}

/// A header by hand, and its payload.
fn block(kind: u8, name: &[u8], payload: &[u8], more: &[(usize, &[u8])]) -> Vec<u8> {
    let mut header = [0; BLOCK];
    let size = format!("{:011o}\0", payload.len());
    let plain: [(usize, &[u8]); 5] = [
        (0, name),
        (100, b"0000644\0"),
        (124, size.as_bytes()),
        (156, &[kind]),
        (257, b"ustar  \0"),
    ];
    for (at, bytes) in plain.iter().chain(more) {
        header[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    set_checksum(&mut header);
    let mut tar = [&header, payload].concat();
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    tar
}

fn gnu() -> Vec<u8> {
    let map: [(usize, &[u8]); 2] =
        [(386, b"00000001000\x0000000000002\0"), (483, b"00000002000\0")];
    let tar = [block(b'L', b"././@LongLink", &[b'n'; 150], &[]), block(b'S', b"n", b"ab", &map)];
    tar.concat()
}

fn sparse() -> Vec<u8> {
    let records = [
        record("GNU.sparse.major", b"1"),
        record("GNU.sparse.minor", b"0"),
        record("GNU.sparse.name", b"s"),
        record("GNU.sparse.realsize", b"1000"),
    ];
    let segment = Segment { offset: 10, length: 2 };
    let mut payload = format!("1\n{}\n{}\n", segment.offset, segment.length).into_bytes();
    payload.resize(BLOCK, 0);
    payload.extend_from_slice(b"ab");
    let magic: [(usize, &[u8]); 1] = [(257, b"ustar\x0000")];
    [block(b'x', b"x", &records.concat(), &magic), block(b'0', b"s", &payload, &magic)].concat()
}

/// One seed a line; what needs a byte in front gets it here.
fn texts() -> Vec<(&'static str, Inputs)> {
    let numbered = |front: &[u8], texts: &[&str]| -> Inputs {
        let seed = |(at, text): (usize, &&str)| {
            let front = front.get(at).copied().into_iter();
            (at.to_string(), front.chain(text.bytes()).collect())
        };
        texts.iter().enumerate().map(seed).collect()
    };
    let named = format!("ghcr.io/a/b:1.2@{DIGEST}");
    let references =
        ["nginx:1", "localhost:5000/a__b/c-d", "[::1]:80/x", &named, "linux/arm/v4294967295"];
    let blob = format!(r#""digest":"{DIGEST}","size":1"#);
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{{blob}}},"layers":[{{"mediaType":"x",{blob}}}]}}"#
    );
    let platform = r#""platform":{"os":"linux","architecture":"arm","variant":"v7"}"#;
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{{{blob},{platform}}}]}}"#);
    let config = format!(
        r#"{{"os":"linux","config":{{"Env":["A=b"],"Volumes":{{"/d":{{}}}},"Healthcheck":{{"Test":["NONE"],"Interval":1}}}},"rootfs":{{"type":"layers","diff_ids":["{DIGEST}"]}},"history":[{{"empty_layer":true}}]}}"#
    );
    vec![
        ("reference", numbered(&[], &references)),
        ("manifest", numbered(&[2, 1, 0], &[&manifest, &index, &config])),
        ("challenges", numbered(&[], &CHALLENGES)),
        ("api_bodies", numbered(&[0, 8, 9, 14, 15], &BODIES)),
        ("logs", numbered(&[1, 0x72], &LOGS)),
        ("netlink", netlink()),
        ("unpack_entries", scripts()),
    ]
}

const CHALLENGES: [&str; 2] = [
    r#"Bearer realm="https://a/t",service="s",scope="repository:a/b:pull""#,
    r#"Negotiate, BASIC Realm="a \"b\"" , Bearer realm=https://h/t"#,
];

const BODIES: [&str; 5] = [
    r#"{"Image":"a","Cmd":"x","Entrypoint":["y"],"ExposedPorts":{"80/tcp":{}},"Healthcheck":{"Test":["NONE"]},"HostConfig":{"Binds":["/a:/b:ro"],"PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"1"}]},"RestartPolicy":{"Name":"always"},"Mounts":[{"Type":"tmpfs","Target":"/t"}],"Memory":1},"NetworkingConfig":{"EndpointsConfig":{"n":{"IPAMConfig":{"IPv4Address":"1.2.3.4"}}}}}"#,
    r#"{"Ulimits":[{"Name":"nofile","Soft":1,"Hard":2}],"Devices":[{"PathOnHost":"/dev/null"}],"LogConfig":{"Type":"json-file","Config":{}},"CpuPeriod":null}"#,
    r#"{"Name":"n","Driver":"bridge","IPAM":{"Config":[{"Subnet":"10.0.0.0/8"}]},"Options":null}"#,
    r#"{"label":{"a=b":true},"name":["x"]}"#,
    "\u{1}\0\0\0\0\0\0\u{2}ab\u{2}\0\0\0\0\0\0\u{1}c",
];

const LOGS: [&str; 2] = [
    "{\"log\":\"a\\n\\u00e4\",\"stream\":\"stdout\",\"time\":\"2026-11-21T04:00:00.5Z\"}\n{\"log\":\"b\",\"stream\":\"stderr\",\"time\":\"2026-11-21T04:00:01Z\"}",
    "{\"log\":\"a\\n\",\"stream\":\"stdout\",\"attrs\":{\"k\":\"v\"},\"time\":\"2026-11-21T04:00:00Z\"}\n{\"log\":\"torn",
];

/// Scripts for `ferry_fuzz::tar::archive`: a link out and a file through it, a file replaced by a directory, a whiteout.
fn scripts() -> Inputs {
    let scripts: [&[u8]; 3] = [
        &[0, 8, 0, 0, 0, 64, 1, 0, 8, 10, b'x'],
        &[2, 64, 0, 0, 20, b'x', 10, 0, 0, 64, 1, 0, 1, 9, b'y'],
        &[0, 16, 0, 1, 3, 8, 5, 10, 0, 0, 0, 1, 0, 9],
    ];
    scripts.iter().enumerate().map(|(at, script)| (at.to_string(), script.to_vec())).collect()
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).expect("a short value");
    let mut bytes = [&length.to_ne_bytes(), &kind.to_ne_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Payloads, with the kind and flags in front that the target takes.
fn netlink() -> Inputs {
    let link = [vec![0; 16], attribute(3, b"eth0\0"), attribute(18, &attribute(1, b"veth\0"))];
    let address = [vec![2, 24, 0, 0, 1, 0, 0, 0], attribute(2, &[10, 0, 0, 1])];
    let side = |ip: u16, port: u16| {
        let proto = [attribute(1, &[6]), attribute(port, &[0, 80])].concat();
        [attribute(1, &attribute(ip, &[10, 0, 0, 1])), attribute(2, &proto)].concat()
    };
    let flow = [vec![2, 0, 0, 0], attribute(1, &side(2, 3)), attribute(2, &side(1, 2))];
    let hook = attribute(4, &attribute(1, &[0, 0, 0, 2]));
    let chain = [vec![2, 0, 0, 0], attribute(1, b"t\0"), attribute(3, b"c\0"), hook];
    let element = [attribute(1, &attribute(1, &[0, 80])), attribute(6, b"\0\x03ab\0")].concat();
    let elements = [vec![2, 0, 0, 0], attribute(3, &attribute(1, &element))];
    let refused = [vec![0xea, 0xff, 0xff, 0xff], vec![0; 16], attribute(1, b"no\0")];
    let all = [
        (2, 0, link.concat()),
        (3, 0, address.concat()),
        (5, 0, flow.concat()),
        (6, 0, chain.concat()),
        (7, 0, elements.concat()),
        (0, 0x30, refused.concat()),
    ];
    let seed = |(at, (kind, flags, payload)): (usize, (u8, u8, Vec<u8>))| {
        (at.to_string(), [vec![kind, flags], payload].concat())
    };
    all.into_iter().enumerate().map(seed).collect()
}
