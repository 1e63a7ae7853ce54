use serde_json::json;

use super::*;

fn one(text: &str) -> Value {
    parse(text).unwrap()[0].to_value()
}

#[test]
fn scalars_are_what_the_core_schema_says() {
    assert_eq!(
        one("[1, 0x10, 0o17, 017, 1.5, true, ~, '1', yes, 1_000, 5432:5432, !!str 1, -3, .5]"),
        json!([1, 16, 15, 15, 1.5, true, null, "1", "yes", 1000, "5432:5432", "1", -3, 0.5])
    );
}

#[test]
fn merge_keys_fill_what_is_missing() {
    let text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc:\n  <<: [*a, *b]\n  x: 9\n";
    assert_eq!(one(text)["c"], json!({"x": 9, "y": 2, "z": 4}));
}

#[test]
fn places_count_from_one() {
    let node = &parse("a:\n  b: c\n").unwrap()[0];
    assert_eq!(node.get("a").unwrap().get("b").unwrap().at, Place { line: 2, column: 6 });
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (this, last) in ('b'..='k').zip('a'..) {
        let list = vec![format!("*{last}"); 10].join(",");
        text.push_str(&format!("{this}: &{this} [{list}]\n"));
    }
    assert!(matches!(parse(&text), Err(YamlError::Limit { .. })));
}

#[test]
fn depth_keys_and_syntax_have_their_words() {
    let deep = format!("a: {}{}", "[".repeat(200), "]".repeat(200));
    assert!(parse(&deep).is_err());
    assert_eq!(
        parse("a: 1\nb: 2\na: 3\n").unwrap_err().to_string(),
        "yaml: line 3: mapping key \"a\" already defined at line 1"
    );
    assert!(parse("a: [1").is_err());
    assert!(parse("a: &x [*x]").is_err());
}

#[test]
fn output_reads_back_as_it_was() {
    let value = json!({
        "a": ["x: y", "- z", "", "true", "1", "22:22", "it's", " lead", "tail ", "#c", "a #b", "yes"],
        "b": {"c": null, "d": {}, "e": []},
        "t": "one\ntwo\n", "u": "one\n\n  two", "v": "x\n\n\n",
        "w": [[1, 2], {"k": [{"x": 1}]}], "8": "\u{7}",
    });
    assert_eq!(one(&to_yaml(&value)), value, "{}", to_yaml(&value));
}

#[test]
fn names_that_are_no_simple_keys_read_back() {
    let long = "k".repeat(2000);
    let value = json!({
        long.clone(): {"b": [1, {"c": 2}]},
        "outer": [{ long.clone(): [1, 2], "x\ny": 3 }],
        "x\ny\n": {long: "z"},
    });
    assert_eq!(one(&to_yaml(&value)), value, "{}", to_yaml(&value));
    assert_eq!(to_yaml(&json!({"k".repeat(128): 1})), format!("{}: 1\n", "k".repeat(128)));
}
