//! 1.51: the image list counts containers.

use http::Method;
use serde_json::json;

use super::{Change, answer, items};

pub(super) const CHANGES: &[Change] = &[answer(Method::GET, "/images/json", |images| {
    for image in items(images) {
        image.insert("Containers".into(), json!(-1));
    }
})];
