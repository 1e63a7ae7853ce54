//! `docker context inspect`.

use serde_json::{Value, json};

use super::{create, store};
use crate::framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome};

pub(super) const COMMAND: Command = Command {
    name: "inspect",
    short: "Display detailed information on one or more contexts",
    usage: "[OPTIONS] [CONTEXT] [CONTEXT...]",
    args: Args::Any,
    flags: &[Flag::string(
        "format",
        "Format output using a custom template:\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates",
    )
    .short('f')],
    run,
    ..Command::NEW
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let mut names = matches.args().to_vec();
    if names.is_empty() {
        names.push(store::current(cli));
    }
    // Those before the first that is not there are shown.
    let (mut found, mut missing) = (Vec::new(), None);
    for name in &names {
        match describe(cli, name) {
            Ok(context) => found.push(context),
            Err(error) => {
                missing = Some(error);
                break;
            }
        }
    }
    match matches.text("format") {
        "" => {
            let text = serde_json::to_string_pretty(&found)
                .map_err(|error| CliError::new(error.to_string()))?;
            // docker indents by four.
            let text: Vec<String> = text
                .lines()
                .map(|line| {
                    let bare = line.trim_start();
                    format!("{}{bare}", " ".repeat((line.len() - bare.len()) * 2))
                })
                .collect();
            cli.println(&text.join("\n"))?;
        }
        "json" => cli.println(&Value::Array(found).to_string())?,
        format => {
            let template = ferry_gotemplate::Template::parse(format)
                .map_err(|error| CliError::new(error.to_string()))?;
            for value in &found {
                let mut out = String::new();
                template
                    .execute(value, &ferry_gotemplate::Options::default(), &mut out)
                    .map_err(|error| CliError::new(error.to_string()))?;
                cli.println(&out)?;
            }
        }
    }
    missing.map_or(Ok(0), Err)
}

fn describe(cli: &Cli, name: &str) -> Result<Value, CliError> {
    if name == store::DEFAULT {
        let host = cli.env("DOCKER_HOST").unwrap_or_else(|| create::default_host(cli));
        return Ok(json!({
            "Name": name,
            "Metadata": {},
            "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": false}},
            "TLSMaterial": {},
            "Storage": {"MetadataPath": "<IN MEMORY>", "TLSPath": "<IN MEMORY>"},
        }));
    }
    let context = store::load(cli, name)?;
    let files = context.tls_files(cli);
    let tls = if files.is_empty() { json!({}) } else { json!({"docker": files}) };
    Ok(json!({
        "Name": name,
        "Metadata": context.meta["Metadata"],
        "Endpoints": context.meta["Endpoints"],
        "TLSMaterial": tls,
        "Storage": {
            "MetadataPath": context.meta_dir(cli).display().to_string(),
            "TLSPath": context.tls_dir(cli).display().to_string(),
        },
    }))
}
