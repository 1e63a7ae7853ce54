//! Templates of any shape over values of every kind: no panic, no endless run, and what reads once reads again.
#![no_main]

use std::sync::LazyLock;

use ferry_gotemplate::{Missing, Options, Template};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

static DATA: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "Id": "5d94", "Name": "/zz", "N": 7, "F": 1.5, "B": true, "Null": null,
        "List": ["a", "b", 3, null, {"x": "y"}], "Mounts": [{"Type": "bind"}],
        "Labels": {"a": "1", "b": "2"}, "State": {"Status": "running", "Pid": 1},
    })
});

fuzz_target!(|data: &[u8]| {
    let Some((mode, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Ok(template) = Template::parse(text) else { return };
    let missing = match mode % 3 {
        0 => Missing::NoValue,
        1 => Missing::Error,
        _ => Missing::Strict("*formatter.Context"),
    };
    let method = |name: &str, args: &[Value]| match (name, args) {
        ("Label", [Value::String(label)]) => Some(Ok(Value::String(label.clone()))),
        ("Label", _) => Some(Err("wrong number of args".to_owned())),
        _ => None,
    };
    let options = Options {
        missing,
        method: (mode & 4 != 0).then_some(&method),
        absent: (mode & 8 != 0).then_some(|_, parent, _| (parent == "Labels").then_some(None)),
        names: if mode & 16 != 0 { &[("Id", "ID")] } else { &[] },
        escape_html: mode & 32 != 0,
        titles: mode & 64 != 0,
        ..Options::default()
    };
    let mut out = String::new();
    // Errors are fine; their words must not panic either.
    if let Err(error) = template.execute(&DATA, &options, &mut out) {
        assert!(error.to_string().starts_with("template: "));
    }
    template.mentions("Size");
});
