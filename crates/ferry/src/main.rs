//! Ferry: one program that is the daemon, the command line, the process that shims are forked from, and the built-in
//! image's web server. Which of them it is, is said by its first argument, or by its name (`docker`, `docker-compose`, `dockerd`,
//! `docker-init`, `docker-credential-ferry`, `ferry-oci`).
//!
//! Knows: every face. Does not know: how anything is done. Start with `main`, `daemon/mod.rs`, `welcome.rs`.

mod daemon;
mod welcome;

use std::process::ExitCode;

/// The faces that are commands of the command line.
const EXTENSIONS: &[ferry_cli::face::Extension] = &[
    ferry_compose::EXTENSION,
    ferry_kube::EXTENSION,
    ferry_registry::EXTENSION,
    ferry_desktop::EXTENSION,
    ferry_top::EXTENSION,
];

/// The commands that are among those of the command line.
const GROUPS: &[ferry_cli::face::Group] = ferry_distribution::GROUPS;

fn main() -> ExitCode {
    let args: Vec<String> =
        std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let program = args.first().and_then(|path| path.rsplit('/').next()).unwrap_or("ferry");
    if program == "dockerd" {
        return daemon::run(program, args.get(1..).unwrap_or_default());
    }
    if program == "docker-init" {
        let code = ferry_runtime::init_main(args.get(1..).unwrap_or_default());
        return ExitCode::from(u8::try_from(code).unwrap_or(1));
    }
    if program == "ferry-oci" {
        return ExitCode::from(ferry_oci_cli::main(args.get(1..).unwrap_or_default()));
    }
    if program == ferry_cli::CREDENTIAL_HELPER {
        return ExitCode::from(ferry_cli::credential_helper_main(
            args.get(1..).unwrap_or_default(),
        ));
    }
    if program == "docker-compose" {
        return ExitCode::from(ferry_compose::main(program, args.get(1..).unwrap_or_default()));
    }
    match args.get(1).map(String::as_str) {
        Some("daemon") => daemon::run("ferry daemon", &args[2..]),
        Some("oci") => ExitCode::from(ferry_oci_cli::main(&args[2..])),
        Some("shim-template") => ferry_shim::template_main(),
        Some("welcome") => welcome::run(&args[2..]),
        _ => ExitCode::from(ferry_cli::main(&args, EXTENSIONS, GROUPS)),
    }
}
