//! `check`: the production checklist and every violation, without starting.

use std::time::SystemTime;

use config::{ChecklistLine, Config, Env, Status, Violations};

use super::shared::{UNEXPECTED, complain, print};
use crate::process::{CONFIG, OK};
use crate::wiring;

/// Prints the checklist to standard output, warnings and violations to standard error.
pub(super) fn run(env: &dyn Env, now: SystemTime) -> i32 {
    let lines = config::checklist(env, now);
    let loaded = Config::load(env, now);
    if print(&text(&lines)).is_err() {
        return UNEXPECTED;
    }
    let violations = match loaded {
        Ok((config, warnings)) => {
            for warning in warnings {
                complain(format_args!("warning: {warning}"));
            }
            // What `serve` would find before it dials.
            if let Err(error) = wiring::judge(&config) {
                complain(format_args!("gateway: {error}"));
                return error.code();
            }
            None
        }
        Err(violations) => {
            complain(&violations);
            Some(violations)
        }
    };
    code(&lines, violations.as_ref())
}

/// The checklist, one line each.
fn text(lines: &[ChecklistLine]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn code(lines: &[ChecklistLine], violations: Option<&Violations>) -> i32 {
    let fails = |line: &ChecklistLine| matches!(line.status, Status::Fail { .. });
    if violations.is_some() || lines.iter().any(fails) {
        CONFIG
    } else {
        OK
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use config::MapEnv;

    use super::*;

    #[test]
    fn an_empty_environment_fails_and_says_what_is_missing() {
        let lines = config::checklist(&MapEnv::new(), UNIX_EPOCH);
        assert_eq!(code(&lines, None), CONFIG);
        let text = text(&lines);
        let known = |line: &str| {
            ["pass ", "fail ", "manual "]
                .iter()
                .any(|word| line.starts_with(word))
        };
        assert!(text.lines().all(known), "{text}");
        assert!(text.contains("fail    a certificate and key are set"));
        assert!(text.contains("pass    INSECURE_HTTP is off"));
        let violations = Config::load(&MapEnv::new(), UNIX_EPOCH).unwrap_err();
        assert!(violations.to_string().contains("DATABASE_URL is required"));
    }

    #[test]
    fn violations_outside_the_checklist_count_too() {
        assert_eq!(code(&[], None), OK);
        let violations = Config::load(&MapEnv::new(), UNIX_EPOCH).err();
        assert_eq!(code(&[], violations.as_ref()), CONFIG);
    }
}
