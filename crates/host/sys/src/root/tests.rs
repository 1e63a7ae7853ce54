use super::*;
use std::os::unix::fs::symlink;

/// A tree under /tmp that goes away with the test.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Tree {
        let path = std::env::temp_dir().join(format!("ferry-sys-{name}-{}", std::process::id()));
        std::fs::create_dir_all(path.join("root")).unwrap();
        Tree(path)
    }
    fn root(&self) -> InRoot {
        InRoot::open(&self.0.join("root")).unwrap()
    }
    fn at(&self, path: &str) -> PathBuf {
        self.0.join("root").join(path)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_link_out_of_the_tree_leads_back_into_it() {
    let tree = Tree::new("escape");
    symlink("/", tree.at("abs")).unwrap();
    symlink("../../../../..", tree.at("up")).unwrap();
    tree.root().mkdir_all(Path::new("/abs/x/y"), 0o755).unwrap();
    tree.root().mkdir_all(Path::new("up/z"), 0o755).unwrap();
    assert!(tree.at("x/y").is_dir());
    assert!(tree.at("z").is_dir());
}

#[test]
fn a_dangling_link_gets_its_target_inside() {
    let tree = Tree::new("dangling");
    symlink("/run/somewhere", tree.at("var")).unwrap();
    tree.root().mkdir_all(Path::new("/var/lib/data"), 0o755).unwrap();
    assert!(tree.at("run/somewhere/lib/data").is_dir());
    symlink("../etc/real", tree.at("run/conf")).unwrap();
    tree.root().create_file(Path::new("/run/conf"), 0o644).unwrap();
    assert!(tree.at("run/conf").symlink_metadata().unwrap().is_symlink());
}

#[test]
fn a_file_is_made_with_its_directories() {
    let tree = Tree::new("file");
    tree.root().create_file(Path::new("/etc/deep/hosts"), 0o644).unwrap();
    assert!(tree.at("etc/deep/hosts").is_file());
}

#[test]
fn a_link_to_itself_is_a_loop_and_no_hang() {
    let tree = Tree::new("loop");
    symlink("me", tree.at("me")).unwrap();
    assert_eq!(tree.root().mkdir_all(Path::new("me/x"), 0o755).unwrap_err(), Errno::LOOP);
}

#[test]
fn reading_takes_files_only_and_up_to_a_limit() {
    let tree = Tree::new("read");
    std::fs::write(tree.at("passwd"), "root:x:0:0").unwrap();
    let root = tree.root();
    assert_eq!(root.read(Path::new("/passwd"), 10).unwrap(), b"root:x:0:0");
    assert_eq!(root.read(Path::new("/passwd"), 9).unwrap_err(), Errno::FBIG);
    assert_eq!(root.read(Path::new("/"), 9).unwrap_err(), Errno::INVAL);
    assert_eq!(root.read(Path::new("/missing"), 9).unwrap_err(), Errno::NOENT);
    rustix::fs::mknodat(CWD, tree.at("fifo"), FileType::Fifo, Mode::from_raw_mode(0o644), 0)
        .unwrap();
    assert_eq!(root.read(Path::new("/fifo"), 9).unwrap_err(), Errno::INVAL);
}

#[test]
fn magic_links_are_not_followed() {
    let root = InRoot::open(Path::new("/")).unwrap();
    assert_eq!(root.resolve(Path::new("/proc/self/root")).unwrap_err(), Errno::LOOP);
    assert_eq!(root.resolve(Path::new("/proc/self/fd/0")).unwrap_err(), Errno::LOOP);
}

#[test]
fn links_are_read_as_written() {
    let tree = Tree::new("readlink");
    symlink("../there", tree.at("l")).unwrap();
    assert_eq!(tree.root().read_link(Path::new("l")).unwrap(), PathBuf::from("../there"));
}

#[test]
fn the_real_path_of_a_find_has_no_links() {
    let tree = Tree::new("real");
    std::fs::create_dir_all(tree.at("a/b")).unwrap();
    symlink("/a", tree.at("link")).unwrap();
    let root = tree.root();
    let found = root.resolve(Path::new("/link/b")).unwrap();
    assert_eq!(root.real_path(found.as_fd()).unwrap(), Path::new("a/b"));
    let top = root.resolve(Path::new("/")).unwrap();
    assert_eq!(root.real_path(top.as_fd()).unwrap(), Path::new(""));
}
