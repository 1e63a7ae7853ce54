//! Lists: a table by default, a line of JSON or a template for each row if asked.

use std::collections::BTreeMap;

use ferry_gotemplate::{ExecError, Missing, Options, Template};
use serde_json::{Map, Value};

use super::tabs::align;
use crate::framework::CliError;

/// A kind of list.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Docker's name for a row, which its errors mention.
    pub name: &'static str,
    /// Column titles by field.
    pub titles: &'static [(&'static str, &'static str)],
}

/// A row: what its fields show, and its labels where rows of this kind have any.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// What its fields show.
    pub fields: Map<String, Value>,
    /// Labels, where rows of this kind have any.
    pub labels: Option<BTreeMap<String, String>>,
}

impl Row {
    /// Adds a field.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Row {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// Lets templates ask for labels.
    #[must_use]
    pub fn labelled(mut self, labels: Option<BTreeMap<String, String>>) -> Row {
        self.labels = Some(labels.unwrap_or_default());
        self
    }

    /// As JSON, which docker makes of a map: sorted by name.
    pub fn value(&self) -> Value {
        let mut fields: Vec<_> = self.fields.clone().into_iter().collect();
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        Value::Object(fields.into_iter().collect())
    }
}

/// What a format looks like to the template: without `table`, and with `\t` and `\n` that were written out.
fn text_of(format: &str) -> String {
    let text = match format {
        "json" => "{{json .}}",
        other => other.strip_prefix("table").unwrap_or(other),
    };
    text.trim_matches(' ').replace("\\t", "\t").replace("\\n", "\n")
}

/// Reads a format.
pub(crate) fn template_of(format: &str) -> Result<Template, CliError> {
    Template::parse(&text_of(format))
        .map_err(|error| CliError::new(format!("template parsing error: {error}")))
}

/// The text of a list. Nothing of it is shown when one row fails.
pub fn render(kind: &Kind, format: &str, rows: &[Row]) -> Result<String, CliError> {
    let template = template_of(format)?;
    let mut body = String::new();
    for row in rows {
        execute(&template, kind, row, &mut body)
            .map_err(|error| CliError::new(format!("template parsing error: {error}")))?;
        body.push('\n');
    }
    if !format.starts_with("table") {
        return Ok(body);
    }
    let mut text = title(&template, kind);
    text.push('\n');
    text.push_str(&body);
    Ok(align(&text))
}

/// Why a format does not work for rows of this kind, as `docker ps` finds out before it asks the daemon: with the whole of the
/// format, and a row without anything in it.
pub(crate) fn rows_fail(kind: &Kind, format: &str, empty: &Row) -> Result<(), CliError> {
    let template = Template::parse(format)
        .map_err(|error| CliError::new(format!("failed to parse template: {error}")))?;
    execute(&template, kind, empty, &mut String::new())
        .map_err(|error| CliError::new(format!("failed to execute template: {error}")))
}

fn execute(template: &Template, kind: &Kind, row: &Row, out: &mut String) -> Result<(), ExecError> {
    let method = |name: &str, args: &[Value]| {
        let labels = row.labels.as_ref().filter(|_| name == "Label")?;
        Some(match args {
            [Value::String(label)] => {
                Ok(Value::String(labels.get(label).cloned().unwrap_or_default()))
            }
            [_] => Err("wrong type for value; expected string".to_owned()),
            args => Err(format!("wrong number of args for Label: want 1 got {}", args.len())),
        })
    };
    let options = Options {
        missing: Missing::Strict(kind.name),
        method: Some(&method),
        shown: Some(|_, value| value.is_null().then(|| "<nil>".to_owned())),
        escape_html: true,
        ..Options::default()
    };
    template.execute(&row.value(), &options, out)
}

fn title(template: &Template, kind: &Kind) -> String {
    let titles: Map<String, Value> =
        kind.titles.iter().map(|(name, title)| ((*name).to_owned(), Value::from(*title))).collect();
    // `{{.Label "a.b-c"}}` has the last part of the label's name as its title, with blanks.
    let method = |name: &str, args: &[Value]| match (name, args) {
        ("Label", [Value::String(label)]) => {
            let last = label.rsplit('.').next().unwrap_or_default();
            Some(Ok(Value::String(last.replace(['-', '_'], " "))))
        }
        _ => None,
    };
    let options = Options { method: Some(&method), titles: true, ..Options::default() };
    let mut line = String::new();
    // Titles are only text: what docker cannot make of them is missing there, too.
    drop(template.execute(&Value::Object(titles), &options, &mut line));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind =
        Kind { name: "*formatter.ThingContext", titles: &[("ID", "THING ID"), ("Name", "NAME")] };

    fn shown(format: &str) -> String {
        let row = Row::default().with("Name", "<one>").with("ID", "12").labelled(None);
        match render(&KIND, format, &[row]) {
            Ok(text) => text,
            Err(error) => error.message().to_owned(),
        }
    }

    #[test]
    fn formats_are_dockers() {
        assert_eq!(shown("table {{.ID}}\t{{.Name}}"), "THING ID   NAME\n12         <one>\n");
        assert_eq!(shown("table {{.Name}}\\t{{.ID}}"), "NAME      THING ID\n<one>     12\n");
        assert_eq!(shown("table{{upper .Name}}"), "NAME\n<ONE>\n");
        assert_eq!(shown("json"), "{\"ID\":\"12\",\"Name\":\"\\u003cone\\u003e\"}\n");
        assert_eq!(shown("{{json .Name}}"), "\"<one>\"\n");
        assert_eq!(shown("{{.ID}}-{{.Label \"x\"}}"), "12-\n");
        assert_eq!(
            shown("table {{.Foo}}"),
            "template parsing error: template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo in type *formatter.ThingContext"
        );
        assert_eq!(shown("{{.ID"), "template parsing error: template: :1: unclosed action");
    }
}
