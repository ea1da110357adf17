//! One row of the bindings.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::upstream_url::UpstreamUrl;
use crate::cause::Cause;
use crate::identifier::is_identifier;
use crate::limits::Limits;

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
    /// The upstream URL.
    pub upstream_url: BoundUrl,
}

impl Binding {
    /// Whether a mandate can be of this zone and application, and a request name this resource.
    ///
    /// # Errors
    /// What is wrong with a name.
    pub fn nameable(&self) -> Result<(), Cause> {
        let is_resource = |text: &str| {
            (1..=Limits::MAX_RESOURCE_BYTES).contains(&text.len())
                && text.trim() == text
                && text.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
        };
        let (zone, application) = (&self.zone_id, &self.application);
        if !is_identifier(zone) {
            return Err(Cause::new("the zone must be 1 to 128 of A-Z a-z 0-9 . _ : -"));
        }
        if !is_resource(&self.resource) {
            return Err(Cause::new(
                "the resource must be 1 to 256 printable ASCII characters without blanks at its ends",
            ));
        }
        match application {
            Application::Bound(id) if !is_identifier(id) => Err(Cause::new(
                "the application must be 1 to 128 of A-Z a-z 0-9 . _ : -",
            )),
            Application::Bound(_) | Application::FromToken => Ok(()),
        }
    }
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

/// An upstream URL as it stands in the database. One that is none is kept too: a request for it is told so, rather than
/// that there is no binding. It is parsed when it is first used: of many bindings few are, and a parsed URL is several
/// times as large.
#[derive(Clone)]
pub struct BoundUrl {
    text: Box<str>,
    parsed: OnceLock<Result<Arc<UpstreamUrl>, Cause>>,
}

impl BoundUrl {
    /// The text as it stands in the database.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The URL.
    ///
    /// # Errors
    /// Why the text is no upstream URL, for the log.
    pub fn parsed(&self) -> Result<&Arc<UpstreamUrl>, Cause> {
        let parse = || UpstreamUrl::parse(&self.text).map(Arc::new);
        self.parsed.get_or_init(parse).as_ref().map_err(Cause::clone)
    }
}

impl From<&str> for BoundUrl {
    fn from(text: &str) -> Self {
        Self {
            text: text.into(),
            parsed: OnceLock::new(),
        }
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
    fn names_that_no_request_can_use_are_told() {
        let names = |zone: &str, resource: &str, application: &str| {
            let binding = Binding {
                zone_id: zone.to_owned(),
                resource: resource.to_owned(),
                application: Application::Bound(application.to_owned()),
                upstream_url: "https://up.example".into(),
            };
            binding.nameable().err().map(|cause| cause.to_string())
        };
        assert_eq!(names("z", "resource://a b", "app-1"), None);
        for (zone, resource, application, named) in [
            ("", "r", "a", "zone"),
            ("z/1", "r", "a", "zone"),
            ("z", "", "a", "resource"),
            ("z", " r", "a", "resource"),
            ("z", "r\n", "a", "resource"),
            ("z", &"r".repeat(257), "a", "resource"),
            ("z", "r", "a b", "application"),
        ] {
            let told = names(zone, resource, application).unwrap();
            assert!(told.starts_with(&format!("the {named} must")), "{told}");
        }
    }

    #[test]
    fn bound_url_is_its_text_whether_it_is_a_url_or_not() {
        for text in ["https://up.example/a", "no url"] {
            assert_eq!(BoundUrl::from(text).as_str(), text);
            assert!(BoundUrl::from(text) == BoundUrl::from(text));
            assert!(BoundUrl::from(text) != BoundUrl::from("https://up.example/b"));
        }
    }
}
