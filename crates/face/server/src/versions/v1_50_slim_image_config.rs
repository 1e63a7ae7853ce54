//! 1.50: image inspect shows no container fields in `Config`; info has no bridge-nf flags.

use http::Method;
use serde_json::{Value, json};

use super::{Change, answer};

pub(super) const CHANGES: &[Change] = &[
    answer(Method::GET, "/images/{name}/json", |image| {
        let Some(config) = image.get_mut("Config").and_then(Value::as_object_mut) else { return };
        for name in ["AttachStderr", "AttachStdin", "AttachStdout", "OpenStdin", "StdinOnce", "Tty"]
        {
            config.entry(name).or_insert(json!(false));
        }
        for name in ["Domainname", "Hostname", "Image"] {
            config.entry(name).or_insert(json!(""));
        }
    }),
    answer(Method::GET, "/info", |info| {
        if let Some(info) = info.as_object_mut() {
            info.insert("BridgeNfIptables".into(), json!(false));
            info.insert("BridgeNfIp6tables".into(), json!(false));
        }
    }),
];
