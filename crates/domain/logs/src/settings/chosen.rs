//! What of a container goes into its records: chosen labels and variables, and a tag.

use std::collections::BTreeMap;

use ferry_gotemplate::Template;
use regex_automata::nfa::thompson::pikevm::PikeVM;

use super::{LogContext, Options, SettingsError};

/// Longest regular expression that is taken.
const MAX_PATTERN: usize = 1024;

/// The labels and variables that `labels`, `labels-regex`, `env` and `env-regex` choose.
pub(super) fn attributes(
    options: &Options,
    context: &LogContext,
) -> Result<BTreeMap<String, String>, SettingsError> {
    let mut attributes = BTreeMap::new();
    let labels = context.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let env = || context.env.iter().filter_map(|line| line.split_once('='));
    choose(options, "labels", labels.clone(), &mut attributes);
    match_names(options, "labels-regex", labels, &mut attributes)?;
    choose(options, "env", env(), &mut attributes);
    match_names(options, "env-regex", env(), &mut attributes)?;
    Ok(attributes)
}

fn choose<'a>(
    options: &Options,
    option: &str,
    from: impl Iterator<Item = (&'a str, &'a str)>,
    into: &mut BTreeMap<String, String>,
) {
    let Some(names) = options.get(option) else { return };
    let names: Vec<&str> = names.split(',').collect();
    into.extend(
        from.filter(|(key, _)| names.contains(key)).map(|(k, v)| (k.to_owned(), v.to_owned())),
    );
}

fn match_names<'a>(
    options: &Options,
    option: &str,
    from: impl Iterator<Item = (&'a str, &'a str)>,
    into: &mut BTreeMap<String, String>,
) -> Result<(), SettingsError> {
    let Some(pattern) = options.get(option) else { return Ok(()) };
    let wrong =
        |why: String| SettingsError::Value(format!("error parsing regexp: {why}: `{pattern}`"));
    if pattern.len() > MAX_PATTERN {
        return Err(wrong("expression too large".to_owned()));
    }
    let machine = PikeVM::new(pattern).map_err(|error| {
        let last = error.to_string().lines().last().unwrap_or_default().to_owned();
        // Go's words for the commonest slip.
        let unclosed = last.contains("unclosed group");
        wrong(if unclosed { "missing closing )".to_owned() } else { last })
    })?;
    let mut cache = machine.create_cache();
    for (key, value) in from {
        if machine.is_match(&mut cache, key) {
            into.insert(key.to_owned(), value.to_owned());
        }
    }
    Ok(())
}

/// The tag; `default` is the driver's. `None` when there is none.
pub(super) fn tag(
    options: &Options,
    context: &LogContext,
    default: &str,
) -> Result<Option<String>, SettingsError> {
    let text = options.get("tag").map_or(default, String::as_str);
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |why: String| SettingsError::Value(why);
    let template =
        Template::parse_named("log-tag", text).map_err(|error| wrong(error.to_string()))?;
    let short = |id: &str| id.trim_start_matches("sha256:").chars().take(12).collect::<String>();
    let data = serde_json::json!({
        "ID": short(&context.id),
        "FullID": context.id,
        "Name": context.name.trim_start_matches('/'),
        "ImageID": short(&context.image_id),
        "ImageFullID": context.image_id,
        "ImageName": context.image,
        "ContainerID": context.id,
        "ContainerName": format!("/{}", context.name.trim_start_matches('/')),
        "ContainerImageID": context.image_id,
        "ContainerImageName": context.image,
        "ContainerLabels": context.labels,
        "Command": context.command,
        "Hostname": context.host,
        "DaemonName": "ferry",
    });
    let mut out = String::new();
    template
        .execute(&data, &ferry_gotemplate::Options::default(), &mut out)
        .map_err(|error| wrong(error.to_string()))?;
    Ok(Some(out))
}
