//! Gateways with everything that they need, for whoever puts real clients, proxies and servers around them.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use clap::Args;
use devstack::{Credential, Devstack, MintRequest, Resource, StackConfig, Target, Use};
use serde_json::{Map, Value, json};
use testkit::tls::Ca;

use crate::failure::Result;
use crate::gateway;
use crate::servers::{self, Servers};

/// Lifetime of the mandates in seconds: the longest that the STS gives.
const TTL: u64 = 3600;

/// What is to be served.
#[derive(Args)]
pub(crate) struct Plan {
    /// A resource, and where it is served
    #[arg(value_name = "RESOURCE=URL", required = true)]
    bound: Vec<String>,
    /// Hosts to which HTTP/2 is spoken without TLS
    #[arg(long, value_name = "HOSTS", default_value = "localhost")]
    h2c: String,
    /// A directory for the certificates: authority.pem, certificate.pem and key.pem for 127.0.0.1 and localhost
    #[arg(long, value_name = "DIRECTORY")]
    certificates: PathBuf,
}

/// STS and upstream with these resources.
pub(crate) async fn stack(plan: &Plan) -> Result<Devstack> {
    let application = StackConfig::standard()?.clients.pop().ok_or("no client")?;
    let mut resources = Vec::new();
    for bound in &plan.bound {
        let (identifier, url) = bound.split_once('=').ok_or("RESOURCE=URL")?;
        resources.push(Resource {
            zone: application.zone.clone(),
            identifier: identifier.to_owned(),
            application_id: application.id.clone(),
            target: Target::Url(url.to_owned()),
            credential: Credential::None,
            forward_identity: false,
            allowed_token_hosts: Vec::new(),
            provider_id: None,
            connection_id: None,
        });
    }
    servers::stack(resources).await
}

/// Starts one gateway without TLS and one with it, says where they are in a line of JSON, with a mandate for each resource,
/// and serves until standard input ends.
pub(crate) async fn run(command: &[OsString], stack: Devstack, plan: &Plan) -> Result<(String, bool)> {
    let servers = Servers::start(stack).await?;
    let directory = plan.certificates.as_path();
    let ca = Ca::new();
    let files = ca.server(&["127.0.0.1", "localhost"]).write_to(directory);
    let authority = directory.join("authority.pem");
    std::fs::write(&authority, ca.pem())?;
    let mut variables = vec![
        ("UPSTREAM_H2C_HOSTS", plan.h2c.clone()),
        ("UPSTREAM_CA_FILE", authority.display().to_string()),
        ("TRUSTED_PROXIES", "127.0.0.0/8".to_owned()),
        ("PROXY_PROTOCOL", "optional".to_owned()),
        ("MAX_REQUEST_BYTES", "4000000000".to_owned()),
        // A gigabyte takes its time where everything shares two cores.
        ("READ_TIMEOUT", "10m".to_owned()),
        ("WRITE_TIMEOUT", "10m".to_owned()),
        ("UPSTREAM_TIMEOUT", "10m".to_owned()),
    ];
    let plain = gateway::start_with(command, &servers, &variables).await?;
    variables.extend(gateway::over_tls(&files));
    let secure = gateway::launch(command, &servers, &variables).await?;
    let mut mandates = Map::new();
    for binding in servers.stack().bindings() {
        let request = MintRequest {
            mandate_use: Use::Session,
            ttl_seconds: Some(TTL),
            ..servers.stack().request_for(&binding.resource)
        };
        let minted = servers.stack().mint(&request);
        let minted = minted.map_err(|refusal| format!("no mandate: {refusal:?}"))?;
        mandates.insert(binding.resource.clone(), Value::from(minted.token.expose()));
    }
    let line = json!({
        "plain": plain.address.to_string(),
        "secure": secure.address.to_string(),
        "pids": [plain.child.id(), secure.child.id()],
        "echo": servers.stack().upstream_url(),
        "mandates": mandates,
    });
    let mut output = std::io::stdout();
    writeln!(output, "{line}")?;
    output.flush()?;
    // Everything else is served by other threads meanwhile.
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await?;
    ended?;
    for subject in [plain, secure] {
        subject.child.stop().await?;
    }
    Ok((String::new(), true))
}
