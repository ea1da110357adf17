//! `check`: the production checklist and every violation, without starting.

use std::fmt::Write as _;
use std::time::SystemTime;

use config::{ChecklistLine, Config, Env, Status};

use super::{UNEXPECTED, complain, print};
use crate::process::{CONFIG, OK};

/// Prints the checklist to standard output and the violations to standard error.
pub(super) fn run(env: &dyn Env, now: SystemTime) -> i32 {
    let checklist = config::checklist(env, now);
    if print(&render(&checklist)).is_err() {
        return UNEXPECTED;
    }
    let violations = Config::load(env, now).err();
    let failed = checklist.iter().any(|line| matches!(line.status, Status::Fail { .. }));
    if let Some(violations) = &violations {
        complain(violations);
    }
    if failed || violations.is_some() { CONFIG } else { OK }
}

fn render(checklist: &[ChecklistLine]) -> String {
    checklist.iter().fold(String::new(), |mut text, line| {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{line}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use config::MapEnv;

    use super::*;

    #[test]
    fn an_empty_environment_fails_and_says_what_is_missing() {
        assert_eq!(run(&MapEnv::new(), UNIX_EPOCH), CONFIG);
        let text = render(&config::checklist(&MapEnv::new(), UNIX_EPOCH));
        assert!(text.lines().all(|line| ["pass ", "fail ", "manual "].iter().any(|word| line.starts_with(word))));
        assert!(text.contains("fail    a certificate and key are set"));
        assert!(text.contains("pass    INSECURE_HTTP is off"));
    }
}
