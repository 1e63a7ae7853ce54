//! `docker ps`.

use ferry_docker_api::{ContainerSummary, Port};
use ferry_stdx::{size::format_decimal_short, time::Timestamp};

use crate::{
    format::{List, Row, show, units},
    framework::{Args, Cli, Command, Flag, Matches, Outcome, quote},
};

pub(crate) const COMMAND: Command = Command {
    name: "ls",
    top: Some("ps"),
    aliases: &["list", "ps"],
    short: "List containers",
    usage: "[OPTIONS]",
    aliases_help: "docker container ls, docker container list, docker container ps, docker ps",
    common: Some(2),
    args: Args::None,
    flags: FLAGS,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::bool("all", "Show all containers (default shows just running)").short('a'),
    Flag::filter("filter", "Filter output based on conditions provided").short('f'),
    Flag::string("format", "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates"),
    Flag::int("last", "Show n last created containers (includes all states)").short('n').default("-1"),
    Flag::bool("latest", "Show the latest created container (includes all states)").short('l'),
    Flag::bool("no-trunc", "Don't truncate output"),
    Flag::bool("quiet", "Only display container IDs").short('q'),
    Flag::bool("size", "Display total file sizes").short('s'),
];

const LIST: List = List {
    kind: "*formatter.ContainerContext",
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
    table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}",
    raw: "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\nstate: {{.State}}\nstatus: {{.Status}}\nports: {{.Ports}}\nnames: {{.Names}}\nlabels: {{.Labels}}\n",
};

const WITH_SIZE: List = List {
    table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}",
    ..LIST
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let mut format = matches.text("format").to_owned();
    let quiet = matches.flag("quiet");
    if format.is_empty() && !quiet {
        format = cli.config().ps_format().unwrap_or_default();
    }
    // Sizes are counted file by file: only for those who look at them.
    let sizes = matches.flag("size") || format.contains(".Size") || format.contains("json .}}");
    let last = if matches.flag("latest") { 1 } else { matches.int("last") };
    let client = cli.client()?;
    let call = client
        .get("/containers/json")
        .query_if(matches.flag("all") || last > 0, "all", 1)
        .query_if(last > 0, "limit", last)
        .query_if(sizes, "size", 1)
        .filters(&matches.filters("filter"));
    let containers: Vec<ContainerSummary> = cli.wait(call.json())?;
    let full = matches.flag("no-trunc");
    let rows: Vec<Row> = containers.into_iter().map(|container| row(container, full)).collect();
    let list = if matches.flag("size") { WITH_SIZE } else { LIST };
    let format = match format.as_str() {
        "" | "table" if quiet => "{{.ID}}",
        "raw" if quiet => "container_id: {{.ID}}",
        format => format,
    };
    show(cli, &list, format, &rows)?;
    Ok(0)
}

fn row(container: ContainerSummary, full: bool) -> Row {
    let short = |text: &str| if full { text.to_owned() } else { units::short(text).to_owned() };
    let created = Timestamp::from_seconds(container.created);
    let names: Vec<String> = container
        .names
        .unwrap_or_default()
        .iter()
        .map(|name| name.trim_start_matches('/').to_owned())
        // Names behind a slash are links from other containers.
        .filter(|name| full || !name.contains('/'))
        .collect();
    let image = match container.image.as_str() {
        "" => "<no image>".to_owned(),
        image if !full && image.starts_with("sha256:") => units::short(image).to_owned(),
        image => image.to_owned(),
    };
    let command = if full { container.command } else { units::ellipsis(&container.command, 20) };
    let mounts = container.mounts.unwrap_or_default();
    let locals = mounts.iter().filter(|mount| mount.driver == "local").count();
    let mounts: Vec<String> = mounts
        .iter()
        .map(|mount| if mount.name.is_empty() { mount.source.clone() } else { mount.name.clone() })
        .map(|name| if full { name } else { units::ellipsis(&name, 15) })
        .collect();
    let networks: Vec<String> = container
        .network_settings
        .and_then(|settings| settings.networks)
        .map(|networks| networks.into_keys().collect())
        .unwrap_or_default();
    let decimal = |bytes: i64| format_decimal_short(u64::try_from(bytes).unwrap_or(0));
    let mut size = decimal(container.size_rw);
    if container.size_root_fs > 0 {
        size = format!("{size} (virtual {})", decimal(container.size_root_fs));
    }
    let labels = container.labels.unwrap_or_default();
    Row {
        labels: labels.clone(),
        ..Row::default()
            .with("Command", quote(&command))
            .with("CreatedAt", created.format_go_string())
            .with("ID", short(&container.id))
            .with("Image", image)
            .with("Labels", units::labels(labels.iter()))
            .with("LocalVolumes", locals.to_string())
            .with("Mounts", mounts.join(","))
            .with("Names", names.join(","))
            .with("Networks", networks.join(","))
            .with("Platform", serde_json::Value::Null)
            .with("Ports", ports(container.ports.unwrap_or_default()))
            .with("RunningFor", units::ago(Some(created)))
            .with("Size", size)
            .with("State", container.state)
            .with("Status", container.status)
    }
}

/// Ports as docker shows them: those that follow each other as a range, those that are mapped elsewhere at the end.
fn ports(mut ports: Vec<Port>) -> String {
    ports.sort_by(|a, b| {
        (a.private_port, &a.ip, a.public_port, &a.kind).cmp(&(b.private_port, &b.ip, b.public_port, &b.kind))
    });
    let mut groups: Vec<(String, u16, u16)> = Vec::new();
    let mut shown = Vec::new();
    let mut mapped = Vec::new();
    for port in &ports {
        let current = port.private_port;
        let mut key = port.kind.clone();
        if !port.ip.is_empty() {
            if port.public_port != current {
                mapped.push(format!("{}->{current}/{}", join(&port.ip, &port.public_port.to_string()), port.kind));
                continue;
            }
            key = format!("{}/{}", port.ip, port.kind);
        }
        match groups.iter_mut().find(|(known, _, _)| *known == key) {
            None => groups.push((key, current, current)),
            Some((_, _, last)) if current == last.saturating_add(1) => *last = current,
            Some((_, first, last)) => {
                shown.push(group(&key, *first, *last));
                (*first, *last) = (current, current);
            }
        }
    }
    shown.extend(groups.iter().map(|(key, first, last)| group(key, *first, *last)));
    shown.extend(mapped);
    shown.join(", ")
}

fn join(ip: &str, port: &str) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

fn group(key: &str, first: u16, last: u16) -> String {
    let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
    match key.rsplit_once('/') {
        Some((ip, kind)) => format!("{}->{range}/{kind}", join(ip, &range)),
        None => format!("{range}/{key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(ip: &str, private_port: u16, public_port: u16, kind: &str) -> Port {
        Port { ip: ip.to_owned(), private_port, public_port, kind: kind.to_owned() }
    }

    #[test]
    fn ports_read_as_dockers() {
        let shown = ports(vec![
            port("0.0.0.0", 81, 81, "tcp"),
            port("0.0.0.0", 80, 80, "tcp"),
            port("::", 80, 80, "tcp"),
            port("", 443, 0, "tcp"),
            port("127.0.0.1", 53, 5353, "udp"),
        ]);
        assert_eq!(shown, "0.0.0.0:80-81->80-81/tcp, [::]:80->80/tcp, 443/tcp, 127.0.0.1:5353->53/udp");
    }
}
