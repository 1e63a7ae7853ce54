//! Probes as a health check. A container has one here: that of liveness, else that of readiness.

use serde_json::{Value, json};

use crate::reader::Reader;

/// A probe that runs a program.
struct Probe {
    command: Vec<String>,
    period: i64,
    timeout: i64,
    delay: i64,
    retries: i64,
}

/// The health check of a container, and whether it is started again when that fails.
pub(crate) fn health(reader: &mut Reader<'_>) -> Result<(Option<Value>, bool), String> {
    let start = probe(reader, "startupProbe")?;
    let alive = probe(reader, "livenessProbe")?;
    let ready = probe(reader, "readinessProbe")?;
    let is_alive = alive.is_some();
    if let (Some(alive), Some(ready)) = (&alive, &ready)
        && alive.command != ready.command
    {
        reader
            .tell("readinessProbe", "is not asked: a container has one probe here, livenessProbe");
    }
    let Some(probe) = alive.or(ready) else {
        if start.is_some() {
            reader.tell("startupProbe", "is not asked: nobody here waits for it");
        }
        return Ok((None, false));
    };
    let test: Vec<String> = ["CMD".to_owned()].into_iter().chain(probe.command).collect();
    let mut check = json!({
        "Test": test,
        "Interval": probe.period,
        "Timeout": probe.timeout,
        "StartPeriod": probe.delay,
        "Retries": probe.retries,
    });
    if let Some(start) = start {
        // Failures count for nothing for as long as the first probe would be asked.
        let period = start.period.saturating_mul(start.retries).saturating_add(start.delay);
        check["StartPeriod"] = json!(period.max(probe.delay));
        check["StartInterval"] = json!(start.period);
    }
    Ok((Some(check), is_alive))
}

fn probe(reader: &mut Reader<'_>, kind: &str) -> Result<Option<Probe>, String> {
    let mut probe = reader.inside(kind)?;
    let command = probe.inside("exec")?.texts("command")?;
    let mut seconds = |key: &str, default: i64| {
        Ok::<i64, String>(probe.number(key)?.unwrap_or(default).saturating_mul(1_000_000_000))
    };
    let (period, timeout) = (seconds("periodSeconds", 10)?, seconds("timeoutSeconds", 1)?);
    let delay = seconds("initialDelaySeconds", 0)?;
    let retries = probe.number("failureThreshold")?.unwrap_or(3);
    probe.take("successThreshold");
    for other in ["httpGet", "tcpSocket", "grpc"] {
        probe.notice(other, "is not asked: only programs in the container are");
    }
    probe.finish()?;
    Ok((!command.is_empty()).then_some(Probe { command, period, timeout, delay, retries }))
}
