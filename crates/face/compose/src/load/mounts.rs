//! The short syntax of a service's mounts: `[source:]target[:options]`.

use serde_json::{Value, json};

/// The long form.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let parts = split(text);
    if text.is_empty() || parts.iter().any(|part| part.is_empty()) {
        return Err(format!("invalid spec: {text}: empty section between colons"));
    }
    let (source, target, options) = match parts[..] {
        // Docker Compose looks no further at two letters, and hashes are of what it makes of them.
        [target] if text.len() <= 2 => {
            return Ok(json!({"type": "volume", "target": target}));
        }
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
            // They are about machines that are not Linux; Compose reads them and forgets them.
            "cached" | "consistent" | "delegated" => {}
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
        if bind.get("selinux").is_some() {
            mount["bind"] = bind;
        }
        mount["volume"] = volume;
    }
    Ok(mount)
}

/// At colons; one behind a single letter belongs to a drive of Windows.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut from) = (Vec::new(), 0);
    for (at, _) in text.match_indices(':') {
        let part = &text[from..at];
        if part.len() == 1 && part.starts_with(|c: char| c.is_alphabetic()) {
            continue;
        }
        parts.push(part);
        from = at + 1;
    }
    parts.push(&text[from..]);
    parts
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
        assert_eq!(parse("/x").unwrap(), json!({"type": "volume", "target": "/x"}));
        assert_eq!(parse("/xy").unwrap(), json!({"type": "volume", "target": "/xy", "volume": {}}));
        assert_eq!(
            parse("./a:/x/:ro,z").unwrap(),
            json!({"type": "bind", "source": "./a", "target": "/x", "read_only": true,
                   "bind": {"selinux": "z", "create_host_path": true}})
        );
        assert_eq!(
            parse("data:/x:nocopy").unwrap(),
            json!({"type": "volume", "source": "data", "target": "/x", "volume": {"nocopy": true}})
        );
        assert!(
            parse("aa:bb:cc:dd").is_err()
                && parse("aa::b").is_err()
                && parse("aa:/b:what").is_err()
        );
    }
}
