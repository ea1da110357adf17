//! The one place where log lines come together.

use std::future::Future;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use config::LogLevel;
use serde::Serialize;
use tokio::sync::Notify;

use super::request::RequestLine;
use crate::telemetry::{About, SERVICE};

/// Most bytes that wait to be written. What comes on top is dropped and counted.
const MAX_BUFFERED: usize = 4 * 1024 * 1024;

/// Room that must be left for a line to be taken. No line is longer.
const MAX_LINE: usize = 32 * 1024;

/// As many bytes are written at once, without waiting for more.
const BATCH: usize = 32 * 1024;

/// How long an ordinary line may wait for company.
const BATCH_WAIT: Duration = Duration::from_millis(50);

/// Capacity that an empty buffer keeps.
const KEPT_CAPACITY: usize = 256 * 1024;

/// Takes log lines and writes them in batches.
///
/// While [`LineSink::run`] is running, taking a line is appending to memory, and the writing happens on a thread
/// that may block: a reader of the log that stands still costs lines, never requests. Before and after that, lines
/// are written as they come.
pub struct LineSink {
    /// The members that every line carries after its message, as JSON text that begins with a comma.
    common: Vec<u8>,
    least: LogLevel,
    now: fn() -> Duration,
    waiting: Mutex<Vec<u8>>,
    out: Mutex<Out>,
    /// Lines for which there was no room.
    overflowed: AtomicU64,
    /// Lines that the writer refused.
    unwritten: AtomicU64,
    /// Whether `run` is running.
    attended: AtomicBool,
    /// A line came into the empty buffer.
    begun: Notify,
    /// What waits should be written at once.
    urgent: Notify,
}

struct Out {
    writer: Box<dyn Write + Send>,
    /// The buffer that is not `waiting`.
    spare: Vec<u8>,
    /// Lines without room that the log has told of.
    reported: u64,
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
    #[must_use]
    pub fn stderr(about: &About, least: LogLevel) -> Arc<Self> {
        Self::new(about, least, crate::clock::unix, Box::new(std::io::stderr()))
    }

    /// A sink in front of any writer. `now` is the time since the Unix epoch.
    #[must_use]
    pub fn new(
        about: &About,
        least: LogLevel,
        now: fn() -> Duration,
        writer: Box<dyn Write + Send>,
    ) -> Arc<Self> {
        let common = Common {
            service: SERVICE,
            hostname: &about.hostname,
            pid: about.pid,
            version: about.version,
            env: about.mode,
        };
        Arc::new(Self {
            // Strings and a number always have a JSON form.
            common: members(&common).unwrap_or_default(),
            least,
            now,
            waiting: Mutex::default(),
            out: Mutex::new(Out {
                writer,
                spare: Vec::new(),
                reported: 0,
            }),
            overflowed: AtomicU64::new(0),
            unwritten: AtomicU64::new(0),
            attended: AtomicBool::new(false),
            begun: Notify::new(),
            urgent: Notify::new(),
        })
    }

    /// Takes the line of one request, unless `LOG_LEVEL` is above `info`.
    pub fn request(&self, line: &RequestLine<'_>) {
        if self.least <= LogLevel::Info {
            self.append(LogLevel::Info, "request", |buffer| append_members(buffer, line));
        }
    }

    /// Takes the line of an event: its message, and its fields as JSON text that begins with a comma.
    pub(super) fn event(&self, level: LogLevel, message: &str, fields: &[u8]) {
        self.append(level, message, |buffer| {
            buffer.extend_from_slice(fields);
            Ok(())
        });
    }

    /// Lines that were dropped so far, because the buffer was full or the writer failed.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed) + self.unwritten.load(Ordering::Relaxed)
    }

    /// Writes everything that waits, and waits for the writer.
    pub fn flush(&self) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = std::mem::take(&mut out.spare);
        std::mem::swap(&mut *self.waiting(), &mut batch);
        let overflowed = self.overflowed.load(Ordering::Relaxed);
        if overflowed > out.reported {
            self.report(&mut batch, overflowed - out.reported);
            out.reported = overflowed;
        }
        if !batch.is_empty()
            && out
                .writer
                .write_all(&batch)
                .and_then(|()| out.writer.flush())
                .is_err()
        {
            // Where the log itself fails, a counter is all that is left to tell.
            let lines = batch.iter().filter(|byte| **byte == b'\n').count();
            self.unwritten.fetch_add(lines as u64, Ordering::Relaxed);
        }
        batch.clear();
        batch.shrink_to(KEPT_CAPACITY);
        out.spare = batch;
    }

    /// Says at the end of a batch how many lines found no room.
    fn report(&self, batch: &mut Vec<u8>, lines: u64) {
        let end = batch.len();
        let message = "log lines were dropped";
        let appended = self.append_line(batch, LogLevel::Warn, message, |batch| {
            batch.extend_from_slice(b",\"lines\":");
            serde_json::to_writer(batch, &lines)
        });
        if appended.is_err() {
            batch.truncate(end);
        }
    }

    /// Writes batches until `stop` completes, then everything that is left.
    pub async fn run(self: Arc<Self>, stop: impl Future<Output = ()>) {
        let attendance = Attendance::begin(&self);
        let mut stop = std::pin::pin!(stop);
        let mut stopping = false;
        while !stopping {
            tokio::select! {
                () = &mut stop => stopping = true,
                () = self.begun.notified() => tokio::select! {
                    () = &mut stop => stopping = true,
                    () = self.urgent.notified() => {}
                    () = tokio::time::sleep(BATCH_WAIT) => {}
                },
            }
            self.flush_aside().await;
        }
        // From here on lines are written as they come; what came before that is still here.
        drop(attendance);
        self.flush_aside().await;
    }

    /// Writes on a thread that may block.
    async fn flush_aside(self: &Arc<Self>) {
        let sink = Arc::clone(self);
        // It fails only when the runtime is being torn down; then the last flush of the process writes.
        let _ = tokio::task::spawn_blocking(move || sink.flush()).await;
    }

    fn append(
        &self,
        level: LogLevel,
        message: &str,
        members: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<()>,
    ) {
        let mut waiting = self.waiting();
        let start = waiting.len();
        if start + MAX_LINE > MAX_BUFFERED {
            drop(waiting);
            return self.overflow();
        }
        let appended = self.append_line(&mut waiting, level, message, members);
        let end = waiting.len();
        if appended.is_err() || end - start > MAX_LINE {
            waiting.truncate(start);
            drop(waiting);
            return self.overflow();
        }
        drop(waiting);
        if !self.attended.load(Ordering::Acquire) {
            return self.flush();
        }
        if start == 0 {
            self.begun.notify_one();
        }
        if level >= LogLevel::Warn || (start < BATCH && end >= BATCH) {
            self.urgent.notify_one();
        }
    }

    fn append_line(
        &self,
        buffer: &mut Vec<u8>,
        level: LogLevel,
        message: &str,
        members: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<()>,
    ) -> serde_json::Result<()> {
        buffer.extend_from_slice(b"{\"time\":");
        serde_json::to_writer(&mut *buffer, &((self.now)().as_millis() as u64))?;
        buffer.extend_from_slice(b",\"level\":\"");
        buffer.extend_from_slice(level_name(level).as_bytes());
        buffer.extend_from_slice(b"\",\"msg\":");
        serde_json::to_writer(&mut *buffer, message)?;
        buffer.extend_from_slice(&self.common);
        members(buffer)?;
        buffer.extend_from_slice(b"}\n");
        Ok(())
    }

    fn overflow(&self) {
        self.overflowed.fetch_add(1, Ordering::Relaxed);
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<u8>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As long as this lives, somebody writes what is taken.
struct Attendance<'a>(&'a LineSink);

impl<'a> Attendance<'a> {
    fn begin(sink: &'a LineSink) -> Self {
        sink.attended.store(true, Ordering::Release);
        Self(sink)
    }
}

impl Drop for Attendance<'_> {
    fn drop(&mut self) {
        self.0.attended.store(false, Ordering::Release);
    }
}

/// The members of an object as JSON text, each after a comma.
fn members(object: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut text = Vec::new();
    append_members(&mut text, object)?;
    Ok(text)
}

/// Appends the members of an object that has at least one, each after a comma.
fn append_members(buffer: &mut Vec<u8>, object: &impl Serialize) -> serde_json::Result<()> {
    let start = buffer.len();
    serde_json::to_writer(&mut *buffer, object)?;
    if let Some(brace) = buffer.get_mut(start) {
        *brace = b',';
    }
    buffer.pop();
    Ok(())
}

fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    }
}
