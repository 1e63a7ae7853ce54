//! How lists and details are shown: docker's `--format`, its tables, its units.

pub(crate) mod inspect;
mod list;
mod tabs;
pub(crate) mod units;

use ferry_gotemplate::Template;

use crate::framework::CliError;

pub(crate) use list::{List, Row, show};
pub(crate) use tabs::align;

/// Reads a template in which `\t` and `\n` may be written out, as shells make users do.
pub(crate) fn template(text: &str) -> Result<Template, CliError> {
    let text = text.replace("\\t", "\t").replace("\\n", "\n");
    Template::parse(&text)
        .map_err(|error| CliError::new(format!("template parsing error: {error}")))
}
