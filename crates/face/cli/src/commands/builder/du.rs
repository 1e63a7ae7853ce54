//! `docker buildx du`: what the build cache takes.

use ferry_docker_api::{BuildCacheRecord, DiskUsage};

use crate::{
    commands::system::cache,
    format::{render, units},
    framework::{Args, Cli, Command, Flag, Matches, Outcome},
};

pub(crate) const COMMAND: Command = Command {
    name: "du",
    short: "Disk usage",
    usage: "[OPTIONS]",
    args: Args::None,
    flags: FLAGS,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::string("format", "Format the output"),
    Flag::bool("verbose", "Shows detailed information on disk usage"),
];

/// As `docker buildx du` lists records.
const TABLE: &str = "table {{.ID}}\t{{.Reclaimable}}\t{{.Size}}\t{{.LastUsedSince}}";

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let call = client.get("/system/df").query("type", "build-cache");
    let usage: DiskUsage = cli.wait(call.json())?;
    let records = usage.build_cache.unwrap_or_default();
    let rows = cache::rows(&records, false);
    match (matches.text("format"), matches.flag("verbose")) {
        ("", true) => cli.print(&render(&cache::KIND, cache::RAW, &rows)?)?,
        ("", false) => {
            let table = render(&cache::KIND, TABLE, &rows)?;
            cli.print(&format!("{table}{}", sums(&records)))?;
        }
        (format, _) => cli.print(&render(&cache::KIND, format, &rows)?)?,
    }
    Ok(0)
}

/// What can be had back, and what there is.
fn sums(records: &[BuildCacheRecord]) -> String {
    let total: i64 = records.iter().map(|record| record.size).sum();
    let shared: i64 = records.iter().filter(|record| record.shared).map(|record| record.size).sum();
    let free = records.iter().filter(|record| !record.in_use && !record.shared);
    let free: i64 = free.map(|record| record.size).sum();
    let mut text = String::new();
    for (name, bytes) in
        [("Shared", shared), ("Private", total - shared), ("Reclaimable", free), ("Total", total)]
    {
        if bytes > 0 || !matches!(name, "Shared" | "Private") {
            text.push_str(&format!("{name}:\t{}\n", units::short_size(bytes)));
        }
    }
    text
}
