//! `compose build`.

use std::collections::BTreeSet;

use ferry_cli::{
    face::{Args, CliError, Command, Outcome, run_words},
    flags::{Flag, Matches},
};

use super::{Compose, DRY, Verb, select};
use crate::run::{
    images::{self, Building},
    order::sorted,
};

pub(super) static BUILD: Verb = Verb {
    command: Command {
        name: "build",
        short: "Build or rebuild services",
        usage: "[OPTIONS] [SERVICE...]",
        args: Args::Any,
        flags: &[
            Flag::value("build-arg", "stringArray", "Set build-time variables for services"),
            Flag::string("builder", "Set builder to use"),
            Flag::bool("check", "Check build configuration"),
            DRY,
            Flag::bytes(
                "memory",
                "Set memory limit for the build container. Not supported by BuildKit.",
            )
            .short('m'),
            Flag::bool("no-cache", "Do not use cache when building the image"),
            Flag::bool("print", "Print equivalent bake file"),
            Flag::string("provenance", "Add a provenance attestation"),
            Flag::bool("pull", "Always attempt to pull a newer version of the image"),
            Flag::bool("push", "Push service images"),
            Flag::bool("quiet", "Suppress the build output").short('q'),
            Flag::string("sbom", "Add a SBOM attestation"),
            Flag::string(
                "ssh",
                "Set SSH authentications used when building service images. (use 'default' for using your default SSH Agent)",
            ),
            Flag::bool("with-dependencies", "Also build dependencies (transitively)"),
        ],
        ..Command::NEW
    },
    run,
};

/// What the builder of the Engine API does not have.
const REFUSED: [&str; 6] = ["builder", "check", "print", "provenance", "sbom", "ssh"];

fn run(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    if let Some(name) = REFUSED.iter().find(|name| matches.is_set(name)) {
        return Err(CliError::new(format!("the classic builder doesn't support --{name}")));
    }
    let mut project = compose.project()?;
    let names = select(&mut project, matches.args(), matches.flag("with-dependencies"))?;
    let session = compose.session()?;
    let how = Building {
        quiet: matches.flag("quiet"),
        no_cache: matches.flag("no-cache"),
        pull: matches.flag("pull"),
        memory: if matches.is_set("memory") {
            matches.text("memory").to_owned()
        } else {
            String::new()
        },
        args: matches.texts("build-arg").to_vec(),
    };
    let buildable: BTreeSet<&String> = names
        .iter()
        .filter(|name| project.services.get(*name).is_some_and(|one| one.build.is_some()))
        .collect();
    if buildable.is_empty() {
        compose.cli.warn("WARN[0000] No services to build");
    }
    for name in sorted(&project, &names) {
        let Some(service) = project.services.get(&name).filter(|one| one.build.is_some()) else {
            continue;
        };
        images::build(&session, &project, service, &how, "build was asked for")?;
        if matches.flag("push") && !service.image.is_empty() {
            let words = ["push".to_owned(), service.image.clone()];
            if compose.dry {
                compose.cli.println(&format!("POST /images/{}/push  # --push", service.image))?;
            } else {
                run_words(compose.cli, &words)?;
            }
        }
    }
    Ok(0)
}
