use super::*;
use crate::testing::url;
use proptest::prelude::*;

fn rewritten(base: &str, locations: &[&str]) -> Vec<String> {
    let mut headers = HeaderMap::new();
    for location in locations {
        headers.append(LOCATION, HeaderValue::from_bytes(location.as_bytes()).unwrap());
        headers.append(
            CONTENT_LOCATION,
            HeaderValue::from_bytes(location.as_bytes()).unwrap(),
        );
    }
    rewrite(&mut headers, &url(base), Some("key"));
    let [first, second] = [LOCATION, CONTENT_LOCATION].map(|name| {
        headers
            .get_all(name)
            .iter()
            .map(|value| value.to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    });
    assert_eq!(first, second, "both fields follow one rule");
    first
}

const BASE: &str = "https://up.example/base";

#[test]
fn location_below_the_base_becomes_relative() {
    for (location, expect) in [
        ("https://up.example/base/x", "/x"),
        ("https://up.example/base/x/?q=1&r#f", "/x/?q=1&r#f"),
        ("https://up.example/base", "/"),
        ("https://up.example/base?q", "/?q"),
        ("https://up.example/base#f", "/#f"),
        ("HTTPS://UP.example:443/base/a%2Fb//c", "/a%2Fb//c"),
    ] {
        assert_eq!(rewritten(BASE, &[location]), [expect], "{location}");
        assert_eq!(
            rewritten("https://up.example:443/base/", &[location]),
            [expect],
            "{location}"
        );
    }
    assert_eq!(rewritten("http://[::1]:8080", &["http://[::1]:8080/x"]), ["/x"]);
    assert_eq!(rewritten("http://up.example", &["http://up.example"]), ["/"]);
}

#[test]
fn location_elsewhere_is_dropped() {
    for location in [
        "https://evil.example/base/x",
        "http://up.example/base/x",
        "https://up.example:8443/base/x",
        "https://up.example/other",
        "https://up.example/basement",
        "https://up.example/",
        "https://up.example/base/../admin",
        "https://up.example/base/%2e%2E/admin",
        "https://up.example/base/./x",
        "https://up.example/base//evil.example/x",
        "https://user@up.example/base/x",
        "https://up.example.evil.example/base/x",
        "http://169.254.169.254/latest",
        "javascript:alert(1)",
        "data:text/html,x",
        "https:/up.example/base/x",
        "https:up.example/base/x",
    ] {
        assert_eq!(rewritten(BASE, &[location]), [""; 0], "{location}");
    }
}

#[test]
fn location_that_is_protocol_relative_or_unreadable_is_dropped() {
    for location in [
        "//evil.example/",
        "//up.example/base/x",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/a b",
        ":x",
        "1a:b",
        "/ü",
        "/\u{80}",
    ] {
        assert_eq!(rewritten(BASE, &[location]), [""; 0], "{location}");
    }
}

#[test]
fn location_that_is_relative_is_kept() {
    for location in [
        "/x",
        "/base/x?q=a:b//c#f",
        "x",
        "../x",
        "./a:b",
        "?q=1",
        "#f",
        "",
        "a/b:c",
        "/https://evil.example",
    ] {
        assert_eq!(rewritten(BASE, &[location]), [location]);
    }
}

#[test]
fn location_second_value_is_judged_too() {
    let locations = [
        "/ok",
        "https://evil.example/",
        "https://up.example/base/x",
        "//evil.example",
    ];
    assert_eq!(rewritten(BASE, &locations), ["/ok", "/x"]);
}

#[test]
fn location_does_not_hand_the_upstreams_parameters_to_the_caller() {
    let base = "https://up.example/base?sig=s3cret&v=1";
    for (location, expect) in [
        (
            "https://up.example/base/x/?a=1&key=s3cret&sig=s3cret#f",
            "/x/?a=1#f",
        ),
        ("/x/?key=s3cret&a=1&%6bey=s3cret", "/x/?a=1"),
        ("/x/?key=s3cret", "/x/"),
        ("?si%67=s3cret&v=2&b", "?b"),
        ("/x?a=key&&b#key=1", "/x?a=key&&b#key=1"),
    ] {
        assert_eq!(rewritten(base, &[location]), [expect], "{location}");
    }
}

proptest! {
    #[test]
    fn location_that_is_left_never_names_another_host(
        scheme in "(https?:|HTTPS:|)", slashes in "[/\\\\]{0,4}", host in "(up\\.example|evil\\.example|)", path in "[ -~]{0,24}",
    ) {
        for location in rewritten(BASE, &[&format!("{scheme}{slashes}{host}{path}")]) {
            prop_assert!(is_relative(&location), "{}", location);
            prop_assert!(!location.starts_with("//") && !location.contains('\\'), "{}", location);
        }
    }

    #[test]
    fn location_rewritten_twice_is_rewritten_once(location in "(https://up\\.example)?(/base)?[!-~]{0,24}") {
        let once = rewritten(BASE, &[&location]);
        let again: Vec<&str> = once.iter().map(String::as_str).collect();
        prop_assert_eq!(rewritten(BASE, &again), once.clone());
    }
}
