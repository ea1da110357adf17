use proptest::prelude::*;

use super::*;
use crate::limits::PrivateUpstreams;

#[derive(serde::Deserialize)]
struct Vectors {
    host_spellings_refused: Vec<String>,
    host_spellings_same: Vec<(String, String)>,
}

fn policy(allowlist: &[&str]) -> EgressPolicy {
    EgressPolicy {
        private: PrivateUpstreams::Allowed,
        allowlist: allowlist.iter().map(|host| (*host).to_owned()).collect(),
        own_endpoints: vec![
            OwnEndpoint::Host("sts.example".to_owned(), 443),
            OwnEndpoint::Host("redis".to_owned(), 6379),
        ],
    }
}

fn judge(raw: &str, policy: &EgressPolicy) -> Result<UpstreamUrl, Cause> {
    let url = UpstreamUrl::parse(raw)?;
    url.permitted_by(policy).map(|()| url)
}

/// Scheme, host and port of a URL that passes.
fn origin(raw: &str) -> Option<(Scheme, String, u16)> {
    let url = judge(raw, &policy(&[])).ok()?;
    assert_eq!(url.as_written(), raw, "the URL stays as written");
    let Origin { scheme, host, port } = Origin::clone(url.origin());
    Some((scheme, host, port))
}

#[test]
fn upstream_url_host_vectors_are_judged_as_written() {
    let vectors: Vectors = testkit::vectors::load("addresses");
    for host in &vectors.host_spellings_refused {
        for url in [
            format!("http://{host}/"),
            format!("http://{host}:80"),
            format!("http://{host}?q"),
        ] {
            assert!(judge(&url, &policy(&[])).is_err(), "{url}");
        }
    }
    for (spelling, normal) in &vectors.host_spellings_same {
        assert_eq!(normalise(spelling).unwrap().0, *normal);
        assert!(
            judge(&format!("https://{spelling}/"), &policy(&[normal])).is_ok(),
            "{spelling}"
        );
    }
}

#[test]
fn upstream_url_good_ones_pass_with_their_origin() {
    use Scheme::{Http, Https};
    for (raw, scheme, host, port) in [
        ("https://api.example", Https, "api.example", 443),
        ("http://api.example", Http, "api.example", 80),
        ("HTTPS://API.Example.:8443/v1/", Https, "api.example", 8443),
        ("http://sts:8080/x?y=z&@a", Http, "sts", 8080),
        ("http://api.example?x=/../y", Http, "api.example", 80),
        ("https://api.example/a//b/@user/c%2Fd", Https, "api.example", 443),
        ("https://10.0.0.1:1/", Https, "10.0.0.1", 1),
        (
            "https://[2606:4700:0:0::1111]:65535/",
            Https,
            "2606:4700::1111",
            65535,
        ),
        ("https://[::ffff:8.8.8.8]", Https, "::ffff:8.8.8.8", 443),
        ("https://bücher.example/", Https, "xn--bcher-kva.example", 443),
        ("https://ａｐｉ．example/", Https, "api.example", 443),
        ("https://my_service/", Https, "my_service", 443),
        ("https://1.2.3.example/", Https, "1.2.3.example", 443),
        ("https://0xg.example.0xfg/", Https, "0xg.example.0xfg", 443),
    ] {
        assert_eq!(origin(raw), Some((scheme, host.to_owned(), port)), "{raw}");
    }
}

#[test]
fn upstream_url_has_a_longest_length_and_no_bytes_that_clients_read_differently() {
    let url = |rest: &str| format!("https://api.example/{rest}");
    let room = super::MAX_URL_BYTES - url("").len();
    assert!(UpstreamUrl::parse(&url(&"a".repeat(room))).is_ok());
    assert!(UpstreamUrl::parse(&url(&"a".repeat(room + 1))).is_err());
    for banned in ('\0'..=' ').chain(['\x7f', '\\']) {
        for raw in [
            url(&format!("a?b={banned}c")),
            format!("https://a{banned}b/"),
            url(&banned.to_string()),
        ] {
            let Err(cause) = UpstreamUrl::parse(&raw) else {
                panic!("{raw:?}")
            };
            assert!(
                cause
                    .to_string()
                    .contains("with blanks, control bytes or backslashes"),
                "{raw:?}: {cause}"
            );
        }
    }
}

#[test]
fn upstream_url_gives_its_parts_as_written() {
    for (raw, authority, path, query) in [
        (
            "https://Api.example:8443/v1/x?a=%41&b",
            "Api.example:8443",
            "/v1/x",
            Some("a=%41&b"),
        ),
        ("http://api.example", "api.example", "", None),
        ("https://api.example?a", "api.example", "", Some("a")),
        ("https://[2606:4700::1]/?", "[2606:4700::1]", "/", None),
    ] {
        let url = UpstreamUrl::parse(raw).unwrap();
        assert_eq!(
            (url.authority(), url.path(), url.query()),
            (authority, path, query),
            "{raw}"
        );
        assert_eq!(url.host_header(), authority, "{raw}");
        assert_eq!(url.as_written(), raw);
    }
}

#[test]
fn upstream_url_knows_what_lies_below_it() {
    let base = UpstreamUrl::parse("https://api.example/v1/").unwrap();
    for (url, expect) in [
        ("https://api.example/v1/x?q=1#f", Some(("/x", "?q=1#f"))),
        ("https://API.example:443/v1#f", Some(("", "#f"))),
        ("https://api.example/v1", Some(("", ""))),
        ("https://api.example/v10", None),
        ("https://api.example/", None),
        ("https://api.example:8443/v1/x", None),
        ("http://api.example:443/v1/x", None),
        ("https://other.example/v1/x", None),
        ("https://user@api.example/v1/x", None),
        ("/v1/x", None),
    ] {
        assert_eq!(base.below(url), expect, "{url}");
    }
}

#[test]
fn upstream_url_tricks_are_refused() {
    let long = format!("https://api.example/{}", "a".repeat(2048));
    let label = format!("https://{}.example/", "a".repeat(64));
    let name = format!("https://{}example/", "abc.".repeat(64));
    for raw in [
        "",
        "api.example",
        "//api.example/",
        "https:",
        "https://",
        "https:///v1",
        "https://:443/",
        "https://?x",
        "https:api.example",
        "https:/api.example",
        "file:///etc/passwd",
        "gopher://api.example/",
        "ftp://api.example/",
        "javascript://api.example/",
        " https://api.example/",
        "https ://api.example/",
        "https\0://api.example/",
        "wss://api.example/",
        // Userinfo.
        "https://user@api.example/",
        "https://user:secret@api.example/",
        "https://@api.example/",
        "https://api.example@evil.example/",
        "https://ok.example\\@evil.example/",
        "https://ok.example%40evil.example/",
        // Fragment.
        "https://api.example/#x",
        "https://api.example#@evil.example/",
        "https://evil.example#.api.example/",
        // Blanks, control bytes, backslashes.
        "https://api.example/a b",
        "https://api.example/a\tb",
        "https://api.example\t/",
        "https://api.example/a\r\nHost: evil",
        "https://api.example\n/",
        "https://api.example/\0",
        "https://api.example/\x7f",
        "https:\\\\api.example\\",
        "https://api.example/a\\..\\b",
        // Ports.
        "https://api.example:0/",
        "https://api.example:/",
        "https://api.example:65536/",
        "https://api.example:-1/",
        "https://api.example:+80/",
        "https://api.example:80x/",
        "https://api.example: 80/",
        "https://api.example:80:80/",
        "https://api.example:%38%30/",
        // Hosts.
        "https://./",
        "https://../",
        "https://a..b/",
        "https://.api.example/",
        "https://api.example../",
        "https://api.ex ample/",
        "https://api.example%00/",
        "https://api%2eexample/",
        "https://<api>/",
        "https://*.example/",
        "https://api.example;8443/",
        "https://api.example,evil.example/",
        "https://api$&example/",
        "https://\"api\".example/",
        "https://bücher.example;8443/",
        "https://[api.example]/",
        "https://[127.0.0.1]/",
        "https://[::1/",
        "https://::1/",
        "https://[::1]x/",
        "https://[::1]:x/",
        "https://[::1%25lo]/",
        "https://[fe80::1%eth0]/",
        "https://[]/",
        "https://[v1.x]/",
        // IPv4 in other spellings than the canonical one.
        "https://127.0.0.1./",
        "https://0177.0.0.1/",
        "https://127.0.0.01/",
        "https://0x7F000001/",
        "https://0X7f.1/",
        "https://127.1/",
        "https://1.2.3.4.5/",
        "https://256.1.1.1/",
        "https://１２７．０．０．１/",
        "https://①②⑦.0.0.1/",
        "https://127。0。0。1/",
        "https://example.0x7f/",
        "https://example.0x/",
        "https://example.9/",
        // Traversal in the path, before anything is resolved.
        "https://api.example/../x",
        "https://api.example/a/%2e%2e/b",
        "https://api.example/a/..;x/b",
        "https://api.example/a/%252e%252e/b?x",
        "https://api.example/.",
        // What no request line can hold.
        "https://api.example/a<b",
        "https://api.example/a>b",
        "https://api.example/a`b",
        "https://api.example?a<b",
        "https://api.example/?a=ü",
        // Metadata services by name.
        "http://metadata/",
        "http://METADATA./",
        "http://metadata.google.internal/computeMetadata/v1/",
        "http://Metadata.Google.Internal.:80/",
        "http://ｍetadata/",
        // The gateway's own endpoints by name.
        "https://sts.example/",
        "https://STS.EXAMPLE.:443/v1",
        "http://redis:6379/",
        &long,
        &label,
        &name,
    ] {
        assert!(judge(raw, &policy(&[])).is_err(), "{raw:?}");
    }
    assert!(
        origin("https://sts.example:8443/").is_some(),
        "another port is another endpoint"
    );
    assert!(origin("http://redis/").is_some());
}

#[test]
fn upstream_url_allowlist_is_the_complete_list() {
    let listed = [
        "api.internal.example",
        "xn--bcher-kva.example",
        "10.0.0.7",
        "2606:4700::1",
    ];
    for (raw, passes) in [
        ("https://api.internal.example/", true),
        ("https://API.Internal.Example./", true),
        ("http://api.internal.example:8080/", true),
        ("https://bücher.example/", true),
        ("https://BÜCHER.example/", true),
        ("https://10.0.0.7/", true),
        ("https://[2606:4700:0::1]/", true),
        ("https://public.example/", false),
        ("https://x.api.internal.example/", false),
        ("https://xapi.internal.example/", false),
        ("https://api.internal.example.evil.example/", false),
        ("https://internal.example/", false),
        ("https://api.internal.example../", false),
        ("https://10.0.0.8/", false),
        ("https://[::ffff:10.0.0.7]/", false),
    ] {
        assert_eq!(judge(raw, &policy(&listed)).is_ok(), passes, "{raw}");
    }
    // The list opens nothing that is never reachable.
    assert!(judge("http://metadata/", &policy(&["metadata"])).is_err());
    assert!(judge("https://sts.example/", &policy(&["sts.example"])).is_err());
}

proptest! {
    /// Nothing panics, and what passes is a plain http(s) URL by everybody's reading.
    #[test]
    fn upstream_url_judgement_is_total(raw in "(https?://)?([a-z0-9.:@\\[\\]%_-]|\\PC){0,24}[/?#]?\\PC{0,12}") {
        if let Ok(url) = judge(&raw, &policy(&[])) {
            let parsed = url::Url::parse(&raw).unwrap();
            prop_assert!(parsed.username().is_empty() && parsed.password().is_none());
            prop_assert!(parsed.fragment().is_none());
            prop_assert_eq!(parsed.port_or_known_default(), Some(url.port()));
            let theirs = parsed.host_str().unwrap().trim_matches(['[', ']']);
            let theirs = theirs.strip_suffix('.').unwrap_or(theirs);
            match url.ip_literal() {
                // The two write a mapped address differently.
                Some(address) => prop_assert_eq!(theirs.parse::<IpAddr>().ok(), Some(address)),
                None => prop_assert_eq!(theirs, url.host()),
            }
        }
    }

    /// The host that is allowed is the host that is dialled, in any case.
    #[test]
    fn upstream_url_case_does_not_matter(labels in prop::collection::vec("[a-z]([a-z0-9-]{0,8}[a-z])?", 1..4), dot in any::<bool>()) {
        prop_assume!(!labels.iter().any(|label| label.get(2..4) == Some("--")));
        let host = labels.join(".");
        prop_assume!(!METADATA_HOSTS.contains(&host.as_str()));
        let written = format!("https://{}{}/", host.to_ascii_uppercase(), if dot { "." } else { "" });
        let url = judge(&written, &policy(&[&host])).unwrap();
        prop_assert_eq!(url.host(), host);
    }
}

#[test]
fn upstream_url_with_an_international_host_is_dialled_in_ascii() {
    let policy = EgressPolicy {
        private: PrivateUpstreams::Blocked,
        allowlist: vec![],
        own_endpoints: vec![],
    };
    let url = judge("https://bücher.example/v1?x=1", &policy).unwrap();
    assert_eq!(url.as_str(), "https://xn--bcher-kva.example/v1?x=1");
    assert_eq!((url.authority(), url.port()), ("xn--bcher-kva.example", 443));
    let url = judge("https://bücher.example:8443/v1", &policy).unwrap();
    assert_eq!(url.authority(), "xn--bcher-kva.example:8443");
    assert_eq!(
        judge("https://api.example/v1", &policy).unwrap().as_str(),
        "https://api.example/v1"
    );
    assert!(judge("https://api.example/ü", &policy).is_err());
}

#[test]
fn upstream_url_with_a_key_in_it_is_never_printed() {
    let raw = "https://bücher.example/hooks/s3cret?key=s3cret";
    let url = judge(raw, &policy(&[])).unwrap();
    let binding = crate::binding::Binding {
        zone_id: "zone-1".to_owned(),
        resource: "resource://r".to_owned(),
        application: crate::binding::Application::FromToken,
        upstream_url: raw.into(),
    };
    let printed = format!("{url:?} {binding:?}");
    assert!(printed.contains("xn--bcher-kva.example") && printed.contains("resource://r"));
    assert!(!printed.contains("s3cret"), "{printed}");
}
