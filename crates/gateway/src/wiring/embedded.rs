//! Stores in memory, for the `dev` and `demo` commands.

use std::sync::Arc;
use std::time::Duration;

use admission::binding::{Application, Binding};
use backends::embedded::{MemoryBindings, MemoryReplay, MemoryRevocations, MemoryStream};
use backends::revocation::{Kind, RevocationConfig, RevocationState};
use config::{Config, Stores, Warning};
use devstack::{AnchorKind, Devstack, Revocation};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::StartError;
use super::assemble::assemble;
use super::ground::Ground;
use super::world::{StoreFigures, World};
use crate::operator::probe::{self, Health, State};
use crate::process::Server;
use crate::telemetry::figures::{BindingFigures, RevocationFigures};

/// A gateway on stores in memory, against a dev stack, and the audit stream that it ships to.
///
/// # Errors
/// [`StartError`].
pub async fn embedded(
    config: Config,
    warnings: &[Warning],
    stack: &Devstack,
) -> Result<(Server, Arc<MemoryStream>), StartError> {
    let Stores::Embedded(proof) = config.stores else {
        return Err(StartError::Stores);
    };
    let ground = Ground::lay(config, warnings)?;

    let bindings = MemoryBindings::new(
        proof,
        stack.bindings().iter().map(|binding| Binding {
            zone_id: binding.zone.clone(),
            resource: binding.resource.clone(),
            application: Application::Bound(binding.application_id.clone()),
            upstream_url: binding.upstream_url.clone(),
        }),
    );
    let revocations = MemoryRevocations::new(
        proof,
        RevocationConfig {
            max_snapshot_age: ground.config.gates.revocation_snapshot_max_age,
            ..RevocationConfig::default()
        },
        Arc::clone(&ground.clock),
    );
    revocations.confirm().await;
    let (confirming, listening, announced) = (revocations.clone(), revocations.clone(), stack.revocations());
    ground
        .supervisor
        .foundation("revocation state", |stop| confirming.run(stop));
    ground
        .supervisor
        .foundation("revocations", |stop| listen(listening, announced, stop));

    let (state, stream) = (revocations.state().clone(), MemoryStream::new(proof));
    let world = World {
        revocations: Arc::new(state.clone()),
        bindings: Arc::clone(&bindings) as _,
        replay: MemoryReplay::new(proof, Arc::clone(&ground.clock)) as _,
        sink: Arc::clone(&stream) as _,
        figures: figures(&bindings, &state),
        bindings_probe: probe::known(|| well(None)),
        redis_probe: probe::known(|| well(None)),
        revocations_probe: {
            let state = state.clone();
            probe::known(move || well(state.status().snapshot_age))
        },
        reload: Box::new(move || {
            let state = state.clone();
            Box::pin(async move { state.reload().await.map(|anchors| anchors as u64) })
        }),
    };
    Ok((assemble(ground, world).await?, stream))
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
            Ok(revocation) => revocations.revoke(kind(revocation.kind), &revocation.id),
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

fn well(age: Option<Duration>) -> Health {
    Health {
        state: State::Ok,
        age,
    }
}

fn figures(
    bindings: &Arc<MemoryBindings>,
    state: &RevocationState,
) -> Box<dyn Fn() -> StoreFigures + Send + Sync> {
    let (bindings, state) = (Arc::clone(bindings), state.clone());
    Box::new(move || {
        let status = state.status();
        StoreFigures {
            revocation: RevocationFigures {
                active: status.anchors as u64,
                snapshot_age_seconds: status.snapshot_age.unwrap_or_default().as_secs(),
                fresh: status.stale.is_none(),
                ..RevocationFigures::default()
            },
            bindings: BindingFigures {
                loaded: bindings.loaded() as u64,
                ..BindingFigures::default()
            },
            ..StoreFigures::default()
        }
    })
}
