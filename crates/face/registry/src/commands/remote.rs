//! `ferry registry rm`: tags and manifests at any registry, deleted.

use std::time::Duration;

use ferry_cli::{
    face::{Args, Cli, CliError, Command, Outcome, logins},
    flags::{Flag, Matches},
};
use ferry_oci::Reference;
use ferry_transfer::{Client, ClientConfig};

use super::failed;
use crate::proxy::{Address, Upstream};

pub(super) const REMOVE: Command = Command {
    name: "rm",
    short: "Delete tags or manifests at a registry",
    long: "Delete tags or manifests at a registry. With a digest, all tags of that manifest go; some registries delete nothing else.\nThe credentials are those of 'login'.",
    usage: "[OPTIONS] HOST/NAME:TAG|HOST/NAME@DIGEST [...]",
    flags: &[Flag::bool("insecure", "Allow communication with insecure registries")],
    args: Args::AtLeast(1),
    run: remove,
    ..Command::NEW
};

fn remove(cli: &Cli, matches: &Matches) -> Outcome {
    for text in matches.args() {
        let name = Reference::parse(text).map_err(|error| CliError::new(error.to_string()))?;
        let digest = name.digest().map(ToString::to_string);
        let what = digest.or_else(|| name.tag().map(str::to_owned)).ok_or_else(|| {
            CliError::new(format!("{text} names neither a tag nor a digest: nothing is deleted"))
        })?;
        let insecure = matches.flag("insecure").then(|| name.domain().to_owned());
        let client = Client::new(ClientConfig {
            user_agent: format!("Ferry-Client/{} (linux)", env!("CARGO_PKG_VERSION")),
            insecure: insecure.into_iter().collect(),
            ..ClientConfig::default()
        });
        let address = Address {
            prefix: String::new(),
            url: name.domain().to_owned(),
            domain: name.domain().to_owned(),
            below: String::new(),
            secure: true,
        };
        let registry = Upstream::new(address, Duration::ZERO, client, logins(cli));
        let gone = cli.wait(async {
            let repository = registry.to_change(name.path(), true).await;
            let repository = repository.map_err(|fault| CliError::new(fault.words()))?;
            repository.delete_manifest(&what).await.map_err(|error| failed(&error))
        })?;
        if !gone {
            return Err(CliError::new(format!("{text}: manifest unknown")));
        }
        cli.println(text)?;
    }
    Ok(0)
}
