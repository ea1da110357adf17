use super::*;
use proptest::prelude::*;

fn trusted() -> TrustedProxies {
    TrustedProxies::new(["10.0.0.0/8", "fd00::/8", "::ffff:192.168.0.0/112"].map(|net| net.parse().unwrap()))
}

fn caller(peer: &str, xff: &[&str]) -> String {
    let mut headers = HeaderMap::new();
    for line in xff {
        headers.append(&X_FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
    }
    client_address(peer.parse().unwrap(), &headers, &trusted()).to_string()
}

#[test]
fn forwarded_for_of_an_untrusted_peer_is_ignored() {
    assert_eq!(caller("203.0.113.9", &["1.1.1.1"]), "203.0.113.9");
    assert_eq!(caller("203.0.113.9", &["10.0.0.1"]), "203.0.113.9");
    assert_eq!(caller("::ffff:203.0.113.9", &["1.1.1.1"]), "203.0.113.9");
}

#[test]
fn forwarded_for_is_read_right_to_left_up_to_the_first_untrusted() {
    for (peer, xff, expect) in [
        ("10.0.0.1", &["6.6.6.6, 203.0.113.9"][..], "203.0.113.9"),
        ("10.0.0.1", &["6.6.6.6, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        (
            "10.0.0.1",
            &["6.6.6.6", "203.0.113.9", "10.0.0.3,10.0.0.2"],
            "203.0.113.9",
        ),
        ("10.0.0.1", &["10.0.0.7, 10.0.0.2"], "10.0.0.7"),
        ("10.0.0.1", &[], "10.0.0.1"),
        ("192.168.0.1", &["2001:db8::1"], "2001:db8::1"),
        ("::ffff:10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9"),
        ("fd00::1", &["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", &["203.0.113.9:4711"], "203.0.113.9"),
        ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
    ] {
        assert_eq!(caller(peer, xff), expect, "{peer} {xff:?}");
    }
}

#[test]
fn forwarded_for_with_a_broken_entry_stops_at_the_last_good_address() {
    for broken in ["unknown", "", "1.2.3", "_hidden", "1.1.1.1;x", "[::1"] {
        assert_eq!(
            caller("10.0.0.1", &[&format!("6.6.6.6, {broken}, 10.0.0.2")]),
            "10.0.0.2",
            "{broken}"
        );
    }
}

/// What the upstream is told about a call whose head has the given headers.
fn told(peer: &str, target: &str, headers: &[(&str, &str)]) -> [Option<String>; 3] {
    let mut builder = http::Request::builder().uri(target);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let parts = builder.body(()).unwrap().into_parts().0;
    let mut out = HeaderMap::new();
    CallerSide::read(&parts, peer.parse().unwrap(), Scheme::Https, &trusted()).state(&mut out);
    [&X_FORWARDED_FOR, &X_FORWARDED_PROTO, &X_FORWARDED_HOST]
        .map(|name| out.get(name).map(|value| value.to_str().unwrap().to_owned()))
}

fn some<const N: usize>(texts: [&str; N]) -> [Option<String>; N] {
    texts.map(|text| Some(text.to_owned()))
}

const SPOOFED: [(&str, &str); 4] = [
    ("host", "gateway.example"),
    ("x-forwarded-for", "1.1.1.1"),
    ("x-forwarded-proto", "http"),
    ("x-forwarded-host", "evil.example"),
];

#[test]
fn forwarded_family_of_an_untrusted_peer_is_replaced() {
    assert_eq!(
        told("203.0.113.9", "/", &SPOOFED),
        some(["203.0.113.9", "https", "gateway.example"])
    );
}

#[test]
fn forwarded_family_of_a_trusted_peer_is_honoured() {
    assert_eq!(
        told("10.0.0.1", "/", &SPOOFED),
        some(["1.1.1.1", "http", "evil.example"])
    );
}

#[test]
fn forwarded_proto_and_host_take_the_entry_that_the_trusted_proxy_wrote() {
    let headers = [
        ("host", "gateway.example"),
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "http, HTTPS"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-host", "evil.example, app.example:8443"),
    ];
    assert_eq!(
        told("10.0.0.1", "/", &headers),
        some(["203.0.113.9", "https", "app.example:8443"])
    );
}

#[test]
fn forwarded_proto_and_host_that_are_nonsense_are_ignored() {
    for host in ["a b", "user@evil.example", "evil.example/x", ""] {
        let headers = [
            ("host", "gateway.example"),
            ("x-forwarded-proto", "ftp"),
            ("x-forwarded-host", host),
        ];
        assert_eq!(
            told("10.0.0.1", "/", &headers),
            some(["10.0.0.1", "https", "gateway.example"]),
            "{host}"
        );
    }
}

#[test]
fn forwarded_host_is_the_target_authority_when_there_is_one() {
    let [_, _, host] = told(
        "203.0.113.9",
        "https://authority.example:8443/x",
        &[("host", "other.example")],
    );
    assert_eq!(host.as_deref(), Some("authority.example:8443"));
    assert_eq!(
        told("203.0.113.9", "/x", &[])[2],
        None,
        "an HTTP/1.0 caller may name no host"
    );
}

proptest! {
    #[test]
    fn forwarded_for_never_gives_an_untrusted_peer_another_address(lines in prop::collection::vec("[ -~]{0,40}", 0..4)) {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        prop_assert_eq!(caller("203.0.113.9", &lines), "203.0.113.9");
    }

    #[test]
    fn forwarded_for_left_of_an_untrusted_address_is_never_believed(spoofed in "[ -~]{0,60}") {
        prop_assert_eq!(caller("10.0.0.1", &[&format!("{spoofed},203.0.113.9, 10.0.0.2")]), "203.0.113.9");
    }
}
