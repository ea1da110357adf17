//! What the pure crates may not reach: an executor, a socket, a store, a log, randomness.

use std::process::Command;

/// Crates that would give a decision a clock, a socket, a store, a log or chance.
const FORBIDDEN: [&str; 17] = [
    "async-std",
    "hickory-resolver",
    "hyper",
    "hyper-util",
    "log",
    "mio",
    "postgres",
    "rand",
    "redis",
    "reqwest",
    "rustls",
    "smol",
    "socket2",
    "sqlx",
    "tokio",
    "tokio-postgres",
    "tracing",
];

/// The names of all crates that a package reaches without its development dependencies.
#[expect(clippy::expect_used, reason = "test support: a failure fails the test")]
fn reached(package: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--locked",
            "-e",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
            "-p",
            package,
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("names in UTF-8");
    text.lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

fn offenders(reached: &[String]) -> Vec<&String> {
    reached
        .iter()
        .filter(|name| {
            FORBIDDEN
                .iter()
                .any(|forbidden| name == forbidden || name.starts_with(&format!("{forbidden}-")))
        })
        .collect()
}

#[test]
fn tree_of_the_pure_crates_reaches_no_executor_socket_store_or_log() {
    for (package, own) in [("caracal-admission", "aws-lc-rs"), ("caracal-forwarding", "http")] {
        let reached = reached(package);
        assert!(
            reached.iter().any(|name| name == own),
            "{package}: the list is a real one"
        );
        assert_eq!(offenders(&reached), [""; 0], "{package}");
    }
}

#[test]
fn tree_check_notices_an_executor() {
    let reached = reached("caracal-testkit");
    assert!(offenders(&reached).iter().any(|name| *name == "tokio"));
}
