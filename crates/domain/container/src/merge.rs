//! An image's defaults under what the user asked for.

use ferry_model::{
    container::{ContainerSpec, HealthCheck},
    network::PortKey,
};
use ferry_oci::ImageConfig;

/// Completes `spec` with the image's configuration, by Docker's rules (`runconfig.Merge` and the daemon's
/// `mergeAndVerifyConfig`): the user's word wins, except that environment, labels, ports and volumes are united, and an entry
/// point of the user drops the image's command.
pub fn merge_image(spec: &mut ContainerSpec, image: &ImageConfig) {
    let Some(config) = &image.config else { return };
    if spec.user.is_empty() {
        spec.user = config.user.clone().unwrap_or_default();
    }
    for port in config.exposed_ports.iter().flatten() {
        if let Ok(port) = port.parse::<PortKey>() {
            spec.exposed_ports.insert(port);
        }
    }
    for line in config.env.iter().flatten() {
        let name = env_name(line);
        if !spec.env.iter().any(|own| env_name(own) == name) {
            spec.env.push(line.clone());
        }
    }
    for (key, value) in config.labels.iter().flatten() {
        spec.labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    merge_command(spec, config);
    merge_healthcheck(spec, config.healthcheck.as_ref());
    if spec.working_dir.is_empty() {
        spec.working_dir = config.working_dir.clone().unwrap_or_default();
    }
    spec.volumes.extend(config.volumes.iter().flatten().cloned());
    if spec.stop_signal.is_none() {
        spec.stop_signal = config.stop_signal.clone().filter(|signal| !signal.is_empty());
    }
    if spec.shell.is_none() {
        spec.shell = config.shell.clone();
    }
    if spec.on_build.is_empty() {
        spec.on_build = config.on_build.clone().unwrap_or_default();
    }
}

fn merge_command(spec: &mut ContainerSpec, config: &ferry_oci::ContainerDefaults) {
    if spec.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        let reset = spec.entrypoint.as_ref().is_some_and(Vec::is_empty);
        if spec.cmd.as_ref().is_none_or(Vec::is_empty) {
            spec.cmd = config.cmd.clone().filter(|cmd| !cmd.is_empty());
            spec.args_escaped = config.args_escaped.unwrap_or_default();
        }
        if !reset {
            spec.entrypoint = config.entrypoint.clone().filter(|entry| !entry.is_empty());
        }
    }
    // `--entrypoint ""` reaches us as [""] and means: none, and not the image's either.
    if spec.entrypoint.as_ref().is_some_and(|entry| entry.len() == 1 && entry[0].is_empty()) {
        spec.entrypoint = None;
    }
}

fn merge_healthcheck(spec: &mut ContainerSpec, image: Option<&ferry_oci::HealthDefaults>) {
    let Some(image) = image else { return };
    let own = spec.healthcheck.get_or_insert_with(HealthCheck::default);
    if own.test.is_empty() {
        own.test = image.test.clone().unwrap_or_default();
    }
    let inherit = |own: &mut i64, image: Option<i64>| {
        if *own == 0 {
            *own = image.unwrap_or(0);
        }
    };
    inherit(&mut own.interval, image.interval);
    inherit(&mut own.timeout, image.timeout);
    inherit(&mut own.start_period, image.start_period);
    inherit(&mut own.start_interval, image.start_interval);
    inherit(&mut own.retries, image.retries);
}

fn env_name(line: &str) -> &str {
    line.split_once('=').map_or(line, |(name, _)| name)
}
