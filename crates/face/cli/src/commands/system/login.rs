//! `docker login` and `docker logout`.

use std::io::Read;

use ferry_client::{Client, ClientError};
use ferry_docker_api::{AuthConfig, AuthResponse};

use crate::{
    commands::system::credential_helper,
    config::{ConfigFile, Credentials, Keep},
    framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome},
};

pub(crate) const LOGIN: Command = Command {
    name: "login",
    top: Some("login"),
    short: "Authenticate to a registry",
    long: "Authenticate to a registry.\nDefaults to Docker Hub if no server is specified.",
    usage: "[OPTIONS] [SERVER]",
    common: Some(7),
    args: Args::AtMost(1),
    flags: FLAGS,
    run: login,
    ..Command::NEW
};

pub(crate) const LOGOUT: Command = Command {
    name: "logout",
    top: Some("logout"),
    short: "Log out from a registry",
    long: "Log out from a registry.\nIf no server is specified, the default is defined by the daemon.",
    usage: "[SERVER]",
    common: Some(8),
    args: Args::AtMost(1),
    run: logout,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::string("password", "Password or Personal Access Token (PAT)").short('p'),
    Flag::bool("password-stdin", "Take the Password or Personal Access Token (PAT) from stdin"),
    Flag::bool("plain-text", "Keep the credentials in config.json, readable for every program")
        .beyond_docker(),
    Flag::string("username", "Username").short('u'),
];

/// Where Docker Hub's credentials are kept.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Longest password that is read from standard input, in bytes.
const MAX_PASSWORD: u64 = 64 << 10;

/// The registry's host, without scheme and path.
fn host(text: &str) -> &str {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    rest.unwrap_or(text).split('/').next().unwrap_or_default()
}

/// What is wrong with flags alone.
fn check(matches: &Matches) -> Result<(), CliError> {
    let words = if matches.is_set("password-stdin") && matches.is_set("password") {
        "conflicting options: cannot specify both --password and --password-stdin"
    } else if matches.is_set("password-stdin") && !matches.is_set("username") {
        "the --password-stdin option requires --username to be set"
    } else if matches.is_set("username") && matches.text("username").is_empty() {
        "username is empty"
    } else if matches.is_set("password") && matches.text("password").is_empty() {
        "password is empty"
    } else {
        return Ok(());
    };
    Err(CliError::new(words))
}

fn login(cli: &Cli, matches: &Matches) -> Outcome {
    check(matches)?;
    let mut password = matches.text("password").to_owned();
    if !password.is_empty() {
        cli.warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    if matches.flag("password-stdin") {
        password = read_password()?;
    }
    let server = match matches.arg(0) {
        "" | "docker.io" | DOCKER_HUB => DOCKER_HUB,
        named => host(named),
    };
    let how = if matches.flag("plain-text") { Keep::InPlainText } else { Keep::Safely };
    let username = matches.text("username").trim();
    let kept = match (username, password.as_str()) {
        ("", "") => stored(cli, server),
        _ => None,
    };
    let status = match kept {
        Some(kept) => match with_stored(cli, server, kept.clone(), how)? {
            Some(status) => status,
            None => fresh(cli, server, (username, &password), &kept.username, how)?,
        },
        None => fresh(cli, server, (username, &password), "", how)?,
    };
    if !status.is_empty() {
        cli.println(&status)?;
    }
    Ok(0)
}

fn read_password() -> Result<String, CliError> {
    let mut text = String::new();
    std::io::stdin()
        .take(MAX_PASSWORD)
        .read_to_string(&mut text)
        .map_err(|error| CliError::new(format!("cannot read the password: {error}")))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// What is kept for a registry, if it is enough to try.
fn stored(cli: &Cli, server: &str) -> Option<Credentials> {
    let (file, _) = ConfigFile::load(&cli.globals().config_dir());
    // What cannot be read any more is asked for anew.
    let kept = file.credentials(server).unwrap_or_else(|error| {
        cli.warn(&format!("WARNING: {}", error.message()));
        None
    });
    kept.filter(|kept| !kept.username.is_empty() && !kept.password.is_empty())
}

/// Tries what is kept; `None` if the registry does not want it any more.
fn with_stored(
    cli: &Cli,
    server: &str,
    kept: Credentials,
    how: Keep,
) -> Result<Option<String>, CliError> {
    let program = cli.program();
    let note = format!(
        "To login with a different account, run '{program} logout' followed by '{program} login'"
    );
    cli.warn(&format!(
        "Authenticating with existing credentials... [Username: {}]\n{}\n",
        kept.username,
        info(cli, &note)
    ));
    match ask_registry(cli, cli.client()?, server, kept.clone()) {
        Ok((credentials, status)) => {
            keep(cli, server, &credentials, how)?;
            Ok(Some(status))
        }
        Err(error) => {
            cli.warn(&match error.status() {
                Some(401) => "Stored credentials invalid or expired".to_owned(),
                _ => format!("Login did not succeed, error: {error}"),
            });
            Ok(None)
        }
    }
}

/// A note, as docker draws it.
fn info(cli: &Cli, note: &str) -> String {
    if cli.stderr_is_terminal() {
        format!(
            "\n\x1b[1m\x1b[106m\x1b[30mi\x1b[0m\x1b[0m \x1b[96mInfo → \x1b[0m\x1b[0m\x1b[3m{note}\x1b[0m\n"
        )
    } else {
        format!("\n Info -> {note}\n")
    }
}

/// Asks whoever runs us, unless flags say it all.
fn fresh(
    cli: &Cli,
    server: &str,
    (username, password): (&str, &str),
    known: &str,
    how: Keep,
) -> Result<String, CliError> {
    if (username.is_empty() || password.is_empty()) && !cli.stdin_is_terminal() {
        return Err(CliError::new(
            "Error: Cannot perform an interactive login from a non TTY device",
        ));
    }
    let mut given = Credentials {
        username: username.to_owned(),
        password: password.trim().to_owned(),
        ..Credentials::default()
    };
    if given.username.is_empty() {
        let question = match known {
            "" => "Username: ".to_owned(),
            known => format!("Username ({known}): "),
        };
        cli.ask(&question, true)?.trim().clone_into(&mut given.username);
        if given.username.is_empty() {
            known.clone_into(&mut given.username);
        }
        if given.username.is_empty() {
            return Err(CliError::new("Error: Non-null Username Required"));
        }
    }
    if given.password.is_empty() {
        cli.ask("Password: ", false)?.trim().clone_into(&mut given.password);
        if given.password.is_empty() {
            return Err(CliError::new("Error: Password Required"));
        }
    }
    let (credentials, status) = ask_registry(cli, cli.client()?, server, given)?;
    keep(cli, server, &credentials, how)?;
    Ok(status)
}

/// Lets the daemon try credentials; what to keep of them, and its words.
fn ask_registry(
    cli: &Cli,
    client: &Client,
    server: &str,
    mut credentials: Credentials,
) -> Result<(Credentials, String), ClientError> {
    let request = AuthConfig {
        username: credentials.username.clone(),
        password: credentials.password.clone(),
        server_address: server.to_owned(),
        ..Default::default()
    };
    let answer: AuthResponse = cli.wait(client.post("/auth").json_body(&request).json())?;
    if !answer.identity_token.is_empty() {
        credentials.password.clear();
        credentials.identity_token = answer.identity_token;
    }
    Ok((credentials, answer.status))
}

fn keep(cli: &Cli, server: &str, credentials: &Credentials, keep: Keep) -> Result<(), CliError> {
    let (mut file, _) = ConfigFile::load(&cli.globals().config_dir());
    let helped = file.has_helper(server);
    let as_wanted = !helped && file.is_plain(server) == (keep == Keep::InPlainText);
    // What cannot be read is written anew.
    if as_wanted && file.credentials(server).ok().flatten().as_ref() == Some(credentials) {
        return Ok(());
    }
    file.store(server, credentials, keep)
        .map_err(|error| error.map_message(|words| format!("Error saving credentials: {words}")))?;
    if keep == Keep::InPlainText && !credentials.password.is_empty() {
        cli.warn(&format!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n",
            file.path().display()
        ));
    } else if !helped && !credential_helper::is_installed() {
        cli.warn(&format!(
            "Your credentials are kept encrypted in '{}'. Other programs read them by {}, a link to this one in $PATH, which is not there.",
            file.vault().path().display(),
            credential_helper::PROGRAM
        ));
    }
    Ok(())
}

fn logout(cli: &Cli, matches: &Matches) -> Outcome {
    let (shown, names) = match matches.arg(0) {
        "" => (DOCKER_HUB.to_owned(), vec![DOCKER_HUB.to_owned()]),
        named => {
            let host = host(named).to_owned();
            let names = vec![
                named.to_owned(),
                host.clone(),
                format!("http://{host}"),
                format!("https://{host}"),
            ];
            (host, names)
        }
    };
    cli.println(&format!("Removing login credentials for {shown}"))?;
    let (mut file, _) = ConfigFile::load(&cli.globals().config_dir());
    let mut failures = Vec::new();
    for name in &names {
        if file.knows(name)
            && let Err(error) = file.erase(name)
        {
            failures.push(format!("{name}: {}", error.message()));
        }
    }
    if failures.len() == names.len() {
        cli.warn("WARNING: could not erase credentials:");
        failures.iter().for_each(|failure| cli.warn(failure));
    }
    Ok(0)
}
