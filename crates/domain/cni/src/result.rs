//! What ADD answers.

use std::net::IpAddr;

use serde_json::Value;

use crate::CniError;

/// Most addresses that a pod gets.
const MAX_ADDRESSES: usize = 64;

/// A pod on its network.
#[derive(Debug, Clone, PartialEq)]
pub struct Attached {
    /// Its addresses, in the plugins' order.
    pub addresses: Vec<IpAddr>,
    /// The result as JSON: CHECK and DEL want it back.
    pub result: String,
}

impl Attached {
    /// What a plugin's output means, as [`crate::Network::add`] reads it. For `fuzz/`, which throws anything at it.
    ///
    /// # Errors
    /// It is no result.
    pub fn read(kind: &str, output: &[u8]) -> Result<Self, CniError> {
        attached(kind, read(kind, output)?)
    }
}

/// Reads a result as far as it must be JSON.
pub(crate) fn read(kind: &str, output: &[u8]) -> Result<Value, CniError> {
    let wrong = |why: String| CniError::Result { kind: kind.to_owned(), why };
    let value: Value = serde_json::from_slice(output).map_err(|error| wrong(error.to_string()))?;
    if value.is_object() { Ok(value) } else { Err(wrong("it is no JSON object".to_owned())) }
}

/// What the last plugin's result means.
pub(crate) fn attached(network: &str, value: Value) -> Result<Attached, CniError> {
    let wrong = |why: String| CniError::Result { kind: network.to_owned(), why };
    let mut texts: Vec<&str> = Vec::new();
    match value.get("ips") {
        Some(Value::Array(ips)) => {
            for ip in ips {
                let text = ip.get("address").and_then(Value::as_str);
                texts.push(text.ok_or_else(|| wrong("an address is no text".to_owned()))?);
            }
        }
        Some(Value::Null) | None => {}
        Some(_) => return Err(wrong("\"ips\" is no list".to_owned())),
    }
    // Version 0.2.0.
    for family in ["ip4", "ip6"] {
        let text = value.get(family).and_then(|part| part.get("ip")).and_then(Value::as_str);
        texts.extend(text);
    }
    if texts.is_empty() {
        return Err(wrong("it has no address".to_owned()));
    }
    if texts.len() > MAX_ADDRESSES {
        return Err(wrong(format!("it has more than {MAX_ADDRESSES} addresses")));
    }
    let address = |text: &str| {
        let bare = text.split_once('/').map_or(text, |(address, _)| address);
        bare.parse::<IpAddr>().map_err(|_| wrong(format!("\"{text}\" is no address")))
    };
    let addresses = texts.into_iter().map(address).collect::<Result<_, _>>()?;
    Ok(Attached { addresses, result: value.to_string() })
}
