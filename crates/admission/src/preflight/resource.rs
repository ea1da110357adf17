//! Gate 4: the request names its resource.

use super::bearer::Bearing;
use crate::denial::Denial;
use crate::limits::Limits;
use crate::names::X_CARACAL_RESOURCE;
use crate::received::Head;
use crate::refused::Refused;

/// A request that names a resource.
pub struct Routed<'r> {
    bearing: Bearing<'r>,
    resource: &'r str,
}

impl<'r> Routed<'r> {
    pub(crate) fn head(&self) -> Head<'r> {
        self.bearing.head()
    }

    pub(crate) fn token(&self) -> &'r str {
        self.bearing.token()
    }

    pub(crate) fn resource(&self) -> &'r str {
        self.resource
    }
}

/// Takes the resource identifier from `X-Caracal-Resource`, or from the subprotocols of a WebSocket handshake: 1 to 256
/// printable ASCII bytes, surrounding blanks ignored.
///
/// # Errors
/// [`Denial::MissingRouting`].
pub fn name(bearing: Bearing<'_>) -> Result<Routed<'_>, Refused> {
    let head = bearing.head();
    let of_header = || {
        let value = head.parts.headers.get(&X_CARACAL_RESOURCE)?;
        std::str::from_utf8(value.as_bytes()).ok()
    };
    let resource = head
        .subprotocols
        .resource()
        .or_else(of_header)
        .map(|text| text.trim_matches([' ', '\t']))
        .filter(|text| (1..=Limits::MAX_RESOURCE_BYTES).contains(&text.len()))
        .filter(|text| text.bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
    match resource {
        Some(resource) => Ok(Routed { bearing, resource }),
        None => Err(Denial::MissingRouting.into()),
    }
}
