//! Tars out of a fuzzer's bytes: taken as they are but for the checksums, or read as a script of entries, in which nearly
//! every byte string means an archive that parses.

use ferry_archive::BLOCK;

/// Single components; what is dangerous is as likely as what is not.
const COMPONENTS: [&[u8]; 16] = [
    b"a",
    b"b",
    b"c",
    b"d",
    b"..",
    b".",
    b"",
    b"o",
    b"f",
    b".wh.a",
    b".wh.b",
    b".wh..wh..opq",
    b".wh..wh.plnk",
    b".wh.",
    b".wh...",
    b"\xff\xfe",
];
/// Whole link targets.
const TARGETS: [&[u8]; 16] = [
    b"/dev/shm/o",
    b"/dev/shm/o/f",
    b"../../o",
    b"../../../o/f",
    b"../../../../dev/shm/o/d",
    b"/",
    b".",
    b"..",
    b"/proc/self/fd/3",
    b"/proc/self/cwd",
    b"/proc/self/root/dev/shm/o",
    b"a",
    b"../a",
    b"/a/b",
    b"a/../b",
    b"",
];
const KINDS: [u8; 16] = *b"000011122555346S";
/// PAX records for the entry behind them.
const RECORDS: [(&str, &[u8]); 16] = [
    ("path", b"a/b"),
    ("path", b"../../o/f"),
    ("linkpath", b"/dev/shm/o/f"),
    ("size", b"3"),
    ("size", b""),
    ("mtime", b"-1.5"),
    ("mtime", b"1700000000.123456789"),
    ("uid", b"100000"),
    ("SCHILY.xattr.user.a", b"value"),
    ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
    ("SCHILY.xattr.trusted.overlay.redirect", b"/o"),
    ("SCHILY.xattr.security.capability", b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    ("SCHILY.xattr.system.posix_acl_access", b"\x02\0\0\0"),
    ("GNU.sparse.map", b"0,1,600,2"),
    ("GNU.sparse.size", b"1000"),
    ("GNU.sparse.name", b"b/c"),
];

/// Checksums are a wall for a fuzzer: every block that could be a header gets the right one.
pub fn with_checksums(data: &[u8]) -> Vec<u8> {
    let mut tar = data.to_vec();
    for block in tar.as_chunks_mut::<BLOCK>().0 {
        if is_header(block) {
            set_checksum(block);
        }
    }
    tar
}

/// Has the magic, or a type and a mode as before POSIX: a body of PAX records or a payload rarely has.
fn is_header(block: &[u8; BLOCK]) -> bool {
    let octal = |byte: &u8| matches!(byte, b'0'..=b'7' | b' ' | 0);
    &block[257..262] == b"ustar" || block[156].is_ascii_digit() && block[100..108].iter().all(octal)
}

/// Gives a header the right checksum.
pub fn set_checksum(block: &mut [u8; BLOCK]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// The archive that a script says.
pub fn archive(script: &[u8]) -> Vec<u8> {
    let mut script = Script(script);
    let mut tar = Vec::new();
    while let Some(head) = script.next() {
        entry(head, &mut script, &mut tar);
    }
    tar.extend_from_slice(&[0; 2 * BLOCK]);
    tar
}

fn entry(head: u8, script: &mut Script<'_>, tar: &mut Vec<u8>) {
    let kind = KINDS[usize::from(head & 15)];
    let name = script.path();
    if head & 16 != 0 {
        let records = script.records();
        member(tar, b'x', b"pax", b"", &records, 0);
    }
    if head & 32 != 0 {
        member(tar, b'L', b"long", b"", &script.path(), 0);
    }
    let link = if matches!(kind, b'1' | b'2') { script.target() } else { Vec::new() };
    let payload = if head & 64 != 0 { script.payload() } else { Vec::new() };
    member(tar, kind, &name, &link, &payload, if head & 128 != 0 { script.byte() } else { 0 });
}

/// A header and what follows it. `detail` has the mode, the owner and a device number in it.
fn member(tar: &mut Vec<u8>, kind: u8, name: &[u8], link: &[u8], payload: &[u8], detail: u8) {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &name[..name.len().min(100)]);
    let mode = if detail & 1 != 0 { 0o6755 } else { 0o644 };
    put(100, format!("{mode:07o}\0").as_bytes());
    put(108, format!("{:07o}\0", detail & 2).as_bytes());
    put(116, format!("{:07o}\0", detail & 4).as_bytes());
    put(124, format!("{:011o}\0", payload.len()).as_bytes());
    put(136, format!("{:011o}\0", u32::from(detail) << 20).as_bytes());
    put(156, &[kind]);
    put(157, &link[..link.len().min(100)]);
    if kind == b'S' {
        // One run of data at byte 700 of a file of 2000 bytes.
        put(257, b"ustar  \0");
        put(386, format!("{:011o}\0{:011o}\0", 700, payload.len()).as_bytes());
        put(483, format!("{:011o}\0", 2000).as_bytes());
    } else {
        put(257, b"ustar\x0000");
        put(329, format!("{:07o}\0{:07o}\0", detail >> 6, detail >> 5 & 1).as_bytes());
    }
    set_checksum(&mut block);
    tar.extend_from_slice(&block);
    // Only files and extensions have a payload, whatever the header's size says.
    if matches!(kind, b'0' | b'S' | b'x' | b'L') {
        tar.extend_from_slice(payload);
        tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    }
}

struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    /// One to four components, perhaps with a slash before or behind.
    fn path(&mut self) -> Vec<u8> {
        let shape = self.byte();
        let mut path = if shape & 4 != 0 { b"/".to_vec() } else { Vec::new() };
        for at in 0..=shape & 3 {
            if at > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(COMPONENTS[usize::from(self.byte() & 15)]);
        }
        if shape & 8 != 0 {
            path.push(b'/');
        }
        path
    }

    fn target(&mut self) -> Vec<u8> {
        match self.byte() {
            whole @ 0..=127 => TARGETS[usize::from(whole & 15)].to_vec(),
            _ => self.path(),
        }
    }

    fn records(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        for _ in 0..=self.byte() & 3 {
            let (key, value) = RECORDS[usize::from(self.byte() & 15)];
            body.extend_from_slice(&record(key, value));
        }
        body
    }

    /// A third of a block, to about a block and a half, of one repeated byte.
    fn payload(&mut self) -> Vec<u8> {
        let (length, byte) = (usize::from(self.byte()) * 3, self.byte());
        vec![byte; length]
    }
}

/// `length key=value`, where the length counts itself.
pub fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length += 1;
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}
