//! What every command that pulls an image asks for.

use ferry_oci::Reference;

use crate::framework::CliError;

/// The name and the tag (or digest) of an image, as the daemon is asked to pull it. Without either it is `latest`.
///
/// # Errors
/// The text names no image.
pub fn name_and_tag(image: &str) -> Result<(String, String), CliError> {
    let reference = Reference::parse(image).map_err(|error| CliError::new(error.to_string()))?;
    let tag = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, Some(tag)) => tag.to_owned(),
        (None, None) => "latest".to_owned(),
    };
    Ok((reference.familiar_name(), tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_pulled_by_its_digest_its_tag_or_as_the_latest() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (image, name, tag) in [
            ("busybox", "busybox", "latest"),
            ("docker.io/library/busybox:1", "busybox", "1"),
            ("registry.example:5000/a/b", "registry.example:5000/a/b", "latest"),
            (&format!("a/b:1@{digest}"), "a/b", digest.as_str()),
        ] {
            assert_eq!(name_and_tag(image).unwrap(), (name.to_owned(), tag.to_owned()));
        }
        assert!(name_and_tag("A b").is_err());
    }
}
