//! Which process logs and counts.

/// The name of this service in logs.
pub const SERVICE: &str = "caracal-gateway";

/// The process that logs and counts.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The machine's name.
    pub hostname: String,
    /// The process id.
    pub pid: u32,
    /// The version of the gateway.
    pub version: &'static str,
    /// The mode, as `CARACAL_ENV` spells it.
    pub mode: &'static str,
}

impl About {
    /// This process, running in a mode.
    #[must_use]
    pub fn this_process(mode: admission::mode::Mode) -> Self {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
            .or_else(|_| std::fs::read_to_string("/etc/hostname"))
            .unwrap_or_default();
        let name = name.trim();
        Self {
            hostname: if name.is_empty() { "unknown" } else { name }.to_owned(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION"),
            mode: mode.name(),
        }
    }
}
