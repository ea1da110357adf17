//! Which addresses of the STS are accepted, and what the connector is told about them.

use super::fixture::{Files, dev, load, production};
use crate::{LaxFlag, Warning};

const STS_HTTPS: &str = "STS_URL must use https; plain http is only for loopback and single-label host names such as http://sts:8080";

#[test]
fn the_sts_is_reached_over_https_or_on_a_private_wire() {
    let files = Files::new();
    let userinfo = "STS_URL must not hold a user name or a password";
    let relative = "STS_URL must be an absolute URL such as https://sts.example.com";
    let rows: [(&str, Result<&str, &str>); 24] = [
        ("https://sts.example", Ok("Https")),
        ("https://10.0.0.1:8443/base/", Ok("Https")),
        ("HTTPS://sts", Ok("Https")),
        ("http://sts:8080", Ok("PlainSingleLabel")),
        ("http://localhost:8080", Ok("PlainLoopback")),
        ("http://LOCALHOST", Ok("PlainLoopback")),
        ("http://127.0.0.9:8080", Ok("PlainLoopback")),
        ("http://[::1]:8080", Ok("PlainLoopback")),
        ("http://[::ffff:127.0.0.1]", Ok("PlainLoopback")),
        ("http://sts.example", Err(STS_HTTPS)),
        ("http://sts.", Err(STS_HTTPS)),
        ("http://10.0.0.1:8080", Err(STS_HTTPS)),
        ("http://167772161", Err(STS_HTTPS)),
        ("http://0x0a000001", Err(STS_HTTPS)),
        ("http://[fd00::1]", Err(STS_HTTPS)),
        ("http://0.0.0.0", Err(STS_HTTPS)),
        ("http://localhost.example", Err(STS_HTTPS)),
        ("ftp://sts", Err("STS_URL scheme must be http or https")),
        ("sts.example", Err(relative)),
        ("https://", Err(relative)),
        ("https://user@sts.example", Err(userinfo)),
        ("https://:pw@sts.example", Err(userinfo)),
        (
            "https://sts.example/?zone=a",
            Err("STS_URL must not have a query or a fragment"),
        ),
        ("https://sts.example:0", Err("STS_URL must not have port 0")),
    ];
    for base in [production(&files), dev()] {
        for (url, expect) in rows {
            let got = load(&base.clone().with("STS_URL", url));
            let got = got.map(|(config, _)| format!("{:?}", config.sts.transport));
            let got = got.map_err(|all| all.to_string());
            let expect = expect
                .map(str::to_owned)
                .map_err(|text| format!("gateway config: {text}"));
            assert_eq!(got, expect, "{url}");
        }
    }
    let insecure = dev().with("INSECURE_STS", "true");
    for (url, expect) in [
        ("http://10.0.0.1", "PlainAnywhere(DevOnly)"),
        ("http://sts.example", "PlainAnywhere(DevOnly)"),
        ("http://sts", "PlainAnywhere(DevOnly)"),
        ("http://127.0.0.1", "PlainLoopback"),
        ("https://sts.example", "Https"),
    ] {
        let (config, warnings) = load(&insecure.clone().with("STS_URL", url)).unwrap();
        assert_eq!(format!("{:?}", config.sts.transport), expect, "{url}");
        assert!(
            warnings.contains(&Warning::Lax(LaxFlag::InsecureSts)),
            "{url}: {warnings:?}"
        );
    }
}
