//! `ferry registry rules`, and the rules of `serve`.

use std::{path::Path, sync::Arc, time::Duration};

use ferry_cli::{
    face::{Args, Cli, CliError, Command, Outcome, align_with, logins},
    flags::{Flag, Matches},
};
use ferry_registry_store::{Store, now};
use ferry_transfer::{Client, ClientConfig, Tuning};

use super::ROOT;
use crate::{
    control::{self, Request},
    journal::Audit,
    proxy::{Address, Upstream, Upstreams},
    rules::{Mirror, MirrorRule, Replica, ReplicateRule, Report, Rules, human, state},
};

pub(super) const RULES: Command = Command {
    name: "rules",
    short: "Show how the rules between registries stand",
    usage: "[OPTIONS]",
    flags: &[ROOT, Flag::bool("run", "Have them look now, and not when it is their time")],
    args: Args::None,
    run: show,
    ..Command::NEW
};

fn show(cli: &Cli, matches: &Matches) -> Outcome {
    let root = Path::new(matches.text("root"));
    if !root.join("control.sock").exists() {
        return Err(CliError::new(format!("no registry runs in {}", root.display())));
    }
    let request = Request::Rules { run: matches.flag("run") };
    let reports: Vec<Report> = cli.wait(control::ask(root, &request)).map_err(CliError::new)?;
    let mut rows = "KIND\tRULE\tDONE\tWAITING\tGOOD\tSTATE\n".to_owned();
    for report in &reports {
        let good = report
            .good
            .map_or("never".to_owned(), |at| format!("{} ago", human(now().saturating_sub(at))));
        rows.push_str(&format!(
            "{}\t{}\t{}\t{}\t{good}\t{}\n",
            report.kind,
            report.rule,
            report.done,
            report.waiting,
            state(report)
        ));
    }
    cli.print(&align_with(&rows, 8, 3))?;
    Ok(0)
}

/// A client of other registries. Each rule's replicas have one of their own: its connections live on their thread.
pub(super) fn client<'a>(
    addresses: impl Iterator<Item = &'a Address>,
    patience: Duration,
) -> Client {
    let tuning = Tuning {
        stall: patience,
        connect_patience: patience.min(Tuning::default().connect_patience),
        ..Tuning::default()
    };
    let plain = addresses.filter(|address| !address.secure);
    let config = ClientConfig {
        user_agent: format!("Ferry-Registry/{} (linux)", env!("CARGO_PKG_VERSION")),
        plain: plain.map(|address| address.domain.clone()).collect(),
        ..ClientConfig::default()
    };
    Client::tuned(config, tuning)
}

/// The rules of the flags.
pub(super) struct Wished {
    mirrors: Vec<MirrorRule>,
    replicas: Vec<ReplicateRule>,
}

impl Wished {
    pub(super) fn read(matches: &Matches) -> Result<Wished, CliError> {
        let mirrors = matches.texts("mirror").iter().map(|text| text.parse::<MirrorRule>());
        let replicas = matches.texts("replicate").iter().map(|text| text.parse::<ReplicateRule>());
        Ok(Wished {
            mirrors: mirrors.collect::<Result<_, _>>().map_err(CliError::new)?,
            replicas: replicas.collect::<Result<_, _>>().map_err(CliError::new)?,
        })
    }

    /// A repository is a cache's or a mirror's: what asks its upstream for everything needs no mirror.
    pub(super) fn check(&self, upstreams: &Upstreams) -> Result<(), CliError> {
        for rule in &self.mirrors {
            let name = match rule.address.prefix.as_str() {
                "" => rule.repository.clone(),
                prefix => format!("{prefix}/{}", rule.repository),
            };
            if upstreams.iter().any(|upstream| upstream.has(&name)) {
                let words = format!("--mirror {}: {name} is a copy already, by --proxy", rule.text);
                return Err(CliError::new(words));
            }
        }
        Ok(())
    }

    /// Has them all at work.
    pub(super) fn start(
        self,
        cli: &Cli,
        patience: Duration,
        store: &Arc<Store>,
        audit: &Arc<Audit>,
    ) -> Result<Rules, CliError> {
        let mut standings = Vec::new();
        let all = client(self.mirrors.iter().map(|rule| &rule.address), patience);
        for rule in self.mirrors {
            let standing = Mirror::standing(&rule);
            standings.push(Arc::clone(&standing));
            let upstream =
                Upstream::new(rule.address.clone(), Duration::ZERO, all.clone(), logins(cli));
            let (store, audit) = (Arc::clone(store), Arc::clone(audit));
            let mirror = Mirror { rule, upstream: Arc::new(upstream), store, audit, standing };
            tokio::spawn(mirror.run());
        }
        for rule in self.replicas {
            let standing = Replica::standing(&rule);
            standings.push(Arc::clone(&standing));
            let own = client(std::iter::once(&rule.address), patience);
            let upstream = Upstream::new(rule.address.clone(), Duration::ZERO, own, logins(cli));
            let (store, audit) = (Arc::clone(store), Arc::clone(audit));
            let replica = Replica { rule, upstream, store, audit, standing };
            replica
                .start()
                .map_err(|error| CliError::new(format!("cannot start a thread: {error}")))?;
        }
        Ok(Rules::new(standings))
    }
}
