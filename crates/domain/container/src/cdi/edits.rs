//! What a device needs, and how it gets into a specification.

use ferry_oci::runtime::{self as oci, LinuxDevice, LinuxDeviceCgroup, Spec};
use serde::Deserialize;

use super::CdiFileError;
use crate::spec::{HostDevice, SpecError};

/// Looks a device node up on the host.
pub type NodeLookup<'a> = &'a dyn Fn(&str) -> Result<HostDevice, SpecError>;

/// What a container gets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Edits {
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Device nodes.
    pub device_nodes: Vec<DeviceNode>,
    /// Mounts.
    pub mounts: Vec<Mount>,
    /// Hooks.
    pub hooks: Vec<Hook>,
    /// Further groups of the process.
    pub additional_gids: Vec<u32>,
    /// Cache allocation of Intel's processors.
    pub intel_rdt: Option<serde_json::Value>,
    /// Network devices of the host.
    pub net_devices: Vec<serde_json::Value>,
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceNode {
    /// In the container.
    pub path: String,
    /// On the host; the same unless it says otherwise.
    #[serde(default)]
    pub host_path: String,
    /// `b`, `c`, `u` or `p`; looked up when it says nothing.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// Major number.
    #[serde(default)]
    pub major: i64,
    /// Minor number.
    #[serde(default)]
    pub minor: i64,
    /// Mode bits.
    #[serde(default)]
    pub file_mode: Option<u32>,
    /// Some of `rwm`.
    #[serde(default)]
    pub permissions: String,
    /// Owner.
    #[serde(default)]
    pub uid: Option<u32>,
    /// Group.
    #[serde(default)]
    pub gid: Option<u32>,
}

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mount {
    /// On the host.
    pub host_path: String,
    /// In the container.
    pub container_path: String,
    /// Options of mount(8).
    #[serde(default)]
    pub options: Vec<String>,
    /// File system; a bind mount when it says nothing.
    #[serde(default, rename = "type")]
    pub kind: String,
}

/// A hook.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hook {
    /// When it runs.
    pub hook_name: String,
    /// The program.
    pub path: String,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Its environment.
    #[serde(default)]
    pub env: Vec<String>,
    /// Seconds.
    #[serde(default)]
    pub timeout: Option<i32>,
}

impl Edits {
    pub(super) fn check(&self) -> Result<(), CdiFileError> {
        if self.intel_rdt.is_some() {
            return Err(CdiFileError::Unsupported("intelRdt"));
        }
        if !self.net_devices.is_empty() {
            return Err(CdiFileError::Unsupported("netDevices"));
        }
        let mut hooks = oci::Hooks::default();
        for hook in &self.hooks {
            hooks_at(&mut hooks, &hook.hook_name).ok_or_else(|| {
                CdiFileError::Shape(format!("invalid hook name {:?}", hook.hook_name))
            })?;
        }
        let wrong = |path: &str| !path.starts_with('/');
        let paths = self.device_nodes.iter().map(|node| &node.path);
        match paths
            .chain(self.mounts.iter().map(|mount| &mount.container_path))
            .find(|path| wrong(path))
        {
            Some(path) => Err(CdiFileError::Shape(format!("{path:?} is not an absolute path"))),
            None => Ok(()),
        }
    }
}

fn hooks_at<'a>(hooks: &'a mut oci::Hooks, name: &str) -> Option<&'a mut Vec<oci::Hook>> {
    Some(match name {
        "prestart" => &mut hooks.prestart,
        "createRuntime" => &mut hooks.create_runtime,
        "createContainer" => &mut hooks.create_container,
        "startContainer" => &mut hooks.start_container,
        "poststart" => &mut hooks.poststart,
        "poststop" => &mut hooks.poststop,
        _ => return None,
    })
}

/// Puts one device's needs, or those of all devices of a file, into a specification.
pub(super) fn apply(edits: &Edits, spec: &mut Spec, look_up: NodeLookup<'_>) -> Result<(), String> {
    if let Some(process) = &mut spec.process {
        crate::spec::merge_environment(&mut process.env, &edits.env);
        for gid in &edits.additional_gids {
            // How ferry-runtime takes groups beside those of the user.
            match &mut process.user.username {
                Some(name) => name.push_str(&format!("+{gid}")),
                None => process.user.additional_gids.push(*gid),
            }
        }
    }
    for node in &edits.device_nodes {
        add_node(node, spec, look_up)?;
    }
    for mount in &edits.mounts {
        let bind = mount.kind.is_empty() || mount.kind == "bind";
        let mut options = mount.options.clone();
        if bind && !options.iter().any(|option| option == "bind" || option == "rbind") {
            options.push("rbind".to_owned());
        }
        spec.mounts.retain(|known| known.destination != mount.container_path);
        spec.mounts.push(oci::Mount {
            destination: mount.container_path.clone(),
            kind: Some(if bind { "bind".to_owned() } else { mount.kind.clone() }),
            source: Some(mount.host_path.clone()),
            options,
            ..oci::Mount::default()
        });
    }
    let hooks = spec.hooks.get_or_insert_default();
    for hook in &edits.hooks {
        if let Some(list) = hooks_at(hooks, &hook.hook_name) {
            list.push(oci::Hook {
                path: hook.path.clone().into(),
                args: hook.args.clone(),
                env: hook.env.clone(),
                timeout: hook.timeout,
            });
        }
    }
    Ok(())
}

fn add_node(node: &DeviceNode, spec: &mut Spec, look_up: NodeLookup<'_>) -> Result<(), String> {
    let host_path = if node.host_path.is_empty() { &node.path } else { &node.host_path };
    let fifo = node.kind == "p";
    let on_host = if node.kind.is_empty() || (node.major == 0 && !fifo) {
        Some(look_up(host_path).map_err(|error| error.to_string())?)
    } else {
        None
    };
    let (kind, major, minor) = match &on_host {
        Some(device) => (device.kind.to_string(), device.major, device.minor),
        None => (node.kind.clone(), node.major, node.minor),
    };
    let Some(linux) = &mut spec.linux else { return Ok(()) };
    linux.devices.retain(|known| known.path != node.path);
    linux.devices.push(LinuxDevice {
        path: node.path.clone(),
        kind: kind.clone(),
        major,
        minor,
        file_mode: node.file_mode.or_else(|| on_host.as_ref().map(|device| device.mode)),
        uid: node.uid.or_else(|| on_host.as_ref().map(|device| device.uid)),
        gid: node.gid.or_else(|| on_host.as_ref().map(|device| device.gid)),
    });
    if !fifo {
        let access = if node.permissions.is_empty() { "rwm" } else { &node.permissions };
        linux.resources.get_or_insert_default().devices.push(LinuxDeviceCgroup {
            allow: true,
            kind: Some(kind),
            major: Some(major),
            minor: Some(minor),
            access: Some(access.to_owned()),
        });
    }
    Ok(())
}
