//! Images and credentials.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ferry_engine::RegistryAuth;
use ferry_model::image::ImageView;
use ferry_oci::Reference;
use tonic::Status;

use crate::{answer::invalid, api};

/// What a user writes for images that a kubelet must not collect, in full: a reference, or the beginning of full names before a `*`.
///
/// # Errors
/// No image could ever have such a name.
pub fn pinned_image(text: &str) -> Result<String, String> {
    let wrong = |why: &str| format!("invalid cri-pinned-image \"{text}\": {why}");
    let Some(beginning) = text.strip_suffix('*') else {
        let reference = Reference::parse(text).map_err(|error| wrong(&error.to_string()))?;
        return Ok(reference.with_default_tag().canonical());
    };
    let shape =
        "before a \"*\" at its end comes the beginning of a full name, as \"docker.io/library/*\"";
    let (registry, path) = beginning.split_once('/').ok_or_else(|| wrong(shape))?;
    // Something goes on there.
    let possible = Reference::parse(&format!("{beginning}0"));
    let possible = possible.map_err(|error| wrong(&format!("{shape}: {error}")))?;
    // Behind a colon the name is whole.
    let is_whole = !path.contains(':') || possible.canonical().starts_with(beginning);
    if is_whole && possible.domain() == registry { Ok(text.to_owned()) } else { Err(wrong(shape)) }
}

fn is_pinned(names: &[String], patterns: &[String]) -> bool {
    names.iter().any(|name| {
        patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == pattern,
        })
    })
}

/// Names in full.
pub(crate) fn full(names: &[String]) -> Vec<String> {
    let parsed = names.iter().filter_map(|name| Reference::parse(name).ok());
    parsed.map(|reference| reference.canonical()).collect()
}

/// An image as Kubernetes shows it: names in full. Those that `pinned` means are not collected.
pub(crate) fn image(view: &ImageView, pinned: &[String]) -> api::Image {
    let (repo_tags, repo_digests) = (full(&view.repo_tags), full(&view.repo_digests));
    let config = view.config.config.clone().unwrap_or_default();
    let user = config.user.unwrap_or_default();
    let name = user.split(':').next().unwrap_or_default();
    let uid = name.parse::<i64>().ok();
    api::Image {
        id: view.image.id.to_string(),
        spec: Some(api::ImageSpec {
            image: repo_tags.first().cloned().unwrap_or_default(),
            ..api::ImageSpec::default()
        }),
        pinned: is_pinned(&repo_tags, pinned) || is_pinned(&repo_digests, pinned),
        repo_tags,
        repo_digests,
        // Kubernetes takes an image without size for none.
        size: view.image.size.max(1),
        uid: match (uid, name) {
            (None, "") => Some(api::Int64Value { value: 0 }),
            (uid, _) => uid.map(|value| api::Int64Value { value }),
        },
        username: if uid.is_none() { name.to_owned() } else { String::new() },
    }
}

/// Credentials; `auth` is `user:password` in base64.
pub(crate) fn auth(auth: &api::AuthConfig) -> Result<RegistryAuth, Status> {
    let mut own = RegistryAuth {
        username: auth.username.clone(),
        password: auth.password.clone(),
        identity_token: auth.identity_token.clone(),
        registry_token: auth.registry_token.clone(),
        server_address: auth.server_address.clone(),
    };
    if own.username.is_empty() && !auth.auth.is_empty() {
        let wrong = || invalid("auth is not \"user:password\" in base64");
        let bytes = STANDARD.decode(&auth.auth).map_err(|_| wrong())?;
        let text = String::from_utf8(bytes).map_err(|_| wrong())?;
        let (user, password) = text.split_once(':').ok_or_else(wrong)?;
        own.username = user.to_owned();
        own.password = password.trim_end_matches('\0').to_owned();
    }
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_that_stay() {
        let patterns = ["busybox", "registry.example/team/*", "localhost:5000/*"];
        let patterns = patterns.map(|text| pinned_image(text).unwrap());
        let is = |name: &str| is_pinned(&[name.to_owned()], &patterns);
        assert!(is("docker.io/library/busybox:latest") && is("registry.example/team/box:1"));
        assert!(is("localhost:5000/a/b:1"));
        assert!(!is("docker.io/library/busybox:1") && !is("registry.example/teams/box:1"));
        assert!(!is_pinned(&[], &patterns));
    }

    #[test]
    fn what_no_image_is_called() {
        for text in [
            "",
            "*",
            "busybox*",
            "team/*",
            "index.docker.io/library/*",
            "docker.io/busybox:*",
            "registry.example/Team/*",
            "registry.example/*/box",
            "Busybox",
            "registry.example/team/box:*:1",
        ] {
            let refused = pinned_image(text).expect_err(text);
            assert!(refused.contains(&format!("invalid cri-pinned-image \"{text}\"")), "{refused}");
        }
    }

    #[test]
    fn credentials_in_one_word() {
        let word =
            |text: &str| api::AuthConfig { auth: STANDARD.encode(text), ..Default::default() };
        let read = auth(&word("me:pass:word")).unwrap();
        assert_eq!((read.username.as_str(), read.password.as_str()), ("me", "pass:word"));
        assert!(auth(&word("nothing")).is_err());
        assert!(auth(&api::AuthConfig { auth: "%".into(), ..Default::default() }).is_err());
    }
}
