//! The egress guard's view of a URL: what passes has a dialable ASCII base, the rewriting reads the
//! same origin in it, and any request can be aimed below it.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use admission::binding::upstream_url;
use admission::limits::{EgressPolicy, PrivateUpstreams};
use forwarding::{Base, Credential, Crossing, FreshTrace, Scheme, TrustedProxies, request_head};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|url: &str| {
    let policy = EgressPolicy {
        private: PrivateUpstreams::Blocked,
        allowlist: Vec::new(),
        own_endpoints: Vec::new(),
    };
    let Ok(url) = upstream_url::judge(url, &policy) else {
        return;
    };
    assert!(url.base().is_ascii() && !url.host().is_empty() && url.port() != 0);
    let base = Base::parse(url.base());
    assert!(base.is_ok(), "what was judged cannot be rewritten to");
    let Ok(base) = base else { return };
    assert_eq!(base.port(), url.port());
    assert!(aimed_below(&base), "no request can be aimed below it");
    let again = upstream_url::judge(
        &format!("{}://{}", base.scheme().as_str(), base.authority()),
        &policy,
    );
    assert_eq!(
        again.ok().as_ref().map(upstream_url::UpstreamUrl::origin),
        Some(url.origin())
    );
});

fn aimed_below(base: &Base) -> bool {
    let Ok(request) = http::Request::get("/a%2Fb?c=d").body(()) else {
        return false;
    };
    let crossing = Crossing {
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        scheme: Scheme::Https,
        request_id: &http::HeaderValue::from_static("fuzz"),
        trusted_proxies: &TrustedProxies::new([]),
        trace: FreshTrace::from_random([1; 16], [1; 8]),
    };
    request_head(request.into_parts().0, &crossing, base, Credential::none()).is_ok()
}
