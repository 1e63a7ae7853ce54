//! `docker images --tree`: an image on each line, the platforms of one that has several below it.

use ferry_docker_api::ImageSummary;
use serde_json::Value;

use crate::format::units;

const WARNING: &str =
    "WARNING: This is an experimental feature. The output may change and shouldn't be depended on.";
/// What the letters of the last column mean.
const LEGEND: &str = "Info ->  U In Use ";
/// Titles of the columns beside the name, and how wide they are.
const COLUMNS: [(&str, usize); 4] =
    [("ID", 12), ("DISK USAGE", 10), ("CONTENT SIZE", 12), ("EXTRA", 5)];
const GAP: usize = 3;
/// The name's column is never narrower.
const NARROWEST: usize = 12;
/// Columns of an output that is no terminal.
const WIDTH: u16 = 80;

struct Line {
    name: String,
    id: String,
    disk: String,
    content: String,
    used: bool,
}

/// The whole output.
pub(super) fn show(images: &[ImageSummary], columns: Option<u16>) -> String {
    let mut images: Vec<&ImageSummary> = images.iter().collect();
    images.sort_by_key(|image| std::cmp::Reverse(image.created));
    let lines: Vec<Line> = images.into_iter().flat_map(lines).collect();
    let terminal = usize::from(columns.unwrap_or(WIDTH).max(20));
    let beside: usize = COLUMNS.iter().map(|(_, width)| width + GAP).sum();
    let widest = lines.iter().map(|line| line.name.chars().count()).max().unwrap_or_default();
    let width = widest.min(terminal.saturating_sub(beside)).max(NARROWEST);
    let all = width + beside;
    let mut out = format!("{WARNING}\n{LEGEND:>all$}\n\n");
    let titles = COLUMNS.map(|(title, _)| title);
    row(&mut out, width, "IMAGE", titles, true);
    for line in &lines {
        let extra = if line.used { "U" } else { "" };
        row(&mut out, width, &line.name, [&line.id, &line.disk, &line.content, extra], false);
    }
    out
}

fn row(out: &mut String, width: usize, name: &str, cells: [&str; 4], title: bool) {
    out.push_str(&fit(name, width));
    for (index, (cell, (_, width))) in cells.iter().zip(COLUMNS).enumerate() {
        out.push_str(&" ".repeat(GAP));
        // Names to the left, sizes to the right, marks in the middle.
        let cell = match index {
            _ if title => format!("{cell:<width$}"),
            0 => format!("{cell:<width$}"),
            1 | 2 => format!("{cell:>width$}"),
            _ => format!("{cell:^width$}"),
        };
        out.push_str(&cell);
    }
    out.push('\n');
}

/// Cut, or filled with spaces.
fn fit(name: &str, width: usize) -> String {
    if name.chars().count() <= width {
        return format!("{name:<width$}");
    }
    let kept: String = name.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

fn lines(image: &ImageSummary) -> Vec<Line> {
    let manifests = image.manifests.as_deref().unwrap_or_default();
    let platforms: Vec<&Value> =
        manifests.iter().filter(|manifest| manifest["Kind"] == "image").collect();
    let number = |value: &Value| value.as_i64().unwrap_or_default();
    let used = |manifest: &&Value| {
        manifest["ImageData"]["Containers"].as_array().is_some_and(|all| !all.is_empty())
    };
    let content: i64 = platforms.iter().map(|manifest| number(&manifest["Size"]["Content"])).sum();
    let mut names: Vec<String> = image.repo_tags.clone().unwrap_or_default();
    names.retain(|name| name != "<none>:<none>");
    if names.is_empty() {
        names.push("<untagged>".to_owned());
    }
    let last = names.pop().unwrap_or_default();
    let mut lines: Vec<Line> = names.into_iter().map(Line::name_only).collect();
    lines.push(Line {
        name: last,
        id: units::short(&image.id).to_owned(),
        disk: units::short_size(image.size),
        content: units::short_size(content),
        used: image.containers > 0 || platforms.iter().any(used),
    });
    for (index, manifest) in platforms.iter().enumerate() {
        let branch = if index + 1 == platforms.len() { "└─" } else { "├─" };
        let platform = &manifest["ImageData"]["Platform"];
        let words = ["os", "architecture", "variant"]
            .iter()
            .filter_map(|field| platform[field].as_str().filter(|word| !word.is_empty()));
        lines.push(Line {
            name: format!("{branch} {}", words.collect::<Vec<_>>().join("/")),
            id: units::short(manifest["ID"].as_str().unwrap_or_default()).to_owned(),
            disk: units::short_size(number(&manifest["Size"]["Total"])),
            content: units::short_size(number(&manifest["Size"]["Content"])),
            used: used(manifest),
        });
    }
    lines
}

impl Line {
    fn name_only(name: String) -> Self {
        Line { name, id: String::new(), disk: String::new(), content: String::new(), used: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_platforms() {
        let image: ImageSummary = serde_json::from_value(serde_json::json!({
            "Id": "sha256:46041b19f2270000000000000000000000000000000000000000000000000000",
            "RepoTags": ["registry.example/library/busybox:latest", "b:1"], "Size": 1_984_248, "Containers": 1,
            "Manifests": [
                {"ID": "sha256:aaaaaaaaaaaaaaaa", "Kind": "image", "Available": true, "Size": {"Content": 1000, "Total": 2000},
                 "ImageData": {"Platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}, "Containers": []}},
                {"ID": "sha256:bb", "Kind": "attestation", "Size": {"Content": 5, "Total": 5}}
            ],
        }))
        .unwrap();
        let shown = show(&[image], None);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0], WARNING);
        assert_eq!(lines[1].len(), 80);
        assert_eq!(
            lines[3],
            "IMAGE                           ID             DISK USAGE   CONTENT SIZE   EXTRA"
        );
        assert_eq!(lines[4].trim_end(), "registry.example/library/bus…");
        let words: Vec<&str> = lines[5].split_whitespace().collect();
        assert_eq!(words, ["b:1", "46041b19f227", "1.98MB", "1kB", "U"]);
        assert!(lines[6].starts_with("└─ linux/arm64/v8 ") && lines[6].contains("aaaaaaaaaaaa"));
        assert_eq!(lines.len(), 7);
    }
}
