//! The egress guard's view of a URL: what passes has a dialable ASCII base.
#![no_main]

use admission::binding::upstream_url;
use admission::limits::{EgressPolicy, PrivateUpstreams};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|url: &str| {
    let policy = EgressPolicy {
        private: PrivateUpstreams::Blocked,
        allowlist: Vec::new(),
        own_endpoints: Vec::new(),
    };
    if let Ok(url) = upstream_url::judge(url, &policy) {
        assert!(url.base().is_ascii() && !url.host().is_empty() && url.port() != 0);
    }
});
