//! Resident memory of a process.

use std::fmt;

use crate::failure::{Result, read};

/// What a process holds in RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resident {
    /// All of it (`VmRSS`), in KiB.
    pub(crate) all: u64,
    /// Without the pages of the program file (`RssAnon`), in KiB.
    pub(crate) anonymous: u64,
}

impl Resident {
    /// Reads it.
    pub(crate) fn of(process: u32) -> Result<Self> {
        Self::parse(&read(format!("/proc/{process}/status"))?)
            .ok_or_else(|| "a process status without memory".into())
    }

    fn parse(status: &str) -> Option<Self> {
        Some(Self {
            all: field(status, "VmRSS:")?,
            anonymous: field(status, "RssAnon:")?,
        })
    }
}

/// The most that a process held since it was asked to forget it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peak(u32);

impl Peak {
    /// Forgets what it held until now.
    pub(crate) fn from_now_on(process: u32) -> Result<Self> {
        std::fs::write(format!("/proc/{process}/clear_refs"), "5")?;
        Ok(Self(process))
    }

    /// In KiB (`VmHWM`).
    pub(crate) fn kib(self) -> Result<u64> {
        let status = read(format!("/proc/{}/status", self.0))?;
        field(&status, "VmHWM:").ok_or_else(|| "a process status without memory".into())
    }
}

fn field(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix(" kB")?.parse().ok()
}

impl fmt::Display for Resident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |kib: u64| kib as f64 / 1024.0;
        write!(f, "{:.1} ({:.1})", mib(self.all), mib(self.anonymous))
    }
}

#[cfg(test)]
mod tests {
    use super::Resident;

    #[test]
    fn status_gives_resident_and_anonymous_memory() {
        let status =
            "Name:\tx\nVmHWM:\t   9999 kB\nVmRSS:\t   20480 kB\nRssAnon:\t    5120 kB\nRssFile:\t 1 kB\n";
        let resident = Resident::parse(status).unwrap();
        assert_eq!(resident.to_string(), "20.0 (5.0)");
        assert_eq!(Resident::parse("Name:\tkthread\n"), None);
    }
}
