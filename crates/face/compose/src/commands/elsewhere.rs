//! A project that is loaded from a registry or from git: before anything of it runs, it is told where its files lie, and what the variables
//! in them become. Nobody runs unseen what somebody else wrote.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal as _},
};

use ferry_cli::face::CliError;

use super::{Compose, failed};
use crate::{
    load::{self, Request, Variable, is_remote},
    model::Project,
    run::progress::Progress,
};

/// Tells and asks, unless the answer is known to be yes.
pub(super) fn agreed(compose: &Compose<'_>, project: &Project, yes: bool) -> Result<(), CliError> {
    let files = &compose.request.files;
    let Some(first) = files.first().filter(|first| is_remote(first)) else { return Ok(()) };
    if !matches!(compose.progress, Progress::Quiet | Progress::Json) {
        let place = project.directory.display().to_string();
        compose.cli.println(&format!("Your compose stack {first:?} is stored in {place:?}"))?;
    }
    if yes || compose.dry {
        return Ok(());
    }
    let request = Request { raw: true, ..compose.request.clone() };
    let variables = load::variables(&request).map_err(failed)?;
    if variables.is_empty() {
        return Ok(());
    }
    let question = format!(
        "\nFound the following variables in configuration:\n{}\nDo you want to proceed with these variables? [Y/n]: ",
        table(&variables, project)
    );
    let answer = compose.cli.ask(&question, true)?;
    if is_yes(&answer, io::stdin().is_terminal()) {
        Ok(())
    } else {
        Err(CliError::new("operation cancelled by user"))
    }
}

/// Only who sits there says yes by saying nothing.
fn is_yes(answer: &str, terminal: bool) -> bool {
    let answer = answer.trim().to_lowercase();
    matches!(answer.as_str(), "y" | "yes" | "true" | "1") || (answer.is_empty() && terminal)
}

fn table(variables: &BTreeMap<String, Variable>, project: &Project) -> String {
    let head = ["VARIABLE", "VALUE", "SOURCE", "REQUIRED", "DEFAULT"].map(str::to_owned);
    let mut rows = vec![head];
    for (name, variable) in variables {
        let (value, source) = match project.environment.get(name) {
            Some(value) => (value.as_str(), "environment"),
            None if !variable.default.is_empty() => (variable.default.as_str(), "compose file"),
            None => ("<unset>", "none"),
        };
        let required = if variable.required { "yes" } else { "no" };
        let default = variable.default.as_str();
        rows.push(
            [name, value, source, required, default].map(|text| text.escape_debug().to_string()),
        );
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..4).map(|column| width(column).unwrap_or_default() + 3).collect();
    let line = |row: &[String; 5]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.chain(row.last().cloned()).collect::<String>() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_as_a_table() {
        let variables = [
            ("A", Variable { required: true, ..Variable::default() }),
            ("LONGER", Variable { default: "x y".to_owned(), ..Variable::default() }),
            ("SET", Variable::default()),
        ];
        let variables = variables.map(|(name, variable)| (name.to_owned(), variable)).into();
        let project = Project {
            environment: [("SET".to_owned(), "a\u{1b}b".to_owned())].into(),
            ..Project::default()
        };
        assert_eq!(
            table(&variables, &project),
            "VARIABLE   VALUE      SOURCE         REQUIRED   DEFAULT\n\
             A          <unset>    none           yes        \n\
             LONGER     x y        compose file   no         x y\n\
             SET        a\\u{1b}b   environment    no         \n"
        );
    }

    #[test]
    fn silence_is_yes_only_at_a_terminal() {
        for (answer, terminal, want) in
            [("", true, true), ("", false, false), ("Y", false, true), ("no", true, false)]
        {
            assert_eq!(is_yes(answer, terminal), want, "{answer} {terminal}");
        }
    }
}
