//! The form of a log line.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use backends::component::milliseconds;
use config::LogLevel;
use serde::Serialize;
use tracing::Level;

use super::request::RequestLine;
use super::writer::LineWriter;
use crate::telemetry::about::{About, SERVICE};

/// Makes the log lines of one gateway.
pub struct LineSink {
    /// The members that every line carries after its message, as JSON text that begins with a comma.
    common: Vec<u8>,
    /// `LOG_LEVEL` lets request lines through.
    requests: bool,
    now: fn() -> Duration,
    writer: LineWriter,
}

#[derive(Serialize)]
struct Common<'a> {
    service: &'a str,
    hostname: &'a str,
    pid: u32,
    version: &'a str,
    env: &'a str,
}

impl LineSink {
    /// A sink in front of standard error, stamped by the machine's clock.
    ///
    /// # Errors
    /// The system's: the thread that writes cannot be had.
    pub fn stderr(about: &About, least: LogLevel) -> io::Result<Arc<Self>> {
        let writer = LineWriter::stderr()?;
        Ok(Self::new(about, least, crate::clock::unix, writer))
    }

    /// A sink in front of any writer. `now` is the time since the Unix epoch.
    #[must_use]
    pub fn new(about: &About, least: LogLevel, now: fn() -> Duration, writer: LineWriter) -> Arc<Self> {
        let mut common = Vec::new();
        let members = Common {
            service: SERVICE,
            hostname: &about.hostname,
            pid: about.pid,
            version: about.version,
            env: about.mode,
        };
        // Strings and a number always have a JSON form.
        let _ = append_members(&mut common, &members);
        Arc::new(Self {
            common,
            requests: least <= LogLevel::Info,
            now,
            writer,
        })
    }

    /// Takes the line of one request, unless `LOG_LEVEL` is above `info`.
    pub fn request(&self, line: &RequestLine<'_>) {
        if self.requests {
            self.take(Level::INFO, "request", |buffer| append_members(buffer, line));
        }
    }

    /// Takes the line of an event: its message, and its fields as JSON text that begins with a comma.
    pub(super) fn event(&self, level: Level, message: &str, fields: &[u8]) {
        self.take(level, message, |buffer| {
            buffer.extend_from_slice(fields);
            Ok(())
        });
    }

    /// Lines that were dropped so far, because the buffer was full or the output failed.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.writer.dropped()
    }

    fn take(
        &self,
        level: Level,
        message: &str,
        members: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<()>,
    ) {
        self.writer.take(level <= Level::WARN, |buffer, untold| {
            if let Some(lines) = untold {
                self.append(buffer, Level::WARN, "log lines were dropped", |buffer| {
                    write!(buffer, ",\"lines\":{lines}").map_err(serde_json::Error::io)
                })?;
            }
            self.append(buffer, level, message, members)
        });
    }

    fn append(
        &self,
        buffer: &mut Vec<u8>,
        level: Level,
        message: &str,
        members: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<()>,
    ) -> serde_json::Result<()> {
        buffer.extend_from_slice(b"{\"time\":");
        serde_json::to_writer(&mut *buffer, &milliseconds((self.now)()))?;
        buffer.extend_from_slice(b",\"level\":\"");
        buffer.extend(level.as_str().bytes().map(|byte| byte.to_ascii_lowercase()));
        buffer.extend_from_slice(b"\",\"msg\":");
        serde_json::to_writer(&mut *buffer, message)?;
        buffer.extend_from_slice(&self.common);
        members(buffer)?;
        buffer.extend_from_slice(b"}\n");
        Ok(())
    }
}

/// Appends the members of an object that has at least one as JSON text, each after a comma.
fn append_members(buffer: &mut Vec<u8>, object: &impl Serialize) -> serde_json::Result<()> {
    let start = buffer.len();
    serde_json::to_writer(&mut *buffer, object)?;
    if let Some(brace) = buffer.get_mut(start) {
        *brace = b',';
    }
    buffer.pop();
    Ok(())
}
