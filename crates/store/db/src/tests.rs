use crate::{Batch, Db, Table};

const FRUIT: Table<String> = Table::new("fruit");
const COUNT: Table<u32> = Table::new("count");

struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ferry-db-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_was_written_is_there_after_reopening() {
    let scratch = Scratch::new("reopen");
    let path = scratch.0.join("db");
    let mut batch = Batch::new();
    batch.put(&FRUIT, "b", &"pear".to_owned()).unwrap();
    batch.put(&FRUIT, "a", &"apple".to_owned()).unwrap();
    batch.put(&COUNT, "a", &7).unwrap();
    Db::open(&path).unwrap().write(batch).unwrap();

    let db = Db::open(&path).unwrap();
    assert_eq!(db.get(&FRUIT, "a").unwrap().as_deref(), Some("apple"));
    assert_eq!(db.get(&COUNT, "a").unwrap(), Some(7));
    assert_eq!(db.get(&COUNT, "b").unwrap(), None);
    let all: Vec<_> = db.all(&FRUIT).unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(all, ["a", "b"]);
}

#[test]
fn a_batch_replaces_and_deletes() {
    let scratch = Scratch::new("replace");
    let db = Db::open(&scratch.0.join("db")).unwrap();
    let mut batch = Batch::new();
    batch.put(&COUNT, "x", &1).unwrap();
    batch.put(&COUNT, "y", &1).unwrap();
    db.write(batch).unwrap();
    let mut batch = Batch::new();
    batch.put(&COUNT, "x", &2).unwrap();
    batch.delete(&COUNT, "y");
    batch.delete(&COUNT, "never there");
    db.write(batch).unwrap();
    assert_eq!(db.all(&COUNT).unwrap(), [("x".to_owned(), 2)]);
}

#[test]
fn a_file_of_a_newer_layout_is_refused() {
    let scratch = Scratch::new("newer");
    let path = scratch.0.join("db");
    drop(Db::open(&path).unwrap());
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = Db::open(&path).unwrap_err().to_string();
    assert!(error.contains("layout 99"), "{error}");
}

#[test]
fn garbage_is_an_error_not_a_panic() {
    let scratch = Scratch::new("garbage");
    let path = scratch.0.join("db");
    std::fs::write(&path, vec![7_u8; 8192]).unwrap();
    assert!(Db::open(&path).is_err());
}

#[test]
fn writes_side_by_side_are_all_there() {
    let scratch = Scratch::new("side-by-side");
    let path = scratch.0.join("db");
    let db = Db::open(&path).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let db = &db;
            scope.spawn(move || {
                for number in 0..20_u32 {
                    let mut batch = Batch::new();
                    batch.put(&COUNT, &format!("{writer}-{number}"), &number).unwrap();
                    if number > 0 {
                        batch.delete(&COUNT, &format!("{writer}-{}", number - 1));
                    }
                    db.write(batch).unwrap();
                    // What was written is there at once, for whoever has written it.
                    let found = db.get(&COUNT, &format!("{writer}-{number}")).unwrap();
                    assert_eq!(found, Some(number));
                }
            });
        }
    });
    drop(db);
    let keys: Vec<String> =
        Db::open(&path).unwrap().all(&COUNT).unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, (0..8).map(|writer| format!("{writer}-19")).collect::<Vec<_>>());
}
