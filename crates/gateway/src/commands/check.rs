//! `check`: the production checklist and every violation, without starting.

use std::time::SystemTime;

use config::{Config, Env, Status, Violations};

use super::shared::{UNEXPECTED, complain, print};
use crate::process::{CONFIG, OK};

/// Prints the checklist to standard output and the violations to standard error.
pub(super) fn run(env: &dyn Env, now: SystemTime) -> i32 {
    let judged = Judged::of(env, now);
    if print(&judged.checklist).is_err() {
        return UNEXPECTED;
    }
    if let Some(violations) = &judged.violations {
        complain(violations);
    }
    judged.code()
}

/// What there is to say about an environment.
struct Judged {
    /// One line each.
    checklist: String,
    failed: bool,
    violations: Option<Violations>,
}

impl Judged {
    fn of(env: &dyn Env, now: SystemTime) -> Self {
        let lines = config::checklist(env, now);
        Self {
            checklist: lines.iter().map(|line| format!("{line}\n")).collect(),
            failed: lines
                .iter()
                .any(|line| matches!(line.status, Status::Fail { .. })),
            violations: Config::load(env, now).err(),
        }
    }

    fn code(&self) -> i32 {
        if self.failed || self.violations.is_some() {
            CONFIG
        } else {
            OK
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use config::MapEnv;

    use super::*;

    #[test]
    fn an_empty_environment_fails_and_says_what_is_missing() {
        let judged = Judged::of(&MapEnv::new(), UNIX_EPOCH);
        assert_eq!(judged.code(), CONFIG);
        let known = |line: &str| {
            ["pass ", "fail ", "manual "]
                .iter()
                .any(|word| line.starts_with(word))
        };
        assert!(judged.checklist.lines().all(known), "{}", judged.checklist);
        assert!(judged.checklist.contains("fail    a certificate and key are set"));
        assert!(judged.checklist.contains("pass    INSECURE_HTTP is off"));
        assert!(
            judged
                .violations
                .unwrap()
                .to_string()
                .contains("DATABASE_URL is required")
        );
    }

    #[test]
    fn violations_outside_the_checklist_count_too() {
        let judged = Judged {
            checklist: String::new(),
            failed: false,
            violations: None,
        };
        assert_eq!(judged.code(), OK);
        let violations = Config::load(&MapEnv::new(), UNIX_EPOCH).err();
        assert_eq!(Judged { violations, ..judged }.code(), CONFIG);
    }
}
