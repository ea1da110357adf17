//! One row of the bindings.

use std::fmt;
use std::sync::Arc;

use super::upstream_url::UpstreamUrl;
use crate::cause::Cause;

/// One binding: in its zone, this resource is served by this upstream and exchanged under
/// this application. Its URL may hold a key, so `Debug` leaves it out.
#[derive(Clone, PartialEq, Eq)]
pub struct Binding {
    /// The zone.
    pub zone_id: String,
    /// The resource identifier.
    pub resource: String,
    /// Under which application the exchange is made.
    pub application: Application,
    /// The upstream URL, parsed when the binding was read.
    pub upstream_url: BoundUrl,
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding")
            .field("zone_id", &self.zone_id)
            .field("resource", &self.resource)
            .field("application", &self.application)
            .finish_non_exhaustive()
    }
}

/// The application id of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Application {
    /// The binding names it.
    Bound(String),
    /// The installation has no binding table: the verified token's `client_id`.
    FromToken,
}

/// An upstream URL as it stands in the database. One that is none is kept too: a request for it is
/// told so, rather than that there is no binding.
#[derive(Clone)]
pub struct BoundUrl(Result<Arc<UpstreamUrl>, (Box<str>, Cause)>);

impl BoundUrl {
    /// The text as it stands in the database.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Ok(url) => url.as_written(),
            Err((text, _)) => text,
        }
    }

    /// The URL.
    ///
    /// # Errors
    /// Why the text is no upstream URL, for the log.
    pub fn parsed(&self) -> Result<&Arc<UpstreamUrl>, Cause> {
        self.0.as_ref().map_err(|(_, cause)| cause.clone())
    }
}

impl From<&str> for BoundUrl {
    fn from(text: &str) -> Self {
        Self(
            UpstreamUrl::parse(text)
                .map(Arc::new)
                .map_err(|cause| (text.into(), cause)),
        )
    }
}

impl PartialEq for BoundUrl {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for BoundUrl {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_url_is_its_text_whether_it_is_a_url_or_not() {
        for text in ["https://up.example/a", "no url"] {
            assert_eq!(BoundUrl::from(text).as_str(), text);
            assert!(BoundUrl::from(text) == BoundUrl::from(text));
            assert!(BoundUrl::from(text) != BoundUrl::from("https://up.example/b"));
        }
    }
}
