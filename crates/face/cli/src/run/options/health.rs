//! `--health-*`.

use ferry_docker_api::HealthConfig;

use crate::framework::Matches;

/// How the daemon is told of `--health-on-failure`, which Docker's API has no field for.
const ON_FAILURE_LABEL: &str = "ferry.health-on-failure";

/// The label for `--health-on-failure`.
pub(super) fn on_failure(matches: &Matches) -> Result<Option<(String, String)>, String> {
    if !matches.is_set("health-on-failure") {
        return Ok(None);
    }
    match matches.text("health-on-failure") {
        action @ ("none" | "restart" | "stop" | "kill") => {
            Ok(Some((ON_FAILURE_LABEL.to_owned(), action.to_owned())))
        }
        other => Err(format!(
            "invalid value \"{other}\" for --health-on-failure: must be none, restart, stop or kill"
        )),
    }
}

/// Reads the health flags; errors in docker's words.
pub(super) fn healthcheck(matches: &Matches) -> Result<Option<HealthConfig>, String> {
    let command = matches.text("health-cmd");
    let check = HealthConfig {
        test: match command {
            "" => Vec::new(),
            command => vec!["CMD-SHELL".to_owned(), command.to_owned()],
        },
        interval: matches.nanoseconds("health-interval"),
        timeout: matches.nanoseconds("health-timeout"),
        start_period: matches.nanoseconds("health-start-period"),
        start_interval: matches.nanoseconds("health-start-interval"),
        retries: matches.int("health-retries"),
    };
    let any = check != HealthConfig::default();
    if matches.flag("no-healthcheck") {
        if any {
            return Err("--no-healthcheck conflicts with --health-* options".to_owned());
        }
        return Ok(Some(HealthConfig { test: vec!["NONE".to_owned()], ..Default::default() }));
    }
    for (value, name) in [
        (check.interval, "interval"),
        (check.timeout, "timeout"),
        (check.retries, "retries"),
        (check.start_period, "start-period"),
        (check.start_interval, "start-interval"),
    ] {
        if value < 0 {
            return Err(format!("--health-{name} cannot be negative"));
        }
    }
    Ok(any.then_some(check))
}
