//! How lists and details are shown: docker's `--format`, its tables, its units.

pub(crate) mod container;
pub(crate) mod image;
pub(crate) mod inspect;
mod list;
mod ports;
pub(crate) mod raw;
pub(crate) mod stats;
pub(crate) mod structures;
mod tabs;
pub(crate) mod units;
pub(crate) mod volume;

pub(crate) use list::{Kind, Row, render, rows_fail, template_of};
pub(crate) use ports::displayable;
pub(crate) use tabs::align_with;
