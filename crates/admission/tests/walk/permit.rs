//! The good walk: what was asked, what was sent, what the permit holds.

use admission::exchange::Placement;
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
            "zone", "key", "watch", "standing", "find", "resolve", "room", "set", "exchange"
        ],
        "each port once, in the order of the gates"
    );
    let permit = walked.result.unwrap();
    let parts = permit.parts();
    assert_eq!(parts.upstream.url().base(), "https://api.example/base");
    assert_eq!(
        parts.upstream.addresses()[0].socket(),
        ([93, 184, 216, 34], 443).into()
    );
    assert_eq!(parts.subject.jti.as_deref(), Some(jti.as_str()));
    assert_eq!(parts.subject.subject_kind.as_deref(), Some("application"));
    assert!(parts.subject.session_id.is_some() && parts.subject.agent_session_id.is_some());
    assert_eq!(parts.directive.auth_mode, "caracal_jwt");
    let Placement::Header { name, scheme, token } = &parts.credential.placement else {
        panic!("a header")
    };
    assert_eq!(
        (name.as_str(), scheme.as_deref(), token.expose()),
        ("authorization", Some("Bearer"), "resource.mandate.sig")
    );
    assert!(!format!("{:?} {:?}", parts.credential, parts.subject).contains("resource.mandate.sig"));
}

#[test]
fn permit_carries_the_watch_that_was_registered_before_the_set_was_read() {
    let walked = Scene::good().walk();
    let permit = walked.result.unwrap();
    assert_eq!(permit.parts().watch.poll_now(), WatchState::Quiet);
    walked
        .world
        .journal
        .watch
        .lock()
        .unwrap()
        .as_ref()
        .unwrap()
        .raise();
    assert_eq!(permit.parts().watch.poll_now(), WatchState::Revoked);
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
