use super::*;
use proptest::prelude::*;

fn name(text: &str) -> HeaderName {
    HeaderName::from_bytes(text.as_bytes()).unwrap()
}

#[test]
fn reserved_names_are_known_in_every_spelling() {
    for text in [
        "X-Caracal-Identity",
        "X_Caracal_Identity",
        "x-caracal_client-id",
        "X.Caracal.Resource",
        "X-Forwarded-For",
        "x_forwarded_for",
        "X-Forwarded_Prefix",
        "x_real_ip",
        "X-Real-IP",
        "Forwarded",
        "X_Request_Id",
        "X-Forwarded",
    ] {
        assert!(is_reserved(&name(text)), "{text}");
    }
}

#[test]
fn ordinary_names_are_not_reserved() {
    for text in [
        "x-caracal",
        "x-forward-for",
        "my_header",
        "forwarded-by",
        "x-real-ipv6",
        "authorization",
    ] {
        assert!(!is_reserved(&name(text)), "{text}");
    }
}

#[test]
fn a_credential_may_not_take_a_framing_or_gateway_header() {
    for text in [
        "host",
        "te",
        "X-Caracal-Identity",
        "x_forwarded_for",
        "content-length",
        "proxy-x",
        "baggage",
    ] {
        assert!(!may_carry_credential(&name(text)), "{text}");
    }
    for text in ["authorization", "x-api-key", "cookie", "api_key"] {
        assert!(may_carry_credential(&name(text)), "{text}");
    }
}

#[test]
fn aliases_are_names_with_an_underscore_that_another_hop_reads_as_reserved() {
    for (text, expect) in [
        ("content_length", true),
        ("http2_settings", true),
        ("keep_alive", true),
        ("transfer_encoding", true),
        ("transfer-encoding", false),
        ("x_forwarded", true),
        ("x_forwarded-for", true),
        ("x_real_ip", true),
        ("x-request_id", true),
        ("proxy_any", true),
        ("sec_websocket_protocol", true),
        ("sec-websocket_protocol", true),
        ("sec-websocket-protocol", false),
        ("x_caracal_any", true),
        ("x_forwarded.for", false),
        ("my_header", false),
    ] {
        assert_eq!(is_alias(&name(text)), expect, "{text}");
    }
}

proptest! {
    #[test]
    fn any_separator_spells_the_same_name(
        base in prop::sample::select(vec!["x-caracal-resource", "x-forwarded-for", "x-real-ip", "x-request-id"]),
        separators in prop::collection::vec(prop::sample::select(b"-_.!#$%&'*+^`|~".to_vec()), 3),
        tail in "[a-z]{0,80}",
    ) {
        let mut separators = separators.into_iter();
        let spelled: String =
            base.chars().map(|c| if c == '-' { separators.next().map_or('-', char::from) } else { c }).collect();
        prop_assert!(is_reserved(&name(&spelled)));
        prop_assert!(is_same(&name(&spelled), &name(base)));
        if base.starts_with("x-caracal-") || base.starts_with("x-forwarded-") {
            prop_assert!(is_reserved(&name(&format!("{spelled}{tail}"))), "a long tail hides nothing");
        }
    }
}
