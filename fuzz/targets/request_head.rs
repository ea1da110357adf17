//! A caller's head on its way upstream: no reserved name of the caller's survives.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use admission::binding::UpstreamUrl;
use admission::{Credential, Scheme};
use forwarding::{Crossing, FreshTrace, TrustedProxies};
use http::{HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

const CALLERS: &[u8] = b"of the caller";

fuzz_target!(|input: (&str, Vec<&str>)| {
    let (target, names) = input;
    let Ok(request) = http::Request::get(target).body(()) else {
        return;
    };
    let (mut head, ()) = request.into_parts();
    for name in names {
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            head.headers
                .append(name, HeaderValue::from_static("of the caller"));
        }
    }
    let Ok(url) = UpstreamUrl::parse("https://api.example/base?fixed=1").map(Arc::new) else {
        return;
    };
    let Ok(credential) = Credential::none(http::header::AUTHORIZATION) else {
        return;
    };
    let request_id = HeaderValue::from_static("fuzz");
    let crossing = Crossing {
        is_bodiless: false,
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        scheme: Scheme::Https,
        request_id: &request_id,
        trusted_proxies: &TrustedProxies::new([]),
        trace: FreshTrace::from_random([1; 16], [1; 8]),
    };
    if let Ok(outbound) = forwarding::request_head(head, &crossing, &url, &credential) {
        for (name, value) in &outbound.head.headers {
            let reserved =
                name.as_str().starts_with("x-caracal-") || name == "authorization" || name == "host";
            assert!(
                !(reserved && value.as_bytes() == CALLERS),
                "{name} of the caller crossed"
            );
        }
    }
});
