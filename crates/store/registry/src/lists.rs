//! Lists of tags as clients are given them, kept in memory: a repository with many tags is listed far more often than it gets a new one.
//!
//! A list is made from the records when somebody asks, and forgotten by the write that gives the repository another tag or takes one
//! away, before that write's answer. Whoever is making a list at that moment may use it, but does not keep it.

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ferry_db::{Batch, Db, DbError};

use crate::{
    Store, StoreError,
    records::{REPOSITORIES, TAGS},
};

/// Pages of fewer tags are read from the records where no list is there: to make it for ten tags of a million would be dear.
const SHORT: usize = 1000;
/// A list of more tags is not kept, nor are lists that need more bytes together.
const MOST_TAGS: usize = 200_000;
const MOST_BYTES: usize = 8 << 20;

/// Some tags of a repository, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagPage {
    /// The tags as what stands between the brackets of a JSON array.
    pub json: String,
    /// The last of them, if there are more.
    pub last: Option<String>,
}

/// All tags of a repository.
#[derive(Debug)]
struct TagList {
    /// `"a","b"`.
    text: String,
    /// Where each of them begins, with its quote.
    starts: Vec<u32>,
}

impl TagList {
    /// `None` when it would be too long.
    fn new(tags: &[String]) -> Option<TagList> {
        let plain = |tag: &String| !tag.contains(|c: char| c == '"' || c == '\\' || c < ' ');
        if tags.len() > MOST_TAGS || !tags.iter().all(plain) {
            return None;
        }
        let (mut text, mut starts) = (String::new(), Vec::with_capacity(tags.len()));
        for tag in tags {
            if !text.is_empty() {
                text.push(',');
            }
            starts.push(u32::try_from(text.len()).ok()?);
            text.push('"');
            text.push_str(tag);
            text.push('"');
        }
        let list = TagList { text, starts };
        (list.bytes() <= MOST_BYTES).then_some(list)
    }

    fn start(&self, index: usize) -> usize {
        self.starts.get(index).map_or(self.text.len() + 1, |start| *start as usize)
    }

    fn tag(&self, index: usize) -> &str {
        // Between its quotes: behind it is a comma, or the end.
        self.text.get(self.start(index) + 1..self.start(index + 1) - 2).unwrap_or_default()
    }

    /// How many tags sort before or as this one.
    fn until(&self, tag: &str) -> usize {
        let (mut low, mut high) = (0, self.starts.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.tag(middle) <= tag {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn has(&self, tag: &str) -> bool {
        let until = self.until(tag);
        until > 0 && self.tag(until - 1) == tag
    }

    fn page(&self, after: &str, limit: usize) -> TagPage {
        let from = self.until(after);
        let to = from.saturating_add(limit).min(self.starts.len());
        if from == to {
            return TagPage { json: String::new(), last: None };
        }
        let json = self.text.get(self.start(from)..self.start(to) - 1).unwrap_or_default();
        let last = (to < self.starts.len()).then(|| self.tag(to - 1).to_owned());
        TagPage { json: json.to_owned(), last }
    }

    fn bytes(&self) -> usize {
        self.text.len() + self.starts.len() * size_of::<u32>()
    }
}

/// What is kept of a repository.
#[derive(Debug)]
enum Kept {
    List(Arc<TagList>),
    /// Somebody is making it, who knows this number.
    Making(u64),
    /// Only what cannot be kept: whoever asks reads a page and not all of them.
    TooLong,
}

/// The lists.
#[derive(Debug, Default)]
pub(crate) struct Lists(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    of: HashMap<String, Kept>,
    bytes: usize,
    makers: u64,
}

impl Inner {
    fn forget(&mut self, repository: &str) {
        if let Some(Kept::List(list)) = self.of.remove(repository) {
            self.bytes = self.bytes.saturating_sub(list.bytes());
        }
    }

    /// Forgets lists until one of so many bytes can be kept, too. Those that are asked for come again.
    fn make_room(&mut self, bytes: usize) {
        let Some(mut over) = (self.bytes + bytes).checked_sub(MOST_BYTES) else { return };
        let mut going = Vec::new();
        for (repository, kept) in &self.of {
            if over == 0 {
                break;
            }
            if let Kept::List(list) = kept {
                over = over.saturating_sub(list.bytes());
                going.push(repository.clone());
            }
        }
        going.iter().for_each(|repository| self.forget(repository));
    }
}

impl Lists {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Each change of it is one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, repository: &str) -> Option<Arc<TagList>> {
        match self.inner().of.get(repository)? {
            Kept::List(list) => Some(Arc::clone(list)),
            Kept::Making(_) | Kept::TooLong => None,
        }
    }

    /// Somebody wants to read what makes a list: the number to [`Lists::end`] it with. `None` where another does that already, or where
    /// it is of no use.
    fn begin(&self, repository: &str) -> Option<u64> {
        let mut inner = self.inner();
        if matches!(inner.of.get(repository), Some(Kept::Making(_) | Kept::TooLong)) {
            return None;
        }
        inner.makers += 1;
        let maker = inner.makers;
        inner.forget(repository);
        inner.of.insert(repository.to_owned(), Kept::Making(maker));
        Some(maker)
    }

    /// The list was made, or is too long, or could not be read (`None`); it is kept if nothing was written since [`Lists::begin`].
    fn end(&self, repository: &str, maker: u64, made: Option<Kept>) {
        let mut inner = self.inner();
        if !matches!(inner.of.get(repository), Some(Kept::Making(now)) if *now == maker) {
            return;
        }
        inner.forget(repository);
        let Some(made) = made else { return };
        if let Kept::List(list) = &made {
            inner.make_room(list.bytes());
            inner.bytes += list.bytes();
        }
        inner.of.insert(repository.to_owned(), made);
    }

    /// Forgets what a batch makes untrue.
    fn written(&self, touched: &[(String, bool)]) {
        let mut inner = self.inner();
        for (key, put) in touched {
            let (repository, tag) = key.split_once(' ').unwrap_or((key, ""));
            let same = match inner.of.get(repository) {
                Some(Kept::List(list)) => list.has(tag),
                // One more makes it no shorter.
                Some(Kept::TooLong) => true,
                _ => false,
            };
            if !(*put && same) {
                inner.forget(repository);
            }
        }
    }
}

/// The records' database, for the only one who writes: lists of tags follow what is written.
#[derive(Debug)]
pub(crate) struct Written {
    db: Db,
    lists: Arc<Lists>,
}

impl Written {
    pub(crate) fn new(db: Db, lists: Arc<Lists>) -> Written {
        Written { db, lists }
    }

    /// As [`Db::write`].
    pub(crate) fn write(&self, batch: Batch) -> Result<(), DbError> {
        let tags = batch.keys(&TAGS).map(|(key, put)| (key.to_owned(), put));
        // A new repository has no list, one that goes has no tags: then its list is an error, not an empty one.
        let gone = batch.keys(&REPOSITORIES).filter(|(_, put)| !put);
        let touched: Vec<_> = tags.chain(gone.map(|(key, put)| (key.to_owned(), put))).collect();
        let written = self.db.write(batch);
        if !touched.is_empty() {
            // Also if it failed: what the disk has then is asked anew.
            self.lists.written(&touched);
        }
        written
    }
}

impl Deref for Written {
    type Target = Db;

    fn deref(&self) -> &Db {
        &self.db
    }
}

impl Store {
    /// As [`Store::tag_page`], if that needs no look at the disk.
    pub fn kept_tag_page(&self, repository: &str, after: &str, limit: usize) -> Option<TagPage> {
        Some(self.lists.get(repository)?.page(after, limit))
    }

    /// At most `limit` tags behind `after`, in order.
    ///
    /// # Errors
    /// When the repository is not known.
    pub fn tag_page(
        &self,
        repository: &str,
        after: &str,
        limit: usize,
    ) -> Result<TagPage, StoreError> {
        if limit >= SHORT {
            if let Some(page) = self.kept_tag_page(repository, after, limit) {
                return Ok(page);
            }
            if let Some(maker) = self.lists.begin(repository) {
                let all = self.tags(repository, "", MOST_TAGS + 1);
                let list = all.as_ref().ok().and_then(|all| TagList::new(all)).map(Arc::new);
                let made = list.clone().map_or(Kept::TooLong, Kept::List);
                self.lists.end(repository, maker, all.is_ok().then_some(made));
                all?;
                if let Some(list) = list {
                    return Ok(list.page(after, limit));
                }
            }
        }
        let mut tags = self.tags(repository, after, limit.saturating_add(1))?;
        let more = tags.len() > limit;
        tags.truncate(limit);
        let last = tags.last().filter(|_| more).cloned();
        let json = serde_json::to_string(&tags).unwrap_or_default();
        let json = json.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(TagPage { json, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(tags: &[&str]) -> TagList {
        TagList::new(&tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn pages_of_a_list() {
        let all = list(&["1", "1.0", "2", "a"]);
        let page = |after, limit| {
            let page = all.page(after, limit);
            (page.json, page.last)
        };
        assert_eq!(page("", 10), (r#""1","1.0","2","a""#.to_owned(), None));
        assert_eq!(page("", 2), (r#""1","1.0""#.to_owned(), Some("1.0".to_owned())));
        assert_eq!(page("1.0", 1), (r#""2""#.to_owned(), Some("2".to_owned())));
        // What is not there is a place in the order all the same.
        assert_eq!(page("1.5", 2), (r#""2","a""#.to_owned(), None));
        assert_eq!(page("b", 2), (String::new(), None));
        assert_eq!(page("", 0), (String::new(), None));
        assert_eq!(list(&[]).page("", 5), TagPage { json: String::new(), last: None });
        assert!(all.has("1.0") && all.has("a") && !all.has("1.") && !all.has(""));
    }

    #[test]
    fn a_list_that_was_written_to_meanwhile_is_not_kept() {
        let lists = Lists::default();
        let made = || Some(Kept::List(Arc::new(list(&["1"]))));
        let maker = lists.begin("r").unwrap();
        lists.written(&[("r 2".to_owned(), true)]);
        lists.end("r", maker, made());
        assert!(lists.get("r").is_none());
        let maker = lists.begin("r").unwrap();
        lists.written(&[("other 2".to_owned(), true)]);
        // Whoever comes meanwhile is in nobody's way.
        assert_eq!(lists.begin("r"), None);
        lists.end("r", maker, made());
        assert!(lists.get("r").is_some());
        // The same tag again changes no list; another one and a deletion do.
        lists.written(&[("r 1".to_owned(), true)]);
        assert!(lists.get("r").is_some());
        lists.written(&[("r 1".to_owned(), false)]);
        assert!(lists.get("r").is_none());
        assert_eq!(lists.inner().bytes, 0);
        // One that could not be read is tried again.
        let maker = lists.begin("r").unwrap();
        lists.end("r", maker, None);
        assert!(lists.begin("r").is_some());
    }

    #[test]
    fn a_list_that_is_too_long_is_not_read_for_each_page() {
        let lists = Lists::default();
        let maker = lists.begin("r").unwrap();
        lists.end("r", maker, Some(Kept::TooLong));
        assert_eq!(lists.begin("r"), None);
        lists.written(&[("r 2".to_owned(), true)]);
        assert_eq!(lists.begin("r"), None);
        lists.written(&[("r 2".to_owned(), false)]);
        assert!(lists.begin("r").is_some());
    }

    #[test]
    fn what_is_kept_has_a_limit_that_counts_all_of_it() {
        let of = |length: usize, tags: usize| {
            TagList::new(&(0..tags).map(|tag| format!("{tag:0length$}")).collect::<Vec<_>>())
        };
        // Its text alone would not be too long.
        assert!(of(38, MOST_TAGS).is_none() && MOST_TAGS * (38 + 3) < MOST_BYTES);
        let lists = Lists::default();
        for name in ["a", "b", "c"] {
            let maker = lists.begin(name).unwrap();
            lists.end(name, maker, Some(Kept::List(Arc::new(of(36, 70_000).unwrap()))));
        }
        let kept = ["a", "b", "c"].map(|name| lists.get(name));
        assert!(kept[2].is_some());
        assert_eq!(kept.iter().flatten().count(), 2, "one had to go, and no other");
        let bytes: usize = kept.iter().flatten().map(|list| list.bytes()).sum();
        assert_eq!(lists.inner().bytes, bytes);
    }
}
