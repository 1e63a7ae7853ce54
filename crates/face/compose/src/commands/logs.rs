//! `compose logs`.

use ferry_cli::{
    face::{Args, Command, Outcome},
    flags::{Flag, Matches},
};
use futures_util::future::try_join_all;

use super::{
    Compose, DRY, Verb,
    containers::{chosen, own},
};
use crate::run::logs::{self, Options, Printer};

pub(super) static LOGS: Verb = Verb {
    command: Command {
        name: "logs",
        short: "View output from containers",
        usage: "[OPTIONS] [SERVICE...]",
        args: Args::Any,
        flags: &[
            DRY,
            Flag::bool("follow", "Follow log output").short('f'),
            Flag::int("index", "index of the container if service has multiple replicas"),
            Flag::bool("no-color", "Produce monochrome output"),
            Flag::bool("no-log-prefix", "Don't print prefix in logs"),
            Flag::string(
                "since",
                "Show logs since timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m for 42 minutes)",
            ),
            Flag::string(
                "tail",
                "Number of lines to show from the end of the logs for each container",
            )
            .short('n')
            .default("all"),
            Flag::bool("timestamps", "Show timestamps").short('t'),
            Flag::string(
                "until",
                "Show logs before a timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m for 42 minutes)",
            ),
        ],
        ..Command::NEW
    },
    run,
};

fn run(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let (project, names) = chosen(compose, matches)?;
    let session = compose.session()?;
    let options = Options {
        follow: matches.flag("follow"),
        tail: matches.text("tail").to_owned(),
        since: logs::moment(matches.text("since"))?,
        until: logs::moment(matches.text("until"))?,
        timestamps: matches.flag("timestamps"),
    };
    compose.cli.wait(async {
        let mut own = own(&session, &project, &names).await?;
        if matches.is_set("index") {
            own.retain(|one| i64::from(one.number) == matches.int("index"));
        }
        let shown: Vec<String> = own.iter().map(|one| one.short_name(&project.name)).collect();
        let printer = Printer {
            errors_apart: false,
            prefix: !matches.flag("no-log-prefix"),
            colour: compose.colour && !matches.flag("no-color"),
            width: shown.iter().map(String::len).max().unwrap_or(0),
        };
        let (shown, options, printer, session) = (&shown, &options, &printer, &session);
        let prints = own.iter().enumerate().map(|(index, one)| async move {
            logs::show(session, one, &shown[index], index, options, printer).await
        });
        try_join_all(prints).await?;
        Ok(0)
    })
}
