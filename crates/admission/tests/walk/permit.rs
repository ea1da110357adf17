//! The good walk: what was asked, what was sent, what the permit holds.

use admission::Usage;
use admission::ports::WatchState;

use crate::scene::{EXCHANGE_ID, Scene};

#[test]
fn permit_is_the_end_of_a_good_walk() {
    let scene = Scene::good();
    let jti = scene.mandate.text("jti").to_owned();
    let walked = scene.walk();
    assert_eq!(
        walked.world.journal.calls(),
        [
            "zone", "key", "watch", "standing", "find", "resolve", "room", "set", "expect", "exchange"
        ],
        "each port once, in the order of the gates"
    );
    let permit = walked.permit();
    let admitted = &permit.admitted;
    assert_eq!(admitted.upstream.url().as_str(), "https://api.example/base");
    assert_eq!(
        admitted.upstream.addresses()[0].socket(),
        ([93, 184, 216, 34], 443).into()
    );
    assert_eq!(admitted.directive.auth_mode, "caracal_jwt");
    let credential = &admitted.credential;
    assert_eq!(credential.reserved_header(), "authorization");
    let value = credential.header_value().unwrap();
    assert_eq!(value, "Bearer resource.mandate.sig");
    assert!(value.is_sensitive());
    let subject = permit.journal.subject.unwrap();
    assert_eq!(subject.usage, Usage::SingleUse { jti });
    assert_eq!(subject.subject_kind.as_deref(), Some("application"));
    assert!(subject.session_id.is_some() && subject.agent_session_id.is_some());
    assert!(!format!("{credential:?} {subject:?}").contains("resource.mandate.sig"));
    assert_eq!(permit.head.uri, "/v1/models?limit=2", "the head of this request");
}

#[test]
fn permit_carries_the_watch_that_was_registered_before_the_set_was_read() {
    let (world, permit) = Scene::good().walk().split();
    assert_eq!(permit.admitted.watch.poll_now(), WatchState::Quiet);
    world.journal.watch.lock().unwrap().as_ref().unwrap().raise();
    assert_eq!(permit.admitted.watch.poll_now(), WatchState::Revoked);
}

#[test]
fn exchange_form_names_the_bindings_application_and_the_decoded_path() {
    let scene = Scene::with(|scene| scene.target = "/v1/a%2Fb/%E2%82%AC%2520?q=1");
    let token = scene.mandate.sign(&scene.key);
    let walked = scene.walk_with_token(&token);
    let forms = walked.world.journal.forms.lock().unwrap();
    let fields: Vec<(String, String)> = url::form_urlencoded::parse(forms[0].as_bytes())
        .into_owned()
        .collect();
    let expected = [
        ("application_id", "app-of-binding"),
        ("gateway_request_id", EXCHANGE_ID),
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("request_method", "POST"),
        ("request_path", "/v1/a/b/€%20"),
        ("resource", "resource://pipernet"),
        ("subject_token", &token),
        (
            "subject_token_type",
            "urn:ietf:params:oauth:token-type:access_token",
        ),
        ("zone_id", "zone-1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(fields, expected);
}

#[test]
fn framing_of_http_2_needs_no_host_header() {
    let h2 = |change: fn(&mut Scene)| {
        Scene::with(|scene| {
            scene.version = http::Version::HTTP_2;
            scene.target = "https://gateway.example/v1/models?limit=2";
            change(scene);
        })
        .walk()
    };
    let walked = h2(|_| ());
    assert!(walked.result.is_ok());
    assert!(walked.world.journal.forms.lock().unwrap()[0].contains("request_path=%2Fv1%2Fmodels&"));
    let traversal = h2(|scene| scene.target = "https://gateway.example/v1/%2e%2e/x");
    assert_eq!(traversal.denial(), Some(admission::Denial::PathTraversal));
}
