//! `inspect`: details as the daemon tells them, indented, or through a template.
//!
//! docker executes a template twice: with its Go structure, and, if that fails, with the JSON alone. What the structure has
//! and JSON does not (fields that are left out when they are empty, times, names in other letters) is in [`Go`].

use ferry_client::{Call, ClientError};
use ferry_gotemplate::{Absent, Missing, Options, Shown, Template};
use serde_json::Value;

use super::raw;
use crate::framework::{Cli, CliError, Failures, Outcome};

/// Exit code for a template that does not read.
const USAGE: u8 = 64;

/// What docker's Go structure for a kind of thing has that its JSON has not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Go {
    /// Fields that JSON spells in another way: its name and Go's.
    pub(crate) names: &'static [(&'static str, &'static str)],
    /// Fields that JSON leaves out.
    pub(crate) absent: Absent,
    /// Values that print in another way.
    pub(crate) shown: Shown,
    /// There is only the structure, which is called this: `docker volume inspect` forgets the JSON.
    pub(crate) only: Option<&'static str>,
}

/// One thing's details.
#[derive(Debug)]
pub(crate) struct Details {
    /// The daemon's words.
    pub(crate) json: String,
    /// How Go sees them.
    pub(crate) go: Go,
}

/// Shows what is found under each of the names; failures are told at the end.
pub(crate) fn show(
    cli: &Cli,
    format: &str,
    names: &[String],
    mut find: impl FnMut(&str) -> Result<Details, CliError>,
) -> Outcome {
    let template = match format {
        "" | "json" => None,
        format => Some(Template::parse(format).map_err(|error| {
            CliError::new(format!("template parsing error: {error}")).with_code(USAGE)
        })?),
    };
    let mut failures = Failures::default();
    let mut text = String::new();
    let mut found = Vec::new();
    for name in names {
        match (find(name), &template) {
            (Err(error), _) => failures.push(error),
            (Ok(details), None) => found.push(details),
            (Ok(details), Some(template)) => match execute(template, &details) {
                Ok(line) => {
                    text.push_str(&line);
                    text.push('\n');
                }
                Err(error) => failures.push(error),
            },
        }
    }
    match &template {
        None => text = list(&found, format == "json"),
        Some(_) if text.is_empty() => text.push('\n'),
        Some(_) => {}
    }
    cli.print(&text)?;
    failures.outcome()
}

fn list(found: &[Details], compact: bool) -> String {
    if found.is_empty() {
        return "[]\n".to_owned();
    }
    let all: Vec<String> = found
        .iter()
        .map(|details| match details.go.only {
            // What was a structure is written by Go's encoder.
            Some(_) => escaped(&details.json),
            None => details.json.clone(),
        })
        .collect();
    let all = format!("[{}]", all.join(","));
    if compact { raw::compact(&all) + "\n" } else { raw::indent(&all) + "\n" }
}

/// `<`, `>` and `&` can only stand within strings.
fn escaped(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

fn execute(template: &Template, details: &Details) -> Result<String, CliError> {
    let value: Value = serde_json::from_str(&details.json)
        .map_err(|error| CliError::new(format!("unable to read inspect data: {error}")))?;
    let failed = |error| CliError::new(format!("template parsing error: {error}"));
    let Go { names, absent, shown, only } = details.go;
    let typed = Options {
        missing: only.map_or(Missing::Error, Missing::Strict),
        names,
        absent: Some(absent),
        shown: Some(shown),
        ..Options::default()
    };
    let mut line = String::new();
    match template.execute(&value, &typed, &mut line) {
        Ok(()) => return Ok(line),
        Err(error) if only.is_some() => return Err(failed(error)),
        Err(_) => line.clear(),
    }
    let plain = Options { missing: Missing::Error, ..Options::default() };
    template.execute(&value, &plain, &mut line).map_err(failed)?;
    Ok(line)
}

/// Asks the daemon for something's details.
pub(crate) fn fetch(cli: &Cli, call: Call, go: Go) -> Result<Details, ClientError> {
    let bytes = cli.wait(async { call.send().await?.bytes().await })?;
    Ok(Details { json: String::from_utf8_lossy(&bytes).into_owned(), go })
}
