//! Commands that are programs of their own, in docker's protocol: `docker-NAME` in one of the plugin directories, which is given the
//! whole command line.

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::{CliError, Globals, connect::DEFAULT_SOCKET};

/// Where docker looks, after the user's own directory.
const SYSTEM: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

/// The program of a plugin, if there is one.
pub(super) fn find(globals: &Globals, name: &str) -> Option<PathBuf> {
    let plain = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !plain {
        return None;
    }
    let own = globals.config_dir().join("cli-plugins");
    let directories = std::iter::once(own).chain(SYSTEM.iter().map(PathBuf::from));
    directories
        .map(|directory| directory.join(format!("docker-{name}")))
        .find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|status| status.is_file() && status.permissions().mode() & 0o111 != 0)
}

/// Becomes the plugin. Only comes back when that fails.
pub(super) fn become_plugin(
    program: &str,
    path: &Path,
    args: &[String],
    globals: &Globals,
) -> CliError {
    let mut command = Command::new(path);
    let own = std::env::args().next().unwrap_or_else(|| program.to_owned());
    command.args(args).env("DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND", own);
    let says = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let named = !globals.hosts().is_empty() || globals.context().is_some() || says("DOCKER_HOST");
    if program != "docker" && !named {
        // A plugin knows docker's socket; ours is another.
        let host = std::env::var("FERRY_HOST").ok().filter(|host| !host.is_empty());
        command.env("DOCKER_HOST", host.unwrap_or_else(|| format!("unix://{DEFAULT_SOCKET}")));
    }
    let error = command.exec();
    CliError::new(format!("cannot run the plugin {}: {error}", path.display()))
}
