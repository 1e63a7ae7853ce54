//! Execs by id: what was asked, and what became of it.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::exec::Exec;
use tokio::sync::Notify;

/// Ended execs that are remembered; Docker forgets them after some minutes.
const REMEMBERED: usize = 4096;

/// All execs.
#[derive(Debug, Default)]
pub(crate) struct Execs {
    execs: Mutex<HashMap<String, Exec>>,
    ends: Notify,
}

impl Execs {
    pub(crate) fn add(&self, exec: Exec) {
        let mut execs = self.lock();
        if execs.len() >= REMEMBERED {
            execs.retain(|_, exec| exec.running || exec.exit_code.is_none());
        }
        execs.insert(exec.id.clone(), exec);
    }

    pub(crate) fn get(&self, id: &str) -> Result<Exec, Failure> {
        self.lock().get(id).cloned().ok_or_else(|| {
            Failure::new(ErrorKind::NotFound, format!("No such exec instance: {id}"))
        })
    }

    pub(crate) fn update(&self, id: &str, change: impl FnOnce(&mut Exec)) {
        if let Some(exec) = self.lock().get_mut(id) {
            change(exec);
        }
    }

    /// Notes an end; answers the exec if that is news.
    pub(crate) fn ended(&self, id: &str, exit_code: i32) -> Option<Exec> {
        let mut execs = self.lock();
        let exec = execs.get_mut(id).filter(|exec| exec.exit_code.is_none())?;
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
        self.lock().remove(id);
        self.ends.notify_waiters();
    }

    /// With a container end all its execs.
    pub(crate) fn container_ended(&self, container: &str) {
        for exec in
            self.lock().values_mut().filter(|exec| exec.container_id == container && exec.running)
        {
            exec.running = false;
            exec.exit_code.get_or_insert(137);
        }
        self.ends.notify_waiters();
    }

    pub(crate) fn of_container(&self, container: &str) -> Vec<String> {
        let execs = self.lock();
        let own = execs.values().filter(|exec| exec.container_id == container && exec.running);
        own.map(|exec| exec.id.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Exec>> {
        self.execs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
