//! What a server says of itself.

use admission::ports::Cause;
use redis::{Cmd, Pipeline, RedisResult};

/// The answer of `INFO`; empty where this user may not ask.
#[derive(Clone, Debug, Default)]
pub(crate) struct Info(String);

impl Info {
    /// A question about the server's part in replication, by itself. An error is an answer too.
    pub(crate) fn question() -> Pipeline {
        let mut commands = Pipeline::with_capacity(1);
        commands.ignore_errors();
        Self::ask(&mut commands, "replication");
        commands
    }

    /// Adds the question to a pipeline that ignores errors: without the right to ask there is an answer too.
    pub(crate) fn ask(commands: &mut Pipeline, section: &str) {
        let mut info = Cmd::with_capacity(2, "INFO".len() + section.len());
        info.arg("INFO").arg(section);
        commands.add_command(info);
    }

    /// The answer. One that is refused tells nothing.
    pub(crate) fn read(answer: RedisResult<String>) -> Self {
        Self(answer.unwrap_or_default())
    }

    /// Whether the server follows another one. What is written to it is refused, or lost.
    pub(crate) fn is_replica(&self) -> bool {
        self.fact("role") == Some("slave")
    }

    /// The cause where a connection leads to such a server.
    pub(crate) fn not_primary() -> Cause {
        Cause::new("redis: the server is a replica, and REDIS_URL must lead to the primary")
    }

    /// One of its lines.
    pub(crate) fn fact(&self, name: &str) -> Option<&str> {
        self.0
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim)
    }
}

#[cfg(test)]
mod tests {
    use super::Info;

    #[test]
    fn facts_are_found_in_the_answer_of_info() {
        let info = Info("# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\nrole:slave\r\n".to_owned());
        assert_eq!(info.fact("run_id"), Some("abc"));
        assert_eq!(info.fact("run"), None);
        assert!(info.is_replica());
        assert!(!Info::default().is_replica());
    }
}
