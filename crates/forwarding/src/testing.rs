//! What the tests of this crate share.

use std::sync::Arc;

use admission::Credential;
use admission::binding::UpstreamUrl;
use http::header::{AUTHORIZATION, HeaderName};

pub(crate) fn url(text: &str) -> Arc<UpstreamUrl> {
    Arc::new(UpstreamUrl::parse(text).unwrap())
}

pub(crate) fn no_credential() -> Credential {
    Credential::none(AUTHORIZATION).unwrap()
}

/// No credential, from a directive that names a header.
pub(crate) fn claiming(header: HeaderName) -> Credential {
    Credential::none(header).unwrap()
}

pub(crate) fn query_key(name: &str, token: &str) -> Credential {
    Credential::query_parameter(name, token, AUTHORIZATION).unwrap()
}
