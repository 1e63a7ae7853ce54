//! 1.43: images without a name have empty lists instead of `<none>:<none>`; annotations.

use http::Method;
use serde_json::{Value, json};

use super::{Change, answer, body, items, remove};

pub(super) const CHANGES: &[Change] = &[
    answer(Method::GET, "/images/json", |images| {
        let none =
            |value: Option<&Value>| value.and_then(Value::as_array).is_none_or(Vec::is_empty);
        for image in items(images) {
            if none(image.get("RepoTags")) && none(image.get("RepoDigests")) {
                image.insert("RepoTags".into(), json!(["<none>:<none>"]));
                image.insert("RepoDigests".into(), json!(["<none>@<none>"]));
            }
        }
    }),
    body(Method::POST, "/containers/create", |request| {
        remove(request, "/HostConfig/Annotations");
        Ok(())
    }),
];
