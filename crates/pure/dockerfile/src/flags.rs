//! `--flag=value` before an instruction's arguments.

use crate::{CopyFlags, Mount, MountKind, RunFlags, suggestion};

/// Splits flags off; they end at the first word that is none, or at `--`.
pub(crate) fn split(text: &str, escape: char) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    let mut rest = text.trim_start();
    while let Some(after) = rest.strip_prefix("--") {
        if after.is_empty() || after.starts_with(char::is_whitespace) {
            return (flags, after.trim_start());
        }
        let end = end_of_word(rest, escape);
        flags.push(unquoted(&rest[..end], escape));
        rest = rest[end..].trim_start();
    }
    (flags, rest)
}

fn end_of_word(text: &str, escape: char) -> usize {
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match quote {
            None if char.is_whitespace() => return at,
            None if char == '"' || char == '\'' => quote = Some(char),
            Some(open) if open == char => quote = None,
            _ if char == escape => drop(chars.next()),
            _ => {}
        }
    }
    text.len()
}

fn unquoted(word: &str, escape: char) -> String {
    let mut text = String::new();
    let mut quote = None;
    let mut chars = word.chars();
    while let Some(char) = chars.next() {
        match quote {
            None if char == '"' || char == '\'' => quote = Some(char),
            Some(open) if open == char => quote = None,
            _ if char == escape => text.extend(chars.next()),
            _ => text.push(char),
        }
    }
    text
}

/// Name and value of a flag, without the dashes.
pub(crate) fn pair(flag: &str) -> (&str, Option<&str>) {
    let flag = flag.trim_start_matches("--");
    match flag.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (flag, None),
    }
}

/// `known` are those that there are.
pub(crate) fn unknown(flag: &str, known: &[&str]) -> String {
    let name = pair(flag).0;
    format!("unknown flag: --{name}{}", suggestion(name, known))
}

fn value(flag: &str) -> Result<String, String> {
    let (name, value) = pair(flag);
    value.map(str::to_owned).ok_or_else(|| format!("missing a value on flag: {name}"))
}

fn boolean(flag: &str) -> Result<bool, String> {
    match pair(flag).1 {
        None => Ok(true),
        Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
        Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
        Some(value) => {
            Err(format!("expecting boolean value for flag --{}, not: {value}", pair(flag).0))
        }
    }
}

const COPY: [&str; 6] = ["from", "chown", "chmod", "link", "exclude", "parents"];
const ADD: [&str; 7] = ["chown", "chmod", "link", "exclude", "checksum", "keep-git-dir", "unpack"];

/// Flags of `COPY` and `ADD`.
pub(crate) fn copy(add: bool, flags: &[String]) -> Result<CopyFlags, String> {
    let mut read = CopyFlags::default();
    for flag in flags {
        match (pair(flag).0, add) {
            ("from", false) => read.from = Some(value(flag)?),
            ("chown", _) => read.chown = Some(value(flag)?),
            ("chmod", _) => read.chmod = Some(value(flag)?),
            ("link", _) => read.link = boolean(flag)?,
            ("exclude", _) => read.exclude.push(value(flag)?),
            ("parents", false) => read.parents = boolean(flag)?,
            ("checksum", true) => read.checksum = Some(value(flag)?),
            ("keep-git-dir", true) => read.keep_git_dir = boolean(flag)?,
            ("unpack", true) => read.unpack = Some(boolean(flag)?),
            _ => return Err(unknown(flag, if add { &ADD } else { &COPY })),
        }
    }
    Ok(read)
}

/// Flags of `RUN`.
pub(crate) fn run(flags: &[String]) -> Result<RunFlags, String> {
    let mut read = RunFlags::default();
    for flag in flags {
        match pair(flag).0 {
            "mount" => read.mounts.push(mount(&value(flag)?)?),
            "network" => {
                let network = value(flag)?;
                if !matches!(network.as_str(), "default" | "none" | "host") {
                    return Err(format!("invalid network mode {network:?}"));
                }
                read.network = Some(network);
            }
            "security" => match value(flag)?.as_str() {
                "sandbox" => read.insecure = false,
                "insecure" => read.insecure = true,
                other => return Err(format!("security {other:?} is not valid")),
            },
            _ => return Err(unknown(flag, &["mount", "network", "security"])),
        }
    }
    Ok(read)
}

fn mount(text: &str) -> Result<Mount, String> {
    let mut mount = Mount { sharing: "shared".to_owned(), ..Mount::default() };
    let fields: Vec<&str> = text.split(',').collect();
    let kind = fields.iter().find_map(|field| field.strip_prefix("type="));
    mount.kind = match kind.unwrap_or("bind") {
        "bind" => MountKind::Bind,
        "cache" => MountKind::Cache,
        "tmpfs" => MountKind::Tmpfs,
        "secret" => MountKind::Secret,
        "ssh" => MountKind::Ssh,
        other => return Err(format!("unsupported mount type {other:?}")),
    };
    mount.writable = matches!(mount.kind, MountKind::Cache | MountKind::Tmpfs);
    for field in fields {
        mount_field(&mut mount, field)?;
    }
    named(mount)
}

/// Fills in ids and targets that follow from each other.
fn named(mut mount: Mount) -> Result<Mount, String> {
    match mount.kind {
        MountKind::Secret => {
            if !mount.source.is_empty() {
                mount.id = std::mem::take(&mut mount.source);
            }
            if mount.id.is_empty() {
                let name = mount.target.rsplit('/').next().unwrap_or_default();
                mount.id = name.to_owned();
            }
            if mount.id.is_empty() {
                return Err("one of source, target required".to_owned());
            }
            if mount.target.is_empty() && mount.env.is_none() {
                mount.target = format!("/run/secrets/{}", mount.id);
            }
        }
        MountKind::Ssh if mount.id.is_empty() => mount.id = "default".to_owned(),
        MountKind::Ssh => {}
        _ if mount.target.is_empty() => return Err("target is required in mount".to_owned()),
        MountKind::Cache if mount.id.is_empty() => mount.id.clone_from(&mount.target),
        _ => {}
    }
    Ok(mount)
}

fn mount_field(mount: &mut Mount, field: &str) -> Result<(), String> {
    let (name, value) = match field.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (field, None),
    };
    let text = || {
        value
            .map(str::to_owned)
            .ok_or_else(|| format!("invalid field '{field}' must be a key=value pair"))
    };
    let flag = || match value {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => Err(format!("invalid value for {name}: {other}")),
    };
    let number = || -> Result<u32, String> {
        text()?
            .parse()
            .map_err(|_| format!("invalid value {:?} for {name}", value.unwrap_or_default()))
    };
    let mountable = matches!(mount.kind, MountKind::Bind | MountKind::Cache);
    let caches = mount.kind == MountKind::Cache;
    let files = matches!(mount.kind, MountKind::Cache | MountKind::Secret | MountKind::Ssh);
    match name.to_ascii_lowercase().as_str() {
        "type" => {}
        "target" | "dst" | "destination" => mount.target = text()?,
        "source" | "src" if matches!(mount.kind, MountKind::Bind | MountKind::Cache) => {
            mount.source = text()?
        }
        "source" | "src" if mount.kind == MountKind::Secret => mount.source = text()?,
        "from" if matches!(mount.kind, MountKind::Bind | MountKind::Cache) => mount.from = text()?,
        "id" if files => mount.id = text()?,
        "rw" | "readwrite" if mountable => mount.writable = flag()?,
        "ro" | "readonly" if mountable => mount.writable = !flag()?,
        "required" if files => mount.required = flag()?,
        "env" if mount.kind == MountKind::Secret => mount.env = Some(text()?),
        "sharing" if caches => {
            mount.sharing = text()?;
            if !matches!(mount.sharing.as_str(), "shared" | "private" | "locked") {
                return Err(format!("unsupported sharing value {:?}", mount.sharing));
            }
        }
        "size" if mount.kind == MountKind::Tmpfs => {
            let size = text()?;
            let bytes = ferry_stdx::size::parse_bytes(&size).map_err(|error| error.to_string())?;
            mount.size = bytes;
        }
        "mode" if files => {
            let mode = text()?;
            let read = u32::from_str_radix(&mode, 8).ok().filter(|mode| *mode <= 0o7777);
            mount.mode = Some(read.ok_or_else(|| format!("invalid value {mode} for mode"))?);
        }
        "uid" if files => mount.uid = number()?,
        "gid" if files => mount.gid = number()?,
        _ => return Err(format!("unexpected key '{name}' in '{field}'")),
    }
    Ok(())
}
