//! `inspect`: details as the daemon tells them, indented, or through a template.

use ferry_client::ClientError;
use ferry_gotemplate::{Missing, Options};
use serde_json::Value;

use super::template;
use crate::framework::{Cli, CliError, Outcome};

/// Exit code for a template that does not read.
const USAGE: u8 = 64;

/// Shows what was found under each of the names; failures are told at the end.
pub(crate) fn show(cli: &Cli, format: &str, found: Vec<Result<Value, CliError>>) -> Outcome {
    let template = match format {
        "" | "json" => None,
        format => Some(template(format).map_err(|error| error.with_code(USAGE))?),
    };
    let mut text = String::new();
    let mut values = Vec::new();
    let mut failures = Vec::new();
    for item in found {
        match (item, &template) {
            (Ok(value), Some(template)) => {
                let mut line = String::new();
                let options =
                    Options { missing: Missing::Error, null: Some(null), ..Options::default() };
                let outcome = template.execute(&value, &options, &mut line);
                text.push_str(if outcome.is_ok() { &line } else { "" });
                text.push('\n');
                if let Err(error) = outcome {
                    cli.print(&text)?;
                    return Err(CliError::new(format!("template parsing error: {error}")));
                }
            }
            (Ok(value), None) => values.push(value),
            (Err(error), _) => failures.push(error),
        }
    }
    if template.is_none() {
        text = match format {
            "json" => serde_json::to_string(&values).unwrap_or_default() + "\n",
            _ if values.is_empty() => "[]\n".to_owned(),
            _ => indented(&values) + "\n",
        };
    } else if text.is_empty() && !failures.is_empty() {
        text.push('\n');
    }
    cli.print(&text)?;
    let mut failures = failures.into_iter();
    let Some(first) = failures.next() else { return Ok(0) };
    Err(failures
        .fold(first, |all, next| all.map_message(|words| format!("{words}\n{}", next.message()))))
}

/// A failure to find something, in the command's own words.
pub(crate) fn not_found(error: ClientError, words: String) -> CliError {
    if error.is_not_found() { CliError::new(words) } else { error.into() }
}

/// Four spaces, as docker.
fn indented(values: &[Value]) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    // Values came from JSON and go back to it.
    drop(serde::Serialize::serialize(values, &mut serializer));
    String::from_utf8(bytes).unwrap_or_default()
}

/// How Go prints nothing below these keys of docker's structures: lists and maps are empty, pointers are nil.
fn null(key: &str) -> Option<&'static str> {
    Some(match key {
        "Labels" | "Volumes" | "ExposedPorts" | "PortBindings" | "Ports" | "StorageOpt"
        | "Tmpfs" | "Sysctls" | "Annotations" | "Options" | "DriverOpts" | "Networks"
        | "Config" | "Containers" | "Data" | "Status" => "map[]",
        "Init" | "PidsLimit" | "StopTimeout" | "Healthcheck" | "Health" | "IPAMConfig"
        | "OomKillDisable" | "MemorySwappiness" | "NetworkMode" | "UsageData" | "SizeRw"
        | "SizeRootFs" => "<nil>",
        _ => "[]",
    })
}
