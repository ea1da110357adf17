//! The upstream directive: where a request goes and what credential it carries there.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::config::{Credential, Resource};

#[derive(Default, Serialize)]
struct Directive<'a> {
    url: &'a str,
    auth_mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_location: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_header: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_param_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_scheme: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    allowed_token_hosts: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_id: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    forward_caracal_identity: bool,
}

/// Writes the directive of a resource.
pub(super) fn write(resource: &Resource, url: &str) -> Result<Box<RawValue>, serde_json::Error> {
    let common = Directive {
        url,
        allowed_token_hosts: &resource.allowed_token_hosts,
        provider_id: resource.provider_id.as_deref(),
        connection_id: resource.connection_id.as_deref(),
        forward_caracal_identity: resource.forward_identity,
        ..Directive::default()
    };
    to_raw_value(&match &resource.credential {
        Credential::None => Directive {
            auth_mode: "none",
            ..common
        },
        Credential::CaracalJwt => Directive {
            auth_mode: "caracal_jwt",
            auth_header: Some("Authorization"),
            auth_scheme: Some("Bearer"),
            ..common
        },
        Credential::ProviderOauth {
            header,
            scheme,
            token,
        } => Directive {
            auth_mode: "provider_oauth",
            auth_header: Some(header),
            auth_scheme: Some(scheme),
            provider_token: Some(token.expose()),
            ..common
        },
        Credential::ApiKeyHeader { header, scheme, key } => Directive {
            auth_mode: "provider_apikey",
            auth_location: Some("header"),
            auth_header: Some(header),
            auth_scheme: scheme.as_deref(),
            provider_token: Some(key.expose()),
            ..common
        },
        Credential::ApiKeyQuery { parameter, key } => Directive {
            auth_mode: "provider_apikey",
            auth_location: Some("query"),
            query_param_name: Some(parameter),
            provider_token: Some(key.expose()),
            ..common
        },
    })
}
