//! Passwords that were right a moment ago: hashing one takes tens of milliseconds, and clients show theirs often.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ferry_registry_store::now;
use ring::{digest::SHA256_OUTPUT_LEN, hmac, rand::SystemRandom};
use tokio::sync::Semaphore;

use super::Loaded;

/// A right password is believed for so long without looking again, unless accounts change.
const BELIEVED: Duration = Duration::from_secs(300);
/// Hashed at once: each takes 19 MiB.
const AT_ONCE: usize = 2;
const MAX_REMEMBERED: usize = 4096;

type Print = [u8; SHA256_OUTPUT_LEN];

/// Remembers right passwords, by prints that mean nothing outside this process.
#[derive(Debug)]
pub(crate) struct Logins {
    key: hmac::Key,
    right: Mutex<HashMap<Print, Instant>>,
    places: Semaphore,
}

impl Logins {
    pub(crate) fn new() -> Logins {
        // Prints stay in memory: without random numbers they are as good.
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .unwrap_or_else(|_| hmac::Key::new(hmac::HMAC_SHA256, b"prints"));
        Logins { key, right: Mutex::default(), places: Semaphore::new(AT_ONCE) }
    }

    /// Whether a password is right; `may` is asked again just before it is hashed, because whoever sends a thousand guesses at once
    /// has not guessed wrong yet when they come in.
    pub(crate) async fn is_right<E>(
        &self,
        loaded: &Arc<Loaded>,
        (name, password): (&str, &str),
        may: impl Fn() -> Result<(), E>,
    ) -> Result<bool, E> {
        let print = self.print(loaded.generation, name, password);
        if self.remembers(&print) {
            return Ok(loaded.policy.is_valid(name, now()));
        }
        let Ok(_place) = self.places.acquire().await else { return Ok(false) };
        may()?;
        let (policy, name, password) = (Arc::clone(loaded), name.to_owned(), password.to_owned());
        let check = move || policy.policy.is_right(&name, &password, now());
        let right = tokio::task::spawn_blocking(check).await.unwrap_or(false);
        if right {
            let mut remembered = self.right.lock().unwrap_or_else(PoisonError::into_inner);
            if remembered.len() >= MAX_REMEMBERED {
                remembered.clear();
            }
            remembered.insert(print, Instant::now());
        }
        Ok(right)
    }

    fn remembers(&self, print: &Print) -> bool {
        let remembered = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.get(print).is_some_and(|since| since.elapsed() < BELIEVED)
    }

    fn print(&self, generation: u64, name: &str, password: &str) -> Print {
        let text = format!("{generation}\n{name}\n{password}");
        let tag = hmac::sign(&self.key, text.as_bytes());
        let mut print = [0; SHA256_OUTPUT_LEN];
        for (to, from) in print.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        print
    }
}
