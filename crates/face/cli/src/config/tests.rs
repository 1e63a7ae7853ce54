//! `config.json` on disk.

use std::{os::unix::fs::PermissionsExt, path::PathBuf};

use super::{
    credentials::{Keep, header, server_of},
    *,
};

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str, config: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ferry-config-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        if !config.is_empty() {
            std::fs::write(path.join("config.json"), config).unwrap();
        }
        Directory(path)
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.0.join("config.json")).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn no_file_is_an_empty_file_and_a_broken_one_warns() {
    let none = Directory::new("none", "");
    assert!(ConfigFile::load(&none.0).1.is_none());
    let broken = Directory::new("broken", "{");
    let (config, warning) = ConfigFile::load(&broken.0);
    assert!(warning.unwrap().starts_with("WARNING: Error loading config file: "));
    assert_eq!(config.ps_format(), None);
}

#[test]
fn what_commands_ask_for() {
    let directory = Directory::new(
        "fields",
        r#"{"psFormat":"{{.ID}}","detachKeys":"","HttpHeaders":{"X-A":"b","User-Agent":"mine"},
            "proxies":{"default":{"httpProxy":"http://p","noProxy":""},"tcp://h:1":{"ftpProxy":"f"}}}"#,
    );
    let (config, _) = ConfigFile::load(&directory.0);
    assert_eq!(config.ps_format().as_deref(), Some("{{.ID}}"));
    assert_eq!(config.detach_keys(), None);
    assert_eq!(config.http_headers(), [("X-A".to_owned(), "b".to_owned())]);
    let names = |host: &str| config.proxies(host).into_iter().map(|(n, _)| n).collect::<Vec<_>>();
    assert_eq!(names("unix:///x"), ["HTTP_PROXY", "http_proxy"]);
    assert_eq!(names("tcp://h:1"), ["FTP_PROXY", "ftp_proxy"]);
}

#[test]
fn credentials_are_kept_beside_what_is_not_known_here() {
    let directory = Directory::new("auths", r#"{"unknown":{"a":1},"auths":{"old.example":{}}}"#);
    let (mut config, _) = ConfigFile::load(&directory.0);
    let secret =
        Credentials { username: "me".to_owned(), password: "a:b".to_owned(), ..Default::default() };
    config.store("https://reg.example:5000", &secret, Keep::InPlainText).unwrap();
    assert_eq!(
        directory.text(),
        "{\n\t\"unknown\": {\n\t\t\"a\": 1\n\t},\n\t\"auths\": {\n\t\t\"old.example\": {},\n\t\t\"https://reg.example:5000\": {\n\t\t\t\"auth\": \"bWU6YTpi\"\n\t\t}\n\t}\n}"
    );
    let mode = std::fs::metadata(directory.0.join("config.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (mut config, _) = ConfigFile::load(&directory.0);
    assert_eq!(config.credentials("reg.example:5000").unwrap(), Some(secret));
    assert_eq!(config.credentials("reg.example").unwrap(), None);
    config.erase("reg.example:5000").unwrap();
    assert!(!directory.text().contains("reg.example"));
}

#[test]
fn a_helper_that_is_not_there_is_named() {
    let directory =
        Directory::new("helper", r#"{"credHelpers":{"reg.example":"ferry-test-no-such-helper"}}"#);
    let (config, _) = ConfigFile::load(&directory.0);
    assert_eq!(config.credentials("other.example").unwrap(), None);
    let error = config.credentials("reg.example").unwrap_err();
    assert_eq!(
        error.message(),
        "error getting credentials - err: exec: \"docker-credential-ferry-test-no-such-helper\": executable file not found in $PATH, out: ``"
    );
}

#[test]
fn what_cannot_be_had_of_one_registry_is_in_nobodys_way() {
    let directory = Directory::new(
        "one-missing",
        r#"{"auths":{"good.example":{"auth":"bWU6YTpi"}},"credHelpers":{"bad.example":"ferry-test-no-such-helper"}}"#,
    );
    let (config, _) = ConfigFile::load(&directory.0);
    let said = std::cell::RefCell::new(Vec::new());
    let warn = |line: &str| said.borrow_mut().push(line.to_owned());
    assert_eq!(header(&config, "bad.example/public", &warn).unwrap(), "");
    assert!(!header(&config, "good.example/private", &warn).unwrap().is_empty());
    let all = config.every_one(&warn);
    assert_eq!(all.keys().collect::<Vec<_>>(), ["good.example"]);
    let said = said.into_inner();
    assert_eq!(said.len(), 2, "{said:?}");
    for line in said {
        assert!(
            line.starts_with("WARNING: going on without credentials of bad.example: "),
            "{line}"
        );
        assert!(line.contains("executable file not found"), "{line}");
    }
}

#[test]
fn who_changes_the_file_at_once_loses_nothing() {
    let directory = Directory::new("at-once", "{}");
    let load = || ConfigFile::load(&directory.0).0;
    // All have read it before the first writes.
    let files: Vec<ConfigFile> = (0..8).map(|_| load()).collect();
    std::thread::scope(|scope| {
        for (number, mut file) in files.into_iter().enumerate() {
            scope.spawn(move || {
                let password = "s".to_owned();
                let new = Credentials { username: "me".to_owned(), password, ..Default::default() };
                file.store(&format!("r{number}.example"), &new, Keep::InPlainText).unwrap();
            });
        }
        let context =
            || ConfigFile::change(&directory.0, |file| file.set_text("currentContext", "c"));
        scope.spawn(move || context().unwrap());
    });
    for number in 0..8 {
        assert!(load().is_plain(&format!("r{number}.example")), "{number}: {}", directory.text());
    }
    assert_eq!(load().text("currentContext").as_deref(), Some("c"));
}

#[test]
fn logging_out_forgets_every_spelling_and_needs_no_key() {
    let hub = "https://index.docker.io/v1/";
    let directory = Directory::new(
        "spellings",
        &format!(r#"{{"credHelpers":{{"{hub}":"ferry","a.example":"ferry"}}}}"#),
    );
    let sealed = |name: &str| format!(r#""{name}":{{"key":"0","text":""}}"#);
    let names = [
        hub,
        &format!("{hub}access-token"),
        "index.docker.io",
        "https://a.example",
        "a.example/team",
    ];
    let text = format!(r#"{{"sealed":{{{}}}}}"#, names.map(sealed).join(","));
    std::fs::write(directory.0.join("ferry-credentials.json"), text).unwrap();
    let (mut config, _) = ConfigFile::load(&directory.0);
    config.erase(hub).unwrap();
    assert_eq!(config.vault().servers().unwrap(), ["a.example/team", "https://a.example"]);
    config.erase("a.example").unwrap();
    assert_eq!(config.vault().servers().unwrap(), ["a.example/team"]);
    assert_eq!(directory.text(), "{}");
}

#[test]
fn where_an_image_comes_from() {
    assert_eq!(server_of("busybox"), "https://index.docker.io/v1/");
    assert_eq!(server_of("reg.example:5000/a/b:c"), "reg.example:5000");
    assert_eq!(server_of("localhost/x"), "localhost");
}
