//! The registry's pages: readable without a script, nothing of an image is ever HTML, nobody sees what they may not pull.

use std::process::Command;

use ferry_testkit::{FerryRegistry, programs, run, run_with_input};
use serde_json::json;

use crate::{
    distribution::{manifest, push_about, push_blob, put},
    scratch,
};

#[test]
fn pages_show_what_is_there() {
    let dir = scratch("registry-pages");
    let registry = FerryRegistry::start(&dir.join("root"), &[]);
    let http = registry.http();
    let config = json!({
        "os": "linux", "architecture": "amd64",
        "history": [
            { "created_by": "ADD rootfs <script>alert(1)</script>" },
            { "created_by": "CMD [\"sh\"]", "empty_layer": true },
        ],
    });
    let config = serde_json::to_vec(&config).unwrap();
    let config = (push_blob(&http, "team/web", &config), config.len());
    let layer = (push_blob(&http, "team/web", &[0; 2048]), 2048);
    let bytes = manifest(&config, &[layer], json!({}));
    let answer = put(&http, "team/web", "1.0", &bytes).is(201);
    let digest = answer.header("docker-content-digest").to_owned();
    let about = json!({ "digest": digest, "size": bytes.len(), "mediaType": "x" });
    push_about(
        &http,
        "team/web",
        "",
        "sbom",
        json!({ "subject": about, "artifactType": "application/spdx" }),
    );
    let page = |path: &str| {
        let answer = http.ask("GET", path).is(200);
        assert!(answer.header("content-type").starts_with("text/html"));
        assert!(answer.header("content-security-policy").contains("default-src 'none'"));
        let text = answer.text();
        assert!(!text.contains("<script"), "{text}");
        text
    };
    assert!(page("/").contains("<a href=\"/r/team/web\">team/web</a>"));
    assert!(page("/?q=web").contains("team/web") && !page("/?q=other").contains("team/web"));
    assert!(page("/?q=%22%3E%3Cscript%3E").contains("value=\"&quot;&gt;&lt;script&gt;\""));
    let tags = page("/r/team/web");
    assert!(tags.contains("<a href=\"?ref=1.0\">1.0</a>") && tags.contains("kB"), "{tags}");
    let image = page("/r/team/web?ref=1.0");
    for part in [
        &format!("docker pull {}/team/web:1.0", registry.host()),
        "ADD rootfs &lt;script&gt;",
        "CMD [&quot;sh&quot;]",
        "linux/amd64",
        "SBOM (application/spdx)",
        &digest,
    ] {
        assert!(image.contains(part), "{part}: {image}");
    }
    // An artifact's content can be had, and what cosign keeps by a tag is found.
    let sbom = image.split("application/spdx)<td class=id><a href=\"").nth(1).unwrap();
    let sbom = page(&format!("/r/team/web{}", sbom.split('"').next().unwrap()));
    assert!(sbom.contains("<h2>Content</h2>") && !sbom.contains("Platform"), "{sbom}");
    assert!(sbom.contains("oras pull") && !sbom.contains("docker pull"), "{sbom}");
    let link = sbom.split("<a download href=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(!http.ask("GET", link).is(200).body.is_empty());
    assert!(!image.contains("(cosign)"), "{image}");
    let tag = format!("{}.sig", digest.replace(':', "-"));
    push_about(&http, "team/web", &tag, "signature", json!({}));
    let signed = page("/r/team/web?ref=1.0");
    assert!(signed.contains(&format!("Signature (cosign)<td class=id><a href=\"?ref={tag}\">")));
    assert!(page(&format!("/r/team/web?ref={digest}")).contains(&format!("team/web@{digest}")));
    for path in ["/r/team/none", "/r/UPPER", "/r/team/web?ref=no", "/r/team/web?ref=-"] {
        http.ask("GET", path).is(404);
    }
    http.ask("POST", "/").is(405);
    shown_by_a_browser(&format!("http://{}/r/team/web?ref=1.0", registry.host()), &dir);
}

/// What a browser makes of it.
fn shown_by_a_browser(url: &str, dir: &std::path::Path) {
    let Some(chromium) = programs::find("chromium") else { return };
    let seen = run(Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .arg(format!("--user-data-dir={}", dir.join("browser").display()))
        .arg(url));
    assert!(seen.stdout.contains("<h1>team/web:1.0</h1>"), "{seen}");
}

#[test]
fn pages_ask_who_you_are() {
    let dir = scratch("registry-pages-login");
    let root = dir.join("root");
    let mut add = Command::new(ferry_testkit::binary());
    add.args(["registry", "user", "add", "ann", "--password-stdin", "--grant", "team=pull,push"]);
    run_with_input(add.arg("--root").arg(&root), b"secret").ok();
    let registry = FerryRegistry::start(&root, &["--anonymous-pull", "public"]);
    // ann:secret
    let ann = registry.http().with("Authorization", "Basic YW5uOnNlY3JldA==");
    push_about(&ann, "team/web", "1", "mine", json!({}));
    assert!(ann.ask("GET", "/").is(200).text().contains("team/web"));
    ann.ask("GET", "/r/team/web").is(200);
    ann.ask("GET", "/login").is(303);
    let nobody = registry.http();
    let front = nobody.ask("GET", "/").is(200).text();
    assert!(!front.contains("team/web") && front.contains("<a href=\"/login\">"), "{front}");
    assert!(!ann.ask("GET", "/").is(200).text().contains("/login"));
    nobody.ask("GET", "/r/team/web").is(404);
    let asked = nobody.ask("GET", "/login").is(401);
    assert!(asked.header("www-authenticate").starts_with("Basic "));
}

#[test]
fn admins_see_users_and_robots() {
    let dir = scratch("registry-pages-admin");
    let root = dir.join("root");
    let account = |name: &str, grants: &[&str]| {
        let mut add = Command::new(ferry_testkit::binary());
        add.args(["registry", "user", "add", name, "--password-stdin"]);
        for grant in grants {
            add.args(["--grant", grant]);
        }
        run_with_input(add.arg("--root").arg(&root), b"secret").ok();
    };
    account("ann", &["*=admin"]);
    account("bob", &["team=admin"]);
    account("cat", &["team/web=pull"]);
    let robot = ["token", "create", "ci", "--grant", "other=push", "--expires", "1h"];
    let secret = FerryRegistry::command(&root, &robot).ok();
    let registry = FerryRegistry::start(&root, &["--anonymous-pull", "public"]);
    let seen = |login: &str| {
        let http = registry.http().with("Authorization", &format!("Basic {login}"));
        (http.ask("GET", "/accounts"), http.ask("GET", "/").is(200).text())
    };
    // ann:secret, bob:secret, cat:secret
    let (all, front) = seen("YW5uOnNlY3JldA==");
    let text = all.is(200).text();
    for part in ["<td>ann<td>user", "<td>bob", "<td>cat", "<td>ci<td>robot", "other=push"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("argon2") && !text.contains(secret.trim()), "{text}");
    assert!(front.contains("href=\"/accounts\""));
    let (some, _) = seen("Ym9iOnNlY3JldA==");
    let text = some.is(200).text();
    assert!(text.contains("<td>cat") && !text.contains("<td>ci<td>robot"), "{text}");
    let (none, front) = seen("Y2F0OnNlY3JldA==");
    none.is(404);
    assert!(!front.contains("/accounts"));
    registry.http().ask("GET", "/accounts").is(404);
}
