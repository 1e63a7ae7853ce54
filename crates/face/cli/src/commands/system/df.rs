//! `docker system df`.

use ferry_docker_api::{BuildCacheRecord, ContainerSummary, DiskUsage, ImageSummary, Volume};
use ferry_gotemplate::Options;
use serde_json::{Value, json};

use super::cache;
use crate::{
    format::{Kind, Row, container, image, render, template_of, units, volume},
    framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome},
};

pub(crate) const COMMAND: Command = Command {
    name: "df",
    short: "Show docker disk usage",
    usage: "[OPTIONS]",
    args: Args::None,
    flags: FLAGS,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::string(
        "format",
        "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates",
    ),
    Flag::bool("verbose", "Show detailed information on space usage").short('v'),
];

const KIND: Kind = Kind {
    name: "*formatter.diskUsageImagesContext",
    titles: &[
        ("Type", "TYPE"),
        ("TotalCount", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ],
};

const TABLE: &str = "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";
const RAW: &str = "type: {{.Type}}\ntotal: {{.TotalCount}}\nactive: {{.Active}}\nsize: {{.Size}}\nreclaimable: {{.Reclaimable}}\n";

const IMAGES: &str = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}";
const CONTAINERS: &str = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}";
const VOLUMES: &str = "table {{.Name}}\t{{.Links}}\t{{.Size}}";

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let usage: DiskUsage = cli.wait(client.get("/system/df").json())?;
    let format = match matches.text("format") {
        "" => "table",
        format => format,
    };
    let text = match (matches.flag("verbose"), format) {
        (true, format) => verbose(&usage, format)?,
        (false, "table") => render(&KIND, TABLE, &summary(&usage))?,
        (false, "raw") => render(&KIND, RAW, &summary(&usage))?,
        (false, format) => render(&KIND, format, &summary(&usage))?,
    };
    cli.print(&text)?;
    Ok(0)
}

fn summary(usage: &DiskUsage) -> [Row; 4] {
    [
        images(usage.images.as_deref().unwrap_or_default(), usage.layers_size),
        containers(usage.containers.as_deref().unwrap_or_default()),
        volumes(usage.volumes.as_deref().unwrap_or_default()),
        build_cache(usage.build_cache.as_deref().unwrap_or_default()),
    ]
}

fn row(kind: &str, total: usize, active: usize, size: i64, reclaimable: String) -> Row {
    Row::default()
        .with("Type", kind)
        .with("TotalCount", total.to_string())
        .with("Active", active.to_string())
        .with("Size", units::long_size(size))
        .with("Reclaimable", reclaimable)
}

/// `1.2MB (40%)`.
fn share(part: i64, of: i64) -> String {
    let size = units::long_size(part);
    if of > 0 { format!("{size} ({}%)", part.saturating_mul(100) / of) } else { size }
}

fn images(images: &[ImageSummary], layers: i64) -> Row {
    let active = images.iter().filter(|image| image.containers > 0).count();
    let known = |image: &&ImageSummary| image.size != -1 && image.shared_size != -1;
    let used: i64 = images
        .iter()
        .filter(|image| image.containers != 0)
        .filter(known)
        .map(|image| image.size - image.shared_size)
        .sum();
    row("Images", images.len(), active, layers, share(layers - used, layers))
}

fn containers(containers: &[ContainerSummary]) -> Row {
    let is_active = |container: &&ContainerSummary| {
        matches!(container.state.as_str(), "running" | "paused" | "restarting")
    };
    let sum = |all: &[&ContainerSummary]| all.iter().map(|one| one.size_rw).sum::<i64>();
    let (active, idle): (Vec<_>, Vec<_>) = containers.iter().partition(is_active);
    let (idle, all) = (sum(&idle), sum(&idle) + sum(&active));
    row("Containers", containers.len(), active.len(), all, share(idle, all))
}

fn volumes(volumes: &[Volume]) -> Row {
    let usage: Vec<(i64, i64)> = volumes
        .iter()
        .filter_map(|volume| volume.usage_data.as_ref())
        .map(|usage| (usage.ref_count, usage.size.max(0)))
        .collect();
    let active = usage.iter().filter(|(users, _)| *users > 0).count();
    let size = usage.iter().map(|(_, size)| size).sum();
    let idle = usage.iter().filter(|(users, _)| *users == 0).map(|(_, size)| size).sum();
    row("Local Volumes", volumes.len(), active, size, share(idle, size))
}

fn build_cache(records: &[BuildCacheRecord]) -> Row {
    let active = records.iter().filter(|record| record.in_use).count();
    let size = cache::size(records);
    let used: i64 =
        records.iter().filter(|one| one.in_use && !one.shared).map(|one| one.size).sum();
    row("Build Cache", records.len(), active, size, units::long_size(size - used))
}

/// Every single thing.
fn verbose(usage: &DiskUsage, format: &str) -> Result<String, CliError> {
    let trunc = format.starts_with("table");
    let images: Vec<Row> = usage.images.iter().flatten().map(|one| image_row(one, trunc)).collect();
    let wants = container::Wants::all();
    let containers: Vec<Row> = usage
        .containers
        .iter()
        .flatten()
        .map(|one| ContainerSummary { size_root_fs: 0, ..one.clone() })
        .map(|one| container::row(&one, trunc, &wants))
        .collect();
    let volumes: Vec<Row> = usage.volumes.iter().flatten().map(volume::row).collect();
    let records = usage.build_cache.as_deref().unwrap_or_default();
    let cached = cache::rows(records, trunc);
    if format == "table" {
        return Ok(format!(
            "Images space usage:\n\n{}\nContainers space usage:\n\n{}\nLocal Volumes space usage:\n\n{}\nBuild cache usage: {}\n\n{}",
            render(&image::KIND, IMAGES, &images)?,
            render(&container::KIND, CONTAINERS, &containers)?,
            render(&volume::KIND, VOLUMES, &volumes)?,
            units::long_size(cache::size(records)),
            render(&cache::KIND, cache::TABLE, &cached)?,
        ));
    }
    let values = |rows: &[Row]| rows.iter().map(Row::value).collect::<Vec<Value>>();
    let all = json!({
        "Images": values(&images),
        "Containers": values(&containers),
        "Volumes": values(&volumes),
        "BuildCache": values(&cached),
    });
    let raw = raw();
    let template = template_of(if format == "raw" { &raw } else { format })?;
    let options = Options {
        missing: ferry_gotemplate::Missing::Strict("*formatter.diskUsageContext"),
        escape_html: true,
        ..Options::default()
    };
    let mut text = String::new();
    template
        .execute(&all, &options, &mut text)
        .map_err(|error| CliError::new(error.to_string()))?;
    Ok(text)
}

fn raw() -> String {
    let part = |list: &str, title: &str, format: &str| {
        format!("{{{{range .{list}}}}}type: {title}\n{format}\n{{{{end -}}}}\n")
    };
    let mut text = part("Images", "Image", &image::format("raw", false, true));
    text += &part("Containers", "Container", &container::format("raw", false, true));
    text += &part("Volumes", "Volume", &volume::format("raw", false));
    text += &part("BuildCache", "Build Cache", cache::RAW);
    text.trim_end().to_owned()
}

/// An image under its first name.
fn image_row(image: &ImageSummary, trunc: bool) -> Row {
    let first = image.repo_tags.iter().flatten().next();
    let name = first.and_then(|name| ferry_oci::Reference::parse(name).ok());
    match name.as_ref().and_then(|name| Some((name.familiar_name(), name.tag()?))) {
        Some((repository, tag)) if !image::is_dangling(image) => {
            image::row(image, &repository, tag, "", trunc)
        }
        _ => image::row(image, "<none>", "<none>", "", trunc),
    }
}
