//! Archives that want out, or want in twice: nothing outside the layer changes, and what is replaced is what Docker
//! would replace.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};

use crate::support::*;
use ferry_archive::{Entry, Kind, Mtime, Source};

fn file(path: &str) -> Entry {
    entry(path, Kind::File)
}

fn dir(path: &str) -> Entry {
    Entry { mode: 0o755, ..entry(path, Kind::Directory) }
}

fn link(path: &str, to: &str) -> Entry {
    Entry { link: to.into(), ..entry(path, Kind::HardLink) }
}

fn symlink_to(path: &str, to: &str) -> Entry {
    Entry { link: to.into(), ..entry(path, Kind::Symlink) }
}

fn entry(path: &str, kind: Kind) -> Entry {
    Entry { path: path.into(), kind, mode: 0o644, ..Entry::default() }
}

/// Entries with payloads; files get their size.
fn tar(entries: &[(Entry, &str)]) -> Vec<u8> {
    let sized: Vec<(Entry, &[u8])> = entries
        .iter()
        .map(|(entry, payload)| {
            (Entry { size: payload.len() as u64, ..entry.clone() }, payload.as_bytes())
        })
        .collect();
    archive(&sized)
}

#[test]
fn names_that_climb_are_refused() {
    for path in ["../x", "a/../../x", "..", "./../../etc/passwd"] {
        let error = refused(&tar(&[(file(path), "x")]));
        assert!(error.contains("climbs out"), "{path}: {error}");
    }
    let error = refused(&tar(&[(file("a"), "x"), (link("b", "../../../etc/passwd"), "")]));
    assert!(error.contains("climbs out"), "{error}");
}

#[test]
fn absolute_names_and_harmless_dots_stay_inside() {
    let layer =
        unpack(&tar(&[(file("/etc/a"), "1"), (file("/../b"), "2"), (file("./c/../d"), "3")]));
    for (path, text) in [("etc/a", "1"), ("b", "2"), ("d", "3")] {
        assert_eq!(fs::read_to_string(layer.diff().join(path)).unwrap(), text);
    }
}

#[test]
fn writing_through_a_symlink_stays_inside() {
    let outside = Dir::new();
    let target = outside.path().to_str().unwrap();
    // As in a container, an absolute target starts at the layer's root, and `..` ends there.
    for (to, real) in [("/a/b", "a/b"), ("../../../../a/b", "a/b"), ("a/./b", "a/b")] {
        let entries =
            [(dir("a"), ""), (dir("a/b"), ""), (symlink_to("l", to), ""), (file("l/x"), "x")];
        let layer = unpack(&tar(&entries));
        assert_eq!(fs::read(layer.diff().join(real).join("x")).unwrap(), b"x", "{to}");
    }
    // Where the target is not in the layer it is made, as Docker does, but not outside.
    for to in [target.to_owned(), format!("../../../../../../../..{target}")] {
        let inside = target.trim_start_matches('/');
        let entries =
            [(symlink_to("m", "l"), ""), (symlink_to("l", &to), ""), (file("m/y/x"), "x")];
        let layer = unpack(&tar(&entries));
        assert_eq!(fs::read(layer.diff().join(inside).join("y/x")).unwrap(), b"x");
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn an_entry_replaces_a_symlink_and_never_follows_it() {
    let outside = Dir::new();
    let victim = outside.path().join("victim");
    fs::write(&victim, "untouched").unwrap();
    let to = victim.to_str().unwrap();
    let layer = unpack(&tar(&[(symlink_to("x", to), ""), (file("x"), "new")]));
    assert_eq!(fs::read_to_string(layer.diff().join("x")).unwrap(), "new");
    let over = outside.path().to_str().unwrap();
    let layer =
        unpack(&tar(&[(symlink_to("d", over), ""), (dir("d"), ""), (file("d/victim"), "new")]));
    assert_eq!(fs::read_to_string(layer.diff().join("d/victim")).unwrap(), "new");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
}

#[test]
fn a_hard_link_reaches_nothing_outside() {
    let outside = Dir::new();
    let victim = outside.path().join("victim");
    fs::write(&victim, "secret").unwrap();
    let path = victim.to_str().unwrap();
    let error = refused(&tar(&[(link("x", path), "")]));
    assert!(error.contains("cannot make hard link \"x\""), "{error}");
    let parent = outside.path().to_str().unwrap();
    let error = refused(&tar(&[(symlink_to("l", parent), ""), (link("x", "l/victim"), "")]));
    assert!(error.contains("cannot make hard link \"x\""), "{error}");
    assert_eq!(fs::metadata(&victim).unwrap().nlink(), 1);
    // To the symlink itself, not to what it names.
    let layer =
        unpack(&tar(&[(symlink_to("l", path), ""), (link("x", "l"), ""), (file("x"), "y")]));
    assert_eq!(fs::read_to_string(victim).unwrap(), "secret");
    assert_eq!(fs::read_to_string(layer.diff().join("x")).unwrap(), "y");
}

#[test]
fn a_directory_that_becomes_a_symlink_takes_its_cached_parent_along() {
    let outside = Dir::new();
    let to = outside.path().to_str().unwrap();
    let entries = [(file("d/a"), "1"), (symlink_to("d", to), ""), (file("d/b"), "2")];
    let layer = unpack(&tar(&entries));
    assert_eq!(fs::read(layer.diff().join(&to[1..]).join("b")).unwrap(), b"2");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn whiteouts_of_dots_are_refused() {
    for path in [".wh.", "a/.wh..", "a/.wh...", ".wh..."] {
        let error = refused(&tar(&[(file("a/x"), ""), (file(path), "")]));
        assert!(error.contains("invalid whiteout"), "{path}: {error}");
    }
}

#[test]
fn a_whiteout_behind_a_symlink_stays_inside() {
    let outside = Dir::new();
    fs::write(outside.path().join("victim"), "").unwrap();
    let to = outside.path().to_str().unwrap();
    let layer = unpack(&tar(&[(symlink_to("l", to), ""), (file("l/.wh.victim"), "")]));
    let inside = fs::symlink_metadata(layer.diff().join(&to[1..]).join("victim")).unwrap();
    assert!(inside.file_type().is_char_device());
    let layer = unpack(&tar(&[(symlink_to("l", to), ""), (file("l/.wh..wh..opq"), "")]));
    assert!(xattrs(&layer.diff().join(&to[1..])).contains_key("trusted.overlay.opaque"));
    assert!(fs::metadata(outside.path().join("victim")).unwrap().is_file());
    assert!(xattrs(outside.path()).is_empty());
}

#[test]
fn a_whiteout_hides_what_is_below_and_nothing_of_its_own_layer() {
    let layer = unpack(&tar(&[
        (file("kept"), "x"),
        (file(".wh.kept"), ""),
        (file("d/kept"), "x"),
        (file(".wh.d"), ""),
        (file(".wh.later"), "payload of a whiteout"),
        (dir("later"), ""),
        (file("later/new"), "x"),
        (file(".wh.file"), ""),
        (file("file"), "x"),
        (file(".wh.twice"), ""),
        (file(".wh.twice"), ""),
        (file(".wh..wh.plnk/1.2"), "aufs"),
        (file("sub/.wh..wh.aufs"), "aufs"),
    ]));
    let opaque =
        |path: &str| xattrs(&layer.diff().join(path)).contains_key("trusted.overlay.opaque");
    assert!(layer.diff().join("kept").is_file());
    assert!(layer.diff().join("d/kept").is_file() && opaque("d"));
    assert!(layer.diff().join("later/new").is_file() && opaque("later"));
    assert!(layer.diff().join("file").is_file());
    let twice = fs::symlink_metadata(layer.diff().join("twice")).unwrap();
    assert!(twice.file_type().is_char_device() && twice.rdev() == 0);
    assert!(!layer.diff().join(".wh..wh.plnk").exists());
}

#[test]
fn overlay_attributes_of_an_archive_are_not_obeyed() {
    let xattr = |name: &str| ferry_archive::Xattr { name: name.into(), value: b"/etc".to_vec() };
    let names = ["trusted.overlay.redirect", "trusted.overlay.metacopy", "trusted.kept"];
    let entry = Entry { xattrs: names.map(xattr).to_vec(), ..dir("d") };
    let layer = unpack(&tar(&[(entry, "")]));
    let set: Vec<String> = xattrs(&layer.diff().join("d")).into_keys().collect();
    assert_eq!(set, ["trusted.kept"]);
}

#[test]
fn what_comes_later_replaces_what_was_there() {
    let layer = unpack(&tar(&[
        (file("twice"), "first"),
        (file("twice"), "second"),
        (file("linked"), "original"),
        (link("other", "linked"), ""),
        (file("linked"), "replaced"),
        (file("file"), "becomes a directory"),
        (dir("file"), ""),
        (file("file/in"), "inside"),
        (file("tree/a/b"), "becomes a file"),
        (file("tree/a/c"), "is gone, too"),
        (file("tree"), "a file now"),
        (file("fifo"), "becomes a fifo"),
        (entry("fifo", Kind::Fifo), ""),
        (entry("fifo", Kind::Fifo), ""),
        (file("self"), "linked to itself"),
        (link("self", "self"), ""),
        (file("target"), "over a link"),
        (link("over", "target"), ""),
        (file("over"), "not over"),
        (dir("merged"), ""),
        (file("merged/1"), "1"),
        (Entry { mode: 0o700, ..dir("merged") }, ""),
        (file("merged/2"), "2"),
        (file("through"), "x"),
        (symlink_to("through", "merged"), ""),
        (file("through/1"), "one"),
    ]));
    let read = |path: &str| fs::read_to_string(layer.diff().join(path)).unwrap();
    assert_eq!(read("twice"), "second");
    assert_eq!((read("linked"), read("other")), ("replaced".into(), "original".into()));
    assert_eq!(fs::metadata(layer.diff().join("other")).unwrap().nlink(), 1);
    assert_eq!(read("file/in"), "inside");
    assert_eq!(read("tree"), "a file now");
    assert!(fs::symlink_metadata(layer.diff().join("fifo")).unwrap().file_type().is_fifo());
    assert_eq!(read("self"), "linked to itself");
    assert_eq!((read("target"), read("over")), ("over a link".into(), "not over".into()));
    assert_eq!((read("merged/1"), read("merged/2")), ("one".into(), "2".into()));
    assert_eq!(fs::metadata(layer.diff().join("merged")).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn a_kept_file_whose_other_name_stays_does_not_count_as_a_link() {
    let layer = unpack(&tar(&[(file("a"), "data"), (link("b", "a"), ""), (file("a"), "new")]));
    assert_eq!(fs::metadata(layer.diff().join("b")).unwrap().nlink(), 1);
    assert_eq!(fs::read_to_string(layer.diff().join("b")).unwrap(), "data");
}

#[test]
fn the_header_of_a_hard_link_counts_and_keeps_a_capability() {
    let capability =
        ferry_archive::Xattr { name: b"security.capability".to_vec(), value: CAPABILITY.to_vec() };
    let first = Entry { mode: 0o755, xattrs: vec![capability], ..file("a") };
    let second = Entry { mode: 0o711, mtime: Mtime { seconds: 5, nanos: 7 }, ..link("b", "a") };
    let layer = unpack(&tar(&[(first, "x"), (second, "")]));
    let meta = fs::metadata(layer.diff().join("a")).unwrap();
    assert_eq!((meta.mode() & 0o777, meta.mtime(), meta.mtime_nsec()), (0o711, 5, 7));
    assert!(xattrs(&layer.diff().join("b")).contains_key("security.capability"));
}

#[test]
fn parents_that_no_entry_describes_are_as_dockers() {
    let layer = unpack(&tar(&[(file("a/b/c"), "x")]));
    for path in ["a", "a/b"] {
        let meta = fs::metadata(layer.diff().join(path)).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o755, 0, 0));
    }
    let error = refused(&tar(&[(file("a"), "x"), (file("a/b"), "x")]));
    assert!(error.contains("open directory \"a\""), "{error}");
}

#[test]
fn the_root_entry_describes_the_root() {
    let root = Entry { uid: 7, mode: 0o1700, ..dir("./") };
    let layer = unpack(&tar(&[(root, ""), (file("x"), "")]));
    let meta = fs::metadata(layer.diff()).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.mtime()), (0o1700, 7, 0));
    let error = refused(&tar(&[(symlink_to(".", "/etc"), "")]));
    assert!(error.contains("root something else"), "{error}");
}

#[test]
fn a_set_group_id_directory_does_not_pass_its_group_on() {
    let parent = Entry { mode: 0o2755, gid: 50, ..dir("d") };
    let layer = unpack(&tar(&[(parent, ""), (file("d/x"), "x"), (dir("d/e"), "")]));
    for path in ["d/x", "d/e"] {
        assert_eq!(fs::metadata(layer.diff().join(path)).unwrap().gid(), 0, "{path}");
    }
}

#[test]
fn deep_trees_are_made_replaced_and_removed() {
    let deep = "d/".repeat(2000);
    let layer = unpack(&tar(&[(file(&format!("{deep}x")), "deep"), (file("d"), "flat")]));
    assert_eq!(fs::read_to_string(layer.diff().join("d")).unwrap(), "flat");
    let layer = unpack(&tar(&[(file(&format!("{deep}x")), "deep")]));
    drop(layer);
}

#[test]
fn a_symlink_loop_is_an_error() {
    let error = refused(&tar(&[
        (symlink_to("a", "b"), ""),
        (symlink_to("b", "a"), ""),
        (file("a/x"), "x"),
    ]));
    assert!(error.contains("open directory \"a\""), "{error}");
}

#[test]
fn the_tar_of_a_tree_does_not_follow_symlinks_out() {
    let (outside, tree) = (Dir::new(), Dir::new());
    fs::write(outside.path().join("secret"), "secret").unwrap();
    symlink(outside.path(), tree.path().join("link")).unwrap();
    let tar = pack(tree.path(), Source::Plain);
    assert!(!tar.windows(6).any(|window| window == b"secret"));
}
