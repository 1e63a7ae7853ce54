use super::*;

fn options(pairs: &[(&str, &str)]) -> Options {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn refusal(driver: &str, pairs: &[(&str, &str)]) -> String {
    check_settings(driver, &options(pairs)).unwrap_err().to_string()
}

#[test]
fn refusals_are_dockers() {
    let at_start = "failed to create task for container: failed to initialize logging driver: ";
    assert_eq!(refusal("local", &[("foo", "1")]), "unknown log opt 'foo' for log driver local");
    assert_eq!(refusal("syslog", &[("foo", "1")]), "unknown log opt 'foo' for syslog log driver");
    assert_eq!(refusal("syslog", &[("syslog-address", "foo://x")]), "unsupported scheme: 'foo'");
    assert_eq!(refusal("syslog", &[("syslog-facility", "x")]), "invalid syslog facility");
    assert_eq!(refusal("json-file", &[("mode", "x")]), "logger: logging mode not supported: x");
    assert_eq!(
        refusal("json-file", &[("max-buffer-size", "1m")]),
        "logger: max-buffer-size option is only supported with 'mode=non-blocking'"
    );
    assert_eq!(refusal("json-file", &[("max-size", "x")]), format!("{at_start}invalid size: 'x'"));
    // What is wrong with an expression is said in our parser's words.
    let wrong = refusal("json-file", &[("labels-regex", "(")]);
    assert!(wrong.starts_with(&format!("{at_start}error parsing regexp: ")), "{wrong}");
    assert!(
        refusal("json-file", &[("tag", "{{.Foo")])
            .starts_with(&format!("{at_start}template: log-tag:1:"))
    );
    assert!(refusal("gelf", &[]).contains("log driver \"gelf\" is not supported"));
    assert!(check_settings("none", &options(&[("foo", "1")])).is_ok());
}

#[test]
fn records_say_what_was_chosen() {
    let context = LogContext {
        id: "0123456789abcdef".to_owned(),
        name: "web".to_owned(),
        labels: options(&[("app.a", "1"), ("other", "2")]),
        env: vec!["APP_X=3".to_owned()],
        ..LogContext::default()
    };
    let wanted =
        options(&[("labels-regex", "^app"), ("env-regex", "^APP_"), ("tag", "{{.Name}}/{{.ID}}")]);
    let spec = plan("json-file", &wanted, Path::new("/x"), &context).unwrap();
    let LogSpec::JsonFile(file) = spec else { panic!("{spec:?}") };
    assert_eq!(
        file.attributes,
        options(&[("APP_X", "3"), ("app.a", "1"), ("tag", "web/0123456789ab")])
    );
    let spec = plan("journald", &options(&[("labels", "app.a")]), Path::new("/x"), &context);
    let LogSpec::Remote { to: RemoteLog::Journald(log), cache: Some(cache) } = spec.unwrap() else {
        panic!()
    };
    assert!(log.fields.contains(&("APP_A".to_owned(), "1".to_owned())));
    assert!(log.fields.contains(&("SYSLOG_IDENTIFIER".to_owned(), "0123456789ab".to_owned())));
    assert_eq!(cache.max_files, 5);
}
