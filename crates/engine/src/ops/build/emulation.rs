//! `RUN` for another machine: the kernel hands its programs to an emulator, if it was told of one (`binfmt_misc`).

use std::path::Path;

use ferry_errkind::{ErrorKind, Failure};
use ferry_oci::Platform;

/// Where the kernel lists what it was told.
const REGISTERED: &str = "/proc/sys/fs/binfmt_misc";

/// An architecture, as programs for it say: ELF's class, byte order and number of the machine, and what qemu calls it.
struct Machine {
    name: &'static str,
    wide: bool,
    big: bool,
    number: u16,
    qemu: &'static str,
}

const fn machine(
    name: &'static str,
    wide: bool,
    big: bool,
    number: u16,
    qemu: &'static str,
) -> Machine {
    Machine { name, wide, big, number, qemu }
}

const MACHINES: [Machine; 11] = [
    machine("386", false, false, 3, "i386"),
    machine("amd64", true, false, 62, "x86_64"),
    machine("arm", false, false, 40, "arm"),
    machine("arm64", true, false, 183, "aarch64"),
    machine("ppc64le", true, false, 21, "ppc64le"),
    machine("s390x", true, true, 22, "s390x"),
    machine("riscv64", true, false, 243, "riscv64"),
    machine("loong64", true, false, 258, "loongarch64"),
    machine("mips64le", true, false, 8, "mips64el"),
    machine("mips64", true, true, 8, "mips64"),
    machine("mipsle", false, false, 8, "mipsel"),
];

/// Refuses to run programs that neither the processor nor an emulator understands.
pub(super) fn check(os: &str, architecture: &str) -> Result<(), Failure> {
    // Not everybody writes `amd64`.
    let own =
        Platform { architecture: architecture.to_owned(), ..Platform::default() }.normalized();
    check_at(os, &own.architecture, &Platform::host().architecture, Path::new(REGISTERED))
}

fn check_at(os: &str, architecture: &str, host: &str, registered: &Path) -> Result<(), Failure> {
    let native = architecture.is_empty()
        || architecture == host
        || matches!((host, architecture), ("amd64", "386") | ("arm64", "arm"));
    let known = MACHINES.iter().find(|machine| machine.name == architecture);
    if native || known.is_some_and(|machine| is_emulated(machine, registered)) {
        return Ok(());
    }
    let emulator =
        known.map_or_else(String::new, |machine| format!(" (qemu-{}-static)", machine.qemu));
    // In the message itself: hints do not reach every client.
    let words = format!(
        "cannot run programs of {os}/{architecture} on linux/{host}: exec format error; the kernel knows no emulator for them: install qemu-user-static{emulator} with binfmt-support"
    );
    Err(Failure::new(ErrorKind::InvalidArgument, words).with_hint(format!(
        "or: docker run --privileged --rm tonistiigi/binfmt --install {architecture}"
    )))
}

/// Whether one of the entries there takes such programs.
fn is_emulated(machine: &Machine, registered: &Path) -> bool {
    let is_on = |name: &str| {
        std::fs::read_to_string(registered.join(name)).is_ok_and(|text| text.starts_with("enabled"))
    };
    let Ok(entries) = std::fs::read_dir(registered) else { return false };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let program = machine.program();
    is_on("status")
        && names
            .filter(|name| name != "status" && name != "register" && is_on(name))
            .filter_map(|name| std::fs::read_to_string(registered.join(name)).ok())
            .any(|text| takes(&text, &program))
}

impl Machine {
    /// How a program for it begins.
    fn program(&self) -> [u8; 20] {
        let order = |number: u16| match self.big {
            true => number.to_be_bytes(),
            false => number.to_le_bytes(),
        };
        let mut head = [0; 20];
        head[..4].copy_from_slice(b"\x7fELF");
        head[4] = if self.wide { 2 } else { 1 };
        head[5] = if self.big { 2 } else { 1 };
        head[6] = 1;
        head[16..18].copy_from_slice(&order(2));
        head[18..].copy_from_slice(&order(self.number));
        head
    }
}

/// Whether an entry (`enabled`, `offset 0`, `magic 7f45…`, `mask ffff…`) is for programs that begin so.
fn takes(entry: &str, program: &[u8]) -> bool {
    let field =
        |name: &str| entry.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let Some(magic) = field("magic").and_then(bytes) else { return false };
    let mask = field("mask").and_then(bytes).unwrap_or_else(|| vec![0xff; magic.len()]);
    let offset: usize =
        field("offset").and_then(|text| text.trim().parse().ok()).unwrap_or_default();
    let Some(part) = program.get(offset..) else { return false };
    !magic.is_empty()
        && part.len() >= magic.len()
        && mask.len() == magic.len()
        && part
            .iter()
            .zip(&magic)
            .zip(&mask)
            .all(|((own, wanted), mask)| own & mask == wanted & mask)
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let hex = hex.trim();
    let pair = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    (0..hex.len()).step_by(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Debian's qemu-user-static registers.
    const AARCH64: &str = "enabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: OCF\noffset 0\n\
        magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";

    #[test]
    fn an_entry_takes_the_programs_of_its_machine() {
        let program = |name: &str| {
            MACHINES.iter().find(|machine| machine.name == name).expect("known").program()
        };
        assert!(takes(AARCH64, &program("arm64")));
        for other in ["amd64", "arm", "riscv64", "s390x", "386"] {
            assert!(!takes(AARCH64, &program(other)), "{other}");
        }
        assert!(!takes("enabled\nextension .jar\n", &program("arm64")));
        assert!(!takes("enabled\nmagic zz\nmask 00\n", &program("arm64")));
    }

    #[test]
    fn without_an_emulator_it_is_said_what_to_install() {
        let directory = std::env::temp_dir().join(format!("ferry-binfmt-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("made");
        let check = || check_at("linux", "arm64", "amd64", &directory);
        let refused = check().expect_err("nothing is registered");
        assert!(refused.message().contains("linux/arm64 on linux/amd64"), "{refused:?}");
        assert!(
            refused.message().contains("qemu-user-static (qemu-aarch64-static)"),
            "{refused:?}"
        );
        std::fs::write(directory.join("status"), "enabled\n").expect("written");
        std::fs::write(directory.join("qemu-aarch64"), AARCH64).expect("written");
        assert!(check().is_ok());
        let off = AARCH64.replace("enabled", "disabled");
        std::fs::write(directory.join("qemu-aarch64"), off).expect("written");
        assert!(check().is_err());
        assert!(check_at("linux", "386", "amd64", &directory).is_ok());
        assert!(check_at("linux", "amd64", "amd64", &directory).is_ok());
        std::fs::remove_dir_all(&directory).expect("removed");
    }
}
