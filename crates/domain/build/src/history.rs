//! What an image's history says of an instruction, as BuildKit words it.

use ferry_oci::HealthDefaults;

/// A list as Go prints one: `[a b]`.
pub(crate) fn list(words: &[String]) -> String {
    format!("[{}]", words.join(" "))
}

/// A list of quoted words: `["a" "b"]`.
pub(crate) fn quoted(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| go_quoted(word)).collect();
    list(&words)
}

/// `ENV a=b c=d`.
pub(crate) fn pairs(keyword: &str, pairs: &[(String, String)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{keyword} {}", pairs.join(" "))
}

/// The probe and its times.
pub(crate) fn health(health: &HealthDefaults) -> String {
    let time =
        |nanos: Option<i64>| go_quoted(&ferry_stdx::duration::format_go(nanos.unwrap_or_default()));
    let retries = match health.retries.unwrap_or_default() {
        0 => "'\\x00'".to_owned(),
        number => u32::try_from(number)
            .ok()
            .and_then(char::from_u32)
            .map_or_else(|| number.to_string(), |char| format!("'{}'", char.escape_default())),
    };
    format!(
        "HEALTHCHECK &{{{} {} {} {} {} {retries}}}",
        quoted(&health.test.clone().unwrap_or_default()),
        time(health.interval),
        time(health.timeout),
        time(health.start_period),
        time(health.start_interval),
    )
}

/// A text as Go's `%q` has it.
fn go_quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for char in text.chars() {
        match char {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            char if u32::from(char) < 0x20 || u32::from(char) == 0x7f => {
                quoted.push_str(&format!("\\x{:02x}", u32::from(char)));
            }
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}
