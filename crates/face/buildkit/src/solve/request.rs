//! The attributes of the frontend `dockerfile.v0`, and what they mean to the engine.

use std::collections::{BTreeMap, BTreeSet};

use ferry_engine::{
    RegistryAuth,
    ops::build::{Attest, BuildRequest, NamedContext, Provenance},
};
use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::{NetworkMode, Ulimit};
use ferry_oci::Reference;
use serde::Deserialize;

use super::{Wanted, call::Call, unsupported};
use crate::{
    builds::Build,
    proto::moby::filesync::v1::{CredentialsRequest, auth_client::AuthClient},
    session::Session,
};

/// A build as it was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: BuildRequest,
    /// The client's name for the directory with the Dockerfile.
    pub(super) definition: String,
    /// The client's name for the context's directory.
    pub(super) context: String,
    /// Names of `--build-context`, and the client's directories for them.
    pub(super) directories: BTreeMap<String, String>,
    /// What is asked of the Dockerfile instead of a build.
    pub(super) call: Option<Call>,
    /// Where the context is, if not in that directory.
    pub(super) remote: Option<String>,
    /// Whether the Dockerfile is in a directory of the client.
    pub(super) apart: bool,
    /// The Dockerfile's path there.
    pub(super) dockerfile: String,
}

impl Asked {
    /// Reads the attributes; what is not understood is refused by its name.
    pub(super) fn of(build: &Build, wanted: Wanted<'_>) -> Result<Asked, Failure> {
        check_frontend(wanted)?;
        let mut asked = Asked {
            request: BuildRequest::default(),
            definition: "dockerfile".to_owned(),
            context: "context".to_owned(),
            directories: BTreeMap::new(),
            call: None,
            remote: None,
            apart: true,
            dockerfile: "Dockerfile".to_owned(),
        };
        for (name, value) in wanted.attrs {
            asked.read(name, value)?;
        }
        asked.apart = asked.remote.is_none() || wanted.attrs.contains_key("dockerfilekey");
        asked.request.dockerfile.clone_from(&asked.dockerfile);
        asked.request.entitlements.clone_from(&build.asked.entitlements);
        asked.read_cache(build, wanted)?;
        Ok(asked)
    }

    /// How the Dockerfile is called in messages.
    pub(super) fn shown(&self) -> &str {
        self.dockerfile.rsplit('/').next().unwrap_or_default()
    }

    fn read(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        if let Some((kind, key)) = name.split_once(':') {
            return self.read_keyed(kind, key, value);
        }
        let request = &mut self.request;
        match name {
            "filename" => value.clone_into(&mut self.dockerfile),
            "dockerfilekey" => value.clone_into(&mut self.definition),
            "contextkey" => value.clone_into(&mut self.context),
            "context" => self.remote = Some(value.to_owned()),
            "target" => value.clone_into(&mut request.target),
            "no-cache" if value.is_empty() => request.no_cache = true,
            "no-cache" => request.no_cache_filter = value.split(',').map(str::to_owned).collect(),
            "image-resolve-mode" => request.pull = value == "pull",
            "platform" if value.contains(',') => {
                request.platforms = value.split(',').map(str::to_owned).collect();
            }
            "platform" => request.platform = Some(value.to_owned()),
            "force-network-mode" => {
                request.host.network_mode = match value {
                    "host" => NetworkMode::Host,
                    "none" => NetworkMode::None,
                    other => return Err(unsupported(format!("the network mode {other:?}"))),
                }
            }
            "add-hosts" => request.host.extra_hosts = hosts(value),
            "shm-size" => {
                let invalid = |_| invalid(format!("failed to parse shm size {value:?}"));
                request.host.shm_size = value.parse().map_err(invalid)?;
            }
            "ulimit" => request.host.ulimits = ulimits(value)?,
            "cgroup-parent" => value.clone_into(&mut request.host.cgroup_parent),
            // Read where the cache is, and where the frontend is chosen.
            "cache-imports" | "cache-from" | "source" | "cmdline" => {}
            // What the client can make of an answer.
            "frontend.caps" => {}
            "requestid" => self.call = Some(Call::parse(value)?),
            // Several platforms are an index, one is an image.
            "multi-platform" if matches!(value, "false" | "0") => {}
            other => return Err(unsupported(format!("the frontend's attribute {other:?}"))),
        }
        Ok(())
    }

    fn read_keyed(&mut self, kind: &str, key: &str, value: &str) -> Result<(), Failure> {
        let request = &mut self.request;
        match kind {
            "build-arg" => {
                request.build_args.insert(key.to_owned(), Some(value.to_owned()));
            }
            "label" => {
                request.labels.insert(key.to_owned(), value.to_owned());
            }
            // Where the client got its context from: for provenance only.
            "vcs" => {}
            // How directories of several builds are told apart: each build has its own here.
            "sharedkey" | "local-sessionid" => {}
            "attest" => attestation(key, value, &mut request.attest)?,
            "context" => {
                if let Some(directory) = value.strip_prefix("local:") {
                    self.directories.insert(key.to_owned(), directory.to_owned());
                    return Ok(());
                }
                let context = named(key, value)?;
                request.contexts.insert(key.to_owned(), context);
            }
            other => {
                return Err(unsupported(format!("the frontend's attribute \"{other}:{key}\"")));
            }
        }
        Ok(())
    }

    fn read_cache(&mut self, build: &Build, wanted: Wanted<'_>) -> Result<(), Failure> {
        let cache = build.asked.cache.clone().unwrap_or_default();
        self.request.inline_cache = cache.exports.iter().any(|export| export.r#type == "inline");
        self.request.cache_image = cache_reference(build)?;
        let mut imports: Vec<(String, BTreeMap<String, String>)> = Vec::new();
        imports.extend(cache.imports.into_iter().map(|one| (one.r#type, one.attrs)));
        imports
            .extend(wanted.cache_imports.iter().map(|one| (one.r#type.clone(), one.attrs.clone())));
        // A client that runs the frontend itself says it among the attributes of the build.
        for attrs in [wanted.attrs, &build.asked.frontend_attrs] {
            let text = attrs.get("cache-imports").map_or("[]", String::as_str);
            let read: Option<Vec<Import>> = serde_json::from_str(text)
                .map_err(|error| invalid(format!("cache-imports does not read: {error}")))?;
            imports.extend(read.unwrap_or_default().into_iter().map(|one| (one.kind, one.attrs)));
        }
        for (kind, attrs) in imports {
            let reference = attrs.get("ref").filter(|_| kind == "registry");
            let Some(reference) = reference else {
                return Err(unsupported(format!("the cache importer {kind:?}")));
            };
            if !self.request.cache_from.contains(reference) {
                self.request.cache_from.push(reference.clone());
            }
        }
        Ok(())
    }
}

/// An entry of `cache-imports`.
#[derive(Debug, Deserialize)]
struct Import {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(rename = "Attrs", default)]
    attrs: BTreeMap<String, String>,
}

/// Where the cache is to be pushed to.
pub(crate) fn cache_reference(build: &Build) -> Result<Option<String>, Failure> {
    let cache = build.asked.cache.clone().unwrap_or_default();
    let mut found = None;
    for export in cache.exports.iter().filter(|export| export.r#type != "inline") {
        if export.r#type != "registry" || found.is_some() {
            return Err(unsupported(format!("the cache exporter {:?}", export.r#type)));
        }
        for (name, value) in &export.attrs {
            // All steps are exported, also where only those of the result are asked for.
            let idle = matches!(
                (name.as_str(), value.as_str()),
                ("ref", _)
                    | ("mode", "min" | "max")
                    | ("ignore-error", "false")
                    | ("oci-mediatypes" | "image-manifest", "true")
            );
            if !idle {
                return Err(unsupported(format!(
                    "the attribute {name}={value} of the cache exporter"
                )));
            }
        }
        let missing = || invalid("registry cache requires ref".to_owned());
        found = Some(export.attrs.get("ref").cloned().ok_or_else(missing)?);
    }
    Ok(found)
}

/// `attest:provenance` and `attest:sbom`, whose value says how.
fn attestation(kind: &str, value: &str, attest: &mut Attest) -> Result<(), Failure> {
    let mut provenance = Provenance::default();
    let mut wanted = true;
    for part in value.split(',').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, "true"));
        match (kind, name, value) {
            (_, "type", _) if value == kind => {}
            (_, "disabled", "true" | "1") => wanted = false,
            (_, "disabled", "false" | "0") => {}
            // What buildx asks for where its user asks for nothing: Docker's own store has no place for it, and nobody misses it.
            ("provenance", "inline-only", "true" | "1") => wanted = false,
            ("provenance", "inline-only", "false" | "0") => {}
            ("provenance", "mode", "min" | "max") => provenance.max = value == "max",
            ("provenance", "version", "v0.2" | "v1") => provenance.v1 = value == "v1",
            _ => {
                return Err(unsupported(format!(
                    "the attribute {part} of the attestation {kind:?}"
                )));
            }
        }
    }
    match kind {
        "provenance" => attest.provenance = wanted.then_some(provenance),
        "sbom" => attest.sbom = wanted,
        other => return Err(unsupported(format!("the attestation {other:?}"))),
    }
    Ok(())
}

/// What a name means in a build.
fn named(name: &str, value: &str) -> Result<NamedContext, Failure> {
    if let Some(image) = value.strip_prefix("docker-image://") {
        return Ok(NamedContext::Image(image.to_owned()));
    }
    let remote = ["https://", "http://", "git://", "git@", "ssh://"];
    if remote.iter().any(|scheme| value.starts_with(scheme)) {
        return Ok(NamedContext::Remote(value.to_owned()));
    }
    Err(unsupported(format!("the build context {name}={value}")))
}

/// Docker's own frontend is what is spoken here, also where it is named by its image.
fn check_frontend(wanted: Wanted<'_>) -> Result<(), Failure> {
    if wanted.inputs {
        return Err(unsupported("a definition (LLB) as input of a build"));
    }
    match wanted.frontend {
        "dockerfile.v0" => Ok(()),
        "gateway.v0" => {
            let source = wanted.attrs.get("source").map(String::as_str).unwrap_or_default();
            let image = source.strip_prefix("docker.io/").unwrap_or(source);
            let name = image.split([':', '@']).next().unwrap_or_default();
            match name {
                "docker/dockerfile" | "docker/dockerfile-upstream" => Ok(()),
                _ => Err(unsupported(format!(
                    "the frontend {source}: only docker/dockerfile is, and"
                ))),
            }
        }
        other => Err(unsupported(format!("the frontend {other:?}"))),
    }
}

/// `name=address,…` to `name:address`.
fn hosts(text: &str) -> Vec<String> {
    let hosts = text.split(',').filter(|host| !host.is_empty());
    hosts.map(|host| host.replacen('=', ":", 1)).collect()
}

/// `nofile=1024:2048,…`.
fn ulimits(text: &str) -> Result<Vec<Ulimit>, Failure> {
    let one = |text: &str| {
        let (name, limits) = text.split_once('=')?;
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        Some(Ulimit { name: name.to_owned(), soft: soft.parse().ok()?, hard: hard.parse().ok()? })
    };
    text.split(',')
        .map(|text| one(text).ok_or_else(|| invalid(format!("invalid ulimit {text:?}"))))
        .collect()
}

fn invalid(words: String) -> Failure {
    Failure::new(ErrorKind::InvalidArgument, words)
}

/// Asks the client for what it has for the registries that a Dockerfile and `--cache-from` name.
pub(super) async fn credentials(
    session: &Session,
    text: &str,
    request: &BuildRequest,
) -> BTreeMap<String, RegistryAuth> {
    let mut auths = BTreeMap::new();
    if !session.supports("/moby.filesync.v1.Auth/Credentials") {
        return auths;
    }
    let mut domains = domains(text, &request.build_args);
    let caches = request.cache_from.iter().filter_map(|name| Reference::parse(name).ok());
    domains.extend(caches.map(|reference| reference.domain().to_owned()));
    for domain in domains {
        if let Some(auth) = credentials_of(session, &domain).await {
            auths.insert(domain, auth);
        }
    }
    auths
}

/// What the client has for a registry.
pub(crate) async fn credentials_of(session: &Session, domain: &str) -> Option<RegistryAuth> {
    let host = if domain == "docker.io" { "registry-1.docker.io" } else { domain };
    let asked = CredentialsRequest { host: host.to_owned() };
    let answer = AuthClient::new(session.channel()).credentials(asked).await;
    let answer = answer.inspect_err(|status| tracing::debug!("credentials: {status}")).ok()?;
    let answer = answer.into_inner();
    let server_address = domain.to_owned();
    match (answer.username, answer.secret) {
        (_, secret) if secret.is_empty() => None,
        (name, token) if name.is_empty() => {
            Some(RegistryAuth { identity_token: token, server_address, ..RegistryAuth::default() })
        }
        (username, password) => {
            Some(RegistryAuth { username, password, server_address, ..RegistryAuth::default() })
        }
    }
}

/// The registries of `FROM` and `--from`, with the arguments that are declared before the first stage.
fn domains(text: &str, arguments: &BTreeMap<String, Option<String>>) -> BTreeSet<String> {
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default().to_ascii_uppercase();
        if first == "ARG" {
            for (name, default) in words.filter_map(|word| word.split_once('=')) {
                let given = arguments.get(name).cloned().flatten();
                let value = given.unwrap_or_else(|| default.trim_matches(['"', '\'']).to_owned());
                values.insert(name.to_owned(), value);
            }
            continue;
        }
        let image = match first.as_str() {
            "FROM" => words.find(|word| !word.starts_with("--")),
            "COPY" | "RUN" => words.find_map(|word| word.split_once("from=")?.1.split(',').next()),
            _ => None,
        };
        let Some(image) = image else { continue };
        let mut image = image.to_owned();
        for (name, value) in &values {
            image =
                image.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value);
        }
        if let Ok(reference) = Reference::parse(&image) {
            found.insert(reference.domain().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_found_through_arguments() {
        let text = "ARG HOST=one.test\nARG \"X\"\nFROM ${HOST}/a:1 AS a\nFROM busybox\nCOPY --from=two.test:5000/b / /\n";
        let given = BTreeMap::from([("HOST".to_owned(), Some("given.test".to_owned()))]);
        let found = domains(text, &given);
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            ["docker.io", "given.test", "two.test:5000"]
        );
    }

    #[test]
    fn attestations_read() {
        let read = |kind: &str, value: &str| {
            let mut attest = Attest::default();
            attestation(kind, value, &mut attest).map(|()| attest)
        };
        let max = read("provenance", "type=provenance,mode=max").expect("reads");
        assert_eq!(max.provenance, Some(Provenance { max: true, v1: false }));
        assert_eq!(read("provenance", "mode=min,inline-only=true"), Ok(Attest::default()));
        assert_eq!(read("sbom", "disabled=true"), Ok(Attest::default()));
        assert!(read("sbom", "").expect("reads").sbom);
        assert!(read("sbom", "generator=some/image").is_err());
        assert!(read("other", "").is_err());
    }

    #[test]
    fn limits_and_hosts_read() {
        assert_eq!(hosts("a=1.2.3.4,b=::1"), ["a:1.2.3.4", "b:::1"]);
        let limits = ulimits("nofile=1024:2048").expect("reads");
        assert_eq!((limits[0].soft, limits[0].hard), (1024, 2048));
        assert!(ulimits("nofile").is_err());
    }
}
