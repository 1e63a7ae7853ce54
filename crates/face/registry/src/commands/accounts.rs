//! `ferry registry user add|rm|ls` and `ferry registry token create|rm`.

use std::path::Path;

use ferry_access::{
    Account, Action, Credential, Grant, Policy, hash_password, is_name, new_secret, secret_hash,
};
use ferry_cli::{
    face::{Args, Cli, CliError, Command, Outcome, align_with},
    flags::{Flag, Matches},
};
use ferry_registry_store::now;
use serde_json::json;

use super::{ROOT, failed, seconds};
use crate::{access::change, journal::Audit};

const GRANT: Flag = Flag::list(
    "grant",
    "What may be done where: PREFIX=pull,push,delete,admin; * for all repositories",
);

pub(super) const ADD: Command = Command {
    name: "user add",
    short: "Add a user, or change password and grants of one",
    long: "Add a user, or change password and grants of one. Without --grant, a user may do everything. The password is read\nfrom the terminal, or from standard input with --password-stdin.",
    usage: "[OPTIONS] NAME",
    flags: &[GRANT, Flag::bool("password-stdin", "Take the password from stdin"), ROOT],
    args: Args::Exactly(1),
    run: add,
    ..Command::NEW
};

pub(super) const REMOVE: Command = Command {
    name: "user rm",
    short: "Remove users or robots",
    usage: "[OPTIONS] NAME [NAME...]",
    flags: &[ROOT],
    args: Args::AtLeast(1),
    run: remove,
    ..Command::NEW
};

pub(super) const LIST: Command = Command {
    name: "user ls",
    short: "List users and robots, and what they may do",
    usage: "[OPTIONS]",
    flags: &[ROOT],
    run: list,
    ..Command::NEW
};

pub(super) const TOKEN: Command = Command {
    name: "token create",
    short: "Make a robot with a secret, which is shown once",
    usage: "[OPTIONS] NAME",
    flags: &[Flag::duration("expires", "How long it is valid; 0s for ever"), GRANT, ROOT],
    args: Args::Exactly(1),
    run: token,
    ..Command::NEW
};

fn grants(matches: &Matches) -> Result<Vec<Grant>, CliError> {
    // A list's values are split at commas by nobody: `a=pull,push` is one.
    let grants = matches.texts("grant").iter().map(|text| text.parse::<Grant>());
    grants.collect::<Result<_, _>>().map_err(|error| CliError::new(error.to_string()))
}

fn name(matches: &Matches) -> Result<&str, CliError> {
    let name = matches.arg(0);
    if is_name(name) {
        return Ok(name);
    }
    Err(CliError::new(format!("invalid account name \"{name}\": letters, digits and ._-$@+ only")))
}

fn edit<T>(matches: &Matches, edit: impl FnOnce(&mut Policy) -> T) -> Result<T, CliError> {
    change(Path::new(matches.text("root")), edit).map_err(|error| failed(&error))
}

/// A change of accounts is in the same log as those of content.
fn note(matches: &Matches, action: &str, name: &str, account: Option<&Account>) {
    let path = Path::new(matches.text("root")).join("audit.log");
    match Audit::open(&path) {
        Ok(audit) => audit.record(json!({
            "action": action,
            "account": name,
            "grants": account.map(granted),
            "expires": account.and_then(|account| account.expires),
            "from": "command line",
        })),
        Err(error) => tracing::error!("cannot open {}: {error}", path.display()),
    }
}

fn add(cli: &Cli, matches: &Matches) -> Outcome {
    let name = name(matches)?;
    let mut grants = grants(matches)?;
    if grants.is_empty() {
        grants.push(Grant::all());
    }
    let password = if matches.flag("password-stdin") || !cli.stdin_is_terminal() {
        cli.ask("", true)?
    } else {
        let password = cli.ask(&format!("Password of {name}: "), false)?;
        if cli.ask("The same again: ", false)? != password {
            return Err(CliError::new("the passwords differ"));
        }
        password
    };
    let hash = hash_password(&password).map_err(|error| failed(&error))?;
    let account = Account { credential: Credential(hash), grants, expires: None, robot: false };
    let before = edit(matches, |policy| policy.accounts.insert(name.to_owned(), account.clone()))?;
    let action = if before.is_some() { "change user" } else { "add user" };
    note(matches, action, name, Some(&account));
    cli.println(name)?;
    Ok(0)
}

fn remove(cli: &Cli, matches: &Matches) -> Outcome {
    for name in matches.args() {
        if edit(matches, |policy| policy.accounts.remove(name))?.is_none() {
            return Err(CliError::new(format!("no such account: {name}")));
        }
        note(matches, "remove account", name, None);
        cli.println(name)?;
    }
    Ok(0)
}

fn list(cli: &Cli, matches: &Matches) -> Outcome {
    let policy = edit(matches, |policy| policy.clone())?;
    let mut rows = "NAME\tKIND\tEXPIRES\tGRANTS\n".to_owned();
    for (name, account) in &policy.accounts {
        let expires = account.expires.map_or("never".to_owned(), |at| {
            if at <= now() {
                return "expired".to_owned();
            }
            let left = std::time::Duration::from_secs(at - now());
            format!("in {}", ferry_stdx::duration::human(left))
        });
        let kind = if account.robot { "robot" } else { "user" };
        rows.push_str(&format!("{name}\t{kind}\t{expires}\t{}\n", granted(account)));
    }
    cli.print(&align_with(&rows, 10, 3))?;
    Ok(0)
}

/// What an account may do, in the form of `--grant`.
pub(crate) fn granted(account: &Account) -> String {
    account.grants.iter().map(shown).collect::<Vec<_>>().join(" ")
}

fn shown(grant: &Grant) -> String {
    let actions: Vec<&str> = grant.actions.iter().map(|action: &Action| action.name()).collect();
    format!("{}={}", grant.prefix, actions.join(","))
}

fn token(cli: &Cli, matches: &Matches) -> Outcome {
    let name = name(matches)?;
    let grants = grants(matches)?;
    if grants.is_empty() {
        return Err(CliError::new("say with --grant what the robot may do"));
    }
    let secret = new_secret().ok_or_else(|| CliError::new("cannot make a random secret"))?;
    let life = seconds(matches, "expires");
    let account = Account {
        credential: Credential(format!("secret:{}", secret_hash(&secret))),
        grants,
        expires: (life > 0).then(|| now().saturating_add(life)),
        robot: true,
    };
    let taken = edit(matches, |policy| {
        if policy.accounts.get(name).is_some_and(|account| !account.robot) {
            return true;
        }
        policy.accounts.insert(name.to_owned(), account.clone());
        false
    })?;
    if taken {
        return Err(CliError::new(format!("{name} is a user")));
    }
    note(matches, "make robot", name, Some(&account));
    cli.println(&secret)?;
    Ok(0)
}
