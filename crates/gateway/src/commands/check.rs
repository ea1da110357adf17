//! `check`: the production checklist and every violation, without starting.

use std::time::SystemTime;

use config::{ChecklistLine, Config, Env, Status, Violations};

use super::shared::{UNEXPECTED, complain, print};
use crate::process::{CONFIG, OK};

/// Prints the checklist and the warnings to standard output, and the violations to standard error.
pub(super) fn run(env: &dyn Env, now: SystemTime) -> i32 {
    let lines = config::checklist(env, now);
    let (warnings, violations) = match Config::load(env, now) {
        Ok((_, warnings)) => (warnings, None),
        Err(violations) => (Vec::new(), Some(violations)),
    };
    let warnings: String = warnings
        .iter()
        .map(|warning| format!("warn    {warning}\n"))
        .collect();
    if print(&(text(&lines) + &warnings)).is_err() {
        return UNEXPECTED;
    }
    if let Some(violations) = &violations {
        complain(violations);
    }
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
