use http::Request;

use super::*;
use crate::denial::Denial;
use crate::limits::ReusableUses;

fn limits() -> Limits {
    Limits {
        max_request_bytes: 10,
        preflight_window: std::time::Duration::from_secs(35),
        reusable_uses: ReusableUses::new(["session".to_owned()]),
        upgrades: crate::Upgrades::default(),
    }
}

/// Runs the preflight over a head and returns the refusal, if any.
fn check(headers: &[(&str, &str)]) -> Result<String, Denial> {
    let mut request = Request::builder().uri("/v1/models");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (head, ()) = request.body(()).unwrap().into_parts();
    super::check(
        Head {
            parts: &head,
            exchange_id: "x",
            own_place: &crate::OwnPlace::default(),
            subprotocols: &crate::subprotocols::NONE,
        },
        &limits(),
        |_| (),
    )
    .map(|passed| format!("{} {}", passed.token(), passed.resource()))
    .map_err(|refused| refused.denial)
}

const RESOURCE: (&str, &str) = ("x-caracal-resource", "resource://pipernet");
const BEARER: (&str, &str) = ("authorization", "Bearer a.b.c");

#[test]
fn framing_ambiguous_heads_are_refused() {
    let denied = Err(Denial::AmbiguousHeaders);
    assert_eq!(check(&[BEARER, BEARER, RESOURCE]), denied);
    assert_eq!(check(&[BEARER, RESOURCE, ("x-caracal-resource", "b")]), denied);
    assert_eq!(
        check(&[BEARER, ("x-caracal-resource", "a, b")]),
        denied,
        "joined by a proxy"
    );
    assert_eq!(check(&[BEARER, RESOURCE, ("host", "a"), ("host", "b")]), denied);
    for alias in [
        "x_caracal_resource",
        "X_Caracal_Identity",
        "x_caracal-identity",
        "x-caracal_identity",
        "X_Forwarded_For",
        "x_forwarded-proto",
        "x_real_ip",
        "content_length",
        "transfer_encoding",
        "x_request_id",
        "proxy_authorization",
    ] {
        assert_eq!(check(&[BEARER, RESOURCE, (alias, "1")]), denied, "{alias}");
    }
    assert_eq!(
        check(&[BEARER, RESOURCE, ("content-length", "1"), ("content-length", "2")]),
        denied
    );
    assert_eq!(check(&[BEARER, RESOURCE, ("content-length", "+1")]), denied);
    assert_eq!(
        check(&[BEARER, RESOURCE, ("content-length", "99999999999999999999999")]),
        denied
    );
}

#[test]
fn framing_harmless_underscores_and_the_client_id_pass() {
    for name in [
        "x_custom",
        "x_caracal",
        "client_id",
        "x_caracal_client_id",
        "X-Caracal_Client-ID",
        "x-caracal-client-id",
    ] {
        assert!(check(&[BEARER, RESOURCE, (name, "1")]).is_ok(), "{name}");
    }
}

#[test]
fn framing_declared_length_is_bounded_before_anything_else_is_spent() {
    assert!(check(&[BEARER, RESOURCE, ("content-length", "10")]).is_ok());
    assert_eq!(
        check(&[BEARER, RESOURCE, ("content-length", "11")]),
        Err(Denial::BodyTooLarge)
    );
}

#[test]
fn bearer_is_taken_whatever_the_case_of_its_scheme() {
    for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER a.b.c", "Bearer   a.b.c  "] {
        assert_eq!(
            check(&[("authorization", value), RESOURCE]),
            Ok("a.b.c resource://pipernet".to_owned())
        );
    }
    for value in [
        "",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        "Bearera.b.c",
        "a.b.c",
        "Bearer\ta.b.c",
    ] {
        assert_eq!(
            check(&[("authorization", value), RESOURCE]),
            Err(Denial::MissingBearer),
            "{value:?}"
        );
    }
    assert_eq!(check(&[RESOURCE]), Err(Denial::MissingBearer));
}

#[test]
fn bearer_of_4096_bytes_passes_and_one_more_does_not() {
    let longest = format!("Bearer {}", "a".repeat(4096));
    let longer = format!("Bearer {}", "a".repeat(4097));
    assert!(check(&[("authorization", &longest), RESOURCE]).is_ok());
    assert_eq!(
        check(&[("authorization", &longer), RESOURCE]),
        Err(Denial::BearerTooLarge)
    );
}

#[test]
fn resource_must_be_printable_and_bounded() {
    let (longest, longer) = ("r".repeat(256), "r".repeat(257));
    for value in ["r", " r ", "resource://a,b", &longest] {
        assert!(
            check(&[BEARER, ("x-caracal-resource", value)]).is_ok(),
            "{value:?}"
        );
    }
    for value in ["", "  ", "r\u{e9}", "a\tb", &longer] {
        assert_eq!(
            check(&[BEARER, ("x-caracal-resource", value)]),
            Err(Denial::MissingRouting),
            "{value:?}"
        );
    }
    assert_eq!(check(&[BEARER]), Err(Denial::MissingRouting));
}

/// A head that says these things by its subprotocols, and these fields.
fn check_handshake(offered: &str, fields: &[(&str, &str)]) -> Result<String, Denial> {
    let mut request = Request::builder()
        .uri("/")
        .header("sec-websocket-protocol", offered);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let (head, ()) = request.body(()).unwrap().into_parts();
    let head = Head {
        parts: &head,
        exchange_id: "x",
        own_place: &crate::OwnPlace::default(),
        subprotocols: &crate::subprotocols::Subprotocols::of(&head.headers),
    };
    super::check(head, &limits(), |_| ())
        .map(|passed| format!("{} {}", passed.token(), passed.resource()))
        .map_err(|refused| refused.denial)
}

#[test]
fn subprotocols_of_a_handshake_stand_for_header_fields_and_never_beside_them() {
    let long = format!(
        "caracal.bearer.{}, {SAYS}",
        "a".repeat(Limits::MAX_BEARER_BYTES + 1)
    );
    const TOKEN: &str = "caracal.bearer.a.b.c";
    const SAYS: &str = "caracal.resource.cmVzb3VyY2U6Ly9waXBlcm5ldA";
    let both = format!("chat, {TOKEN}, {SAYS}");
    let passes = Ok("a.b.c resource://pipernet".to_owned());
    for (offered, fields, expect) in [
        (both.as_str(), &[][..], passes.clone()),
        (TOKEN, &[RESOURCE], passes.clone()),
        (SAYS, &[BEARER], passes),
        (&both, &[BEARER], Err(Denial::AmbiguousHeaders)),
        (&both, &[RESOURCE], Err(Denial::AmbiguousHeaders)),
        (&format!("{both}, {TOKEN}"), &[], Err(Denial::AmbiguousHeaders)),
        (&format!("{both}, {SAYS}"), &[], Err(Denial::AmbiguousHeaders)),
        (
            &format!("caracal.bearer., {SAYS}"),
            &[],
            Err(Denial::MissingBearer),
        ),
        (&long, &[], Err(Denial::BearerTooLarge)),
        (SAYS, &[], Err(Denial::MissingBearer)),
        (TOKEN, &[], Err(Denial::MissingRouting)),
        (
            &format!("{TOKEN}, caracal.resource.*"),
            &[],
            Err(Denial::MissingRouting),
        ),
    ] {
        assert_eq!(check_handshake(offered, fields), expect, "{offered} {fields:?}");
    }
}
