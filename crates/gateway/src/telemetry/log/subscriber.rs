//! Events of `tracing` as log lines.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use config::LogLevel;
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::subscriber::SetGlobalDefaultError;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use super::request::clip;
use super::sink::LineSink;

/// Most bytes of one text.
const MAX_TEXT: usize = 2048;

/// Most bytes of all fields together.
const MAX_FIELDS: usize = 8192;

/// Libraries whose events below a warning are about themselves.
const QUIET: [&str; 10] = [
    "h2",
    "hickory_net",
    "hickory_proto",
    "hickory_resolver",
    "hyper",
    "hyper_util",
    "redis",
    "rustls",
    "tokio_postgres",
    "tokio_util",
];

/// Names that every line carries; a field of the same name gets a `_` behind it.
const TAKEN: [&str; 9] = [
    "env", "hostname", "level", "msg", "pid", "service", "target", "time", "version",
];

/// Sends the events of the whole process to the sink.
///
/// # Errors
/// There is a subscriber already.
pub fn install(sink: Arc<LineSink>, least: LogLevel) -> Result<(), SetGlobalDefaultError> {
    tracing::subscriber::set_global_default(subscriber(sink, least))
}

/// A subscriber that writes events from `least` on to the sink.
pub fn subscriber(sink: Arc<LineSink>, least: LogLevel) -> impl Subscriber + Send + Sync {
    let level = match least {
        LogLevel::Trace => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    let quiet = QUIET
        .into_iter()
        .map(|target| (target, level.min(LevelFilter::WARN)));
    let filter = Targets::new().with_default(level).with_targets(quiet);
    tracing_subscriber::registry().with(Lines(sink).with_filter(filter))
}

struct Lines(Arc<LineSink>);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let level = match *metadata.level() {
            Level::TRACE => LogLevel::Trace,
            Level::DEBUG => LogLevel::Debug,
            Level::INFO => LogLevel::Info,
            Level::WARN => LogLevel::Warn,
            Level::ERROR => LogLevel::Error,
        };
        // Formatting a field runs its own code, so it is done before the sink is touched.
        let mut fields = Fields::default();
        fields.member("target", metadata.target());
        event.record(&mut fields);
        self.0.event(level, &fields.message, &fields.json);
    }
}

/// The message of an event, and its fields as JSON text that begins with a comma.
#[derive(Default)]
struct Fields {
    message: String,
    json: Vec<u8>,
}

impl Fields {
    fn text(&mut self, field: &Field, text: &str) {
        let text = clip(text, MAX_TEXT);
        match field.name() {
            "message" => self.message.push_str(text),
            _ => self.field(field, text),
        }
    }

    fn field<T: Serialize + ?Sized>(&mut self, field: &Field, value: &T) {
        match field.name() {
            taken if TAKEN.contains(&taken) => self.member(&format!("{taken}_"), value),
            name => self.member(name, value),
        }
    }

    fn member<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        let start = self.json.len();
        self.json.push(b',');
        let written = serde_json::to_writer(&mut self.json, name).and_then(|()| {
            self.json.push(b':');
            serde_json::to_writer(&mut self.json, value)
        });
        if written.is_err() || self.json.len() > MAX_FIELDS {
            self.json.truncate(start);
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.field(field, &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field, &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            // Writing to a `String` cannot fail.
            let _ = write!(text, ": {cause}");
            source = cause.source();
        }
        self.text(field, &text);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }
}
