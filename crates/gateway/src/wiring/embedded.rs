//! Stores in memory, for the `dev` and `demo` commands.

use std::sync::Arc;

use admission::binding::{Application, Binding};
use backends::component::{Component, Stage};
use backends::embedded::{MemoryBindings, MemoryReplay, MemoryRevocations, MemoryStream};
use backends::revocation::Kind;
use config::{Config, Warning};
use devstack::{AnchorKind, Devstack, Revocation};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::StartError;
use super::assemble::{Stores, start};
use super::external::revocation_config;
use super::listening::HandedListeners;
use super::runtime::Runtime;
use crate::process::{Server, Stop};

/// A gateway on stores in memory, against a dev stack, and the audit stream that it ships to.
///
/// # Errors
/// [`StartError`].
pub async fn embedded(
    config: Config,
    warnings: &[Warning],
    stack: &Devstack,
) -> Result<(Server, Arc<MemoryStream>), StartError> {
    let config::Stores::Embedded(proof) = config.stores else {
        return Err(StartError::Stores);
    };
    let mut runtime = Runtime::new(config, warnings)?;
    let clock = Arc::clone(&runtime.clock);
    let bound = stack.bindings().iter().map(|binding| Binding {
        zone_id: binding.zone.clone(),
        resource: binding.resource.clone(),
        application: Application::Bound(binding.application_id.clone()),
        upstream_url: binding.upstream_url.as_str().into(),
    });
    // In this order they are in `/ready`.
    let bindings = runtime.add(MemoryBindings::component(proof, bound));
    let replay = runtime.add(MemoryReplay::component(proof, Arc::clone(&clock)));
    let revocations = MemoryRevocations::component(proof, revocation_config(&runtime.config), clock);
    let revocations = runtime.add(revocations);
    let (revoked, announced) = (revocations.clone(), stack.revocations());
    runtime.add(Component::new(()).task("revocations", Stage::Foundation, |stop| {
        listen(revoked, announced, stop)
    }));
    let stream = MemoryStream::new(proof);
    let stores = Stores {
        bindings,
        // They never change.
        reload_bindings: Arc::new(|| {}),
        replay,
        revocations: revocations.state().clone(),
        sink: Arc::clone(&stream) as _,
        own_endpoints: Arc::new(Vec::new),
    };
    // It waits for nothing that could keep it.
    let mut never = Stop::token(CancellationToken::new());
    let handed = HandedListeners::default();
    Ok((start(runtime, stores, handed, &mut never).await?, stream))
}

/// Applies what the dev STS revokes.
async fn listen(
    revocations: MemoryRevocations,
    mut announced: Receiver<Revocation>,
    stop: CancellationToken,
) {
    loop {
        let next = tokio::select! {
            () = stop.cancelled() => return,
            next = announced.recv() => next,
        };
        match next {
            Ok(revocation) => revocations.revoke(kind(revocation.kind), &revocation.id).await,
            Err(RecvError::Lagged(lost)) => {
                tracing::error!(lost, "the dev STS revoked faster than this gateway reads");
            }
            Err(RecvError::Closed) => return stop.cancelled().await,
        }
    }
}

fn kind(kind: AnchorKind) -> Kind {
    match kind {
        AnchorKind::Session => Kind::Record,
        AnchorKind::AgentSession => Kind::Session,
        AnchorKind::DelegationEdge => Kind::Edge,
    }
}
