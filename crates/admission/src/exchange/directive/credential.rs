//! Which credential a directive asks for.

use super::wire::{Directive, authorization_or};
use crate::cause::Cause;
use crate::credential::{Credential, CredentialError, check_scheme};
use crate::secret::Secret;

/// Judges the directive's mode (`auth_mode`).
pub(super) fn judge(directive: &Directive, access_token: &Secret) -> Result<Credential, Cause> {
    let header = authorization_or(&directive.auth_header)?;
    let scheme = directive.auth_scheme.as_str();
    check_scheme(scheme).map_err(unusable)?;
    let provider_token = || match &directive.provider_token {
        Some(token) => Ok(token.expose()),
        None => Err(Cause::new("directive carries no provider token")),
    };
    let mode = (directive.auth_mode.as_str(), directive.auth_location.as_str());
    let (credential, is_providers) = match mode {
        ("none", _) => (Credential::none(header), false),
        ("caracal_jwt", _) => {
            let scheme = if scheme.is_empty() { "Bearer" } else { scheme };
            (Credential::header(header, scheme, access_token.expose()), false)
        }
        ("provider_oauth", _) | ("provider_apikey", "" | "header") => {
            (Credential::header(header, scheme, provider_token()?), true)
        }
        ("provider_apikey", "query") => {
            let name = &directive.query_param_name;
            (Credential::query_parameter(name, provider_token()?, header), true)
        }
        _ => return Err(Cause::new("directive's auth_mode or auth_location is unknown")),
    };
    let credential = credential.map_err(unusable)?;
    if is_providers && directive.forward_caracal_identity {
        credential.with_identity(access_token.expose()).map_err(unusable)
    } else {
        Ok(credential)
    }
}

pub(super) fn unusable(error: CredentialError) -> Cause {
    Cause::new(format!("directive's credential: {error}"))
}
