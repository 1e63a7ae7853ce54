use super::*;

fn container(name: &str, state: &str) -> Container {
    let json = serde_json::json!({
        "Id": format!("id-{name}"), "Names": [format!("/{name}"), "/other/alias"], "Image": "busybox",
        "State": state, "Status": "Up", "ImageID": "sha256:0123456789abcdef", "Mounts": [{"Type": "volume", "Name": "data"}, {"Type": "bind"}],
        "Ports": [{"PrivatePort": 80, "PublicPort": 8080}, {"PrivatePort": 80, "PublicPort": 8080}],
    });
    serde_json::from_value(json).unwrap()
}

fn app() -> App {
    let mut app = App::new("unix:///x".to_owned());
    app.set_containers(vec![
        container("ended", "exited"),
        container("web", "running"),
        container("db", "running"),
    ]);
    app
}

fn press(app: &mut App, keys: &str) -> Wish {
    let mut wish = Wish::Nothing;
    for letter in keys.chars() {
        let code = match letter {
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            '\t' => KeyCode::Tab,
            letter => KeyCode::Char(letter),
        };
        wish = app.key(KeyEvent::new(code, KeyModifiers::NONE), 10);
    }
    wish
}

fn doing(verb: Verb, name: &str) -> Wish {
    Wish::Do(verb, format!("id-{name}"), name.to_owned())
}

#[test]
fn what_runs_comes_first_and_the_choice_stays() {
    let mut app = app();
    let names: Vec<&str> = app.shown().iter().map(|container| container.name()).collect();
    assert_eq!(names, ["db", "web", "ended"]);
    assert_eq!(app.current().unwrap().ports(), "8080→80");
    press(&mut app, "j");
    app.set_containers(vec![container("a", "running"), container("web", "running")]);
    assert_eq!(app.current().unwrap().name(), "web");
    app.set_containers(Vec::new());
    assert_eq!(press(&mut app, "sjkgGdrpel\n"), Wish::Nothing, "keys without containers");
}

#[test]
fn verbs_fit_the_state() {
    let mut app = app();
    assert_eq!(press(&mut app, "s"), doing(Verb::Stop, "db"));
    assert_eq!(press(&mut app, "p"), doing(Verb::Pause, "db"));
    assert_eq!(press(&mut app, "Gs"), doing(Verb::Start, "ended"));
    assert_eq!(press(&mut app, "e"), Wish::Nothing);
    assert!(app.message.as_ref().is_some_and(|(text, good)| text.contains("not running") && !good));
    assert_eq!(press(&mut app, "dn"), Wish::Nothing, "only yes is yes");
    assert_eq!(press(&mut app, "dy"), doing(Verb::Remove, "ended"));
    assert_eq!(press(&mut app, "ge"), Wish::Shell("db".to_owned()));
    assert_eq!(press(&mut app, "Gw"), Wish::Why("id-ended".to_owned()));
    assert_eq!((press(&mut app, "q"), app.view), (Wish::Nothing, View::List));
}

#[test]
fn filters_are_typed() {
    let mut app = app();
    press(&mut app, "/qs\u{1b}/we\n");
    assert_eq!(app.shown().len(), 1);
    assert_eq!(press(&mut app, "s"), doing(Verb::Stop, "web"));
    assert_eq!(press(&mut app, "l"), Wish::Log("id-web".to_owned()));
    assert_eq!(app.current().unwrap().name(), "web", "the filter of the list is not the log's");
    assert_eq!(press(&mut app, "q"), Wish::CloseLog);
    assert_eq!(press(&mut app, "q"), Wish::Quit);
}

#[test]
fn a_log_stays_where_it_is_looked_at() {
    let mut app = app();
    press(&mut app, "l");
    let line = |text: &str| Line { error: false, text: text.to_owned() };
    app.add_lines((0..50).map(|n| line(&format!("line {n}"))).collect());
    press(&mut app, "kk");
    app.add_lines(vec![line("new")]);
    assert_eq!(app.back, 3);
    press(&mut app, "f");
    assert_eq!(app.back, 0);
    press(&mut app, "/line 4\n");
    assert_eq!(app.lines().len(), 11);
}

#[test]
fn tab_goes_through_the_lists() {
    let mut app = app();
    assert_eq!(press(&mut app, "\t"), Wish::Things(Kind::Images));
    let answer = serde_json::json!([
        {"Id": "sha256:0123456789abcdef", "RepoTags": ["b:1", "a:1"], "Size": 2048, "Containers": -1},
        {"Id": "sha256:ff", "RepoTags": null, "Size": 1},
    ]);
    app.set_things(Kind::Images, Kind::Images.read(&answer));
    app.set_things(Kind::Volumes, Vec::new());
    let names: Vec<&str> = app.things().iter().map(|thing| thing.name.as_str()).collect();
    assert_eq!(names, ["<none>", "a:1", "b:1"], "what comes late for another list is dropped");
    assert_eq!(app.things()[1].beside, ["0123456789ab", "2.0KiB", ""]);
    let users = |app: &App, kind| {
        app.things().iter().map(|thing| app.users(kind, thing)).collect::<Vec<_>>()
    };
    assert_eq!(users(&app, Kind::Images), ["", "3", "3"], "counted here: the daemon says -1");
    assert_eq!(press(&mut app, "/b:\ndy"), Wish::Do(Verb::RemoveImage, "b:1".into(), "b:1".into()));
    assert_eq!(press(&mut app, "\t"), Wish::Things(Kind::Volumes));
    let answer = serde_json::json!({ "Volumes": [{ "Name": "data" }, { "Name": "idle" }] });
    app.set_things(Kind::Volumes, Kind::Volumes.read(&answer));
    assert_eq!(users(&app, Kind::Volumes), ["3", ""]);
    assert_eq!(press(&mut app, "\t"), Wish::Things(Kind::Networks));
    assert_eq!(press(&mut app, "\t"), Wish::CloseThings);
    assert_eq!(app.view, View::List);
}
