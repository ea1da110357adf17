use admission::mode::{DevOnly, Mode};
use config::MapEnv;
use devstack::{Devstack, StackConfig};

use super::*;
use crate::cli::MandateUse;

fn proof() -> DevOnly {
    let Ok(Mode::Dev(proof)) = Mode::parse("dev") else {
        panic!("dev is a mode")
    };
    proof
}

fn arguments(sts_url: &str) -> MintArgs {
    MintArgs {
        sts_url: sts_url.into(),
        client_id: "app-dev".into(),
        client_secret_file: None,
        resource: "resource://mandate".into(),
        zone: Some("zone-dev".into()),
        mandate_use: MandateUse::Gateway,
        ttl: 900,
    }
}

fn with_secret(secret: &str) -> MapEnv {
    MapEnv::new().with(SECRET, secret)
}

#[test]
fn plain_http_goes_to_loopback_only() {
    for (url, expect) in [
        (
            "http://127.0.0.1:8080",
            Ok(("127.0.0.1", 8080, false, "/oauth/2/token")),
        ),
        ("http://[::1]:8080/", Ok(("::1", 8080, false, "/oauth/2/token"))),
        (
            "http://localhost:1/sts/",
            Ok(("localhost", 1, false, "/sts/oauth/2/token")),
        ),
        (
            "https://sts.example",
            Ok(("sts.example", 443, true, "/oauth/2/token")),
        ),
        (
            "https://10.0.0.1:444",
            Ok(("10.0.0.1", 444, true, "/oauth/2/token")),
        ),
        ("http://sts.example", Err("plain http is for loopback only")),
        ("http://sts:8080", Err("plain http is for loopback only")),
        ("http://127.0.0.1.example", Err("plain http is for loopback only")),
        ("http://10.0.0.1", Err("plain http is for loopback only")),
        ("ftp://127.0.0.1", Err("must look like")),
        ("https://user:password@sts.example", Err("must look like")),
        ("https://sts.example/?a=b", Err("must look like")),
        ("sts.example", Err("must look like")),
    ] {
        match (Sts::parse(url), expect) {
            (Ok(sts), Ok((host, port, tls, path))) => {
                let found = (sts.host.as_str(), sts.port, sts.name.is_some(), sts.path.as_str());
                assert_eq!(found, (host, port, tls, path), "{url}");
            }
            (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{url}: {error}"),
            (found, _) => panic!("{url}: {found:?}"),
        }
    }
}

#[test]
fn the_secret_comes_from_the_file_or_the_environment_and_must_not_be_empty() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, "from-file\n").unwrap();
    let env = with_secret("from-env");
    assert_eq!(secret(Some(&file), &env).unwrap(), "from-file");
    assert_eq!(secret(None, &env).unwrap(), "from-env");
    assert!(matches!(secret(None, &MapEnv::new()), Err(MintError::NoSecret)));
    std::fs::write(&file, "\n").unwrap();
    assert!(matches!(secret(Some(&file), &env), Err(MintError::NoSecret)));
    assert!(matches!(
        secret(Some(directory.path()), &env),
        Err(MintError::SecretFile(_))
    ));
}

#[tokio::test]
async fn a_mandate_is_minted_for_a_client_and_its_secret() {
    let stack = Devstack::start(proof(), StackConfig::standard().unwrap())
        .await
        .unwrap();
    let secret = stack.clients()[0].secret.clone();
    let mandate = minted(&arguments(stack.sts_url()), &with_secret(secret.expose()))
        .await
        .unwrap();
    assert_eq!(mandate.split('.').count(), 3);
    assert_eq!(stack.sts().counts().mints, 1);

    let refused = minted(&arguments(stack.sts_url()), &with_secret("wrong"))
        .await
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the STS refused: 401 Unauthorized access_denied: invalid client credentials"
    );
    let elsewhere = minted(&arguments(stack.upstream_url()), &with_secret("s"))
        .await
        .unwrap_err();
    assert!(
        matches!(elsewhere, MintError::NotAToken(StatusCode::OK)),
        "{elsewhere}"
    );
}

#[tokio::test]
async fn nobody_listening_is_said() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = minted(&arguments(&format!("http://{address}")), &with_secret("s"))
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with(&format!("cannot connect to {address}: ")),
        "{error}"
    );
}
