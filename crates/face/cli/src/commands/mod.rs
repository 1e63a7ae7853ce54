//! The commands, by the noun they are about.

mod builder;
mod container;
pub(crate) mod context;
mod image;
mod network;
pub(crate) mod system;
mod volume;

pub(crate) use self::image::trusts_only_signed;
use crate::{framework::Group, run::options::RUN_FLAGS};

/// All of them. The group without a name has the commands that are at top level only.
pub(crate) static GROUPS: &[Group] = &[
    builder::BUILDER,
    builder::BUILDX,
    container::GROUP,
    context::GROUP,
    image::GROUP,
    network::GROUP,
    system::GROUP,
    volume::GROUP,
    system::TOP,
    system::REFUSED[0],
    system::REFUSED[1],
];

/// `--label`, as `run` checks it.
fn check_label(text: &str) -> Result<(), String> {
    check_as_run("label", text)
}

/// `--link`, as `run` checks it.
fn check_link(text: &str) -> Result<(), String> {
    check_as_run("link", text)
}

fn check_as_run(name: &str, text: &str) -> Result<(), String> {
    let flag = RUN_FLAGS.iter().find(|flag| flag.long == name);
    flag.and_then(|flag| flag.check).map_or(Ok(()), |check| check(text))
}
