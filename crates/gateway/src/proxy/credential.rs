//! The judged credential in the form in which it crosses.

use admission::exchange::{Credential, Placement};
use forwarding::CredentialError;

/// Places the credential where the directive wants it.
pub(super) fn place(judged: &Credential) -> Result<forwarding::Credential, CredentialError> {
    let placed = match &judged.placement {
        Placement::None => forwarding::Credential::none(),
        Placement::Header { name, scheme, token } => forwarding::Credential::header(
            name.clone(),
            scheme.as_deref().unwrap_or_default(),
            token.expose(),
        )?,
        Placement::Query { name, token } => forwarding::Credential::query(name, token.expose())?,
    };
    let placed = placed.claiming(judged.reserved_header.clone());
    match &judged.identity {
        Some(mandate) => placed.with_identity(mandate.expose()),
        None => Ok(placed),
    }
}
