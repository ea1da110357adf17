use super::*;
use proptest::prelude::*;

use crate::testing::{query_key, url};

fn joined(base: &str, caller: &str) -> String {
    let base = url(base);
    join(&base, &PathAndQuery::try_from(caller).unwrap(), None)
        .unwrap()
        .as_str()
        .to_owned()
}

fn joined_with_key(base: &str, caller: &str) -> String {
    let base = url(base);
    let credential = query_key("key", "s3cret");
    join(
        &base,
        &PathAndQuery::try_from(caller).unwrap(),
        credential.query(),
    )
    .unwrap()
    .as_str()
    .to_owned()
}

#[test]
fn path_join_has_exactly_one_slash() {
    for (base, caller, expect) in [
        ("https://u", "/x", "/x"),
        ("https://u/", "/x", "/x"),
        ("https://u/b", "/x", "/b/x"),
        ("https://u/b/", "/x", "/b/x"),
        ("https://u/b/c", "/x/y", "/b/c/x/y"),
        ("https://u", "/", "/"),
        ("https://u/", "/", "/"),
    ] {
        assert_eq!(joined(base, caller), expect, "{base} {caller}");
    }
}

#[test]
fn path_of_the_base_is_reached_without_an_added_slash() {
    assert_eq!(joined("https://u/mcp", "/"), "/mcp");
    assert_eq!(joined("https://u/mcp/", "/"), "/mcp/");
    assert_eq!(joined("https://u/mcp", "/?a=1"), "/mcp?a=1");
    assert_eq!(joined("https://u/mcp?v=2", "/"), "/mcp?v=2");
}

#[test]
fn path_keeps_encoded_and_double_slashes_and_the_trailing_one() {
    for caller in [
        "/v1/obj%2Fname",
        "//admin",
        "/a//b",
        "/a/",
        "//",
        "/100%25",
        "/a;b=1",
        "/%2525x",
        "/@v1/x:y",
        "/q%3Fx=1",
    ] {
        assert_eq!(joined("https://u", caller), caller);
        assert_eq!(joined("https://u/b", caller), format!("/b{caller}"));
        assert_eq!(joined("https://u/b%2Fc//", caller), format!("/b%2Fc/{caller}"));
    }
}

#[test]
fn query_of_the_caller_is_unchanged() {
    for query in [
        "flag",
        "z=1&a=2",
        "a=%20+%zz",
        "a;b=1;c",
        "",
        "&&",
        "a=1&a=2",
        "=x",
        "a?b=/",
    ] {
        assert_eq!(
            joined("https://u/b", &format!("/x?{query}")),
            format!("/b/x?{query}")
        );
    }
    assert_eq!(joined("https://u/b?v=1", "/x?z=1&&a=%41"), "/b/x?v=1&z=1&&a=%41");
    assert_eq!(joined("https://u/b?v=1", "/x?"), "/b/x?v=1");
}

#[test]
fn query_parameter_of_the_upstream_url_overrides_the_callers() {
    for (caller, expect) in [
        ("v=9", "v=1&w=a+b"),
        ("a=1&v=9&b=2&w=9", "v=1&w=a+b&a=1&b=2"),
        ("%76=9&a=1&v", "v=1&w=a+b&a=1"),
        ("V=9", "v=1&w=a+b&V=9"),
        ("a=v&a;v=9", "v=1&w=a+b&a=v&a;v=9"),
    ] {
        assert_eq!(
            joined("https://u?v=1&w=a+b", &format!("/?{caller}")),
            format!("/?{expect}"),
            "{caller}"
        );
    }
    for caller in ["a+b=9", "a%20b=9", "%61%20%62=9", "a+b"] {
        assert_eq!(
            joined("https://u?a%20b=1", &format!("/?{caller}&c=1")),
            "/?a%20b=1&c=1",
            "{caller}"
        );
    }
}

#[test]
fn query_api_key_cannot_be_added_or_shadowed_by_the_caller() {
    for caller in [
        "key=evil",
        "%6bey=evil",
        "%6B%65%79=evil",
        "key",
        "key=",
        "key=a&key=b",
        "ke%79=evil&key=evil",
        "KEY=evil",
        "key[]=evil&key%5b0%5d=evil",
    ] {
        assert_eq!(
            joined_with_key("https://u/b", &format!("/x?{caller}")),
            "/b/x?key=s3cret",
            "{caller}"
        );
        assert_eq!(
            joined_with_key("https://u", &format!("/x?a=1&{caller}&b")),
            "/x?a=1&b&key=s3cret",
            "{caller}"
        );
    }
}

#[test]
fn query_api_key_replaces_one_in_the_upstream_url() {
    assert_eq!(
        joined_with_key("https://u/b?key=old&v=1", "/x?key=evil"),
        "/b/x?v=1&key=s3cret"
    );
    assert_eq!(joined_with_key("https://u/b?%6bey=old", "/x"), "/b/x?key=s3cret");
    assert_eq!(joined_with_key("https://u/b", "/x?"), "/b/x?key=s3cret");
}

#[test]
fn target_without_a_path_is_refused() {
    let base = url("https://u/b");
    assert_eq!(
        join(&base, &PathAndQuery::from_static("*"), None),
        Err(RewriteError::Target)
    );
}

#[test]
fn target_from_an_absolute_form_without_path_gets_its_slash() {
    let uri: http::Uri = "http://gateway?x=1".parse().unwrap();
    let caller = uri.path_and_query().unwrap();
    assert_eq!(join(&url("https://u"), caller, None).unwrap().as_str(), "/?x=1");
}

#[test]
fn target_that_grows_too_long_is_refused() {
    let base = url(&format!("https://u/{}", "b".repeat(2000)));
    let caller = PathAndQuery::try_from(format!("/{}", "x".repeat(65_000))).unwrap();
    assert_eq!(join(&base, &caller, None), Err(RewriteError::JoinedTarget));
}

const PATH: &str = "/[a-zA-Z0-9%/;:@!$&'()*+,=._~-]{0,24}";
const PIECE: &str = "[a-zA-Z0-9%;:@!$'()*+,=/?._~-]{0,8}";

fn a_query() -> impl Strategy<Value = String> {
    prop::collection::vec(PIECE, 0..6).prop_map(|pieces| pieces.join("&"))
}

proptest! {
    #[test]
    fn path_bytes_of_the_caller_are_the_verbatim_suffix(prefix in "(/[a-zA-Z0-9%._~/-]{0,12})?", path in PATH) {
        let base = format!("https://u{prefix}");
        prop_assume!(UpstreamUrl::parse(&base).is_ok());
        let joined = joined(&base, &path);
        if path == "/" && !prefix.is_empty() {
            prop_assert_eq!(joined, prefix);
        } else {
            prop_assert!(joined.ends_with(&path));
            let head = &joined[..joined.len() - path.len()];
            prop_assert_eq!(head, prefix.strip_suffix('/').unwrap_or(&prefix));
        }
    }

    #[test]
    fn query_bytes_of_the_caller_are_verbatim_when_nothing_overrides(path in PATH, query in a_query()) {
        let joined = joined("https://u/b?UPSTREAM!=1", &format!("{path}?{query}"));
        let (_, joined) = joined.split_once('?').unwrap();
        let own = joined.strip_prefix("UPSTREAM!=1").unwrap();
        prop_assert_eq!(own.strip_prefix('&').unwrap_or(own), query);
    }

    #[test]
    fn query_never_holds_two_values_of_the_api_key(query in a_query(), spelled in prop::collection::vec(any::<[bool; 2]>(), 3)) {
        let name: String = "key"
            .bytes()
            .zip(spelled)
            .map(|(byte, [escaped, upper])| match (escaped, upper) {
                (false, _) => char::from(byte).to_string(),
                (true, false) => format!("%{byte:02x}"),
                (true, true) => format!("%{byte:02X}"),
            })
            .collect();
        let joined = joined_with_key("https://u/b?v=1", &format!("/x?{query}&{name}=evil&{query}&{name}"));
        let (_, joined) = joined.split_once('?').unwrap();
        let keys: Vec<&str> = query::pieces(joined).filter(|piece| query::is_same_name(query::name(piece), "key")).collect();
        prop_assert_eq!(keys, ["key=s3cret"]);
    }
}
