//! Subrequests: what `--call` asks of a Dockerfile, in the documents that BuildKit's frontend answers with.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use ferry_engine::ops::build::Described;
use ferry_errkind::Failure;
use serde_json::{Value, json};

use super::unsupported;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// What can be asked.
    Describe,
    /// What could be better.
    Lint,
    /// What the target takes.
    Outline,
    /// Which targets there are.
    Targets,
}

/// Request, version of its document, and what it is.
const CALLS: [(Call, &str, &str, &str); 4] = [
    (Call::Describe, "frontend.subrequests.describe", "1.0.0", "List available subrequest types"),
    (Call::Lint, "frontend.lint", "1.0.0", "Lint a Dockerfile"),
    (
        Call::Outline,
        "frontend.outline",
        "1.0.0",
        "List all parameters current build target supports",
    ),
    (Call::Targets, "frontend.targets", "1.0.0", "List all targets current build supports"),
];

impl Call {
    pub(super) fn parse(text: &str) -> Result<Call, Failure> {
        let found = CALLS.iter().find(|(_, name, ..)| *name == text);
        found.map(|found| found.0).ok_or_else(|| unsupported(format!("the subrequest {text:?}")))
    }
}

/// The answer's documents by name.
pub(super) fn documents(call: Call, found: &Described) -> BTreeMap<String, Vec<u8>> {
    let (document, text) = match call {
        Call::Describe => describe(),
        Call::Lint => lint(found),
        Call::Outline => outline(found),
        Call::Targets => targets(found),
    };
    let version = CALLS.iter().find(|known| known.0 == call).map(|known| known.2);
    let mut documents = BTreeMap::from([
        ("result.json".to_owned(), document.to_string().into_bytes()),
        ("result.txt".to_owned(), text.into_bytes()),
        ("version".to_owned(), version.unwrap_or_default().as_bytes().to_vec()),
    ]);
    if call == Call::Lint {
        let code = u8::from(!found.findings.is_empty());
        documents.insert("result.statuscode".to_owned(), code.to_string().into_bytes());
    }
    documents
}

fn describe() -> (Value, String) {
    let one = |(_, name, version, what): &(Call, &str, &str, &str)| {
        let kinds = json!([{ "name": "result.json" }, { "name": "result.txt" }]);
        json!({ "Name": name, "Version": version, "Type": "rpc", "Description": what, "Opts": null, "Metadata": kinds })
    };
    let text = CALLS.iter().map(|(_, name, _, what)| format!("{name}\t{what}\n")).collect();
    (Value::Array(CALLS.iter().map(one).collect()), text)
}

fn lint(found: &Described) -> (Value, String) {
    let mut text = String::new();
    let mut warnings = Vec::new();
    for finding in &found.findings {
        let line = json!({ "line": finding.line });
        warnings.push(json!({
            "ruleName": finding.rule,
            "description": finding.description,
            "url": finding.url(),
            "detail": finding.message,
            "location": { "sourceIndex": 0, "ranges": [{ "start": line, "end": line }] },
        }));
        text.push_str(&format!(
            "\nWARNING: {} - {}\n{}\n",
            finding.rule,
            finding.url(),
            finding.message
        ));
    }
    let source = json!({ "filename": "Dockerfile", "language": "Dockerfile", "data": STANDARD.encode(&found.text) });
    (json!({ "warnings": warnings, "sources": [source] }), text)
}

fn outline(found: &Described) -> (Value, String) {
    let outline = &found.outline;
    let args: Vec<Value> = outline
        .args
        .iter()
        .map(|arg| json!({ "name": arg.name, "description": arg.description, "value": arg.value }))
        .collect();
    let named = |names: &[(String, bool)]| -> Vec<Value> {
        names.iter().map(|(name, required)| json!({ "name": name, "required": required })).collect()
    };
    let text = outline.args.iter().map(|arg| format!("{}\n", arg.name)).collect();
    let document = json!({
        "name": outline.target,
        "description": outline.description,
        "args": args,
        "secrets": named(&outline.secrets),
        "ssh": named(&outline.ssh),
        "sources": [STANDARD.encode(&found.text)],
    });
    (document, text)
}

fn targets(found: &Described) -> (Value, String) {
    let targets = &found.outline.targets;
    let one = targets.iter().map(|one| {
        json!({ "name": one.name, "default": one.default, "description": one.description, "base": one.base })
    });
    let text = targets.iter().map(|one| format!("{}\n", one.name)).collect();
    (json!({ "targets": one.collect::<Vec<_>>(), "sources": [STANDARD.encode(&found.text)] }), text)
}
