//! Gates 1 to 5.

use super::refuses;
use crate::scene::Scene;

fn header(name: &'static str, value: &str) -> impl FnOnce(&mut Scene) {
    let value = value.to_owned();
    move |scene| scene.headers.push((name, value))
}

#[test]
fn framing_doubled_or_aliased_headers_are_refused() {
    for (name, value) in [
        ("authorization", "Bearer x"),
        ("x-caracal-resource", "b"),
        ("x_caracal_resource", "b"),
        ("X_Caracal_Identity", "x"),
        ("x_real_ip", "1.1.1.1"),
        ("content-length", "x"),
    ] {
        refuses(
            header(name, value),
            400,
            "invalid_token",
            "ambiguous request headers",
        );
    }
}

#[test]
fn framing_declared_length_over_the_limit_is_refused() {
    refuses(
        header("content-length", "1001"),
        413,
        "payload_too_large",
        "request body too large",
    );
    assert!(
        Scene::with(header("content-length", "1000"))
            .walk()
            .result
            .is_ok()
    );
}

#[test]
fn framing_client_id_header_is_let_pass_and_never_used() {
    for name in [
        "x-caracal-client-id",
        "x_caracal_client_id",
        "X-Caracal_Client-ID",
    ] {
        let walked = Scene::with(header(name, "app-of-attacker")).walk();
        let (world, permit) = walked.split();
        assert_eq!(permit.journal.application_id.as_deref(), Some("app-of-binding"));
        assert!(!world.journal.forms.lock().unwrap()[0].contains("attacker"));
    }
}

#[test]
fn bearer_missing_is_refused() {
    for scheme in ["", "Basic", "Bearer,", "DPoP"] {
        refuses(
            |scene| scene.scheme = scheme,
            401,
            "invalid_token",
            "missing bearer token",
        );
    }
    assert!(Scene::with(|scene| scene.scheme = "bEARER").walk().result.is_ok());
}

#[test]
fn bearer_over_4096_bytes_is_refused() {
    let large = |scene: &mut Scene| scene.mandate(|mandate| mandate.claim("pad", "x".repeat(4096)));
    refuses(large, 401, "invalid_token", "bearer token too large");
}

#[test]
fn resource_missing_is_refused() {
    refuses(
        |scene| scene.resource = " ",
        400,
        "invalid_token",
        "missing routing headers",
    );
}

#[test]
fn path_traversal_is_refused() {
    for target in [
        "/a/../b",
        "/a/%2e%2e/b",
        "/..;/x",
        "/a%5cb",
        "/a%00b",
        "/%252e%252e",
    ] {
        refuses(
            |scene| scene.target = target,
            400,
            "invalid_token",
            "path traversal not permitted",
        );
    }
    for target in ["/", "/a%2Fb.txt", "//a//", "/a?x=/../y"] {
        assert!(
            Scene::with(|scene| scene.target = target).walk().result.is_ok(),
            "{target}"
        );
    }
}
