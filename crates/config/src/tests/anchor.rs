//! Which addresses of the anchor are accepted, and what of them is shown.

use super::fixture::{Changes, Files, check, dev, load, production, violations, with};
use crate::endpoints::tests::show;
use crate::{StandAlone, Violations};

const URL: &str = "AUDIT_ANCHOR_URL";

type Expected = Result<&'static str, &'static str>;

#[test]
fn the_anchor_is_reached_over_https_and_in_dev_over_loopback() {
    let files = Files::new();
    let malformed = "AUDIT_ANCHOR_URL is malformed; it must look like https://anchor.example.com/checkpoints";
    let userinfo =
        "AUDIT_ANCHOR_URL must not hold a user name or a password; put a token into the path or the query";
    let https =
        "AUDIT_ANCHOR_URL must use https; plain http is only for loopback, and only when CARACAL_ENV=dev";
    let rows: [(&str, Expected, Expected); 15] = [
        ("https://anchor.example", Ok("Https"), Ok("Https")),
        ("https://10.0.0.1:8443/a/b?token=secret", Ok("Https"), Ok("Https")),
        ("HTTPS://localhost", Ok("Https"), Ok("Https")),
        (
            "http://localhost:8080/a",
            Err(https),
            Ok("PlainLoopback(DevOnly)"),
        ),
        ("http://127.0.0.9", Err(https), Ok("PlainLoopback(DevOnly)")),
        ("http://[::1]:8080", Err(https), Ok("PlainLoopback(DevOnly)")),
        ("http://anchor", Err(https), Err(https)),
        ("http://anchor.example", Err(https), Err(https)),
        ("http://10.0.0.1", Err(https), Err(https)),
        ("ftp://anchor.example", Err(malformed), Err(malformed)),
        ("anchor.example", Err(malformed), Err(malformed)),
        ("https://user@anchor.example", Err(userinfo), Err(userinfo)),
        ("https://:pw@anchor.example", Err(userinfo), Err(userinfo)),
        (
            "https://anchor.example/#here",
            Err("AUDIT_ANCHOR_URL must not have a fragment"),
            Err("AUDIT_ANCHOR_URL must not have a fragment"),
        ),
        (
            "https://anchor.example:0",
            Err("AUDIT_ANCHOR_URL must not have port 0"),
            Err("AUDIT_ANCHOR_URL must not have port 0"),
        ),
    ];
    let judge = |env| -> Result<String, String> {
        let loaded = load(&env).map_err(|all: Violations| all.to_string())?;
        let anchor = loaded.0.evidence.anchor.expect("an anchor");
        Ok(format!("{:?}", anchor.transport))
    };
    for (url, in_production, in_dev) in rows {
        for (base, expect) in [(production(&files), in_production), (dev(), in_dev)] {
            let expect = expect
                .map(str::to_owned)
                .map_err(|text| format!("gateway config: {text}"));
            assert_eq!(judge(base.with(URL, url)), expect, "{url}");
        }
    }
    let unset = load(&production(&files)).unwrap();
    assert!(unset.0.evidence.anchor.is_none());
}

#[test]
fn the_anchor_needs_authorities_that_can_be_read_and_a_mode_that_is_known() {
    let files = Files::new();
    let (certificate, _) = files.pair((2026, 6, 1), (2027, 6, 1));
    let certificate = certificate.display().to_string();
    let in_vain = "AUDIT_ANCHOR_CA_FILE is set but AUDIT_ANCHOR_URL does not use TLS; change the URL's scheme or unset \
                   AUDIT_ANCHOR_CA_FILE";
    let with_ca = dev().with("AUDIT_ANCHOR_CA_FILE", &certificate);
    assert_eq!(violations(&with_ca), [in_vain]);
    assert_eq!(
        violations(&with_ca.clone().with(URL, "http://localhost")),
        [in_vain]
    );
    let (config, _) = load(&with_ca.with(URL, "https://anchor.example")).unwrap();
    assert!(config.evidence.anchor.unwrap().authorities.is_some());
    let unknown: Changes = &[("CARACAL_ENV", "prod"), (URL, "http://localhost")];
    check(&dev(), &[(unknown, &["CARACAL_ENV must be production or dev"])]);
}

#[test]
fn the_anchor_is_an_own_endpoint_and_nothing_but_that_is_shown() {
    let env = with(dev(), &[(URL, "https://Anchor.Example/marker-1?key=marker-2")]);
    let (config, warnings) = load(&env).unwrap();
    let own = show(&config.egress.policy([]).own_endpoints);
    assert!(own.contains(&"anchor.example 443".to_owned()), "{own:?}");
    let shown = format!("{config:?} {warnings:?}");
    assert!(
        !shown.contains("marker") && shown.contains("AnchorUrl(***)"),
        "{shown}"
    );
    // The commands that store bindings know it, too.
    let (settings, _) = StandAlone::load(&env, super::fixture::now()).unwrap();
    let own = show(&settings.egress.policy([]).own_endpoints);
    assert!(own.contains(&"anchor.example 443".to_owned()), "{own:?}");
}
