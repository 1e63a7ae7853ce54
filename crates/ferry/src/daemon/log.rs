//! The daemon's own log on standard error: for people, or with `--log-format json` for programs, in the fields of dockerd's.

use std::{fmt, io::IsTerminal};

use ferry_stdx::time::Timestamp;
use serde_json::{Map, Value};
use tracing::{Event, Level, Subscriber, field::Field, field::Visit};
use tracing_subscriber::{
    EnvFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use super::settings::Settings;

/// Which lines are logged.
pub(super) fn filter(settings: &Settings) -> EnvFilter {
    let level = if settings.switch("debug") {
        "debug"
    } else {
        settings.one("log-level").unwrap_or("info")
    };
    let level = if level == "fatal" { "error" } else { level };
    EnvFilter::try_from_env("FERRY_LOG").unwrap_or_else(|_| {
        // HTTP/2's frames are of no interest to whoever looks for what the daemon does.
        EnvFilter::new(format!("{level},h2=info,hyper=info,hyper_util=info"))
    })
}

/// Logs to standard error. The answer changes which lines.
pub(super) fn to_stderr(settings: &Settings) -> Box<dyn Fn(EnvFilter) -> bool> {
    // The two have different types, down to the handle.
    if settings.one("log-format") == Some("json") {
        let builder = tracing_subscriber::fmt()
            .event_format(Json)
            .with_env_filter(filter(settings))
            .with_writer(std::io::stderr)
            .with_filter_reloading();
        let handle = builder.reload_handle();
        builder.init();
        return Box::new(move |filter| handle.reload(filter).is_ok());
    }
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(settings))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && !settings.switch("raw-logs"))
        .with_target(false)
        .with_filter_reloading();
    let handle = builder.reload_handle();
    builder.init();
    Box::new(move |filter| handle.reload(filter).is_ok())
}

/// A line is an object: `level`, `msg`, `time`, and what the event tells beside.
struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        fields.0.insert("level".to_owned(), level.into());
        fields.0.insert(
            "time".to_owned(),
            Timestamp::from_system(std::time::SystemTime::now()).format_rfc3339_nano().into(),
        );
        writeln!(writer, "{}", Value::Object(fields.0))
    }
}

struct Fields(Map<String, Value>);

impl Fields {
    fn keep(&mut self, field: &Field, value: Value) {
        // Docker's word for the text.
        let name = if field.name() == "message" { "msg" } else { field.name() };
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.keep(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keep(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keep(field, value.into());
    }
}
