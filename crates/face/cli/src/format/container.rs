//! Containers as rows: `ps` and `system df -v`.

use ferry_docker_api::ContainerSummary;
use ferry_oci::Reference;
use serde_json::Value;

use super::{Kind, Row, displayable, template_of, units};
use crate::framework::{CliError, quote};

/// A list of containers.
pub(crate) const KIND: Kind = Kind {
    name: "*formatter.ContainerContext",
    titles: &[
        ("ID", "CONTAINER ID"),
        ("Names", "NAMES"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("CreatedAt", "CREATED AT"),
        ("RunningFor", "CREATED"),
        ("Ports", "PORTS"),
        ("State", "STATE"),
        ("Status", "STATUS"),
        ("Size", "SIZE"),
        ("Labels", "LABELS"),
        ("Mounts", "MOUNTS"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Networks", "NETWORKS"),
        ("Platform", "PLATFORM"),
    ],
};

const TABLE: &str =
    "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";
const RAW: &str = "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\nstate: {{- pad .State 1 0}}\nstatus: {{- pad .Status 1 0}}\nnames: {{.Names}}\nlabels: {{- pad .Labels 1 0}}\nports: {{- pad .Ports 1 0}}\n";

/// What a format means.
pub(crate) fn format(source: &str, quiet: bool, size: bool) -> String {
    let more =
        |text: &str, behind: &str| if size { format!("{text}{behind}") } else { text.to_owned() };
    match (source, quiet) {
        ("raw", true) => "container_id: {{.ID}}".to_owned(),
        (_, true) => "{{.ID}}".to_owned(),
        ("" | "table", false) => more(TABLE, "\t{{.Size}}"),
        ("raw", false) => more(RAW, "size: {{.Size}}\n"),
        (other, false) => other.to_owned(),
    }
}

/// A container as a row, with those of its fields that are wanted: nobody looks at most of them, and lists are long.
pub(crate) fn row(container: &ContainerSummary, trunc: bool, wants: &Wants) -> Row {
    let mut row = Row::default();
    for name in &wants.fields {
        row = row.with(name, field(container, trunc, name));
    }
    if wants.labels { row.labelled(container.labels.clone()) } else { row }
}

/// Which fields of rows a format shows.
pub(crate) struct Wants {
    fields: Vec<&'static str>,
    /// `.Label "NAME"`.
    labels: bool,
}

impl Wants {
    /// Everything.
    pub(crate) fn all() -> Wants {
        Wants { fields: KIND.titles.iter().map(|(name, _)| *name).collect(), labels: true }
    }

    /// What this format asks for.
    pub(crate) fn of(format: &str) -> Result<Wants, CliError> {
        let template = template_of(format)?;
        let mut wants = Wants::all();
        wants.fields.retain(|name| template.mentions(name));
        wants.labels = template.mentions("Label");
        Ok(wants)
    }
}

fn field(container: &ContainerSummary, trunc: bool, name: &str) -> Value {
    match name {
        "ID" if trunc => units::short(&container.id).into(),
        "ID" => container.id.as_str().into(),
        "Names" => names(container, trunc).into(),
        "Image" => image(container, trunc).into(),
        "Command" if trunc => quote(&units::ellipsis(&container.command, 20)).into(),
        "Command" => quote(&container.command).into(),
        "CreatedAt" => units::go_time(container.created).into(),
        "RunningFor" => units::ago(container.created).into(),
        "Ports" => displayable(container.ports.as_deref().unwrap_or_default()).into(),
        "State" => container.state.as_str().into(),
        "Status" => container.status.as_str().into(),
        "Size" => size(container).into(),
        "Labels" => units::labels(container.labels.as_ref()).into(),
        "Mounts" => mounts(container, trunc).into(),
        "LocalVolumes" => {
            let mounts = container.mounts.iter().flatten();
            mounts.filter(|mount| mount.driver == "local").count().to_string().into()
        }
        "Networks" => {
            let settings = container.network_settings.iter();
            let networks = settings.flat_map(|settings| &settings.networks).flatten();
            networks.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(",").into()
        }
        // "Platform", the last one.
        _ => platform(container),
    }
}

fn mounts(container: &ContainerSummary, trunc: bool) -> String {
    let mounts = container.mounts.iter().flatten();
    let mounts: Vec<String> = mounts
        .map(|mount| if mount.name.is_empty() { &mount.source } else { &mount.name })
        .map(|name| if trunc { units::ellipsis(name, 15) } else { name.clone() })
        .collect();
    mounts.join(",")
}

/// Names without their slash; those that come from links have another one in them, and are only shown in full.
fn names(container: &ContainerSummary, trunc: bool) -> String {
    let names = container.names.as_deref().unwrap_or_default();
    let names: Vec<&str> = names.iter().map(|name| name.get(1..).unwrap_or_default()).collect();
    match names.iter().find(|name| trunc && !name.contains('/')) {
        Some(own) => (*own).to_owned(),
        None => names.join(","),
    }
}

fn image(container: &ContainerSummary, trunc: bool) -> String {
    let image = &container.image;
    if image.is_empty() {
        return "<no image>".to_owned();
    }
    if !trunc {
        return image.clone();
    }
    let short = units::short(&container.image_id);
    if short == units::short(image) {
        return short.to_owned();
    }
    match Reference::parse(image) {
        Ok(reference) => match reference.tag() {
            Some(tag) => format!("{}:{tag}", reference.familiar_name()),
            None => reference.familiar_name(),
        },
        Err(_) => image.clone(),
    }
}

fn size(container: &ContainerSummary) -> String {
    let own = units::short_size(container.size_rw);
    match container.size_root_fs {
        all if all > 0 => format!("{own} (virtual {})", units::short_size(all)),
        _ => own,
    }
}

fn platform(container: &ContainerSummary) -> Value {
    let platform = container.image_manifest_descriptor.as_ref().and_then(|of| of.get("platform"));
    platform.cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::render;

    fn shown(format: &str, json: &str) -> String {
        let container: ContainerSummary = serde_json::from_str(json).unwrap();
        render(&KIND, format, &[row(&container, true, &Wants::of(format).unwrap())]).unwrap()
    }

    #[test]
    fn a_row() {
        let json = r#"{"Id":"0123456789abcdef","Names":["/other/alias","/own"],"Image":"docker.io/library/busybox","ImageID":"sha256:1",
            "Command":"sh -c 'echo this is long'","Created":0,"State":"running","Status":"Up 2 hours","SizeRw":0,"SizeRootFs":1980000,
            "Labels":{"b":"2","a":"1"},"Mounts":[{"Type":"bind","Source":"/a/very/long/path/to/it"},{"Name":"v","Driver":"local"}],
            "NetworkSettings":{"Networks":{"bridge":{}}}}"#;
        for (format, text) in [
            ("{{.ID}} {{.Names}} {{.Image}}", "0123456789ab own busybox\n"),
            ("{{.Command}}", "\"sh -c 'echo this is…\"\n"),
            ("{{.CreatedAt}}", "1970-01-01 00:00:00 +0000 UTC\n"),
            ("{{.Size}}", "0B (virtual 1.98MB)\n"),
            ("{{.Labels}} {{.Label \"b\"}}", "a=1,b=2 2\n"),
            ("{{.Mounts}} {{.LocalVolumes}}", "/a/very/long/p…,v 1\n"),
            ("{{.Platform}} {{.Networks}}", "<nil> bridge\n"),
            ("{{with .}}{{.State}} {{.Status}}{{end}}", "running Up 2 hours\n"),
            ("{{$one := .}}{{$one.Names}} {{$.State}}", "own running\n"),
            ("{{with $}}{{.State}}{{end}}", "running\n"),
            (
                "{{range $name, $value := .}}{{if eq $name \"State\"}}{{$value}}{{end}}{{end}}",
                "running\n",
            ),
        ] {
            assert_eq!(shown(format, json), text);
        }
    }
}
