//! What `volume prune` and `network prune` take, and what filters keep.

use std::{path::Path, process::Command};

use ferry_testkit::{Client, Sandbox, run};

use crate::with_busybox;

through_all!(volumes_that_nobody_has, volumes_that_are_listed, networks_that_nobody_is_on);

/// Those that are still there, of the ones that have names.
fn volumes(sandbox: &Sandbox) -> Vec<String> {
    let listed = sandbox.ok(&["volume", "ls", "-q"]);
    let mut names: Vec<String> = listed.lines().map(str::to_owned).collect();
    names.sort();
    names
}

/// A volume without a name, and its directory.
fn anonymous(sandbox: &Sandbox, container: &str) -> (String, String) {
    sandbox.ok(&["run", "--name", container, "-v", "/data", "busybox", "touch", "/data/x"]);
    let name = sandbox.inspect(container, "{{(index .Mounts 0).Name}}");
    let place = sandbox.ok(&["volume", "inspect", "-f", "{{.Mountpoint}}", &name]);
    (name, place)
}

fn volumes_that_nobody_has(client: Client) {
    let sandbox = with_busybox(client);
    let create = |name: &str, label: &str| {
        sandbox.ok(&["volume", "create", "--label", label, name]);
        sandbox.ok(&["volume", "inspect", "-f", "{{.Mountpoint}}", name])
    };
    // Docker's own daemon may see another root.
    let is_there = |place: &str| client == Client::FerryOnDocker || Path::new(place).is_dir();
    let is_gone = |place: &str| client == Client::FerryOnDocker || !Path::new(place).exists();
    let (old, old_place) = anonymous(&sandbox, "pr-gone");
    let (used, used_place) = anonymous(&sandbox, "pr-stays");
    sandbox.ok(&["rm", "pr-gone"]);
    let named = create("pr-named", "kind=plain");
    let kept = create("pr-kept", "keep=yes");
    let pruned = sandbox.ok(&["volume", "prune", "-f"]);
    assert!(pruned.contains(&old) && !pruned.contains(&used), "{pruned}");
    let mut expected = vec![used.clone(), "pr-kept".to_owned(), "pr-named".to_owned()];
    expected.sort();
    assert_eq!(volumes(&sandbox), expected, "only what has no name and no user goes");
    assert!(is_gone(&old_place) && is_there(&used_place) && is_there(&named));

    let refused = sandbox.run(&["volume", "prune", "-f", "--filter", "nosuch=1"]).fails(1);
    refused.says("invalid filter 'nosuch'");
    // Named ones, without a label and with one.
    let words = ["volume", "prune", "-f", "-a", "--filter", "label!=keep"];
    assert!(sandbox.ok(&words).contains("pr-named"));
    let mut expected = vec![used.clone(), "pr-kept".to_owned()];
    expected.sort();
    assert_eq!(volumes(&sandbox), expected);
    assert!(is_gone(&named) && is_there(&kept));
    sandbox.ok(&["volume", "prune", "-f", "-a", "--filter", "label=keep=no"]);
    assert_eq!(volumes(&sandbox), expected, "the label has another value");
    sandbox.ok(&["volume", "prune", "-f", "--filter", "label=keep=yes"]);
    assert_eq!(volumes(&sandbox), expected, "it has a name");
    sandbox.ok(&["volume", "prune", "-f", "--filter", "all=1", "--filter", "label=keep=yes"]);
    assert_eq!(volumes(&sandbox), [used], "the used one stays");
    assert!(is_gone(&kept) && is_there(&used_place));
}

fn volumes_that_are_listed(client: Client) {
    let sandbox = with_busybox(client);
    let volumes =
        [("shop-db", "team=a"), ("shop-web", "team=b"), ("web", "team=a"), ("db.old", "x=")];
    for (name, label) in volumes {
        sandbox.ok(&["volume", "create", "--label", label, name]);
    }
    sandbox.ok(&["create", "--name", "user", "-v", "web:/d", "busybox"]);
    let listed = |filters: &[&str]| {
        let flags: Vec<&str> = filters.iter().flat_map(|filter| ["--filter", filter]).collect();
        let listed = sandbox.ok(&[&["volume", "ls", "-q"], &flags[..]].concat());
        let mut names: Vec<String> = listed.lines().map(str::to_owned).collect();
        names.sort();
        names.join(" ")
    };
    for (filters, names) in [
        (&["name=web"][..], "shop-web web"),
        (&["name=^web"], "web"),
        (&["name=db$"], "shop-db"),
        (&["name=^shop-(db|web)$"], "shop-db shop-web"),
        (&["name=d.*o"], "db.old"),
        (&["name=shop-db", "name=old"], "db.old shop-db"),
        (&["name=["], ""),
        (&["label=team"], "shop-db shop-web web"),
        (&["label=team=a"], "shop-db web"),
        (&["label=team=a", "label=team=b"], ""),
        (&["label=x="], "db.old"),
        (&["label=team=a", "name=shop"], "shop-db"),
        (&["driver=local", "name=web"], "shop-web web"),
        (&["driver=loc"], ""),
        (&["dangling=false"], "web"),
        (&["dangling=1", "name=web"], "shop-web"),
        (&["dangling=0", "name=shop"], ""),
    ] {
        assert_eq!(listed(filters), names, "{filters:?}");
    }
    for (filters, words) in [
        (&["dangling=maybe"][..], "invalid filter 'dangling=[maybe]'"),
        (&["nosuch=1"], "invalid filter 'nosuch'"),
        (&["label!=team"], "invalid filter 'label!'"),
    ] {
        let flags: Vec<&str> = filters.iter().flat_map(|filter| ["--filter", filter]).collect();
        sandbox.run(&[&["volume", "ls"], &flags[..]].concat()).fails(1).says(words);
    }
    let both = ["volume", "ls", "--filter", "dangling=true", "--filter", "dangling=false"];
    // In any order.
    sandbox.run(&both).fails(1).says("invalid filter 'dangling=[");
    sandbox.ok(&["rm", "user"]);
}

fn networks(sandbox: &Sandbox) -> Vec<String> {
    let words = ["network", "ls", "--filter", "type=custom", "--format", "{{.Name}}"];
    let mut names: Vec<String> = sandbox.ok(&words).lines().map(str::to_owned).collect();
    names.sort();
    names
}

fn networks_that_nobody_is_on(client: Client) {
    let sandbox = with_busybox(client);
    let link = |network: &str| {
        let id = sandbox.ok(&["network", "inspect", "-f", "{{slice .Id 0 12}}", network]);
        let prefix = if client == Client::FerryOnDocker { "br" } else { "fr" };
        format!("{prefix}-{id}")
    };
    for (name, label) in [("pn-a", "team=a"), ("pn-b", "team=b"), ("pn-used", "team=a")] {
        sandbox.ok(&["network", "create", "--label", label, name]);
    }
    let on = ["run", "-d", "--name", "pn-user", "--network", "pn-used", "busybox", "sleep", "999"];
    sandbox.ok(&on);
    let [a, b, used] = ["pn-a", "pn-b", "pn-used"].map(link);
    let prune = |filters: &[&str]| {
        let flags: Vec<&str> = filters.iter().flat_map(|filter| ["--filter", filter]).collect();
        sandbox.ok(&[&["network", "prune", "-f"], &flags[..]].concat())
    };
    // Younger than all that.
    prune(&["until=24h"]);
    assert_eq!(networks(&sandbox), ["pn-a", "pn-b", "pn-used"]);
    prune(&["label=team=c"]);
    assert_eq!(networks(&sandbox), ["pn-a", "pn-b", "pn-used"]);
    let pruned = prune(&["label=team=a"]);
    assert!(pruned.contains("pn-a") && !pruned.contains("pn-used"), "{pruned}");
    assert_eq!(networks(&sandbox), ["pn-b", "pn-used"]);
    let there = |link: &str| run(Command::new("ip").args(["link", "show", link])).code == 0;
    assert_eq!([&a, &b, &used].map(|link| there(link)), [false, true, true]);
    prune(&["label!=team"]);
    assert_eq!(networks(&sandbox), ["pn-b", "pn-used"]);
    sandbox.run(&["network", "prune", "-f", "--filter", "nosuch=1"]).fails(1).says("nosuch");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    prune(&["until=1s"]);
    assert_eq!(networks(&sandbox), ["pn-used"]);
    assert_eq!([&b, &used].map(|link| there(link)), [false, true]);
}
