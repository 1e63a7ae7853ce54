//! `ferry registry gc` and `ferry registry scrub`: by the running server, or here when none runs.

use std::path::Path;

use ferry_cli::{
    face::{Args, Cli, CliError, Command, Outcome},
    flags::{Flag, Matches},
};
use ferry_registry_store::{GcOptions, Limits, Pattern, Rule, Scrubbed, Store, StoreError};
use ferry_stdx::size::format_decimal;
use serde::de::DeserializeOwned;

use super::{ROOT, failed, seconds};
use crate::control::{self, CollectAnswer, Request};

pub(super) const GC: Command = Command {
    name: "gc",
    short: "Remove what nobody needs, while people push and pull",
    usage: "[OPTIONS]",
    flags: &[
        Flag::bool("dry-run", "Only say what would go"),
        Flag::duration(
            "grace",
            "What a push sent or asked for stays for so long without a manifest",
        )
        .default("2h0m0s"),
        Flag::list(
            "immutable",
            "Tags that no rule removes when no server runs; a server knows its own: REPOSITORY[:TAG]",
        ),
        Flag::list("retain", "Which tags stay: REPOSITORY[:TAG],keep=N,older=30d"),
        ROOT,
        Flag::duration("untagged", "Remove manifests without a tag after so long; 0s for never"),
        Flag::duration("uploads", "Give uploads up to which nothing came for so long")
            .default("24h0m0s"),
    ],
    args: Args::None,
    run: gc,
    ..Command::NEW
};

pub(super) const SCRUB: Command = Command {
    name: "scrub",
    short: "Read and verify everything; what is damaged is listed",
    usage: "[OPTIONS]",
    flags: &[ROOT],
    args: Args::None,
    run: scrub,
    ..Command::NEW
};

fn perform<T: DeserializeOwned>(
    cli: &Cli,
    matches: &Matches,
    immutable: Vec<Pattern>,
    request: &Request,
) -> Result<T, CliError> {
    let root = Path::new(matches.text("root"));
    if !root.join("registry.db").is_file() {
        return Err(CliError::new(format!("there is no registry in {}", root.display())));
    }
    let done = match Store::open(root, Limits::default(), immutable) {
        Ok(store) => control::here(&store, request),
        Err(StoreError::InUse(_)) => cli.wait(control::ask(root, request)),
        Err(error) => return Err(failed(&error)),
    };
    done.map_err(CliError::new)
}

fn gc(cli: &Cli, matches: &Matches) -> Outcome {
    let rules = matches.texts("retain");
    for rule in rules {
        rule.parse::<Rule>().map_err(|error| CliError::new(error.to_string()))?;
    }
    let untagged = seconds(matches, "untagged");
    let options = GcOptions {
        grace: seconds(matches, "grace"),
        untagged: (untagged > 0).then_some(untagged),
        uploads: seconds(matches, "uploads"),
        dry: matches.flag("dry-run"),
    };
    let dry = options.dry;
    let immutable = matches.texts("immutable").iter().map(|text| Pattern::new(text)).collect();
    let request = Request::Collect(options, rules.to_vec());
    let CollectAnswer { expired, collected } = perform(cli, matches, immutable, &request)?;
    for tag in &expired {
        cli.println(&format!("{}:{} {}", tag.repository, tag.tag, tag.digest))?;
    }
    let words = if dry { "would remove" } else { "removed" };
    cli.println(&format!(
        "{words} {} tags, {} manifests, {} links, {} blobs with {}, {} uploads",
        expired.len(),
        collected.manifests,
        collected.links,
        collected.blobs,
        format_decimal(collected.bytes),
        collected.uploads
    ))?;
    Ok(0)
}

fn scrub(cli: &Cli, matches: &Matches) -> Outcome {
    let scrubbed: Scrubbed = perform(cli, matches, Vec::new(), &Request::Scrub)?;
    for damage in &scrubbed.damage {
        cli.println(&damage.to_string())?;
    }
    let size = format_decimal(scrubbed.bytes);
    cli.println(&format!(
        "{} blobs with {size} read, {} damaged",
        scrubbed.blobs,
        scrubbed.damage.len()
    ))?;
    Ok(u8::from(!scrubbed.damage.is_empty()))
}
