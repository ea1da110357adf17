//! The rooms agree on reserved names: gate 1 refuses their aliases, the rewriting drops them, and no
//! directive may put a credential there.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use admission::Denial;
use forwarding::{Base, Credential, Crossing, FreshTrace, Scheme, TrustedProxies, request_head};
use http::{HeaderName, HeaderValue};
use serde_json::json;

use crate::scene::{Scene, directive, granting};

/// Where the names are written down.
const ROOMS: [&str; 3] = [
    include_str!("../../src/preflight/framing.rs"),
    include_str!("../../src/exchange/directive/credential.rs"),
    include_str!("../../../forwarding/src/reserved.rs"),
];

/// Every header name that one of the rooms mentions, and one below each prefix.
fn names() -> BTreeSet<String> {
    let literals = ROOMS
        .iter()
        .flat_map(|source| source.lines())
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split('"').skip(1).step_by(2))
        .filter(|text| HeaderName::from_bytes(text.as_bytes()).is_ok());
    let names: BTreeSet<_> = literals
        .map(str::to_ascii_lowercase)
        .map(|name| if name.ends_with('-') { name + "any" } else { name })
        .collect();
    for expected in ["x-caracal-any", "proxy-any", "te", "http2-settings", "baggage"] {
        assert!(names.contains(expected), "{expected} is found in the sources");
    }
    names
}

/// Whether a caller's header of this name reaches the upstream.
fn crosses(name: &str) -> bool {
    let value = HeaderValue::from_static("of the caller");
    let (mut head, ()) = http::Request::get("/").body(()).unwrap().into_parts();
    let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
    head.headers.insert(&name, value.clone());
    let crossing = Crossing {
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        scheme: Scheme::Https,
        request_id: &HeaderValue::from_static("r"),
        trusted_proxies: &TrustedProxies::new([]),
        trace: FreshTrace::from_random([1; 16], [1; 8]),
    };
    let base = Base::parse("https://api.example/").unwrap();
    let outbound = request_head(head, &crossing, &base, Credential::none()).unwrap();
    outbound.head.headers.get(&name) == Some(&value)
}

#[test]
fn reserved_aliases_are_refused_exactly_where_they_would_be_dropped() {
    for name in names().iter().filter(|name| name.contains(['-', '_'])) {
        let alias = name.replace('-', "_");
        let walked = Scene::with(|scene| scene.headers.push((alias.clone().leak(), "1".to_owned()))).walk();
        let refused = walked.denial() == Some(Denial::AmbiguousHeaders);
        // The one alias that passes to be dropped.
        let ignored = alias == "x_caracal_client_id";
        assert_eq!(refused || ignored, !crosses(&alias), "{alias}");
    }
}

#[test]
fn reserved_headers_take_no_credential_in_either_room() {
    for name in names() {
        for spelling in [name.clone(), name.replace('-', "_"), name.replace('-', ".")] {
            let mut directive = directive();
            directive["auth_header"] = json!(spelling);
            let walked = Scene::with(|scene| scene.script.exchange = granting(&directive)).walk();
            let header = HeaderName::from_bytes(spelling.as_bytes()).unwrap();
            assert_eq!(
                walked.denial() == Some(Denial::DirectiveInvalid),
                Credential::header(header, "Bearer", "token").is_err(),
                "{spelling}"
            );
        }
    }
}
