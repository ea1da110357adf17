//! What the demo runs against: the standard stack, and resources that go wrong on purpose.

use devstack::{Answer, Refusal};
use devstack::{
    Client, Credential, Devstack, MintRequest, RawAnswer, Resource, Scope, Secret, StackConfig, Target,
};
use serde_json::{Value, json};

use crate::clock;
use crate::commands::local::LocalError;
use crate::ids;

/// The zone in which almost everything happens.
pub(super) const ZONE: &str = "zone-dev";
/// The application of every mandate.
pub(super) const APP: &str = "app-dev";
/// A zone whose keys are asked for while the STS withholds them.
pub(super) const DARK_ZONE: &str = "zone-dark";
/// A zone whose exchanges fail.
pub(super) const FRAIL_ZONE: &str = "zone-frail";

/// The resource mandate goes upstream.
pub(super) const MANDATE: &str = "resource://mandate";
/// No credential goes upstream.
pub(super) const NONE: &str = "resource://none";
/// Bound to the metadata service of a cloud.
pub(super) const METADATA: &str = "resource://metadata";
/// Its STS directive points elsewhere than its binding.
pub(super) const HIJACKED: &str = "resource://hijacked";
/// In [`DARK_ZONE`].
pub(super) const DARK: &str = "resource://dark";
/// In [`FRAIL_ZONE`]; the STS fails at every exchange.
pub(super) const FRAIL: &str = "resource://frail";

/// An address that no flag opens: it hands out a cloud machine's credentials.
const METADATA_URL: &str = "http://169.254.169.254/latest/meta-data";

/// The running stack and what is known about its resources.
pub(super) struct Scene {
    pub(super) stack: Devstack,
    resources: Vec<Resource>,
}

/// The stack's configuration.
pub(super) fn config() -> Result<StackConfig, devstack::Error> {
    let mut config = StackConfig::standard()?;
    for zone in [DARK_ZONE, FRAIL_ZONE] {
        config.zones.push(zone.into());
        config.clients.push(Client {
            zone: zone.into(),
            id: APP.into(),
            secret: Secret::random()?,
        });
    }
    let echo = || Target::Echo(String::new());
    config.resources.extend([
        plain(ZONE, METADATA, Target::Url(METADATA_URL.into())),
        plain(ZONE, HIJACKED, echo()),
        plain(DARK_ZONE, DARK, echo()),
        plain(FRAIL_ZONE, FRAIL, echo()),
    ]);
    Ok(config)
}

fn plain(zone: &str, identifier: &str, target: Target) -> Resource {
    Resource {
        zone: zone.into(),
        identifier: identifier.into(),
        application_id: APP.into(),
        target,
        credential: Credential::None,
        forward_identity: false,
        allowed_token_hosts: Vec::new(),
        provider_id: None,
        connection_id: None,
    }
}

impl Scene {
    /// Puts the faults in force.
    pub(super) fn new(stack: Devstack, resources: Vec<Resource>) -> Self {
        let elsewhere = json!({ "url": METADATA_URL, "auth_mode": "none" }).to_string();
        stack
            .script()
            .set(Scope::Resource(HIJACKED.into()), Answer::Directive(elsewhere));
        let fault = r#"{"error":"internal_error","error_description":"out of order"}"#;
        stack.script().set(
            Scope::Resource(FRAIL.into()),
            RawAnswer::new(500, "application/json", fault),
        );
        Self { stack, resources }
    }

    /// The resource as the stack knows it.
    pub(super) fn resource(&self, identifier: &str) -> Option<&Resource> {
        self.resources
            .iter()
            .find(|resource| resource.identifier == identifier)
    }

    /// Every secret that must stay where it belongs, with its name.
    pub(super) fn provider_secrets(&self) -> impl Iterator<Item = &Secret> {
        self.resources
            .iter()
            .filter_map(|resource| match &resource.credential {
                Credential::None | Credential::CaracalJwt => None,
                Credential::ProviderOauth { token, .. } => Some(token),
                Credential::ApiKeyHeader { key, .. } | Credential::ApiKeyQuery { key, .. } => Some(key),
            })
    }

    /// A fresh mandate for one request to a resource.
    pub(super) fn mandate(&self, resource: &str) -> Result<String, Refusal> {
        self.mandate_as(self.stack.request_for(resource))
    }

    pub(super) fn mandate_as(&self, request: MintRequest) -> Result<String, Refusal> {
        Ok(self.stack.mint(&request)?.token.expose().to_owned())
    }

    /// A token that no STS would sign: `change` is merged into good claims, `null` removing one.
    pub(super) fn signed(&self, algorithm: &str, change: &Value) -> Result<String, LocalError> {
        let header = json!({ "alg": algorithm, "typ": "JWT", "kid": self.stack.sts().kid(ZONE) });
        let mut claims = self.claims();
        if let (Some(claims), Some(change)) = (claims.as_object_mut(), change.as_object()) {
            claims.extend(change.clone());
            claims.retain(|_, value| !value.is_null());
        }
        let token = self
            .stack
            .sts()
            .sign_literally(ZONE, &header.to_string(), &claims.to_string())?;
        Ok(token.expose().to_owned())
    }

    fn claims(&self) -> Value {
        let issuer = self.stack.sts_url();
        let fresh = || ids::fresh().to_string();
        json!({
            "iss": issuer, "aud": [issuer], "sub": APP, "sub_type": "application",
            "iat": now(), "exp": now() + 900, "jti": fresh(),
            "zone_id": ZONE, "client_id": APP, "scope": "invoke", "sid": fresh(), "use": "gateway",
            "target": [MANDATE], "agent_session_id": fresh(), "delegation_edge_id": fresh(),
        })
    }
}

/// Unix seconds.
pub(super) fn now() -> u64 {
    clock::unix().as_secs()
}
