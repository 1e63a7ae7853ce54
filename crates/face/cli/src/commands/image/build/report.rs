//! What is said after a build: where an error is, what `--call` found, the metadata file.

use ferry_docker_api::solve::{Place, Verified};
use serde_json::Value;

/// The lines at fault, as buildx shows them.
pub(super) fn excerpt(place: &Place) -> String {
    let mut text = format!("{}:{}\n--------------------\n", place.file, place.first);
    for (number, line) in &place.lines {
        let mark = if (place.first..=place.last).contains(number) { ">>>" } else { "   " };
        text.push_str(&format!("{number:>4} | {mark} {line}\n"));
    }
    text + "--------------------\n"
}

/// What `--call=check` says; and how many findings there are.
pub(super) fn check(found: &Value, file: &str) -> (String, usize) {
    let findings = found["findings"].as_array().cloned().unwrap_or_default();
    let lines: Vec<&str> = found["text"].as_str().unwrap_or_default().lines().collect();
    let mut text = match findings.len() {
        0 => return ("Check complete, no warnings found.\n".to_owned(), 0),
        1 => "Check complete, 1 warning has been found!\n".to_owned(),
        many => format!("Check complete, {many} warnings have been found!\n"),
    };
    for finding in &findings {
        let of = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
        let line =
            usize::try_from(finding["line"].as_u64().unwrap_or_default()).unwrap_or_default();
        text.push_str(&format!(
            "\nWARNING: {} - {}\n{}\n",
            of("rule"),
            of("url"),
            of("description")
        ));
        let first = line.saturating_sub(2).max(1);
        let near = (first..=line + 2)
            .filter_map(|number| Some((number, (*lines.get(number - 1)?).to_owned())));
        let place = Place { file: file.to_owned(), first: line, last: line, lines: near.collect() };
        text.push_str(&format!("{}\n{}", of("message"), excerpt(&place)));
    }
    (text, findings.len())
}

/// What `--verify` says; and whether the image is what is built.
pub(super) fn verified(image: &str, found: &Verified) -> (String, bool) {
    let times = match found.times {
        true => "",
        false => {
            "Times were not compared, as the image was not built with --reproducible or SOURCE_DATE_EPOCH.\n"
        }
    };
    match &found.difference {
        Some(difference) => {
            (format!("{image} is not what is built here: {difference}\n{times}"), false)
        }
        None => (format!("{image} is what is built here: {}\n{times}", found.built), true),
    }
}

/// What `--call=outline` says.
pub(super) fn outline(found: &Value) -> String {
    let text_of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let target = match text_of(&found["target"]) {
        name if name.is_empty() => "default".to_owned(),
        name => name,
    };
    let mut text = format!("TARGET:      {target}\n");
    let description = text_of(&found["description"]);
    if !description.is_empty() {
        text.push_str(&format!("DESCRIPTION: {description}\n"));
    }
    let rows: Vec<Vec<String>> = list(&found["args"])
        .iter()
        .map(|arg| {
            vec![text_of(&arg["name"]), text_of(&arg["value"]), text_of(&arg["description"])]
        })
        .collect();
    text.push_str(&table(&["BUILD ARG", "VALUE", "DESCRIPTION"], &rows));
    for (name, title) in [("secrets", "SECRET"), ("ssh", "SSH")] {
        let rows: Vec<Vec<String>> = list(&found[name])
            .iter()
            .map(|one| {
                let required = if one[1] == Value::Bool(true) { "true" } else { "" };
                vec![text_of(&one[0]), required.to_owned()]
            })
            .collect();
        text.push_str(&table(&[title, "REQUIRED"], &rows));
    }
    text
}

/// What `--call=targets` says.
pub(super) fn targets(found: &Value) -> String {
    let rows: Vec<Vec<String>> = list(&found["targets"])
        .iter()
        .map(|target| {
            let mut name = target["name"].as_str().unwrap_or_default().to_owned();
            if target["default"] == Value::Bool(true) {
                name = if name.is_empty() {
                    "(default)".to_owned()
                } else {
                    format!("{name} (default)")
                };
            }
            vec![name, target["description"].as_str().unwrap_or_default().to_owned()]
        })
        .collect();
    table(&["TARGET", "DESCRIPTION"], &rows).trim_start().to_owned()
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// Columns; nothing where there is no row.
fn table(titles: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(String::len);
        cells.chain([titles[column].len()]).max().unwrap_or_default()
    };
    let mut text = String::from("\n");
    let titles_row: Vec<String> = titles.iter().map(|title| (*title).to_owned()).collect();
    for row in std::iter::once(&titles_row).chain(rows) {
        let cells: Vec<String> = row
            .iter()
            .enumerate()
            .map(|(column, cell)| format!("{cell:<0$}", width(column)))
            .collect();
        text.push_str(cells.join("   ").trim_end());
        text.push('\n');
    }
    text
}
