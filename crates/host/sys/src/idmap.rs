//! Writing the id maps of a new user namespace, from outside of it.

use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags, openat};

use crate::{Errno, Result};

/// One range of ids: `size` ids from `inside` on are those from `outside` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First id in the namespace.
    pub inside: u32,
    /// First id in the parent namespace.
    pub outside: u32,
    /// How many.
    pub size: u32,
}

/// The most ranges the kernel takes.
pub const MAX_RANGES: usize = 340;

/// Writes both maps for the process whose `/proc/<pid>` is `proc`.
pub fn write(proc: BorrowedFd<'_>, uids: &[Range], gids: &[Range]) -> Result<()> {
    write_one(proc, "uid_map", uids)?;
    write_one(proc, "gid_map", gids)
}

fn write_one(proc: BorrowedFd<'_>, name: &str, ranges: &[Range]) -> Result<()> {
    if ranges.is_empty() || ranges.len() > MAX_RANGES {
        return Err(Errno::INVAL);
    }
    let text = render(ranges);
    let file = openat(proc, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    // The kernel takes a map in one write or not at all.
    let written = rustix::io::write(&file, text.as_bytes())?;
    if written == text.len() { Ok(()) } else { Err(Errno::IO) }
}

fn render(ranges: &[Range]) -> String {
    ranges.iter().map(|r| format!("{} {} {}\n", r.inside, r.outside, r.size)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_has_one_line_per_range() {
        let ranges = [
            Range { inside: 0, outside: 100_000, size: 65536 },
            Range { inside: 70_000, outside: 5, size: 1 },
        ];
        assert_eq!(render(&ranges), "0 100000 65536\n70000 5 1\n");
    }
}
