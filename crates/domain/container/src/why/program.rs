//! A program's file: whether it can run at all, here.

use super::{Facts, Finding, finding};

/// What a file is that was to be run, or that one of those needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProgramFile {
    /// Where it was looked for.
    pub path: String,
    /// Whether there is anything.
    pub exists: bool,
    /// It is a directory.
    pub directory: bool,
    /// Somebody may execute it.
    pub executable: bool,
    /// A script's interpreter, or the loader of a dynamic program.
    pub needs: Option<String>,
    /// It begins with `#!`.
    pub script: bool,
    /// The machine of an ELF file.
    pub machine: Option<u16>,
    /// It has neither of those beginnings.
    pub unknown: bool,
}

/// Reads what the beginning of a file says.
pub fn read_program(path: &str, mode: u32, directory: bool, head: &[u8]) -> ProgramFile {
    let mut file = ProgramFile {
        path: path.to_owned(),
        exists: true,
        directory,
        executable: mode & 0o111 != 0,
        ..ProgramFile::default()
    };
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        file.script = true;
        file.needs = line.trim_matches([' ', '\t']).split([' ', '\t']).next().map(str::to_owned);
    } else if head.starts_with(b"\x7fELF") {
        file.machine = number(head, 18, 2).and_then(|machine| u16::try_from(machine).ok());
        file.needs = loader(head);
    } else {
        file.unknown = !directory;
    }
    file
}

fn number(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    Some(bytes.iter().rev().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)))
}

/// `PT_INTERP` of a little-endian 64-bit ELF file.
fn loader(elf: &[u8]) -> Option<String> {
    if elf.get(4..6)? != [2, 1] {
        return None;
    }
    let (table, size, count) = (number(elf, 32, 8)?, number(elf, 54, 2)?, number(elf, 56, 2)?);
    for index in 0..count.min(64) {
        let at = table.checked_add(index.checked_mul(size)?)?;
        if number(elf, at, 4)? == 3 {
            let (start, length) =
                (number(elf, at.checked_add(8)?, 8)?, number(elf, at.checked_add(32)?, 8)?);
            let text = elf.get(start..start.checked_add(length.min(4096))?)?;
            return Some(String::from_utf8_lossy(text).trim_end_matches('\0').to_owned());
        }
    }
    None
}

/// ELF's numbers, as platforms are called.
fn machine_name(machine: u16) -> String {
    match machine {
        3 => "386".to_owned(),
        40 => "arm".to_owned(),
        62 => "amd64".to_owned(),
        183 => "arm64".to_owned(),
        243 => "riscv64".to_owned(),
        22 => "s390x".to_owned(),
        21 => "ppc64le".to_owned(),
        other => format!("machine {other}"),
    }
}

/// Why the program could not be run, if its file says so.
pub(super) fn explain(facts: &Facts<'_>) -> Option<Finding> {
    for (index, file) in facts.program.iter().enumerate() {
        let whose = index.checked_sub(1).and_then(|before| facts.program.get(before));
        if !file.exists {
            return Some(missing(file, whose));
        }
        let path = &file.path;
        if file.directory {
            return Some(finding(
                "directory",
                format!("its program {path} is a directory"),
                "name a file: the command or entrypoint is wrong",
            ));
        }
        if !file.executable {
            return Some(finding(
                "not-executable",
                format!("its program {path} is not executable"),
                format!("chmod +x {path} in the image"),
            ));
        }
        if let Some(machine) = file.machine.filter(|machine| *machine != facts.machine) {
            return Some(finding(
                "wrong-architecture",
                format!(
                    "{path} is a program for {}, and this machine is {}",
                    machine_name(machine),
                    machine_name(facts.machine)
                ),
                format!(
                    "pull or build the image for this machine (--platform linux/{}), or install an emulator (binfmt)",
                    machine_name(facts.machine)
                ),
            ));
        }
        if file.unknown {
            return Some(finding(
                "no-program",
                format!("{path} is neither a program nor a script that begins with #!"),
                "begin it with the line #!/bin/sh",
            ));
        }
    }
    None
}

fn missing(file: &ProgramFile, whose: Option<&ProgramFile>) -> Finding {
    let path = &file.path;
    match whose {
        Some(script) if script.script && path.ends_with('\r') => finding(
            "crlf",
            format!(
                "the script {} has Windows line ends: its interpreter would be {:?}",
                script.path, path
            ),
            format!("save it with Unix line ends: sed -i 's/\\r$//' {}", script.path),
        ),
        Some(script) if script.script => finding(
            "missing-interpreter",
            format!("the interpreter {path} of the script {} is not in the image", script.path),
            "install it, or change the script's first line",
        ),
        Some(program) => finding(
            "missing-loader",
            format!(
                "{} is there, but the loader {path} that it needs is not in the image",
                program.path
            ),
            "the program was built for another C library (glibc, musl): build it for this image, or link it statically",
        ),
        None => finding(
            "missing-program",
            format!("its program {path:?} is not in the image"),
            "a slip in the command, a program that is not installed, or a mount that hides it",
        ),
    }
}
