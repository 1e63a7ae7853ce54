//! `docker build`, which is refused by name: its flags are known, so that what is refused is the command.

use crate::framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome};

pub(crate) const BUILD: Command = Command {
    name: "build",
    top: Some("build"),
    short: "Build an image from a Dockerfile",
    usage: "[OPTIONS] PATH | URL | -",
    aliases_help: "docker image build, docker build, docker builder build",
    common: Some(3),
    flags: BUILD_FLAGS,
    args: Args::Any,
    run: build,
    ..Command::NEW
};

const BUILD_FLAGS: &[Flag] = &[
    Flag::list("add-host", "Add a custom host-to-IP mapping (\"host:ip\")"),
    Flag::list("build-arg", "Set build-time variables"),
    Flag::value("cache-from", "strings", "Images to consider as cache sources"),
    Flag::string(
        "cgroup-parent",
        "Set the parent cgroup for the \"RUN\" instructions during build",
    ),
    Flag::bool("compress", "Compress the build context using gzip"),
    Flag::int("cpu-period", "Limit the CPU CFS (Completely Fair Scheduler) period"),
    Flag::int("cpu-quota", "Limit the CPU CFS (Completely Fair Scheduler) quota"),
    Flag::int("cpu-shares", "CPU shares (relative weight)").short('c'),
    Flag::string("cpuset-cpus", "CPUs in which to allow execution (0-3, 0,1)"),
    Flag::string("cpuset-mems", "MEMs in which to allow execution (0-3, 0,1)"),
    Flag::bool("disable-content-trust", "Skip image verification").default("true"),
    Flag::string("file", "Name of the Dockerfile (Default is \"PATH/Dockerfile\")").short('f'),
    Flag::bool("force-rm", "Always remove intermediate containers"),
    Flag::string("iidfile", "Write the image ID to the file"),
    Flag::string("isolation", "Container isolation technology"),
    Flag::list("label", "Set metadata for an image"),
    Flag::bytes("memory", "Memory limit").short('m'),
    Flag::bytes("memory-swap", "Swap limit equal to memory plus swap: -1 to enable unlimited swap"),
    Flag::string("network", "Set the networking mode for the RUN instructions during build")
        .default("default"),
    Flag::bool("no-cache", "Do not use cache when building the image"),
    Flag::string("platform", "Set platform if server is multi-platform capable"),
    Flag::bool("pull", "Always attempt to pull a newer version of the image"),
    Flag::bool("quiet", "Suppress the build output and print image ID on success").short('q'),
    Flag::bool("rm", "Remove intermediate containers after a successful build").default("true"),
    Flag::value("security-opt", "strings", "Security options"),
    Flag::bytes("shm-size", "Size of \"/dev/shm\""),
    Flag::bool("squash", "Squash newly built layers into a single new layer"),
    Flag::list("tag", "Name and optionally a tag in the \"name:tag\" format").short('t'),
    Flag::string("target", "Set the target build stage to build."),
    Flag::value("ulimit", "ulimit", "Ulimit options").shown("[]"),
];

fn build(cli: &Cli, _: &Matches) -> Outcome {
    Err(CliError::new(format!("not supported yet: {}", cli.path()))
        .with_hint("build with another tool and bring the image in with `load`, or make a root file system and `import` it"))
}
