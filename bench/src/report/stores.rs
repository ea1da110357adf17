//! What Redis did for a request, by its own account.

use crate::failure::Result;
use crate::servers::Servers;

/// Counters of a server, or their means over requests.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct RedisUse {
    pub(super) commands: f64,
    /// Bytes that it read and wrote.
    pub(super) received: f64,
    pub(super) sent: f64,
    /// Bytes of memory for what it holds.
    pub(super) memory: f64,
    /// CPU time in microseconds.
    pub(super) micros: f64,
}

impl RedisUse {
    pub(super) async fn now(servers: &Servers) -> Result<Self> {
        let mut redis = servers.redis().await;
        let text: String = redis::cmd("INFO")
            .arg("everything")
            .query_async(&mut redis)
            .await?;
        Self::parse(&text).ok_or_else(|| "a Redis that does not count".into())
    }

    fn parse(text: &str) -> Option<Self> {
        let of = |name| -> Option<f64> {
            let value = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value?.trim().parse().ok()
        };
        Some(Self {
            commands: of("total_commands_processed")?,
            received: of("total_net_input_bytes")?,
            sent: of("total_net_output_bytes")?,
            memory: of("used_memory_dataset")?,
            micros: (of("used_cpu_user")? + of("used_cpu_sys")?) * 1e6,
        })
    }

    /// What came to be since, for each of so many requests.
    pub(super) fn since(&self, earlier: &Self, requests: usize) -> Self {
        let each = |now: f64, then: f64| (now - then) / requests.max(1) as f64;
        Self {
            commands: each(self.commands, earlier.commands),
            received: each(self.received, earlier.received),
            sent: each(self.sent, earlier.sent),
            memory: each(self.memory, earlier.memory),
            micros: each(self.micros, earlier.micros),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RedisUse;

    #[test]
    fn counters_are_found_and_become_means() {
        let text = |n: u32| {
            format!(
                "# Stats\r\ntotal_commands_processed:{n}\r\ntotal_net_input_bytes:{n}0\r\n\
                 total_net_output_bytes:{n}\r\nused_memory_dataset:{n}\r\nused_memory_dataset_perc:9%\r\n\
                 used_cpu_sys:0.{n}\r\nused_cpu_user:1.0\r\nused_cpu_sys_children:5\r\n"
            )
        };
        let (then, now) = (RedisUse::parse(&text(10)), RedisUse::parse(&text(30)));
        let used = now.unwrap().since(&then.unwrap(), 10);
        assert_eq!((used.commands, used.received, used.memory), (2.0, 20.0, 2.0));
        assert!((used.micros - 20_000.0).abs() < 1.0, "{used:?}");
        assert_eq!(RedisUse::parse("# Stats\r\n"), None);
    }
}
