//! Durable records in one SQLite file: a table of key and JSON value for each kind of noun.
//!
//! Knows: keys, values, transactions, durability. Does not know: what an image, network or volume is; paths other than its
//! own file. Containers are not here: each keeps a `config.json` of its own, which costs no shared lock on the start path.
//! Start with [`Db`], [`Table`], [`Batch`].
//!
//! Invariant: when [`Db::write`] returns, its changes survive a power cut, all of them or none (WAL, `synchronous=FULL`). Writes that
//! wait for one another share a transaction, and with it one sync of the disk.

mod error;
#[cfg(test)]
mod tests;

use std::{
    marker::PhantomData,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Serialize, de::DeserializeOwned};

pub use error::DbError;

/// The version of the file's layout, kept in `PRAGMA user_version`.
const LAYOUT: i64 = 1;

/// The records of one data root. All calls block for a fraction of a millisecond; a write for one sync of the disk.
#[derive(Debug)]
pub struct Db {
    connection: Mutex<Connection>,
    waiting: Mutex<Vec<Arc<Waiting>>>,
}

/// A write that nobody has begun, or its outcome.
#[derive(Debug)]
struct Waiting {
    batch: Batch,
    outcome: Mutex<Option<Result<(), DbError>>>,
}

/// Names a kind of record and fixes the type of its values.
#[derive(Debug)]
pub struct Table<T> {
    name: &'static str,
    value: PhantomData<fn() -> T>,
}

impl<T> Table<T> {
    /// A table called `name`, which must be unique within the program.
    pub const fn new(name: &'static str) -> Self {
        Table { name, value: PhantomData }
    }
}

/// Changes that take effect together.
#[derive(Debug, Default)]
pub struct Batch {
    changes: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Put { table: &'static str, key: String, value: String },
    Delete { table: &'static str, key: String },
}

impl Batch {
    /// Nothing yet.
    pub fn new() -> Self {
        Batch::default()
    }

    /// Sets `key` to `value`.
    ///
    /// # Errors
    /// [`DbError::Encode`] when the value has no JSON form.
    pub fn put<T: Serialize>(
        &mut self,
        table: &Table<T>,
        key: &str,
        value: &T,
    ) -> Result<(), DbError> {
        let value = serde_json::to_string(value).map_err(|source| DbError::Encode {
            table: table.name,
            key: key.to_owned(),
            source,
        })?;
        self.changes.push(Change::Put { table: table.name, key: key.to_owned(), value });
        Ok(())
    }

    /// Removes `key`; it need not be there.
    pub fn delete<T>(&mut self, table: &Table<T>, key: &str) {
        self.changes.push(Change::Delete { table: table.name, key: key.to_owned() });
    }

    /// The keys of a table that it changes, and whether each is set (and not removed), in the order of the changes.
    pub fn keys<T>(&self, table: &Table<T>) -> impl Iterator<Item = (&str, bool)> {
        let wanted = table.name;
        self.changes.iter().filter_map(move |change| match change {
            Change::Put { table, key, .. } => (*table == wanted).then_some((key.as_str(), true)),
            Change::Delete { table, key } => (*table == wanted).then_some((key.as_str(), false)),
        })
    }
}

impl Db {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// When the file cannot be opened, is no database, or was written by a newer Ferry.
    pub fn open(path: &Path) -> Result<Db, DbError> {
        let open = |source| DbError::Open { path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(open)?;
        connection
            .execute_batch(
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=5000;
                 PRAGMA cache_size=-512;
                 CREATE TABLE IF NOT EXISTS record (
                     kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
                     PRIMARY KEY (kind, key)) WITHOUT ROWID;",
            )
            .map_err(open)?;
        let layout: i64 =
            connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(open)?;
        if layout > LAYOUT {
            return Err(DbError::TooNew { path: path.to_owned(), layout, known: LAYOUT });
        }
        if layout != LAYOUT {
            // To write it each time would be a sync of the disk at every start.
            connection.pragma_update(None, "user_version", LAYOUT).map_err(open)?;
        }
        Ok(Db { connection: Mutex::new(connection), waiting: Mutex::default() })
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// When the file cannot be read or the value is not what the table holds.
    pub fn get<T: DeserializeOwned>(
        &self,
        table: &Table<T>,
        key: &str,
    ) -> Result<Option<T>, DbError> {
        let text: Option<String> = self
            .lock()
            .query_row(
                "SELECT value FROM record WHERE kind = ?1 AND key = ?2",
                params![table.name, key],
                |row| row.get(0),
            )
            .optional()
            .map_err(|source| DbError::Read { table: table.name, source })?;
        text.map(|text| decode(table.name, key, &text)).transpose()
    }

    /// All keys and values of a table, in the order of the keys.
    ///
    /// # Errors
    /// When the file cannot be read or a value is not what the table holds.
    pub fn all<T: DeserializeOwned>(&self, table: &Table<T>) -> Result<Vec<(String, T)>, DbError> {
        let read = |source| DbError::Read { table: table.name, source };
        let connection = self.lock();
        let mut statement = connection
            .prepare_cached("SELECT key, value FROM record WHERE kind = ?1 ORDER BY key")
            .map_err(read)?;
        let rows = statement
            .query_map(params![table.name], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })
            .map_err(read)?;
        let mut records = Vec::new();
        for row in rows {
            let (key, text) = row.map_err(read)?;
            let value = decode(table.name, &key, &text)?;
            records.push((key, value));
        }
        Ok(records)
    }

    /// At most `limit` records of a table whose keys lie behind `after` and before `below`, in the order of the keys.
    ///
    /// # Errors
    /// When the file cannot be read or a value is not what the table holds.
    pub fn range<T: DeserializeOwned>(
        &self,
        table: &Table<T>,
        (after, below): (&str, &str),
        limit: usize,
    ) -> Result<Vec<(String, T)>, DbError> {
        let rows = self.rows(table.name, "key, value", (after, below), limit, |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })?;
        rows.into_iter()
            .map(|(key, text)| decode(table.name, &key, &text).map(|value| (key, value)))
            .collect()
    }

    /// As [`Db::range`], without the values.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn keys<T>(
        &self,
        table: &Table<T>,
        between: (&str, &str),
        limit: usize,
    ) -> Result<Vec<String>, DbError> {
        self.rows(table.name, "key", between, limit, |row| row.get(0))
    }

    fn rows<R>(
        &self,
        table: &'static str,
        columns: &str,
        (after, below): (&str, &str),
        limit: usize,
        map: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<R>,
    ) -> Result<Vec<R>, DbError> {
        let read = |source| DbError::Read { table, source };
        let connection = self.lock();
        let mut statement = connection
            .prepare_cached(&format!(
                "SELECT {columns} FROM record WHERE kind = ?1 AND key > ?2 AND key < ?3 ORDER BY key LIMIT ?4"
            ))
            .map_err(read)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![table, after, below, limit], map).map_err(read)?;
        rows.collect::<Result<_, _>>().map_err(read)
    }

    /// Makes all changes of `batch` in one transaction and waits until the disk has them. Who comes while another one writes is
    /// written with all others that came, by the first of them.
    ///
    /// # Errors
    /// When the transaction fails; nothing of it is there then.
    pub fn write(&self, batch: Batch) -> Result<(), DbError> {
        let own = Arc::new(Waiting { batch, outcome: Mutex::default() });
        locked(&self.waiting).push(Arc::clone(&own));
        let mut connection = self.lock();
        if let Some(outcome) = locked(&own.outcome).take() {
            return outcome;
        }
        let mut all = std::mem::take(&mut *locked(&self.waiting));
        if !all.iter().any(|one| Arc::ptr_eq(one, &own)) {
            // Whoever had taken it has panicked.
            all.push(Arc::clone(&own));
        }
        let together = commit(&mut connection, &all);
        for one in &all {
            let outcome = match (&together, all.len()) {
                (Ok(()), _) => Ok(()),
                (Err(_), 1) => continue,
                // One of them may be to blame: each for itself.
                (Err(_), _) => commit(&mut connection, std::slice::from_ref(one)),
            };
            *locked(&one.outcome) = Some(outcome);
        }
        locked(&own.outcome).take().unwrap_or(together)
    }

    /// Writes all records of now into a new file.
    ///
    /// # Errors
    /// When there is such a file, or it cannot be written.
    pub fn copy_to(&self, path: &Path) -> Result<(), DbError> {
        let copy = self.lock().execute("VACUUM INTO ?1", [path.to_string_lossy()]);
        copy.map(drop).map_err(|source| DbError::Write { source })
    }

    /// A number that changes when anybody else than this value's own writes changed a record.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn version(&self) -> Result<i64, DbError> {
        let version = self.lock().query_row("PRAGMA data_version", [], |row| row.get(0));
        version.map_err(|source| DbError::Read { table: "data_version", source })
    }

    /// A panic while the lock was held cannot leave a half-made transaction (it is rolled back on drop), so a poisoned
    /// lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, Connection> {
        locked(&self.connection)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes in one transaction, in the order in which they came.
fn commit(connection: &mut Connection, all: &[Arc<Waiting>]) -> Result<(), DbError> {
    let write = |source| DbError::Write { source };
    let transaction = connection.transaction().map_err(write)?;
    for change in all.iter().flat_map(|one| &one.batch.changes) {
        match change {
            Change::Put { table, key, value } => transaction.execute(
                "INSERT INTO record (kind, key, value) VALUES (?1, ?2, ?3)
                     ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value",
                params![table, key, value],
            ),
            Change::Delete { table, key } => transaction
                .execute("DELETE FROM record WHERE kind = ?1 AND key = ?2", params![table, key]),
        }
        .map_err(write)?;
    }
    transaction.commit().map_err(write)
}

fn decode<T: DeserializeOwned>(table: &'static str, key: &str, text: &str) -> Result<T, DbError> {
    serde_json::from_str(text).map_err(|source| DbError::Decode {
        table,
        key: key.to_owned(),
        source,
    })
}
