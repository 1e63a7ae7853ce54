//! Execs by id: what was asked, and what became of it.

use std::{
    collections::{HashMap, VecDeque},
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::exec::Exec;
use tokio::sync::Notify;

/// Execs that do not run and are remembered: those that ended, and those that were never started. Docker forgets them after some
/// minutes.
const REMEMBERED: usize = 4096;

/// All execs.
#[derive(Debug, Default)]
pub(crate) struct Execs {
    known: Mutex<Known>,
    ends: Notify,
}

/// Execs by id, and the order in which they came.
#[derive(Debug, Default)]
struct Known {
    execs: HashMap<String, Exec>,
    order: VecDeque<String>,
}

impl Known {
    /// Forgets the oldest that do not run: whoever asked for one of the newest has not heard how it ended yet.
    fn make_room(&mut self) {
        if self.order.len() < REMEMBERED {
            return;
        }
        let mut surplus = self.order.len() - REMEMBERED / 2;
        let execs = &mut self.execs;
        self.order.retain(|id| {
            let runs = execs.get(id).is_some_and(|exec| exec.running);
            if runs || surplus == 0 {
                return execs.contains_key(id);
            }
            surplus -= 1;
            execs.remove(id);
            false
        });
    }
}

impl Execs {
    pub(crate) fn add(&self, exec: Exec) {
        let mut known = self.lock();
        known.make_room();
        known.order.push_back(exec.id.clone());
        known.execs.insert(exec.id.clone(), exec);
    }

    pub(crate) fn get(&self, id: &str) -> Result<Exec, Failure> {
        self.lock().execs.get(id).cloned().ok_or_else(|| {
            Failure::new(ErrorKind::NotFound, format!("No such exec instance: {id}"))
        })
    }

    pub(crate) fn update(&self, id: &str, change: impl FnOnce(&mut Exec)) {
        if let Some(exec) = self.lock().execs.get_mut(id) {
            change(exec);
        }
    }

    /// Takes the one start that an exec has: false when somebody else had it.
    pub(crate) fn claim(&self, id: &str) -> bool {
        let mut known = self.lock();
        let exec = known.execs.get_mut(id);
        let Some(exec) = exec.filter(|exec| !exec.running && exec.exit_code.is_none()) else {
            return false;
        };
        exec.running = true;
        true
    }

    /// Notes an end; answers the exec if that is news.
    pub(crate) fn ended(&self, id: &str, exit_code: i32) -> Option<Exec> {
        let mut known = self.lock();
        let exec = known.execs.get_mut(id).filter(|exec| exec.exit_code.is_none())?;
        exec.running = false;
        exec.exit_code = Some(exit_code);
        self.ends.notify_waiters();
        Some(exec.clone())
    }

    /// Waits for an end, and answers the exit code; `None` when nobody knows the exec.
    pub(crate) async fn end_of(&self, id: &str) -> Option<i32> {
        loop {
            let mut news = pin!(self.ends.notified());
            news.as_mut().enable();
            if let Some(code) = self.get(id).ok()?.exit_code {
                return Some(code);
            }
            news.await;
        }
    }

    /// Forgets one that nobody will ask for.
    pub(crate) fn forget(&self, id: &str) {
        let mut known = self.lock();
        known.execs.remove(id);
        known.order.retain(|own| own != id);
        self.ends.notify_waiters();
    }

    /// Nobody will start what was to run in a container that is gone. How others ended may still be asked.
    pub(crate) fn container_removed(&self, container: &str) {
        let mut known = self.lock();
        known.execs.retain(|_, exec| exec.container_id != container || exec.exit_code.is_some());
        let Known { execs, order } = &mut *known;
        order.retain(|id| execs.contains_key(id));
        self.ends.notify_waiters();
    }

    /// With a container end all its execs.
    pub(crate) fn container_ended(&self, container: &str) {
        for exec in self
            .lock()
            .execs
            .values_mut()
            .filter(|exec| exec.container_id == container && exec.running)
        {
            exec.running = false;
            exec.exit_code.get_or_insert(137);
        }
        self.ends.notify_waiters();
    }

    pub(crate) fn of_container(&self, container: &str) -> Vec<String> {
        let known = self.lock();
        let own =
            known.execs.values().filter(|exec| exec.container_id == container && exec.running);
        own.map(|exec| exec.id.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(number: usize) -> Exec {
        Exec { id: number.to_string(), container_id: "c".to_owned(), ..Exec::default() }
    }

    #[test]
    fn the_oldest_that_do_not_run_are_forgotten() {
        let execs = Execs::default();
        for number in 0..REMEMBERED {
            execs.add(exec(number));
        }
        assert!(execs.claim("0") && execs.claim("1"));
        execs.ended("1", 0);
        execs.add(exec(REMEMBERED));
        assert!(execs.get("0").is_ok(), "it runs");
        assert!(execs.get("1").is_err() && execs.get("2").is_err());
        let newest = (REMEMBERED - 1).to_string();
        assert!(execs.get(&newest).is_ok() && execs.get(&REMEMBERED.to_string()).is_ok());
    }

    #[test]
    fn an_exec_is_started_once_or_goes_with_its_container() {
        let execs = Execs::default();
        execs.add(exec(7));
        assert!(execs.claim("7"));
        assert!(!execs.claim("7"));
        execs.ended("7", 3);
        assert!(!execs.claim("7"));
        execs.add(exec(8));
        execs.container_removed("other");
        assert!(execs.get("8").is_ok());
        execs.container_removed("c");
        assert_eq!(execs.get("7").unwrap().exit_code, Some(3));
        assert!(execs.get("8").is_err() && execs.lock().order.len() == 1);
    }
}
