//! `docker images`.

use std::collections::BTreeMap;

use ferry_docker_api::ImageSummary;
use ferry_stdx::{size::format_decimal_short, time::Timestamp};

use crate::{
    format::{List, Row, show, units},
    framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome},
};

pub(crate) const COMMAND: Command = Command {
    name: "ls",
    top: Some("images"),
    aliases: &["list"],
    short: "List images",
    usage: "[OPTIONS] [REPOSITORY[:TAG]]",
    aliases_help: "docker image ls, docker image list, docker images",
    common: Some(6),
    args: Args::AtMost(1),
    flags: FLAGS,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::bool("all", "Show all images (default hides intermediate images)").short('a'),
    Flag::bool("digests", "Show digests"),
    Flag::filter("filter", "Filter output based on conditions provided").short('f'),
    Flag::string("format", "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates"),
    Flag::bool("no-trunc", "Don't truncate output"),
    Flag::bool("quiet", "Only show image IDs").short('q'),
    Flag::bool("tree", "List multi-platform images as a tree (EXPERIMENTAL)"),
];

const LIST: List = List {
    kind: "*formatter.imageContext",
    titles: &[
        ("ID", "IMAGE ID"),
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("Digest", "DIGEST"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("Size", "SIZE"),
        ("Containers", "CONTAINERS"),
        ("SharedSize", "SHARED SIZE"),
        ("UniqueSize", "UNIQUE SIZE"),
        ("VirtualSize", "VIRTUAL SIZE"),
    ],
    table: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}",
    raw: "repository: {{.Repository}}\ntag: {{.Tag}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n",
};

const WITH_DIGESTS: List = List {
    table: "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}",
    ..LIST
};

const NONE: &str = "<none>";

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    if matches.flag("tree") {
        return Err(CliError::new("--tree is not supported yet"));
    }
    let mut filters = matches.filters("filter");
    if !matches.arg(0).is_empty() {
        filters.add("reference", matches.arg(0));
    }
    let client = cli.client()?;
    let call = client
        .get("/images/json")
        .query_if(matches.flag("all"), "all", 1)
        .filters(&filters);
    let images: Vec<ImageSummary> = cli.wait(call.json())?;
    let quiet = matches.flag("quiet");
    let mut format = matches.text("format").to_owned();
    if format.is_empty() && !quiet {
        format = cli.config().images_format().unwrap_or_default();
    }
    let digests = matches.flag("digests") || format.contains("{{.Digest}}");
    let full = matches.flag("no-trunc");
    let mut rows: Vec<Row> = Vec::new();
    for image in &images {
        rows.extend(places(image, digests).iter().map(|place| row(image, place, full)));
    }
    let list = if matches.flag("digests") { WITH_DIGESTS } else { LIST };
    let format = match format.as_str() {
        "" | "table" if quiet => "{{.ID}}",
        "raw" if quiet => "image_id: {{.ID}}",
        format => format,
    };
    show(cli, &list, format, &rows)?;
    Ok(0)
}

/// Repository, tag, digest.
type Place = [String; 3];

/// The rows that an image has: one for each tag, or for each digest if digests are shown.
fn places(image: &ImageSummary, digests: bool) -> Vec<Place> {
    let place = |repository: &str, tag: &str, digest: &str| {
        [repository.to_owned(), tag.to_owned(), digest.to_owned()]
    };
    let mut tags: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in image.repo_tags.iter().flatten().filter(|name| *name != "<none>:<none>") {
        if let Some((repository, tag)) = name.rsplit_once(':') {
            tags.entry(repository).or_default().push(tag);
        }
    }
    let mut by_digest: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in image.repo_digests.iter().flatten().filter(|name| *name != "<none>@<none>") {
        if let Some((repository, digest)) = name.split_once('@') {
            by_digest.entry(repository).or_default().push(digest);
        }
    }
    let mut places = Vec::new();
    for (repository, tags) in tags {
        let own = by_digest.remove(repository).filter(|_| digests).unwrap_or_default();
        for tag in tags {
            if own.is_empty() {
                places.push(place(repository, tag, NONE));
            }
            places.extend(own.iter().map(|digest| place(repository, tag, digest)));
        }
    }
    for (repository, own) in by_digest {
        if digests {
            places.extend(own.iter().map(|digest| place(repository, NONE, digest)));
        } else {
            places.push(place(repository, NONE, NONE));
        }
    }
    if places.is_empty() {
        places.push(place(NONE, NONE, NONE));
    }
    places
}

fn row(image: &ImageSummary, [repository, tag, digest]: &Place, full: bool) -> Row {
    let created = Timestamp::from_seconds(image.created);
    let short = |text: &str| if full { text.to_owned() } else { units::short(text).to_owned() };
    let decimal = |bytes: i64| match u64::try_from(bytes) {
        Ok(bytes) => format_decimal_short(bytes),
        Err(_) => "N/A".to_owned(),
    };
    let unique = if image.shared_size < 0 { -1 } else { image.size - image.shared_size };
    let containers =
        if image.containers < 0 { "N/A".to_owned() } else { image.containers.to_string() };
    Row {
        labels: image.labels.clone().unwrap_or_default(),
        ..Row::default()
            .with("Containers", containers)
            .with("CreatedAt", created.format_go_string())
            .with("CreatedSince", units::ago(Some(created)))
            .with("Digest", digest.as_str())
            .with("ID", short(&image.id))
            .with("Repository", repository.as_str())
            .with("SharedSize", decimal(image.shared_size))
            .with("Size", decimal(image.size))
            .with("Tag", tag.as_str())
            .with("UniqueSize", decimal(unique))
            .with("VirtualSize", ferry_stdx::size::format_decimal(u64::try_from(image.size).unwrap_or(0)))
    }
}
