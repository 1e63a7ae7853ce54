//! Answers of other servers, for as long as they say that they are true.

use std::collections::{HashMap, VecDeque};

use crate::message::{RecordAt, is_truncated, is_useful};

/// Answers at most; the oldest goes.
const ENTRIES: usize = 2048;
/// A longer answer is not worth its memory.
const LENGTH: usize = 4096;
/// Seconds at most, whatever the answer says: names of development machines move.
const LONGEST: u32 = 300;

/// Answers by question, with their time. Time is in seconds since anything, and only goes up.
#[derive(Debug, Default)]
pub struct Cache {
    entries: HashMap<Vec<u8>, Entry>,
    order: VecDeque<Vec<u8>>,
}

#[derive(Debug)]
struct Entry {
    message: Vec<u8>,
    since: u64,
    until: u64,
}

impl Cache {
    /// Remembers an answer if it may be.
    pub fn keep(&mut self, key: Vec<u8>, message: &[u8], now: u64) {
        if message.len() > LENGTH || is_truncated(message) || !is_useful(message) {
            return;
        }
        let Some(records) = RecordAt::all(message) else { return };
        // An answer without any record says nothing about how long it is true.
        let times = records.iter().filter(|record| !record.is_edns()).map(|record| record.ttl);
        let Some(ttl) = times.min().map(|ttl| ttl.min(LONGEST)).filter(|ttl| *ttl > 0) else {
            return;
        };
        let entry = Entry { message: message.to_vec(), since: now, until: now + u64::from(ttl) };
        if self.entries.insert(key.clone(), entry).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > ENTRIES {
            if let Some(oldest) = self.order.pop_front() {
                self.entries.remove(&oldest);
            }
        }
    }

    /// The answer to a question, its times reduced by what has passed. Its number is not the question's.
    pub fn get(&self, key: &[u8], now: u64) -> Option<Vec<u8>> {
        let entry = self.entries.get(key).filter(|entry| now < entry.until)?;
        let passed = u32::try_from(now.saturating_sub(entry.since)).unwrap_or(u32::MAX);
        let mut message = entry.message.clone();
        for record in RecordAt::all(&entry.message)? {
            if !record.is_edns() {
                let left = record.ttl.saturating_sub(passed);
                message
                    .get_mut(record.ttl_at..record.ttl_at + 4)?
                    .copy_from_slice(&left.to_be_bytes());
            }
        }
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::{Query, Rcode, Record, kind, message::tests::question};

    fn answer(name: &str, records: &[Record]) -> (Vec<u8>, Vec<u8>) {
        let message = question(name, kind::A, Some(1232));
        let query = Query::parse(&message).expect("a question");
        let mut out = Vec::new();
        query.answer(Rcode::NoError, records, 512, &mut out);
        (query.cache_key(), out)
    }

    #[test]
    fn answers_are_kept_for_their_time_and_get_older() {
        let (key, message) = answer("a.b", &[Record::Address(Ipv4Addr::LOCALHOST.into())]);
        let mut cache = Cache::default();
        cache.keep(key.clone(), &message, 100);
        assert_eq!(cache.get(&key, 100).as_deref(), Some(message.as_slice()));
        let later = cache.get(&key, 110).expect("still true");
        assert_eq!(RecordAt::all(&later).expect("records")[0].ttl, 590);
        assert_eq!(cache.get(&key, 100 + u64::from(LONGEST)), None);
    }

    #[test]
    fn what_has_no_time_is_not_kept_and_the_oldest_goes() {
        let mut cache = Cache::default();
        let (key, message) = answer("a.b", &[]);
        cache.keep(key.clone(), &message, 0);
        assert_eq!(cache.get(&key, 0), None);
        let (_, message) = answer("a.b", &[Record::Address(Ipv4Addr::LOCALHOST.into())]);
        for number in 0..=ENTRIES {
            cache.keep(number.to_be_bytes().to_vec(), &message, 0);
        }
        assert_eq!(cache.get(&0_usize.to_be_bytes(), 0), None);
        assert_eq!(cache.entries.len(), ENTRIES);
        cache.keep(vec![1], &message[..20], 0);
        assert_eq!(cache.get(&[1], 0), None);
    }
}
