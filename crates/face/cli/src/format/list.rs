//! Lists: a table by default, a line of JSON or a template for each row if asked.

use std::collections::BTreeMap;

use ferry_gotemplate::{Missing, Options, Template};
use serde_json::{Map, Value};

use super::align;
use crate::framework::{Cli, CliError};

/// A kind of list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct List {
    /// Docker's name for a row, which its errors mention.
    pub(crate) kind: &'static str,
    /// Column titles by field.
    pub(crate) titles: &'static [(&'static str, &'static str)],
    /// What `table` alone means.
    pub(crate) table: &'static str,
    /// What `raw` means.
    pub(crate) raw: &'static str,
}

/// A row: what its fields show, and its labels.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    pub(crate) fields: Map<String, Value>,
    pub(crate) labels: BTreeMap<String, String>,
}

impl Row {
    /// Adds a field.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Row {
        self.fields.insert(name.to_owned(), value.into());
        self
    }
}

/// Shows rows. An empty format is a table; `quiet` leaves only what `{{.ID}}`-like template says.
pub(crate) fn show(cli: &Cli, list: &List, format: &str, rows: &[Row]) -> Result<(), CliError> {
    let (text, failure) = render(list, format, rows);
    cli.print(&text)?;
    failure.map_or(Ok(()), Err)
}

fn render(list: &List, format: &str, rows: &[Row]) -> (String, Option<CliError>) {
    let format = format.replace("\\t", "\t").replace("\\n", "\n");
    let is_table = format.is_empty()
        || format == "table"
        || format.starts_with("table ")
        || format.starts_with("table\t")
        || format.starts_with("table{");
    let text = match format.as_str() {
        "" | "table" => format!("table {}", list.table),
        "raw" => list.raw.to_owned(),
        "json" => "{{json .}}".to_owned(),
        other => other.to_owned(),
    };
    let template = match Template::parse(&text) {
        Ok(template) => template,
        Err(error) => {
            return (
                String::new(),
                Some(CliError::new(format!("failed to parse template: {error}"))),
            );
        }
    };
    let mut out = String::new();
    let mut lines = Vec::new();
    for row in rows {
        match execute(&template, list.kind, row) {
            Ok(line) => lines.push(line),
            Err(error) => {
                let error = CliError::new(format!("failed to execute template: {error}"));
                return (String::new(), Some(error));
            }
        }
    }
    if is_table {
        out.push_str(&title(&template, list));
        out.push('\n');
    }
    for line in lines {
        out.push_str(&line);
        out.push('\n');
    }
    if is_table {
        // The word itself is a part of the template, so that errors point at the right place.
        let rows: String = out
            .split('\n')
            .map(|line| line.strip_prefix("table").unwrap_or(line).trim_start_matches([' ', '\t']))
            .collect::<Vec<_>>()
            .join("\n");
        out = align(&rows);
    }
    (out, None)
}

fn execute(
    template: &Template,
    kind: &'static str,
    row: &Row,
) -> Result<String, ferry_gotemplate::ExecError> {
    let method = |name: &str, args: &[Value]| match (name, args) {
        ("Label", [Value::String(label)]) => {
            Some(Ok(Value::String(row.labels.get(label).cloned().unwrap_or_default())))
        }
        ("Label", args) => {
            Some(Err(format!("wrong number of args for Label: want 1 got {}", args.len())))
        }
        _ => None,
    };
    let options = Options {
        missing: Missing::Strict(kind),
        method: Some(&method),
        null: None,
        escape_html: true,
    };
    let mut line = String::new();
    template.execute(&Value::Object(row.fields.clone()), &options, &mut line)?;
    Ok(line)
}

fn title(template: &Template, list: &List) -> String {
    let mut titles = Map::new();
    for (field, title) in list.titles {
        titles.insert((*field).to_owned(), Value::from(*title));
    }
    // `{{.Label "a.b-c"}}` has the last part of the label's name as its title, with blanks.
    let method = |name: &str, args: &[Value]| match (name, args) {
        ("Label", [Value::String(label)]) => {
            let last = label.rsplit('.').next().unwrap_or_default();
            Some(Ok(Value::String(last.replace(['-', '_'], " "))))
        }
        _ => None,
    };
    let options = Options { method: Some(&method), ..Options::default() };
    let mut line = String::new();
    // Titles are only text: what fails for them has failed for the rows, too.
    drop(template.execute(&Value::Object(titles), &options, &mut line));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: List = List {
        kind: "*formatter.ThingContext",
        titles: &[("ID", "THING ID"), ("Name", "NAME")],
        table: "{{.ID}}\t{{.Name}}",
        raw: "id: {{.ID}}",
    };

    fn shown(format: &str) -> String {
        let row = Row::default().with("ID", "12").with("Name", "<one>");
        let (text, error) = render(&LIST, format, &[row]);
        error.map_or(text, |error| error.message().to_owned())
    }

    #[test]
    fn formats_are_dockers() {
        assert_eq!(shown(""), "THING ID   NAME\n12         <one>\n");
        assert_eq!(shown("table {{.Name}}\\t{{.ID}}"), "NAME      THING ID\n<one>     12\n");
        assert_eq!(shown("json"), "{\"ID\":\"12\",\"Name\":\"\\u003cone\\u003e\"}\n");
        assert_eq!(shown("{{.ID}}-{{.Label \"x\"}}"), "12-\n");
        assert_eq!(shown("raw"), "id: 12\n");
        assert_eq!(
            shown("table {{.Foo}}"),
            "failed to execute template: template: :1:8: executing \"\" at <.Foo>: can't evaluate field Foo in type *formatter.ThingContext"
        );
    }
}
