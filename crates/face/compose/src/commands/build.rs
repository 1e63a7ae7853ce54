//! `compose build`.

use ferry_cli::{
    face::{Args, CliError, Command, Outcome, run_words},
    flags::{Flag, Matches},
};

use super::{Compose, DRY, Verb, select};
use crate::run::builds::{self, Building, build_order};

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

fn run(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    if !matches!(matches.text("builder"), "" | "default") {
        return Err(CliError::new(format!("no builder {:?} found", matches.text("builder"))));
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
        ssh: matches.text("ssh").to_owned(),
        check: matches.flag("check"),
        push: matches.flag("push"),
        provenance: matches.text("provenance").to_owned(),
        sbom: matches.text("sbom").to_owned(),
        one_platform: false,
    };
    let services = build_order(&project, &names);
    if services.is_empty() {
        return Ok(0);
    }
    if matches.flag("print") {
        let file = builds::bake(&session, &project, &services, &how)?;
        compose.cli.println(&format!("{file:#}"))?;
        return Ok(0);
    }
    for service in services {
        builds::build(&session, &project, service, &how, "build was asked for")?;
        if how.push && !how.check && !service.image.is_empty() {
            let words = ["push".to_owned(), service.image.clone()];
            if compose.dry {
                compose.cli.println(&format!("POST /images/{}/push  # --push", service.image))?;
                continue;
            }
            let code = run_words(compose.cli, &words)?;
            if code != 0 {
                return Ok(code);
            }
        }
    }
    Ok(0)
}
