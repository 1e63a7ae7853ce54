//! Images of pods, brought before anything else is done for them.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use ferry_cli::face::{CliError, hide_progress, name_and_tag, registry_auth};
use ferry_client::path_segment;
use ferry_docker_api::{AuthConfig, JsonMessage};
use serde_json::Value;

use crate::{
    env::Values,
    manifest::Source,
    plan::PodPlan,
    play::{Player, is_missing},
    reader::Reader,
};

impl Player<'_> {
    /// Brings all images of a pod.
    pub(crate) async fn bring_all(&self, pod: &PodPlan) -> Result<(), CliError> {
        let mounted = pod.work.images.iter().map(|(image, pull)| (image, pull));
        let mut all: Vec<(&String, &String)> =
            mounted.chain(pod.all().map(|one| (&one.image, &one.pull))).collect();
        all.sort_unstable();
        all.dedup();
        for (image, pull) in all {
            self.bring(image, pull, &pod.logins).await?;
        }
        Ok(())
    }

    /// Brings an image, as its policy says; by one of these logins, if it is of their registries.
    pub(crate) async fn bring(
        &self,
        image: &str,
        policy: &str,
        logins: &[Login],
    ) -> Result<(), CliError> {
        // What is here is good enough, unless `Always` is said: also under `latest`, which a cluster would ask for anew. It may be here alone.
        if policy != "Always" {
            let path = format!("/images/{}/json", path_segment(image));
            match self.client.get(path).json::<Value>().await {
                Ok(_) => return Ok(()),
                Err(error) if !is_missing(&error) || policy == "Never" => return Err(error.into()),
                Err(_) => {}
            }
        }
        self.pull(image, logins).await
    }

    async fn pull(&self, image: &str, logins: &[Login]) -> Result<(), CliError> {
        let (name, tag) = name_and_tag(image)?;
        let auth = match of_image(logins, image) {
            Some(login) => login.header.clone(),
            None => registry_auth(self.cli, image)?,
        };
        let call = self.client.post("/images/create");
        let mut call = call.query("fromImage", name).query("tag", tag);
        if !auth.is_empty() {
            call = call.header("X-Registry-Auth", auth);
        }
        hide_progress(call.lines::<JsonMessage>().await?).await
    }
}

/// What a pod's secret says about a registry, or about images below a path of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Login {
    /// `registry.example:5000/team`.
    place: String,
    /// The value of `X-Registry-Auth`.
    header: String,
}

/// Reads `imagePullSecrets` of a pod.
pub(crate) fn logins(spec: &mut Reader<'_>, values: Values<'_>) -> Result<Vec<Login>, String> {
    let names = spec.each("imagePullSecrets", |mut secret| {
        let name = secret.needed("name")?;
        secret.finish()?;
        Ok(name)
    })?;
    let mut all = Vec::new();
    for name in names {
        if !values.manifests.values.contains_key(&(Source::Secret, name.clone())) {
            let why = "is not in the manifests: images are pulled by this machine's own logins";
            spec.tell("imagePullSecrets", &format!("names \"{name}\", which {why}"));
            continue;
        }
        all.extend(of_secret(values, &name)?);
    }
    Ok(all)
}

/// The logins of a secret of type `kubernetes.io/dockerconfigjson`, or of its forerunner.
fn of_secret(values: Values<'_>, name: &str) -> Result<Vec<Login>, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("Secret \"{name}\": {why}");
    let parsed = |key: &str| {
        let text = values.value(Source::Secret, name, key)?;
        serde_json::from_str::<Value>(text).map_err(|error| wrong(&format!("{key}: {error}")))
    };
    let auths = match parsed(".dockerconfigjson") {
        Ok(whole) => whole["auths"].clone(),
        Err(why) => parsed(".dockercfg").map_err(|_| why)?,
    };
    let auths = auths.as_object().ok_or_else(|| wrong(&"there are no auths in it"))?;
    auths.iter().map(|(server, entry)| login(server, entry).map_err(|why| wrong(&why))).collect()
}

fn login(server: &str, entry: &Value) -> Result<Login, String> {
    let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let (mut username, mut password) = (text("username"), text("password"));
    let pair = STANDARD.decode(text("auth")).ok().and_then(|pair| String::from_utf8(pair).ok());
    let pair = pair.ok_or_else(|| format!("auth of {server} is no base64"))?;
    if let (true, Some((user, word))) = (username.is_empty(), pair.split_once(':')) {
        (username, password) = (user.to_owned(), word.to_owned());
    }
    let place = server.trim_start_matches("https://").trim_start_matches("http://");
    let place = place.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches("/v2");
    let place = if place == "index.docker.io" { "docker.io" } else { place }.to_owned();
    let config = AuthConfig {
        username,
        password,
        identity_token: text("identitytoken"),
        server_address: server.to_owned(),
        ..AuthConfig::default()
    };
    let json = serde_json::to_vec(&config).map_err(|error| error.to_string())?;
    Ok(Login { place, header: URL_SAFE.encode(json) })
}

/// The login whose place is nearest to an image.
fn of_image<'l>(logins: &'l [Login], image: &str) -> Option<&'l Login> {
    let first = image.split('/').next().filter(|_| image.contains('/')).unwrap_or_default();
    let is_host = first.contains(['.', ':']) || first == "localhost";
    let whole = if is_host { image.to_owned() } else { format!("docker.io/{image}") };
    let fits = |login: &&Login| {
        let below = whole.strip_prefix(&login.place);
        below.is_some_and(|rest| rest.starts_with('/'))
    };
    logins.iter().filter(fits).max_by_key(|login| login.place.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_login_is_for_images_of_its_place() {
        let entry = json!({ "auth": STANDARD.encode("ann:se:cret") });
        let servers =
            ["https://index.docker.io/v1/", "reg.example:5000", "http://reg.example:5000/team"];
        let logins: Vec<Login> =
            servers.iter().map(|server| login(server, &entry).unwrap()).collect();
        let place = |image: &str| of_image(&logins, image).map(|one| one.place.as_str());
        for (image, expected) in [
            ("busybox", Some("docker.io")),
            ("team/busybox:1", Some("docker.io")),
            ("docker.io/library/busybox", Some("docker.io")),
            ("reg.example:5000/busybox", Some("reg.example:5000")),
            ("reg.example:5000/team/busybox", Some("reg.example:5000/team")),
            ("reg.example:5000/teams/busybox", Some("reg.example:5000")),
            ("reg.example/busybox", None),
            ("localhost/busybox", None),
        ] {
            assert_eq!(place(image), expected, "{image}");
        }
        let config: Value =
            serde_json::from_slice(&URL_SAFE.decode(&logins[0].header).unwrap()).unwrap();
        assert_eq!((&config["username"], &config["password"]), (&json!("ann"), &json!("se:cret")));
        login("reg.example", &json!({ "auth": "*" })).unwrap_err();
    }
}
