//! What docker prints for the same templates was asked of docker 28.

use serde_json::{Value, json};

use crate::{Missing, Options, Template};

fn data() -> Value {
    json!({
        "Name": "/zz", "Args": [], "Id": "5d94", "Mounts": [],
        "State": {"Status": "created", "ExitCode": 0},
        "Config": {"Cmd": ["sh"], "Labels": {"b": "2", "a": "1"}, "Image": "busybox", "Entrypoint": null},
        "NetworkSettings": {"Networks": {"bridge": {"Gateway": "10.0.0.1"}}},
        "Float": 1.5,
    })
}

fn with(text: &str, options: &Options<'_>) -> Result<String, String> {
    let template = Template::parse(text).map_err(|error| error.to_string())?;
    let mut out = String::new();
    template.execute(&data(), options, &mut out).map_err(|error| error.to_string())?;
    Ok(out)
}

#[test]
fn what_docker_prints() {
    let options = Options { missing: Missing::Error, ..Options::default() };
    for (text, expected) in [
        ("{{.Name}}", "/zz"),
        ("{{- .Name -}}  x", "/zzx"),
        ("{{/* c */}}y", "y"),
        ("a {{- /* c */ -}} b", "ab"),
        ("{{.Name | len}}", "3"),
        ("{{html \"<a>\"}}{{js \"<\"}}{{urlquery \"a b\"}}", "&lt;a&gt;\\u003Ca+b"),
        ("{{$x := 5}}{{$x}} {{$x = 6}}{{$x}}", "5 6"),
        ("{{range $i, $e := .Args}}{{$i}}{{end}}-{{range .Args}}a{{else}}none{{end}}", "-none"),
        (
            "{{range $k, $v := .NetworkSettings.Networks}}{{$k}}={{$v.Gateway}};{{end}}",
            "bridge=10.0.0.1;",
        ),
        ("{{range $i, $e := .Config.Cmd}}{{$i}}{{$e}}{{end}}", "0sh"),
        ("{{print 1 2 \"a\" \"b\" 3}}", "1 2ab3"),
        ("{{define \"x\"}}hi{{.}}{{end}}{{template \"x\" 5}}", "hi5"),
        ("{{with .Config}}{{.Image}}{{else}}none{{end}}", "busybox"),
        ("{{if eq .State.Status \"created\"}}yes{{else}}no{{end}}", "yes"),
        ("{{if .Args}}a{{else if .Name}}b{{else}}c{{end}}", "b"),
        ("{{json .Config.Labels}} {{json .Config.Entrypoint}}", "{\"b\":\"2\",\"a\":\"1\"} null"),
        ("{{.Config.Labels}} {{.Config.Cmd}} {{.Mounts}}", "map[a:1 b:2] [sh] []"),
        ("{{index .Config.Cmd 0}}|{{index .Config.Labels \"x\"}}", "sh|<no value>"),
        (
            "{{len .Mounts}} {{.Float}} {{not true}} {{and 1 0}} {{or \"\" \"x\"}}",
            "0 1.5 false 0 x",
        ),
        (
            "{{printf \"%d %5d|%-5d|%05d %x %v %t %s %.2f\" 1 2 3 4 255 \"a\" true \"b\" 1.5}}",
            "1     2|3    |00004 ff a true b 1.50",
        ),
        ("{{.Name | printf \"%-5s|%q\"}}", "/zz  |%!q(MISSING)"),
        (
            "{{pad .Id 2 3}}|{{truncate .Id 2}}|{{join (split \"a,b\" \",\") \"-\"}}|{{title \"abc\"}}|{{upper \"a\"}}",
            "  5d94   |5d|a-b|Abc|A",
        ),
        ("{{range $i := 3}}{{if eq $i 1}}{{continue}}{{end}}{{$i}}{{end}}", "02"),
        (
            "{{(index .Config.Cmd 0) | printf \"%q\"}} {{slice .Id 1 3}} {{'a'}} {{0x10}}",
            "\"sh\" d9 97 16",
        ),
        ("{{$.Name}}{{range .Config.Cmd}}{{$.Name}}{{end}}", "/zz/zz"),
        ("{{println .Id}}", "5d94\n"),
    ] {
        assert_eq!(with(text, &options), Ok(expected.to_owned()), "{text}");
    }
}

#[test]
fn what_docker_complains_about() {
    let options = Options { missing: Missing::Error, ..Options::default() };
    for (text, expected) in [
        ("{{.Foo}}", "template: :1:2: executing \"\" at <.Foo>: map has no entry for key \"Foo\""),
        (
            "{{.Config.Foo}}",
            "template: :1:9: executing \"\" at <.Config.Foo>: map has no entry for key \"Foo\"",
        ),
        (
            "{{.Id.x}}",
            "template: :1:5: executing \"\" at <.Id.x>: can't evaluate field x in type interface {}",
        ),
        ("{{nope}}", "template: :1: function \"nope\" not defined"),
        ("{{", "template: :1: unclosed action"),
        ("{{.Created", "template: :1: unclosed action"),
        ("{{end}}", "template: :1: unexpected {{end}}"),
        ("{{range}}{{end}}", "template: :1: missing value for range"),
        ("{{if .Name}}x{{end}", "template: :1: bad character U+007D '}'"),
        (
            "{{index .Config.Cmd 5}}",
            "template: :1:2: executing \"\" at <index .Config.Cmd 5>: error calling index: index out of range: 5",
        ),
        (
            "{{\"a\" \"b\"}}",
            "template: :1:2: executing \"\" at <\"a\">: can't give argument to non-function \"a\"",
        ),
        (
            "{{template \"x\"}}",
            "template: :1:11: executing \"\" at <{{template \"x\"}}>: template \"x\" not defined",
        ),
        ("{{$x}}", "template: :1: undefined variable \"$x\""),
        ("{{$x = 1}}", "template: :1:7: executing \"\" at <1>: undefined variable: $x"),
        (
            "{{.State.Status.Foo}}",
            "template: :1:8: executing \"\" at <.State.Status.Foo>: can't evaluate field Foo in type interface {}",
        ),
        (
            "{{join .Name \"x\"}}",
            "template: :1:7: executing \"\" at <.Name>: wrong type for value; expected []string; got string",
        ),
        ("{{upper 1}}", "template: :1:8: executing \"\" at <1>: expected string; found 1"),
        ("{{ | .Name}}", "template: :1: unexpected \"|\" in command"),
        ("{{'ab'}}", "template: :1: malformed character constant: 'ab'"),
        ("{{nil}}", "template: :1:2: executing \"\" at <nil>: nil is not a command"),
        (
            "{{call .Name}}",
            "template: :1:2: executing \"\" at <call .Name>: error calling call: non-function .Name of type string",
        ),
        (
            "{{.Name \"foo\"}}",
            "template: :1:2: executing \"\" at <.Name>: Name is not a method but has arguments",
        ),
        ("{{..}}", "template: :1: unexpected <.> in operand"),
        ("{{.Name.}}", "template: :1: unexpected <.> in operand"),
        ("{{.Na-me}}", "template: :1: bad character U+002D '-'"),
        ("{{#}}", "template: :1: unexpected \"#\" in command"),
        ("{{.Name, 1}}", "template: :1: unexpected \",\" in operand"),
        ("{{.Name := 1}}", "template: :1: unexpected \":=\" in operand"),
        ("{{define \"x\"}}", "template: :1: unexpected EOF"),
        ("{{define x}}{{end}}", "template: :1: unexpected \"x\" in define clause"),
    ] {
        assert_eq!(with(text, &options), Err(expected.to_owned()), "{text}");
    }
}

#[test]
fn a_strict_root_has_methods() {
    let method = |name: &str, args: &[Value]| -> Option<Result<Value, String>> {
        match (name, args) {
            ("Label", [Value::String(name)]) => Some(Ok(Value::String(format!("<{name}>")))),
            ("Label", args) => {
                Some(Err(format!("wrong number of args for Label: want 1 got {}", args.len())))
            }
            _ => None,
        }
    };
    let options = Options {
        missing: Missing::Strict("*formatter.ContainerContext"),
        method: Some(&method),
        ..Options::default()
    };
    assert_eq!(with("{{.Label \"x\"}}", &options), Ok("<x>".to_owned()));
    assert_eq!(
        with("{{.Label \"x\"}}|{{.Label}}", &options),
        Err("template: :1:17: executing \"\" at <.Label>: wrong number of args for Label: want 1 got 0".to_owned())
    );
    assert_eq!(
        with("{{.Name}}{{.Foo}}", &options),
        Err("template: :1:11: executing \"\" at <.Foo>: can't evaluate field Foo in type *formatter.ContainerContext".to_owned())
    );
    assert_eq!(
        with("{{.Name.Foo}}", &options),
        Err("template: :1:7: executing \"\" at <.Name.Foo>: can't evaluate field Foo in type string".to_owned())
    );
}

#[test]
fn nothing_runs_for_ever() {
    let deep = "{{if 1}}".repeat(200) + &"{{end}}".repeat(200);
    assert!(with(&deep, &Options::default()).is_err());
    assert!(
        with(
            "{{define \"x\"}}{{template \"x\" .}}{{end}}{{template \"x\" .}}",
            &Options::default()
        )
        .is_err()
    );
    let loops = "{{range 1000000}}{{range 1000000}}x{{end}}{{end}}";
    assert!(with(loops, &Options::default()).is_err());
    assert!(with(&"(".repeat(5000), &Options::default()).is_ok());
    assert!(
        with(&format!("{{{{{}1{}}}}}", "(".repeat(5000), ")".repeat(5000)), &Options::default())
            .is_err()
    );
}

#[test]
fn no_bytes_make_it_panic() {
    let pieces = [
        "{{", "}}", ".", "$x", ":=", "\"", "`", "(", ")", "|", "if ", "range ", "end", "else ",
        "a", "-", " ", "1", "'", "/*", "*/", "é", "\n", "\\", "define ",
    ];
    let mut seed = 7_u64;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..12 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            text.push_str(pieces[(seed >> 33) as usize % pieces.len()]);
        }
        drop(with(&text, &Options::default()));
    }
}
