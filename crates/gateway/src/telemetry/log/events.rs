//! Events of `tracing`, and panics, as log lines.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use config::LogLevel;
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::subscriber::SetGlobalDefaultError;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use super::request::clip;
use super::sink::LineSink;
use super::writer::flush;

/// Most bytes of one text.
const MAX_TEXT: usize = 2048;

/// Most bytes of all fields together.
const MAX_FIELDS: usize = 8192;

/// How long the end of the main thread by a panic may wait for its line to be written.
const PANIC_FLUSH_TIMEOUT: Duration = Duration::from_millis(100);

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

/// Lets every panic of the process be one event: where it happened, and in which thread.
///
/// Not its message: that of a failed slice or conversion repeats the text it failed on.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|info| {
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        let current = std::thread::current();
        let thread = current.name().unwrap_or("unnamed");
        tracing::error!(location, thread, "panic");
        if thread == "main" {
            // The process ends with this thread; any other goes on, and does not wait for a reader of the log.
            let _ = flush(PANIC_FLUSH_TIMEOUT);
        }
    }));
}

struct Lines(Arc<LineSink>);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        // Formatting a field runs its own code, so it is done before the sink is touched.
        let mut fields = Fields::default();
        fields.member("target", metadata.target());
        event.record(&mut fields);
        self.0.event(*metadata.level(), &fields.message, &fields.json);
    }
}

/// The message of an event, and its fields as JSON text that begins with a comma.
#[derive(Default)]
struct Fields {
    message: String,
    json: Vec<u8>,
}

impl Fields {
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
        let text = clip(value, MAX_TEXT);
        match field.name() {
            "message" => self.message.push_str(text),
            _ => self.field(field, text),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
