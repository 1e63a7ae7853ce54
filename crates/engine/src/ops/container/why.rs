//! `why`: what is known of a container's end, and what it means.

use std::{collections::BTreeMap, fs, path::Path};

use ferry_container::why::{Facts, Finding, ProgramFile, explain, read_program};
use ferry_errkind::Failure;
use ferry_model::container::Container;
use ferry_sys::{Errno, root::InRoot};

use crate::{Engine, Shared, rootfs};

/// How much of a program's file is looked at: its head, and where its loader's name is.
const HEAD: usize = 64 * 1024;

/// Last lines of the log that are looked at, and the longest log file's end.
const LINES: usize = 10;
const LOG_END: u64 = 64 * 1024;

/// Explains a container's end, or what is wrong with it while it runs: cause first.
///
/// # Errors
/// No such container.
pub async fn why(engine: &Engine, name: &str) -> Result<Vec<Finding>, Failure> {
    let container = engine.shared.containers.find(name)?.container();
    let shared = engine.shared.clone();
    crate::blocking(move || {
        let (actions, remembers) = actions(&shared, &container);
        Ok(explain(&Facts {
            memory_peak: container.state.memory_peak,
            actions,
            program: programs(&shared, &container),
            log: last_lines(&shared.dirs.log(&container.id)),
            machine: own_machine(),
            port_owner: port_owner(&shared, &container),
            remembers,
            container: &container,
        }))
    })
    .await
}

/// What was done to it since its last start, and whether that start is remembered.
fn actions(shared: &Shared, container: &Container) -> (Vec<(String, Option<i32>)>, bool) {
    let Some(started) = container.state.started_at else { return (Vec::new(), true) };
    let (events, _) = shared.events.subscribe(Some(started));
    let own = events.into_iter().filter(|event| event.id == container.id);
    let actions: Vec<_> = own
        .map(|event| {
            let signal = event.attributes.get("signal").and_then(|text| text.parse().ok());
            (event.action, signal)
        })
        .collect();
    let is_start = |(action, _): &(String, Option<i32>)| action == "start";
    if actions.iter().any(is_start) {
        return (actions, true);
    }
    // Another daemon started it. What was done to it is in its record, unless an older Ferry wrote that.
    let deeds = container.state.deeds.iter();
    let actions: Vec<_> = deeds.map(|deed| (deed.action.clone(), deed.signal)).collect();
    // 255 is what is recorded when nobody saw the end: the record of what was done is not whole then.
    let remembers = actions.iter().any(is_start) && container.state.exit_code != 255;
    (actions, remembers)
}

/// The program's file, the interpreter or loader that it needs, what that one needs.
fn programs(shared: &Shared, container: &Container) -> Vec<ProgramFile> {
    let spec = &container.spec;
    let program = spec.entrypoint.iter().flatten().chain(spec.cmd.iter().flatten()).next();
    let (Some(program), Ok(view)) =
        (program, rootfs::whole(shared, container, rootfs::Access::Read))
    else {
        return Vec::new();
    };
    let mut files = Vec::new();
    let mut next = Some(in_path(&view.root, container, program));
    while let Some(path) = next.take().filter(|_| files.len() < 4) {
        let file = look(&view.root, &path);
        next.clone_from(&file.needs);
        files.push(file);
    }
    files
}

fn in_path(root: &InRoot, container: &Container, program: &str) -> String {
    if program.starts_with('/') {
        return program.to_owned();
    }
    if program.contains('/') {
        return Path::new("/")
            .join(&container.spec.working_dir)
            .join(program)
            .to_string_lossy()
            .into_owned();
    }
    let variable = container.spec.env.iter().find_map(|line| line.strip_prefix("PATH="));
    let path = variable.unwrap_or("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let candidates = path.split(':').map(|dir| format!("{dir}/{program}"));
    let found =
        candidates.filter(|path| path.starts_with('/')).find(|path| look(root, path).exists);
    found.unwrap_or_else(|| program.to_owned())
}

fn look(root: &InRoot, path: &str) -> ProgramFile {
    let missing = ProgramFile { path: path.to_owned(), ..ProgramFile::default() };
    let Ok(found) = root.resolve(Path::new(path)) else { return missing };
    let Ok(status) = rustix::fs::fstat(&found) else { return missing };
    let directory = rustix::fs::FileType::from_raw_mode(status.st_mode).is_dir();
    let mut head = Vec::new();
    if !directory && let Ok(file) = root.open_with(Path::new(path), rustix::fs::OFlags::RDONLY, 0) {
        head = read_head(&file).unwrap_or_default();
    }
    read_program(path, status.st_mode, directory, &head)
}

fn read_head(file: impl std::os::fd::AsFd) -> Result<Vec<u8>, Errno> {
    let mut head = vec![0; HEAD];
    let mut length = 0;
    while length < HEAD {
        match rustix::io::read(&file, &mut head[length..])? {
            0 => break,
            count => length += count,
        }
    }
    head.truncate(length);
    Ok(head)
}

/// The last lines that it wrote. Only the newest file is looked at.
fn last_lines(path: &Path) -> Vec<String> {
    use std::io::{Read, Seek, SeekFrom};
    let Ok(mut file) = fs::File::open(path) else { return Vec::new() };
    let length = file.metadata().map_or(0, |status| status.len());
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_END))).ok();
    let mut text = Vec::new();
    if file.take(LOG_END).read_to_end(&mut text).is_err() {
        return Vec::new();
    }
    let records: Vec<&[u8]> =
        text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let skip = records.len().saturating_sub(LINES);
    records
        .into_iter()
        .skip(skip)
        .filter_map(|line| serde_json::from_slice::<BTreeMap<String, serde_json::Value>>(line).ok())
        .filter_map(|record| record.get("log")?.as_str().map(str::to_owned))
        .collect()
}

/// This machine, as ELF files number it.
fn own_machine() -> u16 {
    match std::env::consts::ARCH {
        "x86_64" => 62,
        "aarch64" => 183,
        "arm" => 40,
        "riscv64" => 243,
        "s390x" => 22,
        "powerpc64" => 21,
        _ => 3,
    }
}

/// Who has a port that it wants.
fn port_owner(shared: &Shared, container: &Container) -> Option<String> {
    if container.state.error.is_empty() {
        return None;
    }
    let bindings = container.spec.host.port_bindings.iter();
    let wanted: Vec<u16> = bindings
        .flat_map(|(_, bindings)| bindings.iter().map(|binding| binding.host_port))
        .filter(|port| *port != 0)
        .collect();
    for handle in shared.containers.all() {
        let other = handle.container();
        let has = other.ports.values().flatten().any(|binding| wanted.contains(&binding.host_port));
        if has && other.id != container.id && other.state.phase.is_running() {
            return Some(format!("container {}", other.name));
        }
    }
    wanted.into_iter().find_map(process_with_port)
}

/// The process of the host that listens on a port.
fn process_with_port(port: u16) -> Option<String> {
    let inodes: Vec<String> = ["tcp", "tcp6", "udp", "udp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(format!("/proc/net/{table}")).ok())
        .flat_map(|text| {
            let of_line = |line: &str| {
                let fields: Vec<&str> = line.split_whitespace().collect();
                let (_, number) = fields.get(1)?.rsplit_once(':')?;
                let listens = matches!(fields.get(3), Some(&"0A" | &"07"));
                let fits = u16::from_str_radix(number, 16).is_ok_and(|number| number == port);
                (listens && fits).then(|| fields.get(9).map(|inode| format!("socket:[{inode}]")))?
            };
            text.lines().skip(1).filter_map(of_line).collect::<Vec<_>>()
        })
        .collect();
    if inodes.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.flatten();
    for process in processes {
        let Ok(pid) = process.file_name().to_string_lossy().parse::<u32>() else { continue };
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        let has = descriptors.flatten().any(|descriptor| {
            fs::read_link(descriptor.path())
                .is_ok_and(|target| inodes.iter().any(|inode| target == Path::new(inode)))
        });
        if has {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("process {pid} ({})", name.trim()));
        }
    }
    None
}
