//! Points at which a test lets the process die, as `kill -9` would: `FERRY_FAILPOINT=create.record` kills it the first time
//! that it comes there. Only debug builds have them.

/// Dies here if the environment says so.
#[cfg(debug_assertions)]
pub fn hit(name: &str) {
    if std::env::var("FERRY_FAILPOINT").is_ok_and(|wanted| wanted == name) {
        let own = rustix::process::getpid();
        rustix::process::kill_process(own, rustix::process::Signal::KILL).ok();
    }
}

/// Nothing, in release builds.
#[cfg(not(debug_assertions))]
pub fn hit(_name: &str) {}
