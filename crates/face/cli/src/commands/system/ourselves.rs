//! What `version` and `info` say of this program.

use serde_json::{Map, Value};

use crate::framework::Cli;

/// The name of the product.
pub(super) fn product() -> String {
    format!("Ferry {}", env!("CARGO_PKG_VERSION"))
}

/// The processor in Go's words.
pub(super) fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The context in use.
pub(super) fn context(cli: &Cli) -> String {
    let globals = cli.globals();
    if let Some(name) = globals.context() {
        return name.to_owned();
    }
    if !globals.hosts().is_empty() || cli.env("DOCKER_HOST").is_some() {
        return "default".to_owned();
    }
    let named = cli
        .env("DOCKER_CONTEXT")
        .or_else(|| cli.config().text(crate::commands::context::current_field(cli.program())));
    named.unwrap_or_else(|| "default".to_owned())
}

/// docker's client version as JSON: empty fields are left out. `spoken` is the version of the API in use.
pub(super) fn version(cli: &Cli, spoken: Option<String>) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut add = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    add("Platform", serde_json::json!({"Name": product()}));
    add("Version", crate::DOCKER_VERSION.into());
    if let Some(spoken) = spoken {
        add("ApiVersion", spoken.into());
    }
    add("DefaultAPIVersion", ferry_docker_api::ApiVersion::MAX.to_string().into());
    add("GitCommit", format!("ferry-{}", env!("CARGO_PKG_VERSION")).into());
    add("Os", "linux".into());
    add("Arch", arch().into());
    add("Context", context(cli).into());
    fields
}

/// Fields that Go spells in another way, or that are left out.
pub(super) fn absent(of: &Map<String, Value>, name: &str) -> Option<Option<Value>> {
    match name {
        "APIVersion" => Some(Some(of.get("ApiVersion").cloned().unwrap_or_else(|| "".into()))),
        "GoVersion" | "BuildTime" => Some(Some("".into())),
        _ => None,
    }
}
