//! A child process whose output is read as it comes and that does not outlive its owner.

use crate::wait::until;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// How long a process that was told to end is waited for.
const END_TIMEOUT: Timespec = Timespec {
    tv_sec: 2,
    tv_nsec: 0,
};

/// Lines that a process has printed so far; shared with the thread that reads them.
#[derive(Clone, Default)]
struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    /// Nobody reads at present: the pipe fills up.
    paused: Arc<AtomicBool>,
}

impl Lines {
    fn collect(&self, output: impl Read + Send + 'static) -> JoinHandle<()> {
        let lines = self.clone();
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            while output.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line)
                    .trim_end_matches(['\n', '\r'])
                    .to_owned();
                lines.lines.lock().expect("the lines").push(text);
                line.clear();
                while lines.paused.load(Ordering::Acquire) {
                    std::thread::park();
                }
            }
        })
    }

    /// All but the first lines.
    fn after(&self, first: usize) -> Vec<String> {
        self.lines.lock().expect("the lines")[first..].to_vec()
    }
}

/// A running child; killed when dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
    status: Option<ExitStatus>,
    stdout: Lines,
    stderr: Lines,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts `command` in `directory`. `scripts/test` ends what works below its temporary directory, so a child of
    /// a test that was killed does not stay behind.
    pub(crate) fn start(command: Command, directory: &Path) -> Self {
        Self::start_with(command, directory, Stdio::null())
    }

    /// The same, which reads this.
    pub(crate) fn start_with(mut command: Command, directory: &Path, input: Stdio) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .current_dir(directory)
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let (stdout, stderr) = (Lines::default(), Lines::default());
        let readers = vec![
            stdout.collect(child.stdout.take().expect("a piped stdout")),
            stderr.collect(child.stderr.take().expect("a piped stderr")),
        ];
        Self {
            name,
            child,
            status: None,
            stdout,
            stderr,
            readers,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stdout(&self) -> Vec<String> {
        self.stdout.after(0)
    }

    pub(crate) fn stderr(&self) -> Vec<String> {
        self.stderr_after(0)
    }

    pub(crate) fn stderr_after(&self, first: usize) -> Vec<String> {
        self.stderr.after(first)
    }

    /// Reads no more than the next line of each output until it has ended.
    pub(crate) fn stop_reading(&self) {
        for lines in [&self.stdout, &self.stderr] {
            lines.paused.store(true, Ordering::Release);
        }
    }

    fn read_on(&self) {
        for lines in [&self.stdout, &self.stderr] {
            lines.paused.store(false, Ordering::Release);
        }
        for reader in &self.readers {
            reader.thread().unpark();
        }
    }

    /// Both outputs, for the message of a failure.
    pub(crate) fn output(&self) -> String {
        [self.stdout(), self.stderr()].concat().join("\n")
    }

    /// How it ended, if it has. A status is handed out only when everything it printed has been read.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("the state of a child");
        }
        if self.status.is_some() {
            self.read_on();
        }
        if self.readers.iter().all(JoinHandle::is_finished) {
            self.status
        } else {
            None
        }
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.child.try_wait().expect("the state of a child").is_none() {
            let pid = Pid::from_child(&self.child);
            kill_process(pid, signal).unwrap_or_else(|error| panic!("{signal:?} to {}: {error}", self.name));
        }
    }

    /// Sends `signal` and waits for its end, without a runtime: for a drop, so that a server tidies up its own children.
    pub(crate) fn end_with(&mut self, signal: Signal) {
        self.signal(signal);
        if let Ok(None) = self.child.try_wait()
            && let Ok(process) = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty())
        {
            // What does not end in time is killed when it is dropped.
            let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&END_TIMEOUT));
        }
    }

    pub(crate) async fn wait(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        until(&what, async || self.ended()).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Also ends a stopped one. An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.read_on();
    }
}
