//! `use_api_socket`: the daemon's socket inside the containers of a service, and what we are to registries beside it. Docker Compose has it
//! as a mount and a config of the service, and so have we, for the config hash is of both.

use ferry_cli::face::{Cli, CliError, every_registry};
use ferry_client::Endpoint;
use serde_json::{Map, Value, json};

use crate::model::{Bind, FileObject, FileReference, Mount, Project};

/// Where programs look for the socket.
const SOCKET: &str = "/var/run/docker.sock";
/// The directory with the configuration inside.
const PLACE: &str = "/run/secrets/docker";
/// The variable that names it.
const VARIABLE: &str = "DOCKER_CONFIG";
/// A config's name that nobody can give.
const CONFIG: &str = "#apisocket";

/// Gives the services that ask for it what they need.
pub(crate) fn give(cli: &Cli, project: &mut Project) -> Result<(), CliError> {
    if !project.services.values().any(|service| service.use_api_socket) {
        return Ok(());
    }
    let source = match cli.client()?.endpoint() {
        Endpoint::Unix(path) => path.to_string_lossy().into_owned(),
        _ => SOCKET.to_owned(),
    };
    let auths: Map<String, Value> = every_registry(cli).into_iter().collect();
    let content = Some(json!({ "auths": auths }).to_string());
    let object = FileObject { name: CONFIG.to_owned(), content, ..FileObject::default() };
    project.configs.insert(CONFIG.to_owned(), object);
    let target = format!("{PLACE}/config.json");
    for service in project.services.values_mut().filter(|service| service.use_api_socket) {
        let add = |value: &mut Value, key: &str, item: Value| match &mut value[key] {
            Value::Array(list) => list.push(item),
            other => *other = json!([item]),
        };
        let value = &mut service.value;
        add(value, "volumes", json!({"type": "bind", "source": SOCKET, "target": SOCKET}));
        add(value, "configs", json!({"source": CONFIG, "target": target}));
        service.volumes.push(Mount {
            r#type: "bind".to_owned(),
            source: source.clone(),
            target: SOCKET.to_owned(),
            bind: Some(Bind::default()),
            ..Mount::default()
        });
        service.configs.push(FileReference {
            source: CONFIG.to_owned(),
            target: target.clone(),
            ..FileReference::default()
        });
        // Whoever says where it is brings it, too.
        if !service.environment.contains_key(VARIABLE) {
            service.environment.insert(VARIABLE.to_owned(), Some(PLACE.to_owned()));
            value["environment"][VARIABLE] = PLACE.into();
        }
    }
    Ok(())
}
