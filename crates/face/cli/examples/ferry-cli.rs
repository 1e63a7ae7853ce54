//! The command line alone, to run next to docker's.

fn main() -> std::process::ExitCode {
    let args: Vec<String> =
        std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    std::process::ExitCode::from(ferry_cli::main(&args, &[], &[]))
}
