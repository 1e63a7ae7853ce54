//! `docker manifest`: lists of manifests, made here and pushed to a registry.

mod list;
mod store;

use ferry_cli::{
    face::{Args, Cli, CliError, Command, Group, Outcome, config_dir},
    flags::{Flag, Matches},
};
use ferry_oci::{Platform, Reference};

use self::{
    list::{Remote, index_of},
    store::{Kept, Store},
};
use crate::registry::name;

/// The commands.
pub(crate) const GROUP: Group = Group {
    name: "manifest",
    short: "Manage Docker image manifests and manifest lists",
    commands: &[ANNOTATE, CREATE, INSPECT, PUSH, REMOVE],
};

const ANNOTATE: Command = Command {
    name: "annotate",
    short: "Add additional information to a local image manifest",
    usage: "[OPTIONS] MANIFEST_LIST MANIFEST",
    flags: &[
        Flag::string("arch", "Set architecture"),
        Flag::string("os", "Set operating system"),
        Flag::value("os-features", "strings", "Set operating system feature"),
        Flag::string("os-version", "Set operating system version"),
        Flag::string("variant", "Set architecture variant"),
    ],
    args: Args::Exactly(2),
    run: annotate,
    ..Command::NEW
};

const CREATE: Command = Command {
    name: "create",
    short: "Create a local manifest list for annotating and pushing to a registry",
    usage: "MANIFEST_LIST MANIFEST [MANIFEST...]",
    flags: &[
        Flag::bool("amend", "Amend an existing manifest list").short('a'),
        Flag::bool("insecure", "Allow communication with an insecure registry"),
    ],
    args: Args::AtLeast(2),
    run: create,
    ..Command::NEW
};

const INSPECT: Command = Command {
    name: "inspect",
    short: "Display an image manifest, or manifest list",
    usage: "[OPTIONS] [MANIFEST_LIST] MANIFEST",
    flags: &[
        Flag::bool("insecure", "Allow communication with an insecure registry"),
        Flag::bool("verbose", "Output additional info including layers and platform").short('v'),
    ],
    args: Args::Between(1, 2),
    run: inspect,
    ..Command::NEW
};

const PUSH: Command = Command {
    name: "push",
    short: "Push a manifest list to a repository",
    usage: "[OPTIONS] MANIFEST_LIST",
    flags: &[
        Flag::bool("insecure", "Allow push to an insecure registry"),
        Flag::bool("purge", "Remove the local manifest list after push").short('p'),
    ],
    args: Args::Exactly(1),
    run: push,
    ..Command::NEW
};

const REMOVE: Command = Command {
    name: "rm",
    short: "Delete one or more manifest lists from local storage",
    usage: "MANIFEST_LIST [MANIFEST_LIST...]",
    args: Args::AtLeast(1),
    run: remove,
    ..Command::NEW
};

/// Platforms that Go can be built for, and so those that docker lets a list have.
const PLATFORMS: &[(&str, &[&str])] = &[
    ("darwin", &["386", "amd64", "arm", "arm64"]),
    ("dragonfly", &["amd64"]),
    ("freebsd", &["386", "amd64", "arm"]),
    (
        "linux",
        &["386", "amd64", "arm", "arm64", "ppc64le", "mips64", "mips64le", "riscv64", "s390x"],
    ),
    ("netbsd", &["386", "amd64", "arm"]),
    ("openbsd", &["386", "amd64", "arm"]),
    ("plan9", &["386", "amd64"]),
    ("solaris", &["amd64"]),
    ("windows", &["386", "amd64", "arm", "arm64"]),
];

fn store(cli: &Cli) -> Store {
    Store::new(&config_dir(cli))
}

fn no_such(list: &Reference) -> CliError {
    CliError::new(format!("No such manifest: {}", list.canonical()))
}

fn annotate(cli: &Cli, matches: &Matches) -> Outcome {
    let (list, manifest) =
        (named("manifest list", matches.arg(0))?, named("manifest", matches.arg(1))?);
    let store = store(cli);
    let Some(mut kept) = store.get(&list, &manifest)? else {
        return Err(CliError::new(format!(
            "manifest for image {} does not exist in {}",
            matches.arg(1),
            matches.arg(0)
        )));
    };
    let mut platform = kept.descriptor.platform.take().unwrap_or_default();
    let set = |field: &mut String, name: &str| {
        if !matches.text(name).is_empty() {
            matches.text(name).clone_into(field);
        }
    };
    set(&mut platform.os, "os");
    set(&mut platform.architecture, "arch");
    let given = |name: &str| Some(matches.text(name).to_owned()).filter(|text| !text.is_empty());
    platform.variant = given("variant").or(platform.variant);
    platform.os_version = given("os-version").or(platform.os_version);
    for feature in matches.texts("os-features").iter().flat_map(|text| text.split(',')) {
        if !platform.os_features.iter().any(|known| known == feature) {
            platform.os_features.push(feature.to_owned());
        }
    }
    if !is_known(&platform) {
        return Err(CliError::new(format!(
            "manifest entry for image has unsupported os/arch combination: {}/{}",
            matches.text("os"),
            matches.text("arch")
        )));
    }
    kept.descriptor.platform = Some(platform);
    store.save(&list, &manifest, &kept)?;
    Ok(0)
}

fn named(what: &str, text: &str) -> Result<Reference, CliError> {
    name(text).map_err(|error| {
        error
            .map_message(|words| format!("annotate: error parsing name for {what} {text}: {words}"))
    })
}

fn is_known(platform: &Platform) -> bool {
    let of_system = PLATFORMS.iter().find(|(os, _)| *os == platform.os);
    of_system.is_some_and(|(_, all)| all.contains(&platform.architecture.as_str()))
}

fn create(cli: &Cli, matches: &Matches) -> Outcome {
    let (first, rest) = (matches.arg(0), matches.args().get(1..).unwrap_or_default());
    let list = name(first).map_err(|error| {
        error.map_message(|words| format!("error parsing name for manifest list {first}: {words}"))
    })?;
    let store = store(cli);
    if store.list(&list)?.is_some() && !matches.flag("amend") {
        return Err(CliError::new(
            "refusing to amend an existing manifest list with no --amend flag",
        ));
    }
    for text in rest {
        let manifest = name(text)?;
        let kept = match store.get(&list, &manifest)?.filter(|kept| !kept.raw.is_empty()) {
            Some(kept) => kept,
            None => match cli.wait(Remote::new(cli, matches, &manifest)?.manifest())? {
                Some(kept) => kept,
                None => {
                    return Err(CliError::new(format!(
                        "no such manifest: {}",
                        manifest.canonical()
                    )));
                }
            },
        };
        store.save(&list, &manifest, &kept)?;
    }
    cli.println(&format!("Created manifest list {}", list.canonical()))?;
    Ok(0)
}

fn inspect(cli: &Cli, matches: &Matches) -> Outcome {
    let verbose = matches.flag("verbose");
    let store = store(cli);
    if let [list, manifest] = matches.args() {
        let (list, manifest) = (name(list)?, name(manifest)?);
        let kept = store.get(&list, &manifest)?.ok_or_else(|| no_such(&manifest))?;
        return show_manifest(cli, &kept, verbose);
    }
    let wanted = name(matches.arg(0))?;
    if let Some(list) = store.list(&wanted)? {
        return show_list(cli, &list, verbose);
    }
    let remote = Remote::new(cli, matches, &wanted)?;
    if let Some(kept) = cli.wait(remote.manifest())? {
        return show_manifest(cli, &kept, verbose);
    }
    match cli.wait(remote.list())? {
        Some(list) => show_list(cli, &list, verbose),
        None => Err(CliError::new(format!("no such manifest: {}", wanted.canonical()))),
    }
}

fn show_manifest(cli: &Cli, kept: &Kept, verbose: bool) -> Outcome {
    let text = if verbose {
        pretty(kept, b"\t")?
    } else {
        let value: serde_json::Value = serde_json::from_slice(&kept.json()?)
            .map_err(|error| CliError::new(format!("{} does not read: {error}", kept.name)))?;
        pretty(&value, b"\t")?
    };
    cli.println(&text)?;
    Ok(0)
}

fn show_list(cli: &Cli, list: &[Kept], verbose: bool) -> Outcome {
    let text = if verbose { pretty(&list, b"\t")? } else { pretty(&index_of(list), b"   ")? };
    cli.println(&text)?;
    Ok(0)
}

/// JSON as Go indents it.
fn pretty(value: &impl serde::Serialize, indent: &[u8]) -> Result<String, CliError> {
    let mut text = Vec::new();
    let layout = serde_json::ser::PrettyFormatter::with_indent(indent);
    let mut writer = serde_json::Serializer::with_formatter(&mut text, layout);
    value
        .serialize(&mut writer)
        .map_err(|error| CliError::new(format!("cannot write JSON: {error}")))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn push(cli: &Cli, matches: &Matches) -> Outcome {
    let list = name(matches.arg(0))?;
    let store = store(cli);
    let kept = store.list(&list)?.ok_or_else(|| no_such(&list))?;
    if kept.is_empty() {
        return Err(CliError::new(format!("{} not found", list.canonical())));
    }
    for manifest in &kept {
        let platform = manifest.descriptor.platform.clone().unwrap_or_default();
        if platform.os.is_empty() || platform.architecture.is_empty() {
            return Err(CliError::new(format!(
                "manifest {} must have an OS and Architecture to be pushed to a registry",
                manifest.name
            )));
        }
        let from = manifest.reference()?;
        if from.domain() != list.domain() {
            return Err(CliError::new(format!(
                "cannot use source images from a different registry than the target image: {} != {}",
                from.domain(),
                list.domain()
            ))
            .with_hint("copy them there first: image cp SOURCE DESTINATION"));
        }
    }
    let text = pretty(&index_of(&kept), b"   ")?;
    let remote = Remote::new(cli, matches, &list)?;
    let digest = cli.wait(remote.push(cli, &kept, text.into()))?;
    cli.println(&digest.to_string())?;
    if matches.flag("purge") {
        store.remove(&list)?;
    }
    Ok(0)
}

fn remove(cli: &Cli, matches: &Matches) -> Outcome {
    let store = store(cli);
    let mut failures = Vec::new();
    for text in matches.args() {
        let removed = name(text).and_then(|list| match store.list(&list)? {
            Some(_) => store.remove(&list),
            None => Err(no_such(&list)),
        });
        if let Err(error) = removed {
            failures.push(error.message().to_owned());
        }
    }
    if failures.is_empty() { Ok(0) } else { Err(CliError::new(failures.join("\n"))) }
}
