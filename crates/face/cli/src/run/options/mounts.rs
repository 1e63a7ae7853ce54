//! `--mount`.

use ferry_docker_api::{
    BindOptions, ImageOptions, Mount, MountDriver, TmpfsOptions, VolumeOptions,
};

use super::{values::csv, volumes::absolute};
use crate::framework::parse_bool;

/// The check of one `--mount`, when it is parsed.
pub(super) fn check(text: &str) -> Result<(), String> {
    parse(text).map(drop)
}

/// Reads one `--mount`; errors in docker's words.
pub(super) fn parse(text: &str) -> Result<Mount, String> {
    let mut mount = Mount { kind: "volume".to_owned(), ..Default::default() };
    for field in csv(text)? {
        match field.split_once('=') {
            Some((key, value)) => set(&mut mount, &key.to_lowercase(), value, &field)?,
            None => match field.to_lowercase().as_str() {
                "readonly" | "ro" => mount.read_only = true,
                "volume-nocopy" => volume(&mut mount).no_copy = true,
                "bind-nonrecursive" => bind(&mut mount).non_recursive = true,
                "bind-create-src" => bind(&mut mount).create_mountpoint = true,
                "idmap" => bind(&mut mount).id_map = true,
                _ => return Err(format!("invalid field '{field}' must be a key=value pair")),
            },
        }
    }
    consistent(mount)
}

fn set(mount: &mut Mount, key: &str, value: &str, field: &str) -> Result<(), String> {
    let wrong = || format!("invalid value for {key}: {value}");
    match key {
        "type" => mount.kind = value.to_lowercase(),
        "source" | "src" if value.starts_with('.') => mount.source = absolute(value),
        "source" | "src" => value.clone_into(&mut mount.source),
        "target" | "dst" | "destination" => value.clone_into(&mut mount.target),
        "readonly" | "ro" => mount.read_only = parse_bool(value).ok_or_else(wrong)?,
        "consistency" => mount.consistency = value.to_lowercase(),
        "bind-propagation" => bind(mount).propagation = value.to_lowercase(),
        "bind-nonrecursive" => bind(mount).non_recursive = parse_bool(value).ok_or_else(wrong)?,
        "bind-create-src" => {
            bind(mount).create_mountpoint = parse_bool(value).ok_or_else(wrong)?;
        }
        // Beyond Docker.
        "idmap" => bind(mount).id_map = parse_bool(value).ok_or_else(wrong)?,
        "bind-recursive" => match value {
            "enabled" => {}
            "disabled" => bind(mount).non_recursive = true,
            "writable" => bind(mount).read_only_non_recursive = true,
            "readonly" => bind(mount).read_only_force_recursive = true,
            _ => {
                return Err(format!(
                    r#"{} (must be "enabled", "disabled", "writable", or "readonly")"#,
                    wrong()
                ));
            }
        },
        "volume-subpath" => value.clone_into(&mut volume(mount).subpath),
        "volume-nocopy" => volume(mount).no_copy = parse_bool(value).ok_or_else(wrong)?,
        "volume-label" => {
            if let Some((name, value)) = pair(value) {
                volume(mount).labels.insert(name, value);
            }
        }
        "volume-driver" => value.clone_into(&mut driver(mount).name),
        "volume-opt" => {
            if let Some((name, value)) = pair(value) {
                driver(mount).options.insert(name, value);
            }
        }
        "image-subpath" => {
            let image = mount.image_options.get_or_insert_with(ImageOptions::default);
            value.clone_into(&mut image.subpath);
        }
        "tmpfs-size" => {
            tmpfs(mount).size_bytes = ferry_stdx::size::parse_bytes(value).map_err(|_| wrong())?;
        }
        "tmpfs-mode" => {
            tmpfs(mount).mode = u32::from_str_radix(value, 8).map_err(|_| wrong())?;
        }
        _ => return Err(format!("unexpected key '{key}' in '{field}'")),
    }
    Ok(())
}

/// Refuses what does not belong together.
fn consistent(mount: Mount) -> Result<Mount, String> {
    if mount.kind.is_empty() {
        return Err("type is required".to_owned());
    }
    if mount.target.is_empty() {
        return Err("target is required".to_owned());
    }
    for (given, kind) in [
        (mount.volume_options.is_some(), "volume"),
        (mount.image_options.is_some(), "image"),
        (mount.bind_options.is_some(), "bind"),
        (mount.tmpfs_options.is_some(), "tmpfs"),
    ] {
        if given && mount.kind != kind {
            return Err(format!("cannot mix '{kind}-*' options with mount type '{}'", mount.kind));
        }
    }
    let requires = |option: &str, what: &str| {
        Err(format!(
            "option 'bind-recursive={option}' requires '{what}' to be specified in conjunction"
        ))
    };
    match &mount.bind_options {
        Some(bind) if bind.read_only_non_recursive && !mount.read_only => {
            requires("writable", "readonly")
        }
        Some(bind) if bind.read_only_force_recursive && !mount.read_only => {
            requires("readonly", "readonly")
        }
        Some(bind) if bind.read_only_force_recursive && bind.propagation != "rprivate" => {
            requires("readonly", "bind-propagation=rprivate")
        }
        _ => Ok(mount),
    }
}

fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
}

fn bind(mount: &mut Mount) -> &mut BindOptions {
    mount.bind_options.get_or_insert_with(BindOptions::default)
}

fn volume(mount: &mut Mount) -> &mut VolumeOptions {
    mount.volume_options.get_or_insert_with(|| VolumeOptions {
        driver_config: Some(MountDriver::default()),
        ..Default::default()
    })
}

fn driver(mount: &mut Mount) -> &mut MountDriver {
    volume(mount).driver_config.get_or_insert_with(MountDriver::default)
}

fn tmpfs(mount: &mut Mount) -> &mut TmpfsOptions {
    mount.tmpfs_options.get_or_insert_with(TmpfsOptions::default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts() {
        for (text, json) in [
            (
                "type=bind,src=/a,dst=/b,ro",
                r#"{"Type":"bind","Source":"/a","Target":"/b","ReadOnly":true}"#,
            ),
            (
                "type=bind,src=/a,dst=/b,idmap",
                r#"{"Type":"bind","Source":"/a","Target":"/b","BindOptions":{"IDMap":true}}"#,
            ),
            (
                "type=bind,src=/a,dst=/b,bind-create-src",
                r#"{"Type":"bind","Source":"/a","Target":"/b","BindOptions":{"CreateMountpoint":true}}"#,
            ),
            ("source=v,target=/b", r#"{"Type":"volume","Source":"v","Target":"/b"}"#),
            (
                "type=tmpfs,target=/t,tmpfs-size=64m,tmpfs-mode=1777",
                r#"{"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":67108864,"Mode":1023}}"#,
            ),
            (
                r#"type=volume,dst=/d,"volume-opt=o=addr=1,rw",volume-label=a=b,volume-nocopy"#,
                r#"{"Type":"volume","Target":"/d","VolumeOptions":{"NoCopy":true,"Labels":{"a":"b"},"DriverConfig":{"Options":{"o":"addr=1,rw"}}}}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&parse(text).unwrap()).unwrap(), json, "{text}");
        }
    }

    #[test]
    fn refusals() {
        for (text, words) in [
            ("type=bind", "target is required"),
            ("x", "invalid field 'x' must be a key=value pair"),
            ("x=y,target=/t", "unexpected key 'x' in 'x=y'"),
            (
                "type=tmpfs,target=/t,volume-nocopy",
                "cannot mix 'volume-*' options with mount type 'tmpfs'",
            ),
            ("target=/t,readonly=maybe", "invalid value for readonly: maybe"),
            (
                "type=bind,src=/,dst=/t,bind-recursive=readonly,ro",
                "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), words, "{text}");
        }
    }
}
