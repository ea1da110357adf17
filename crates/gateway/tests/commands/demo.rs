//! `demo` is what people see first.

use testkit::gateway::Launch;

#[tokio::test]
async fn demo_sees_every_gate_hold_and_says_so() {
    let demo = Launch::new().arg("demo").finish().await;
    let text = demo.stdout.join("\n");
    assert_eq!(demo.code, Some(0), "{text}\n{}", demo.stderr.join("\n"));
    let passed = demo
        .stdout
        .iter()
        .filter(|line| line.contains("  pass  "))
        .count();
    assert_eq!(demo.stdout.last().unwrap(), &format!("{passed} passed, 0 failed"));
    assert!(passed >= 20, "{text}");
    assert!(!text.contains('\u{1b}'), "colours without a terminal: {text}");
    assert!(!text.contains("eyJ"), "a token in the table: {text}");
}

#[tokio::test]
async fn demo_is_the_same_whatever_the_environment_says() {
    let hostile = [
        ("CARACAL_ENV", "production"),
        ("PORT", "1"),
        ("UPSTREAM_HOST_ALLOWLIST", "elsewhere.example"),
        ("MAX_REQUEST_BYTES", "1"),
    ];
    let demo = Launch::new().arg("demo").envs(hostile).finish().await;
    assert_eq!(demo.code, Some(0), "{}", demo.stdout.join("\n"));
}
