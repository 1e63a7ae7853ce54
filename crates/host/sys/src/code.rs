//! The code of our own program, as far as this process has it mapped.

#![expect(unsafe_code, reason = "madvise takes an address")]

use rustix::mm::{Advice, madvise};

use crate::{Errno, Result};

/// Lets go of all pages of the program's code. What runs next is mapped again from the page cache, some pages at a time, which costs
/// microseconds; what only the start needed stays away. See `MADV_DONTNEED` in madvise(2): a private mapping of a file that was never
/// written to loses nothing by it.
///
/// Not for a process whose code is changed while it runs, as by a debugger's breakpoints.
///
/// # Errors
/// `/proc` does not show the mapping, or the kernel refuses; then all is as it was.
pub fn let_go() -> Result<()> {
    let maps = std::fs::read_to_string("/proc/self/maps");
    let maps = maps.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let here = let_go as *const () as usize;
    let (start, end) = maps.lines().find_map(|line| code_at(line, here)).ok_or(Errno::NXIO)?;
    // SAFETY: the range is one mapping of this program's file, private and not writable (`r-xp`), and the program has no
    // relocations in its code: every page comes back with the bytes that it has now, for this thread as for all others.
    unsafe { madvise(start as *mut _, end - start, Advice::LinuxDontNeed) }
}

/// The range of a line of `/proc/<pid>/maps`, if it is code of a file and has `address`.
fn code_at(line: &str, address: usize) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (start, end) = (hex(start)?, hex(end)?);
    let is_code = fields.next() == Some("r-xp");
    // Offset, device, inode: zero is memory without a file, which would be lost.
    let of_a_file = fields.nth(2).is_some_and(|inode| inode != "0");
    (is_code && of_a_file && (start..end).contains(&address)).then_some((start, end))
}

fn hex(text: &str) -> Option<usize> {
    usize::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of the program's code that are mapped, from the kernel.
    fn mapped() -> usize {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = maps.lines();
        lines.find(|line| code_at(line, let_go as *const () as usize).is_some()).unwrap();
        let rss = lines.find_map(|line| line.strip_prefix("Rss:")).unwrap();
        rss.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn code_that_is_not_run_goes() {
        let before = mapped();
        let_go().unwrap();
        let after = mapped();
        assert!(after < before, "{before} kB before, {after} kB after");
    }

    #[test]
    fn only_code_of_files_counts() {
        let code = "7f00-7fff r-xp 001e4000 fe:00 5898333 /usr/bin/ferry";
        assert_eq!(code_at(code, 0x7f80), Some((0x7f00, 0x7fff)));
        assert_eq!(code_at(code, 0x7fff), None);
        for other in [
            "7f00-7fff rw-p 001e4000 fe:00 5898333 /usr/bin/ferry",
            "7f00-7fff rwxp 001e4000 fe:00 5898333 /usr/bin/ferry",
            "7f00-7fff r-xp 00000000 00:00 0 [vdso]",
            "7f00 r-xp",
        ] {
            assert_eq!(code_at(other, 0x7f80), None, "{other}");
        }
    }
}
