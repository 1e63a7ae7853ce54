//! Headers of tar members, and where in a tar its members are: trees travel between fsutil's packets and the engine as tars.

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
}

/// A member without its content.
#[derive(Debug, Clone)]
pub(crate) struct Header<'a> {
    pub(crate) kind: Kind,
    pub(crate) path: &'a str,
    pub(crate) link: &'a str,
    /// Permissions with set-id and sticky bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    /// Seconds since 1970.
    pub(crate) mtime: i64,
    pub(crate) device: (i64, i64),
    /// Extended attributes.
    pub(crate) xattrs: &'a [(String, Vec<u8>)],
}

/// Two empty blocks.
pub(crate) const END: [u8; 1024] = [0; 1024];

impl Header<'_> {
    /// Adds the header's blocks to `out`; what ustar has no room for comes in a pax header before.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut pax = Vec::new();
        if self.path.len() > 100 || !self.path.is_ascii() {
            record(&mut pax, "path", self.path.as_bytes());
        }
        if self.link.len() > 100 || !self.link.is_ascii() {
            record(&mut pax, "linkpath", self.link.as_bytes());
        }
        if self.size >= 1 << 33 {
            record(&mut pax, "size", self.size.to_string().as_bytes());
        }
        for (name, number) in [("uid", self.uid), ("gid", self.gid)] {
            if number >= 1 << 21 {
                record(&mut pax, name, number.to_string().as_bytes());
            }
        }
        for (name, value) in self.xattrs {
            record(&mut pax, &format!("SCHILY.xattr.{name}"), value);
        }
        if !pax.is_empty() {
            let size = pax.len() as u64;
            let head = Header { path: "pax", link: "", size, xattrs: &[], ..self.clone() };
            out.extend_from_slice(&head.block(b'x'));
            let padded = pax.len().next_multiple_of(512);
            pax.resize(padded, 0);
            out.extend_from_slice(&pax);
        }
        out.extend_from_slice(&self.block(match self.kind {
            Kind::File => b'0',
            Kind::HardLink => b'1',
            Kind::Symlink => b'2',
            Kind::CharDevice => b'3',
            Kind::BlockDevice => b'4',
            Kind::Directory => b'5',
            Kind::Fifo => b'6',
        }));
    }

    fn block(&self, kind: u8) -> [u8; 512] {
        let mut block = [0; 512];
        text(&mut block[..100], self.path);
        octal(&mut block[100..108], u64::from(self.mode));
        octal(&mut block[108..116], u64::from(self.uid));
        octal(&mut block[116..124], u64::from(self.gid));
        octal(&mut block[124..136], self.size);
        octal(&mut block[136..148], u64::try_from(self.mtime).unwrap_or_default());
        block[148..156].fill(b' ');
        block[156] = kind;
        text(&mut block[157..257], self.link);
        block[257..265].copy_from_slice(b"ustar\x0000");
        octal(&mut block[329..337], u64::try_from(self.device.0).unwrap_or_default());
        octal(&mut block[337..345], u64::try_from(self.device.1).unwrap_or_default());
        let sum = block.iter().map(|byte| u64::from(*byte)).sum();
        octal(&mut block[148..155], sum);
        block
    }
}

/// What fits; the rest is in the pax header.
fn text(field: &mut [u8], text: &str) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text.as_bytes()[..length]);
}

/// Octal digits and a zero byte; a number too large is in the pax header.
fn octal(field: &mut [u8], mut number: u64) {
    let digits = field.len() - 1;
    for digit in field[..digits].iter_mut().rev() {
        *digit = b'0' + (number & 7) as u8;
        number >>= 3;
    }
}

/// `LENGTH NAME=VALUE\n`, the length including itself.
fn record(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    let rest = name.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(format!("{length} {name}=").as_bytes());
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// The plain files in a tar that was made here, with their contents.
pub(crate) fn files(tar: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut rest = tar;
    let mut long = None;
    while let Some((block, after)) = rest.split_at_checked(512) {
        let number = |from: usize, to: usize| {
            let digits = String::from_utf8_lossy(&block[from..to]).into_owned();
            usize::from_str_radix(digits.trim_matches(['\0', ' ']), 8).unwrap_or_default()
        };
        let size = number(124, 136);
        let Some(content) = after.get(..size) else { break };
        let name = block[..100].split(|byte| *byte == 0).next().unwrap_or_default();
        let name = String::from_utf8_lossy(name).into_owned();
        match block[156] {
            b'x' => long = long_path(content),
            b'0' => found.push((long.take().unwrap_or(name), content.to_vec())),
            _ => long = None,
        }
        let Some(next) = after.get(size.next_multiple_of(512)..) else { break };
        rest = next;
    }
    found
}

fn long_path(pax: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(pax);
    let (_, path) = text.split_once(" path=")?;
    path.split_once('\n').map(|(path, _)| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_itself() {
        let mut out = Vec::new();
        record(&mut out, "path", &[b'a'; 88]);
        assert_eq!(out.len(), 97);
        assert!(out.starts_with(b"97 path=aaa"));
        out.clear();
        // One byte more makes the length a digit longer.
        record(&mut out, "path", &[b'a'; 90]);
        assert!(out.starts_with(b"99 path="), "{:?}", String::from_utf8_lossy(&out[..12]));
        out.clear();
        record(&mut out, "path", &[b'a'; 91]);
        assert!(out.starts_with(b"101 path=") && out.len() == 101);
    }

    #[test]
    fn long_and_foreign_names_have_a_pax_header() {
        let long = "d/".repeat(80);
        for (path, blocks) in [("short", 1), (long.as_str(), 3), ("grün", 3)] {
            let mut out = Vec::new();
            let header = Header {
                kind: Kind::File,
                path,
                link: "",
                mode: 0o644,
                uid: 0,
                gid: 0,
                size: 3,
                mtime: 1,
                device: (0, 0),
                xattrs: &[],
            };
            header.write(&mut out);
            assert_eq!(out.len(), 512 * blocks, "{path}");
        }
    }
}
