//! The directive's judgement: where the request goes and what it carries, or why not.

mod credential;

use admission::Denial;
use admission::exchange::Dialect;
use http::HeaderValue;
use serde_json::{Value, json};

use crate::ports::{Exchange, binding};
use crate::scene::{Scene, UPSTREAM, Walked, directive, granting};

/// Walks with a directive that differs from the good one in some members.
fn with(changes: &Value) -> Walked {
    walk(changes, |_| ())
}

fn walk(changes: &Value, change: impl FnOnce(&mut Scene)) -> Walked {
    let mut directive = directive();
    for (name, value) in changes.as_object().unwrap() {
        directive[name] = value.clone();
    }
    Scene::with(|scene| {
        scene.script.exchange = granting(&directive);
        change(scene);
    })
    .walk()
}

/// The placement in words, the identity token, and the header that the caller may not set.
fn carried(walked: Walked) -> (String, Option<String>, String) {
    let credential = walked.permit().admitted.credential;
    let name = credential.reserved_header();
    let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
    let placement = match (credential.header_value(), credential.query()) {
        (None, None) => "none".to_owned(),
        (Some(value), None) => format!("{name}: {}", text(value)),
        (None, Some(key)) => format!("?{}={}", key.name(), key.expose()),
        (Some(_), Some(_)) => panic!("in two places"),
    };
    (placement, credential.identity().map(text), name.to_string())
}

#[test]
fn directive_that_is_no_object_is_refused() {
    for raw in [
        json!(7),
        json!(null),
        json!([]),
        json!([UPSTREAM, "none"]),
        json!("x"),
        json!({}),
        json!({ "url": 1 }),
    ] {
        let walked = Scene::with(|scene| scene.script.exchange = granting(&raw)).walk();
        assert_eq!(walked.denial(), Some(Denial::DirectiveInvalid), "{raw}");
    }
    let empty =
        Scene::with(|scene| scene.script.exchange = granting(&json!({ "url": "", "auth_mode": "none" })))
            .walk();
    assert_eq!(empty.denial(), Some(Denial::NoDirective));
}

#[test]
fn directive_token_hosts_must_hold_the_upstreams_host() {
    for (hosts, passes) in [
        (json!([]), true),
        (json!(["api.example"]), true),
        (json!(["other.example", "API.Example"]), true),
        (json!(["api.example."]), true),
        (json!(["ａｐｉ．example"]), true),
        (json!(["other.example"]), false),
        (json!([""]), false),
        (json!(["example"]), false),
        (json!(["*.example"]), false),
        (json!(["api.example:443"]), false),
    ] {
        let denial = with(&json!({ "allowed_token_hosts": hosts })).denial();
        assert_eq!(
            denial,
            (!passes).then_some(Denial::TokenHostNotAllowed),
            "{hosts}"
        );
    }
    let row = Denial::TokenHostNotAllowed.row();
    assert_eq!((row.status.as_u16(), row.error), (502, "internal_error"));
    assert_eq!(
        row.description,
        "provider credential not allowed for upstream host"
    );
}

#[test]
fn directive_token_hosts_and_the_upstreams_host_have_one_normal_form() {
    for (url, entries) in [
        (
            "https://bücher.example/",
            &["bücher.example", "BÜCHER.Example.", "xn--bcher-kva.example"][..],
        ),
        (
            "https://[2606:4700::1111]/",
            &["2606:4700::1111", "[2606:4700:0::1111]"],
        ),
    ] {
        for entry in entries {
            let walked = walk(&json!({ "url": url, "allowed_token_hosts": [entry] }), |scene| {
                scene.script.bound = Some(binding(url));
            });
            assert_eq!(walked.denial(), None, "{entry} is {url}");
        }
    }
}

#[test]
fn directive_path_and_query_of_the_same_origin_are_the_base() {
    for url in [
        "https://api.example/other?v=2",
        "https://API.example.:443/other",
        "HTTPS://api.example",
    ] {
        let walked = with(&json!({ "url": url }));
        assert!(!walked.world.journal.has("reread"), "{url}");
        assert_eq!(
            walked
                .world
                .journal
                .calls()
                .iter()
                .filter(|call| **call == "resolve")
                .count(),
            1,
            "the addresses stay the judged ones"
        );
        let permit = walked.permit();
        assert_eq!(permit.admitted.upstream.url().as_str(), url);
        assert_eq!(
            permit.admitted.upstream.addresses()[0].socket(),
            ([93, 184, 216, 34], 443).into()
        );
    }
}

#[test]
fn directive_of_another_origin_is_a_mismatch_after_one_fresh_look() {
    for url in [
        "http://api.example/base",
        "https://api.example:8443/base",
        "https://evil.example/base",
        "https://sub.api.example/base",
    ] {
        // The binding stays what it was, moved elsewhere, or is gone.
        for reread in [
            Some(binding(UPSTREAM)),
            Some(binding("https://third.example")),
            None,
        ] {
            let walked = walk(&json!({ "url": url }), |scene| scene.script.reread = reread);
            assert_eq!(walked.denial(), Some(Denial::UpstreamMismatch), "{url}");
            assert_eq!(
                walked
                    .world
                    .journal
                    .calls()
                    .iter()
                    .filter(|call| **call == "reread")
                    .count(),
                1
            );
            assert!(!walked.world.journal.has("release"));
        }
        let moved = walk(&json!({ "url": url }), |scene| {
            scene.script.reread = Some(binding(url));
        });
        assert_eq!(
            moved.permit().admitted.upstream.url().as_str(),
            url,
            "the binding had moved there"
        );
    }
    let row = Denial::UpstreamMismatch.row();
    assert_eq!(
        (row.status.as_u16(), row.error, row.description),
        (502, "internal_error", "upstream not addressable")
    );
}

#[test]
fn directive_url_passes_the_same_guard_as_the_binding() {
    for url in [
        "https://169.254.169.254/",
        "https://user@api.example/",
        "https://api.example/#x",
        "https://api.example/a/../b",
        "https://api.example\\@evil.example/",
        "file:///etc/passwd",
        "api.example",
    ] {
        let fresh = |scene: &mut Scene| scene.script.reread = Some(binding(url));
        let denial = walk(&json!({ "url": url }), fresh).denial();
        assert_eq!(denial, Some(Denial::UpstreamNotAddressable), "{url}");
    }
    let unlisted = walk(&json!({ "url": "https://other.example/" }), |scene| {
        scene.egress.allowlist = vec!["api.example".to_owned()];
        scene.script.reread = Some(binding("https://other.example/"));
    });
    assert_eq!(unlisted.denial(), Some(Denial::UpstreamNotAddressable));
}

#[test]
fn directive_metadata_is_kept_for_the_evidence_in_both_spellings() {
    for connection in ["connection_id", "grant_id"] {
        let permit =
            with(&json!({ "provider_id": "p-1", connection: "c-1", "expires_at": 7, "new_member": {} }))
                .permit();
        let metadata = &permit.admitted.directive;
        assert_eq!(metadata.provider_id.as_deref(), Some("p-1"));
        assert_eq!(metadata.connection_id.as_deref(), Some("c-1"));
    }
}

#[test]
fn directive_may_be_absent_from_a_standard_sts() {
    let standard = |body: Value| {
        Scene::with(|scene| {
            scene.dialect = Dialect::Rfc8693;
            scene.script.exchange = Exchange::Answers(200, body.to_string());
        })
        .walk()
    };
    let walked = standard(json!({ "access_token": "t", "issued_token_type": "x", "token_type": "N_A" }));
    let permit = walked.permit();
    assert_eq!(
        permit.admitted.upstream.url().as_str(),
        UPSTREAM,
        "the bound upstream"
    );
    assert_eq!(permit.admitted.directive.auth_mode, "caracal_jwt");
    assert_eq!(
        carried(standard(json!({ "access_token": "t" }))),
        (
            "authorization: Bearer t".to_owned(),
            None,
            "authorization".to_owned()
        )
    );
    // A directive that is there is obeyed, and judged, all the same.
    let bad = json!({ "access_token": "t", "upstreams": { crate::ports::RESOURCE: { "url": UPSTREAM, "auth_mode": "magic" } } });
    assert_eq!(standard(bad).denial(), Some(Denial::DirectiveInvalid));
}
