//! `JSONMessage`: the newline-separated JSON that pull, push, load, import and build answer with.

use serde_json::Value;

wire! {
    /// One message.
    pub struct JsonMessage {
        /// Build output.
        stream: String = "stream" omitempty,
        /// What happens.
        status: String = "status" omitempty,
        /// How far it is. `{}` is written, `null` is not.
        progress_detail: Option<ProgressDetail> = "progressDetail" omitempty,
        /// A bar for old clients.
        progress: String = "progress" omitempty,
        /// Which layer.
        id: String = "id" omitempty,
        /// Gone.
        from: String = "from" omitempty,
        /// Gone.
        time: i64 = "time" omitempty,
        /// Gone.
        time_nano: i64 = "timeNano" omitempty,
        /// Why it failed; the last message then.
        error_detail: Option<JsonError> = "errorDetail" omitempty,
        /// Same as `error_detail.message`.
        error: String = "error" omitempty,
        /// Results for programs: build ids, push digests.
        aux: Option<Value> = "aux" omitempty,
    }

    /// How far something is.
    pub struct ProgressDetail {
        /// Done.
        current: i64 = "current" omitempty,
        /// To do; 0 is unknown.
        total: i64 = "total" omitempty,
        /// Where it started.
        start: i64 = "start" omitempty,
        /// Do not show numbers.
        hide_counts: bool = "hidecounts" omitempty,
        /// Bytes unless named.
        units: String = "units" omitempty,
    }

    /// Why something failed.
    pub struct JsonError {
        /// Exit code of a build step.
        code: i64 = "code" omitempty,
        /// What happened.
        message: String = "message" omitempty,
    }
}

impl JsonMessage {
    /// A message that ends a stream with an error.
    pub fn failure(message: impl Into<String>) -> Self {
        let message = message.into();
        JsonMessage {
            error_detail: Some(JsonError { code: 0, message: message.clone() }),
            error: message,
            ..Default::default()
        }
    }
}
