//! Panics as log lines.

use std::panic::PanicHookInfo;
use std::sync::Arc;

use config::LogLevel;

use super::sink::LineSink;

/// Lets every panic of the process be one log line: where it happened, and in which thread.
///
/// Not its message: that of a failed slice or conversion repeats the text it failed on.
pub fn report_panics(sink: Arc<LineSink>) {
    std::panic::set_hook(Box::new(move |info| report(&sink, info)));
}

fn report(sink: &LineSink, info: &PanicHookInfo<'_>) {
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let current = std::thread::current();
    let thread = current.name().unwrap_or("unnamed");
    // Both are names of source files and threads: strings that always have a JSON form.
    let text = |value: &str| serde_json::to_string(value).unwrap_or_default();
    let fields = format!(",\"location\":{},\"thread\":{}", text(&location), text(thread));
    sink.event(LogLevel::Error, "panic", fields.as_bytes());
    sink.flush();
}
