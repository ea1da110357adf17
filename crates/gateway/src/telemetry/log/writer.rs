//! Lines on their way out: taken without waiting, written in batches by a thread that may block.

use std::io::{self, Write};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

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

/// The one that writes to standard error: it belongs to the process, however many gateways a command runs.
static STDERR: OnceLock<LineWriter> = OnceLock::new();

/// Takes whole lines for an output. Its thread lives as long as the process.
#[derive(Clone)]
pub struct LineWriter(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// There is something to write.
    taken: Condvar,
    /// A batch has been written.
    written: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// What waits should be written at once.
    urgent: bool,
    /// Bytes ever taken, and those of them that are written or given up.
    taken: u64,
    written: u64,
    /// Lines for which there was no room, and those of them that the log has told of.
    overflowed: u64,
    told: u64,
    /// Lines that the output refused.
    unwritten: u64,
}

impl LineWriter {
    /// A writer with a thread of its own.
    ///
    /// # Errors
    /// The system's: no thread can be had.
    pub fn start(output: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let writing = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writing.write_to(output))?;
        Ok(Self(shared))
    }

    /// The one that writes to standard error.
    pub(super) fn stderr() -> io::Result<Self> {
        if let Some(running) = STDERR.get() {
            return Ok(running.clone());
        }
        let started = Self::start(io::stderr())?;
        Ok(STDERR.get_or_init(|| started).clone())
    }

    /// Takes what `write` appends: one line, after a report when told of how many lines found no room since the last.
    /// An `urgent` line does not wait for others.
    pub(super) fn take(
        &self,
        urgent: bool,
        write: impl FnOnce(&mut Vec<u8>, Option<u64>) -> serde_json::Result<()>,
    ) {
        let mut state = self.0.state.lock();
        let start = state.waiting.len();
        let untold = Some(state.overflowed - state.told).filter(|lines| *lines > 0);
        let fits = start + MAX_LINE <= MAX_BUFFERED
            && write(&mut state.waiting, untold).is_ok()
            && state.waiting.len() - start <= MAX_LINE;
        if !fits {
            state.waiting.truncate(start);
            state.overflowed += 1;
            return;
        }
        let end = state.waiting.len();
        state.told = state.overflowed;
        state.taken += (end - start) as u64;
        let urgent = urgent || (start < BATCH && end >= BATCH);
        state.urgent |= urgent;
        drop(state);
        if urgent || start == 0 {
            self.0.taken.notify_one();
        }
    }

    /// Lines that were dropped so far, because the buffer was full or the output failed.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let state = self.0.state.lock();
        state.overflowed + state.unwritten
    }

    /// Has everything written that was taken, and waits for it; `false` when that takes longer than `within`.
    #[must_use]
    pub fn flush(&self, within: Duration) -> bool {
        let mut state = self.0.state.lock();
        state.urgent = true;
        self.0.taken.notify_one();
        let until = state.taken;
        let waited = self
            .0
            .written
            .wait_while_for(&mut state, |state| state.written < until, within);
        !waited.timed_out()
    }
}

/// [`LineWriter::flush`] of standard error.
#[must_use]
pub fn flush(within: Duration) -> bool {
    STDERR.get().is_none_or(|writer| writer.flush(within))
}

impl Shared {
    fn write_to(&self, mut output: impl Write) {
        let mut batch = Vec::new();
        let mut state = self.state.lock();
        loop {
            self.taken
                .wait_while(&mut state, |state| state.waiting.is_empty());
            self.taken
                .wait_while_for(&mut state, |state| !state.urgent, BATCH_WAIT);
            state.urgent = false;
            std::mem::swap(&mut state.waiting, &mut batch);
            let written = MutexGuard::unlocked(&mut state, || {
                output.write_all(&batch).and_then(|()| output.flush())
            });
            if written.is_err() {
                // Where the log itself fails, a counter is all that is left to tell.
                state.unwritten += batch.iter().filter(|byte| **byte == b'\n').count() as u64;
            }
            state.written += batch.len() as u64;
            self.written.notify_all();
            batch.clear();
            batch.shrink_to(KEPT_CAPACITY);
        }
    }
}
