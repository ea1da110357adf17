//! The egress guard's view of a URL: what passes has a dialable ASCII base, the rewriting reads the
//! same origin in it, and any request can be aimed below it.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use admission::binding::UpstreamUrl;
use admission::{Credential, Scheme};
use forwarding::{Crossing, FreshTrace, TrustedProxies, request_head};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|url: &str| {
    let Ok(url) = UpstreamUrl::parse(url).map(Arc::new) else {
        return;
    };
    assert!(url.as_str().is_ascii() && !url.host().is_empty() && url.port() != 0);
    assert!(aimed_below(&url), "no request can be aimed below it");
    let again = UpstreamUrl::parse(&format!("{}://{}", url.origin().scheme.as_str(), url.authority()));
    assert_eq!(again.ok().as_ref().map(UpstreamUrl::origin), Some(url.origin()));
});

fn aimed_below(url: &Arc<UpstreamUrl>) -> bool {
    let Ok(request) = http::Request::get("/a%2Fb?c=d").body(()) else {
        return false;
    };
    let Ok(credential) = Credential::none(http::header::AUTHORIZATION) else {
        return false;
    };
    let crossing = Crossing {
        is_bodiless: false,
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        scheme: Scheme::Https,
        request_id: &http::HeaderValue::from_static("fuzz"),
        trusted_proxies: &TrustedProxies::new([]),
        trace: FreshTrace::from_random([1; 16], [1; 8]),
    };
    request_head(request.into_parts().0, &crossing, url, &credential).is_ok()
}
