//! The short syntax of a service's mounts: `[source:]target[:options]`.

use serde_json::{Value, json};

/// The long form.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let parts: Vec<&str> = text.split(':').collect();
    if text.is_empty() || parts.iter().any(|part| part.is_empty()) {
        return Err(format!("invalid spec: {text}: empty section between colons"));
    }
    let (source, target, options) = match parts[..] {
        [target] => return Ok(json!({"type": "volume", "target": clean(target), "volume": {}})),
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        _ => return Err(format!("invalid spec: {text}: too many colons")),
    };
    let is_path = source.starts_with(['.', '/', '~']);
    let mut mount = if is_path {
        json!({"type": "bind", "source": source, "target": clean(target)})
    } else {
        json!({"type": "volume", "source": source, "target": clean(target)})
    };
    let (mut bind, mut volume) = (json!({}), json!({}));
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => mount["read_only"] = json!(true),
            "rw" => {}
            "z" | "Z" => bind["selinux"] = json!(option),
            "nocopy" => volume["nocopy"] = json!(true),
            "cached" | "consistent" | "delegated" => mount["consistency"] = json!(option),
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => {
                bind["propagation"] = json!(option);
            }
            other => return Err(format!("invalid spec: {text}: unknown option: {other}")),
        }
    }
    if is_path {
        bind["create_host_path"] = json!(true);
        mount["bind"] = bind;
    } else {
        mount["volume"] = volume;
    }
    Ok(mount)
}

/// As Go's `path.Clean`, for what people write.
fn clean(path: &str) -> String {
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() { "/".to_owned() } else { trimmed.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_mounts() {
        assert_eq!(parse("/x").unwrap(), json!({"type": "volume", "target": "/x", "volume": {}}));
        assert_eq!(
            parse("./a:/x/:ro,z").unwrap(),
            json!({"type": "bind", "source": "./a", "target": "/x", "read_only": true,
                   "bind": {"selinux": "z", "create_host_path": true}})
        );
        assert_eq!(
            parse("data:/x:nocopy").unwrap(),
            json!({"type": "volume", "source": "data", "target": "/x", "volume": {"nocopy": true}})
        );
        assert!(parse("a:b:c:d").is_err() && parse("a::b").is_err() && parse("a:/b:what").is_err());
    }
}
