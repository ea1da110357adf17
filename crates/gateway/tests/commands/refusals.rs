//! What is refused, and with which exit status.

use testkit::gateway::{Finished, Launch};

async fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
    let launch = arguments
        .iter()
        .fold(Launch::new(), |launch, argument| launch.arg(*argument));
    launch.envs(variables.iter().copied()).finish().await
}

#[tokio::test]
async fn serve_without_configuration_names_every_variable_and_exits_78() {
    for arguments in [&[][..], &["serve"]] {
        let refused = run(arguments, &[]).await;
        assert_eq!(refused.code, Some(78));
        assert!(refused.stderr.len() > 3, "{:?}", refused.stderr);
        assert!(
            refused
                .stderr
                .iter()
                .all(|line| line.starts_with("gateway config: ")),
            "{:?}",
            refused.stderr
        );
    }
}

#[tokio::test]
async fn check_prints_the_checklist_and_every_violation_and_exits_78() {
    let checked = run(&["check"], &[]).await;
    assert_eq!(checked.code, Some(78));
    assert_eq!(checked.stdout.len(), 11, "{:?}", checked.stdout);
    assert!(
        checked
            .stderr
            .iter()
            .any(|line| line.contains("DATABASE_URL is required")),
        "{:?}",
        checked.stderr
    );
}

#[tokio::test]
async fn dev_is_refused_where_the_environment_says_production() {
    for variable in [("CARACAL_ENV", "production"), ("CARACAL_MODE", "stable")] {
        let refused = run(&["dev", "--port", "0"], &[variable]).await;
        assert_eq!(refused.code, Some(78), "{variable:?}: {:?}", refused.stderr);
        assert_eq!(refused.stdout, [""; 0], "{variable:?}");
    }
}

#[tokio::test]
async fn dev_says_when_its_port_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let refused = run(&["dev", "--port", &port], &[]).await;
    assert_eq!(refused.code, Some(70));
    assert!(
        refused
            .stderr
            .iter()
            .any(|line| line.contains(&format!("127.0.0.1:{port}"))),
        "{:?}",
        refused.stderr
    );
}

#[tokio::test]
async fn token_mint_keeps_standard_output_for_the_mandate() {
    let arguments = [
        "token",
        "mint",
        "--sts-url",
        "http://sts.example",
        "--client-id",
        "a",
        "--resource",
        "r",
    ];
    let refused = run(&arguments, &[("CARACAL_CLIENT_SECRET", "s3cret-value")]).await;
    assert_eq!((refused.code, refused.stdout.len()), (Some(1), 0));
    assert_eq!(
        refused.stderr,
        ["token mint: --sts-url: plain http is for loopback only; use https"]
    );
}

#[tokio::test]
async fn help_lists_the_environment_and_version_is_one_line() {
    let help = run(&["--help"], &[]).await;
    assert_eq!(help.code, Some(0));
    assert!(
        help.stdout
            .iter()
            .any(|line| line.trim_start().starts_with("GATEWAY_STS_HMAC_KEY"))
    );
    let version = run(&["--version"], &[]).await;
    assert_eq!(
        version.stdout,
        [concat!("caracal-gateway ", env!("CARGO_PKG_VERSION"))]
    );
}
