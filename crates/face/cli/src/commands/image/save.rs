//! `docker save`.

use crate::{
    framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome},
    run::download::Target,
};

pub(crate) const COMMAND: Command = Command {
    name: "save",
    top: Some("save"),
    short: "Save one or more images to a tar archive (streamed to STDOUT by default)",
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    aliases_help: "docker image save, docker save",
    args: Args::AtLeast(1),
    flags: FLAGS,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::string("output", "Write to a file, instead of STDOUT").short('o'),
    Flag::string(
        "platform",
        "Save only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
    ),
];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let output = matches.text("output");
    if output.is_empty() && cli.stdout_is_terminal() {
        return Err(CliError::new(
            "cowardly refusing to save to a terminal. Use the -o flag or redirect",
        ));
    }
    let client = cli.client()?;
    let platform = super::named_platform_json(matches.text("platform"))?;
    let mut call = client.get("/images/get").query_if(!platform.is_empty(), "platform", platform);
    for name in matches.args() {
        call = call.query("names", name);
    }
    if std::path::Path::new(output).is_dir() {
        return Err(CliError::new("failed to save image: cannot write to a directory"));
    }
    let target = Target::new(output)
        .map_err(|error| error.map_message(|words| format!("failed to save image: {words}")))?;
    cli.wait(async {
        let answer = match call.send().await {
            Ok(answer) => answer,
            Err(error) => {
                if let Target::File { temporary, .. } = &target {
                    // Nothing will come: what was made for it goes.
                    drop(std::fs::remove_file(temporary));
                }
                return Err(error.into());
            }
        };
        target.save(answer).await
    })?;
    Ok(0)
}
