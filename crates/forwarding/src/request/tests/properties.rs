//! What holds for every head, however its names are spelled.

use super::*;
use proptest::prelude::*;

/// Names built from pieces that matter, joined by any character that a header name may hold between words.
fn a_name() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "x",
        "caracal",
        "forwarded",
        "for",
        "host",
        "real",
        "ip",
        "request",
        "id",
        "identity",
        "authorization",
        "api",
        "key",
        "proxy",
        "connection",
        "te",
        "trailer",
        "transfer",
        "encoding",
        "keep",
        "alive",
        "upgrade",
        "content",
        "length",
        "expect",
        "accept",
        "Cookie",
    ]);
    let separator = prop::sample::select(b"-_.!#$%&'*+^`|~".to_vec());
    prop::collection::vec((word, separator), 1..5).prop_map(|words| {
        let mut name: String = words
            .into_iter()
            .flat_map(|(word, by)| [word.to_owned(), char::from(by).to_string()])
            .collect();
        name.pop();
        name
    })
}

/// Names whose value must make sense: a head in which it does not has no other form.
fn is_framing(name: &str) -> bool {
    ["content-length", "transfer-encoding"].contains(&name.to_ascii_lowercase().as_str())
}

proptest! {
    #[test]
    fn no_reserved_name_of_the_caller_survives_whatever_its_spelling(
        names in prop::collection::vec(a_name(), 0..12), listed in prop::collection::vec(a_name(), 0..4),
    ) {
        let connection = listed.join(", ");
        let mut headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "spoofed value")).collect();
        headers.retain(|(name, _)| !is_framing(name));
        headers.push(("connection", &connection));
        let outbound = cross(head(&headers), api_key()).unwrap();
        for (name, value) in &outbound.head.headers {
            let dashed: String = name.as_str().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
            let guarded = ["x-caracal-", "x-forwarded-", "proxy-"].iter().any(|prefix| dashed.starts_with(prefix))
                || [
                    "forwarded", "x-real-ip", "x-request-id", "authorization", "x-api-key", "host", "connection", "te",
                    "trailer", "transfer-encoding", "keep-alive", "upgrade", "expect", "proxy", "content-length",
                ].contains(&dashed.as_str());
            // `Host` is what X-Forwarded-Host repeats; every other guarded name has the gateway's own value.
            prop_assert!(!guarded || name == "x-forwarded-host" || value != "spoofed value", "{}", name);
            prop_assert!(!guarded || dashed == name.as_str(), "{}", name);
        }
        for name in ["x-forwarded-for", "x-forwarded-proto", "x-request-id", "host", "x-api-key", "traceparent"] {
            prop_assert_eq!(outbound.head.headers.get_all(name).iter().count(), 1, "{}", name);
        }
    }

    #[test]
    fn crossing_twice_leaves_the_headers_of_crossing_once(names in prop::collection::vec(a_name(), 0..12)) {
        let mut headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
        headers.retain(|(name, _)| !is_framing(name));
        headers.extend([("te", "trailers"), ("baggage", "caracal.a=1,b=2"), ("trailer", "x-checksum")]);
        let once = cross(head(&headers), bearer()).unwrap().head;
        let mut again = once.clone();
        again.headers.remove("x-forwarded-host");
        let mut again = cross(again, bearer()).unwrap().head;
        // The second crossing sees the first one's Host.
        again.headers.remove("x-forwarded-host");
        let mut expect = once.headers;
        expect.remove("x-forwarded-host");
        prop_assert_eq!(again.headers, expect);
    }

    #[test]
    fn length_that_crosses_is_the_callers(length in any::<u64>()) {
        let outbound = cross(head(&[("content-length", &length.to_string())]), bearer()).unwrap();
        prop_assert_eq!(&outbound.head.headers[CONTENT_LENGTH], &length.to_string());
    }
}
