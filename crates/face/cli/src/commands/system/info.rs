//! `docker info`.

use ferry_docker_api::SystemInfo;
use ferry_gotemplate::{ExecError, Missing, Options, Template};
use serde_json::{Map, Value, json};

use super::{ourselves, report};
use crate::framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome};

pub(crate) const COMMAND: Command = Command {
    name: "info",
    top: Some("info"),
    short: "Display system-wide information",
    usage: "[OPTIONS]",
    aliases_help: "docker system info, docker info",
    common: Some(11),
    args: Args::None,
    flags: FLAGS,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::string("format", "Format output using a custom template:\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates").short('f'),
];

/// Exit code for a template that does not read.
const USAGE: u8 = 64;
/// What `config.json` keeps the user of Docker Hub under.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    match matches.text("format") {
        "" => pretty(cli),
        "json" => formatted(cli, "{{json .}}"),
        format => formatted(cli, format),
    }
}

fn ask<T: serde::de::DeserializeOwned>(cli: &Cli) -> Result<T, CliError> {
    let client = cli.client()?;
    Ok(cli.wait(client.get("/info").json())?)
}

fn pretty(cli: &Cli) -> Outcome {
    let debug = debug(cli);
    let ours = format!(
        "Client: {}\n Version:    {}\n Context:    {}\n Debug Mode: {debug}\n\nServer:\n",
        ourselves::product(),
        crate::DOCKER_VERSION,
        ourselves::context(cli)
    );
    let info = ask::<SystemInfo>(cli);
    cli.print(&ours)?;
    let info = match info {
        Ok(info) => info,
        // The daemon is there and cannot say: docker calls that an error of printing.
        Err(error) if error.message().starts_with("Error response") => {
            cli.warn(&format!("ERROR: {}", error.message()));
            return Err(CliError::new("errors pretty printing info"));
        }
        Err(error) => return Err(error),
    };
    let user = cli.config().credentials(DOCKER_HUB).ok().flatten();
    let user = user.map(|found| found.username).unwrap_or_default();
    cli.print(&report::of(&info, &user, debug))?;
    for warning in info.warnings.iter().flatten() {
        cli.warn(warning);
    }
    Ok(0)
}

fn formatted(cli: &Cli, format: &str) -> Outcome {
    let mut ours = Map::new();
    ours.insert("Debug".to_owned(), debug(cli).into());
    ours.extend(ourselves::version(cli, None));
    ours.insert("Plugins".to_owned(), json!([]));
    ours.insert("Warnings".to_owned(), Value::Null);
    let template = Template::parse(format);
    // Who only asks for what is known here does not need a daemon.
    let alone = json!({"ClientInfo": ours});
    let mut value = match &template {
        Ok(template)
            if asks_fields(format) && execute(template, &alone, &mut String::new()).is_ok() =>
        {
            alone
        }
        _ => match ask::<Value>(cli) {
            Ok(value) => value,
            Err(error) => {
                cli.print("\n")?;
                return Err(error);
            }
        },
    };
    if let Value::Object(fields) = &mut value {
        fields.insert("ClientInfo".to_owned(), Value::Object(ours));
    }
    let template = template.map_err(|error| {
        CliError::new(format!("template parsing error: {error}")).with_code(USAGE)
    })?;
    let mut text = String::new();
    let outcome = execute(&template, &value, &mut text);
    cli.println(&text)?;
    outcome.map(|()| 0).map_err(|error| CliError::new(error.to_string()))
}

/// `.a`: a template that has none of it is executed with everything.
fn asks_fields(format: &str) -> bool {
    let bytes = format.as_bytes();
    bytes.windows(2).any(|pair| pair[0] == b'.' && pair[1].is_ascii_alphabetic())
}

fn execute(template: &Template, value: &Value, text: &mut String) -> Result<(), ExecError> {
    let options = Options {
        missing: Missing::Strict("system.dockerInfo"),
        absent: Some(absent),
        types: Some(|key| match key {
            "ClientInfo" => Some("*system.clientInfo"),
            "Swarm" => Some("swarm.Info"),
            "Plugins" => Some("system.PluginsInfo"),
            _ => None,
        }),
        shown: Some(|key, value| {
            let words = if key == "RegistryConfig" { "<nil>" } else { "[]" };
            value.is_null().then(|| words.to_owned())
        }),
        ..Options::default()
    };
    template.execute(value, &options, text)
}

/// Names of Go's fields that JSON spells in another way, and those that it leaves out.
fn absent(of: &Map<String, Value>, parent: &str, name: &str) -> Option<Option<Value>> {
    let other = |json: &str| Some(of.get(json).cloned());
    // Without a daemon's answer nothing of this is known.
    let asked = of.contains_key("ServerVersion");
    match (parent, name) {
        ("ClientInfo", _) => ourselves::absent(of, name),
        ("", "CPUCfsPeriod") if asked => other("CpuCfsPeriod"),
        ("", "CPUCfsQuota") if asked => other("CpuCfsQuota"),
        ("", "HTTPProxy") if asked => other("HttpProxy"),
        ("", "HTTPSProxy") if asked => other("HttpsProxy"),
        ("", "CgroupVersion" | "ProductLicense" | "UserName") if asked => Some(Some("".into())),
        ("", "KernelMemory" | "KernelMemoryTCP") if asked => Some(Some(false.into())),
        ("", "SystemStatus" | "DefaultAddressPools" | "DiscoveredDevices" | "ServerErrors")
            if asked =>
        {
            Some(Some(Value::Null))
        }
        ("", "ClientErrors") => Some(Some(Value::Null)),
        ("Runtimes" | "IndexConfigs", _) => Some(None),
        ("", _) => None,
        // Runtimes are written in small letters.
        _ => of.get(&name.to_ascii_lowercase()).cloned().map(Some),
    }
}

/// docker's switch for its own debug mode.
fn debug(cli: &Cli) -> bool {
    cli.env("DEBUG").is_some()
}
