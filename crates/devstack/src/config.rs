//! What the stack serves: zones, clients, resources, ports.

use crate::clock::{Clock, system_clock};
use crate::{Error, Secret};

/// Everything [`crate::Devstack::start`] needs to know.
#[derive(Clone)]
pub struct StackConfig {
    /// Zone ids. Each gets a random signing key.
    pub zones: Vec<String>,
    /// The applications that may mint mandates.
    pub clients: Vec<Client>,
    /// The resources that mandates are exchanged for.
    pub resources: Vec<Resource>,
    /// Port of the STS on 127.0.0.1; 0 takes a free one.
    pub sts_port: u16,
    /// Port of the echo upstream on 127.0.0.1; 0 takes a free one.
    pub upstream_port: u16,
    /// Whether the exchange also takes `use=session` mandates, as the older STS generation
    /// does; the current one takes `use=gateway` alone.
    pub accept_session_mandates: bool,
    /// How many requests the upstream remembers; 0 remembers none.
    pub recorded_requests: usize,
    /// The time.
    pub clock: Clock,
}

/// An application that holds a secret of its own.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its zone.
    pub zone: String,
    /// Its id: `application_id` in forms, `client_id` in mandates.
    pub id: String,
    /// What it proves itself with when it mints.
    pub secret: Secret,
}

/// A resource behind the gateway.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Its zone.
    pub zone: String,
    /// What clients put into `X-Caracal-Resource`.
    pub identifier: String,
    /// The client under which the gateway exchanges.
    pub application_id: String,
    /// Where it is served.
    pub target: Target,
    /// What the upstream wants to see.
    pub credential: Credential,
    /// `forward_caracal_identity` of the directive.
    pub forward_identity: bool,
    /// `allowed_token_hosts` of the directive; empty leaves the member out.
    pub allowed_token_hosts: Vec<String>,
    /// `provider_id` of the directive.
    pub provider_id: Option<String>,
    /// `connection_id` of the directive.
    pub connection_id: Option<String>,
}

/// One row of the gateway's binding table, as this stack's resources define it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The zone.
    pub zone: String,
    /// The resource identifier.
    pub resource: String,
    /// The client under which the gateway exchanges.
    pub application_id: String,
    /// Where the resource is served.
    pub upstream_url: String,
}

impl Resource {
    /// Its row, where the stack's echo upstream has this URL.
    pub(crate) fn binding(&self, echo_url: &str) -> Binding {
        Binding {
            zone: self.zone.clone(),
            resource: self.identifier.clone(),
            application_id: self.application_id.clone(),
            upstream_url: match &self.target {
                Target::Echo(base) => format!("{echo_url}{base}"),
                Target::Url(url) => url.clone(),
            },
        }
    }
}

/// Where a resource is served.
#[derive(Clone, Debug)]
pub enum Target {
    /// The stack's own echo upstream, below this base path (`""`, `/base`, `/base?key=value`).
    Echo(String),
    /// Another URL.
    Url(String),
}

/// The credential modes of the upstream directive.
#[derive(Clone, Debug)]
pub enum Credential {
    /// `none`: the upstream gets no credential.
    None,
    /// `caracal_jwt`: the resource mandate as a bearer.
    CaracalJwt,
    /// `provider_oauth`: a provider's token.
    ProviderOauth {
        /// `auth_header`.
        header: String,
        /// `auth_scheme`.
        scheme: String,
        /// `provider_token`.
        token: Secret,
    },
    /// `provider_apikey` in a header.
    ApiKeyHeader {
        /// `auth_header`.
        header: String,
        /// `auth_scheme`; `None` sends the bare key.
        scheme: Option<String>,
        /// `provider_token`.
        key: Secret,
    },
    /// `provider_apikey` in a query parameter.
    ApiKeyQuery {
        /// `query_param_name`.
        parameter: String,
        /// `provider_token`.
        key: Secret,
    },
}

impl StackConfig {
    /// One zone `zone-dev`, one client `app-dev` with a random secret, free ports, and one
    /// echo resource for each way to carry a credential: `resource://none`,
    /// `resource://mandate`, `resource://oauth` (which also forwards the caller's identity),
    /// `resource://key-header` and `resource://key-query`.
    ///
    /// # Errors
    /// [`Error::Crypto`] when no secret can be made.
    pub fn standard() -> Result<Self, Error> {
        let (zone, app) = ("zone-dev", "app-dev");
        let credentials = [
            ("none", Credential::None),
            ("mandate", Credential::CaracalJwt),
            (
                "oauth",
                Credential::ProviderOauth {
                    header: "Authorization".into(),
                    scheme: "Bearer".into(),
                    token: Secret::random()?,
                },
            ),
            (
                "key-header",
                Credential::ApiKeyHeader {
                    header: "X-Api-Key".into(),
                    scheme: None,
                    key: Secret::random()?,
                },
            ),
            (
                "key-query",
                Credential::ApiKeyQuery {
                    parameter: "api_key".into(),
                    key: Secret::random()?,
                },
            ),
        ];
        let resources = credentials
            .into_iter()
            .map(|(name, credential)| {
                let provided = !matches!(credential, Credential::None | Credential::CaracalJwt);
                Resource {
                    zone: zone.into(),
                    identifier: format!("resource://{name}"),
                    application_id: app.into(),
                    target: Target::Echo(String::new()),
                    forward_identity: matches!(credential, Credential::ProviderOauth { .. }),
                    allowed_token_hosts: if provided {
                        vec!["127.0.0.1".into()]
                    } else {
                        Vec::new()
                    },
                    provider_id: Some(format!("provider-{name}")),
                    connection_id: provided.then(|| format!("connection-{name}")),
                    credential,
                }
            })
            .collect();
        Ok(Self {
            zones: vec![zone.into()],
            clients: vec![Client {
                zone: zone.into(),
                id: app.into(),
                secret: Secret::random()?,
            }],
            resources,
            sts_port: 0,
            upstream_port: 0,
            accept_session_mandates: false,
            recorded_requests: 64,
            clock: system_clock(),
        })
    }
}
