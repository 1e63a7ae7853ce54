//! Volumes as rows: `volume ls` and `system df -v`.

use ferry_docker_api::Volume;

use super::{Kind, Row, units};

/// A list of volumes.
pub(crate) const KIND: Kind = Kind {
    name: "*formatter.volumeContext",
    titles: &[
        ("ID", "ID"),
        ("Name", "VOLUME NAME"),
        ("Group", "GROUP"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("Availability", "AVAILABILITY"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Labels", "LABELS"),
        ("Links", "LINKS"),
        ("Size", "SIZE"),
        ("Status", "STATUS"),
    ],
};

/// What a format means.
pub(crate) fn format(source: &str, quiet: bool) -> String {
    let format = match (source, quiet) {
        ("table", true) => "{{.Name}}",
        ("table", false) => "table {{.Driver}}\t{{.Name}}",
        ("raw", true) => "name: {{.Name}}",
        ("raw", false) => "name: {{.Name}}\ndriver: {{.Driver}}\n",
        (other, _) => other,
    };
    format.to_owned()
}

/// A volume as a row.
pub(crate) fn row(volume: &Volume) -> Row {
    let (links, size) = match &volume.usage_data {
        Some(usage) => (usage.ref_count.to_string(), units::long_size(usage.size)),
        None => ("N/A".to_owned(), "N/A".to_owned()),
    };
    Row::default()
        .with("Name", volume.name.as_str())
        .with("Driver", volume.driver.as_str())
        .with("Scope", volume.scope.as_str())
        .with("Mountpoint", volume.mountpoint.as_str())
        .with("Labels", units::labels(volume.labels.as_ref()))
        .with("Links", links)
        .with("Size", size)
        .with("Group", "N/A")
        .with("Availability", "N/A")
        .with("Status", "N/A")
        .labelled(volume.labels.clone())
}
