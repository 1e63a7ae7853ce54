//! `rmi`: Docker's rules for what goes and what stays (moby `daemon/images/image_delete.go` describes them).

use std::collections::BTreeMap;

use ferry_oci::{Digest, Reference};

use crate::{ImageError, State, resolve};

/// A container that was made from an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub container: String,
    /// Whether it runs.
    pub running: bool,
}

/// Who uses which image.
pub type Users = BTreeMap<Digest, Vec<User>>;

/// What is going to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovalPlan {
    /// The image.
    pub image: Digest,
    /// Names that go, familiar form, in the order in which Docker tells them.
    pub untag: Vec<String>,
    /// Their keys in the store.
    pub(crate) keys: Vec<String>,
    /// Whether the image goes, too.
    pub delete: bool,
    /// Images of other platforms that go with it, or with its name.
    pub others: Vec<Digest>,
}

pub(crate) fn plan(
    state: &State,
    name: &str,
    force: bool,
    users: &Users,
) -> Result<RemovalPlan, ImageError> {
    let image = resolve::resolve(state, name)?;
    let names: Vec<(&String, Reference)> = state
        .names
        .iter()
        .filter(|(_, target)| target.image == image)
        .filter_map(|(key, _)| Some((key, Reference::parse(key).ok()?)))
        .collect();
    let users = users.get(&image).map(Vec::as_slice).unwrap_or_default();
    let mut plan = match is_id(name, &image) {
        true => by_id(&image, &names, force, users)?,
        false => by_name(&image, &names, name, force, users)?,
    };
    // What another name has beside its image stays: else that name would silently be of one platform less.
    if plan.delete
        && let Some(other) = state.has_beside(&image, &plan.keys)
    {
        if plan.keys.is_empty() {
            let why = format!("image is one of the platforms of {other}");
            return Err(conflict(&image, "cannot be forced", &why));
        }
        plan.delete = false;
    }
    Ok(plan)
}

fn by_id(
    image: &Digest,
    names: &[(&String, Reference)],
    force: bool,
    users: &[User],
) -> Result<RemovalPlan, ImageError> {
    let mut repositories: Vec<_> = names.iter().map(|(_, name)| name.familiar_name()).collect();
    repositories.sort();
    repositories.dedup();
    let tags = names.iter().filter(|(_, name)| name.tag().is_some()).count();
    if !force && (repositories.len() > 1 || tags > 1) {
        return Err(conflict(
            image,
            "must be forced",
            "image is referenced in multiple repositories",
        ));
    }
    refuse_users(image, force, users)?;
    Ok(whole(image, names))
}

fn by_name(
    image: &Digest,
    names: &[(&String, Reference)],
    name: &str,
    force: bool,
    users: &[User],
) -> Result<RemovalPlan, ImageError> {
    let wanted = Reference::parse(name).map_err(|_| ImageError::NotFound(name.to_owned()))?;
    let key = match wanted.digest() {
        Some(_) => wanted.clone().without_tag().canonical(),
        None => wanted.clone().with_default_tag().canonical(),
    };
    let tagged_left =
        names.iter().filter(|(own, other)| **own != key && other.tag().is_some()).count();
    let digests_left =
        names.iter().filter(|(own, other)| **own != key && other.digest().is_some()).count();
    let last = tagged_left == 0 && (wanted.digest().is_none() || digests_left == 0);
    if !last {
        let mut gone: Vec<_> = names.iter().filter(|(own, _)| **own == key).collect();
        // The last tag of a repository takes the repository's digests with it.
        let repository = wanted.familiar_name();
        let stays = names.iter().any(|(own, other)| {
            **own != key && other.tag().is_some() && other.familiar_name() == repository
        });
        if wanted.digest().is_none() && !stays {
            gone.extend(names.iter().filter(|(_, other)| {
                other.digest().is_some() && other.familiar_name() == repository
            }));
        }
        return Ok(RemovalPlan {
            image: image.clone(),
            untag: gone.iter().map(|(_, other)| other.familiar()).collect(),
            keys: gone.iter().map(|(own, _)| (*own).clone()).collect(),
            delete: false,
            others: Vec::new(),
        });
    }
    if let (false, Some(user)) = (force, users.first()) {
        let words = format!(
            "conflict: unable to remove repository reference \"{name}\" (must force) - container {} is using its referenced image {}",
            short(&user.container),
            short(&image.hex()),
        );
        return Err(ImageError::Conflict(words));
    }
    if users.is_empty() {
        return Ok(whole(image, names));
    }
    // Forced while a container has it: the name goes, the image stays for the container.
    let mut plan = whole(image, names);
    plan.delete = false;
    Ok(plan)
}

fn refuse_users(image: &Digest, force: bool, users: &[User]) -> Result<(), ImageError> {
    if let Some(user) = users.iter().find(|user| user.running) {
        let words = format!("image is being used by running container {}", short(&user.container));
        return Err(conflict(image, "cannot be forced", &words));
    }
    match users.first() {
        Some(user) if !force => {
            let words =
                format!("image is being used by stopped container {}", short(&user.container));
            Err(conflict(image, "must be forced", &words))
        }
        _ => Ok(()),
    }
}

fn whole(image: &Digest, names: &[(&String, Reference)]) -> RemovalPlan {
    let (tags, digests): (Vec<_>, Vec<_>) =
        names.iter().partition(|(_, name)| name.digest().is_none());
    let ordered: Vec<_> = tags.into_iter().chain(digests).collect();
    RemovalPlan {
        image: image.clone(),
        untag: ordered.iter().map(|(_, name)| name.familiar()).collect(),
        keys: ordered.iter().map(|(key, _)| (*key).clone()).collect(),
        delete: true,
        others: Vec::new(),
    }
}

fn conflict(image: &Digest, how: &str, why: &str) -> ImageError {
    ImageError::Conflict(format!(
        "conflict: unable to delete {} ({how}) - {why}",
        short(&image.hex())
    ))
}

fn is_id(name: &str, image: &Digest) -> bool {
    image.hex().starts_with(name.strip_prefix("sha256:").unwrap_or(name))
}

fn short(hex: &str) -> &str {
    hex.get(..12).unwrap_or(hex)
}
