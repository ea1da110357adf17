//! Gate 11.

use admission::limits::OwnEndpoint;

use super::refuses;
use crate::ports::binding;
use crate::scene::Scene;

#[test]
fn binding_missing_is_refused() {
    refuses(
        |scene| scene.script.bound = None,
        403,
        "access_denied",
        "resource not configured",
    );
}

#[test]
fn binding_without_application_takes_the_verified_client() {
    use admission::binding::Application;
    let from_token = |client: Option<&'static str>| {
        move |scene: &mut Scene| {
            let bound = scene.script.bound.as_mut().unwrap();
            bound.application = Application::FromToken;
            scene.mandate(|mandate| match client {
                Some(client) => mandate.claim("client_id", client),
                None => mandate.without("client_id"),
            });
        }
    };
    let permit = Scene::with(from_token(Some("app-7"))).walk().permit();
    assert_eq!(permit.journal.application_id.as_deref(), Some("app-7"));
    for client in [None, Some(""), Some("a/b")] {
        refuses(from_token(client), 401, "invalid_token", "missing token client");
    }
}

#[test]
fn binding_upstream_that_the_guard_refuses_is_502() {
    let not_addressable = |change: &dyn Fn(&mut Scene)| {
        refuses(
            |scene| change(scene),
            502,
            "internal_error",
            "upstream not addressable",
        )
    };
    for url in [
        "https://169.254.169.254/",
        "http://metadata/",
        "https://u@api.example",
        "https://api.example/../x",
    ] {
        let walked = not_addressable(&|scene| scene.script.bound = Some(binding(url)));
        assert!(
            !walked.world.journal.has("resolve"),
            "{url} is judged before any query"
        );
    }
    for address in [
        "10.0.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "::1",
        "64:ff9b::a9fe:a9fe",
    ] {
        let addresses = vec![[8, 8, 8, 8].into(), address.parse().unwrap()];
        not_addressable(&|scene| scene.script.addresses.clone_from(&addresses));
    }
    not_addressable(&|scene| scene.script.addresses.clear());
    not_addressable(&|scene| scene.egress.allowlist = vec!["other.example".to_owned()]);
    not_addressable(&|scene| {
        scene.egress.own_endpoints = vec![OwnEndpoint::Host("sts.example".to_owned(), 443)];
    });
}
