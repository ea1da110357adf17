//! Where the CPU time goes: `perf`, when it is asked for.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::failure::Result;

/// Symbols with a smaller share, in percent, are not listed.
const MIN_SHARE: &str = "0.7";

/// A running `perf record`.
pub(crate) struct Profiler {
    perf: Child,
    file: PathBuf,
}

impl Profiler {
    /// Samples a process until it is finished.
    pub(crate) fn start(process: u32, file: &Path) -> Result<Self> {
        let perf = Command::new("perf")
            .args([
                "record",
                "--quiet",
                "--freq",
                "1999",
                "--pid",
                &process.to_string(),
                "--output",
            ])
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("perf: {error}"))?;
        let file = file.to_owned();
        Ok(Self { perf, file })
    }

    /// Stops it, and gives the objects and the symbols that took the most time.
    pub(crate) fn finish(mut self) -> Result<String> {
        kill_process(Pid::from_child(&self.perf), Signal::INT)?;
        self.perf.wait()?;
        let by_object = self.ranking("overhead,dso")?;
        let by_symbol = self.ranking("overhead,symbol")?;
        Ok(format!("{by_object}\n\n{by_symbol}"))
    }

    fn ranking(&self, fields: &str) -> Result<String> {
        let report = Command::new("perf")
            .args(["report", "--stdio", "--no-children", "--fields", fields])
            .args(["--percent-limit", MIN_SHARE, "--input"])
            .arg(&self.file)
            .stderr(Stdio::null())
            .output()?;
        let text = String::from_utf8_lossy(&report.stdout);
        let lines = text.lines().map(str::trim_end);
        let lines: Vec<_> = lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect();
        Ok(lines.join("\n"))
    }
}
