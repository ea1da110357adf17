//! The egress guard's view of a URL: what passes has a dialable ASCII base, and the rewriting reads
//! the same origin in it.
#![no_main]

use admission::binding::upstream_url;
use admission::limits::{EgressPolicy, PrivateUpstreams};
use forwarding::Base;
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
    let again = upstream_url::judge(
        &format!("{}://{}", base.scheme().as_str(), base.authority()),
        &policy,
    );
    assert_eq!(
        again.ok().as_ref().map(upstream_url::UpstreamUrl::origin),
        Some(url.origin())
    );
});
