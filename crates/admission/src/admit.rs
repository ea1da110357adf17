//! May this request reach an upstream? The whole answer, on one screen.
//!
//! Cheap and local gates come first, nothing remote happens before a valid signature, and the
//! replay mark, the only write, comes last before the exchange, so that a refusal never spends
//! a single-use mandate.

use std::sync::Arc;

use crate::binding;
use crate::denial::Stage;
use crate::exchange::{Circuit, Dialect, ExchangeSigner, circuit, directive, perform, replay, room};
use crate::limits::{EgressPolicy, Limits, OnReplayOutage};
use crate::permit::Permit;
use crate::ports::{Bindings, Clock, EvidenceRooms, ReplayMarks, Resolver, Revocations, SigningKeys, Sts};
use crate::preflight;
use crate::received::Received;
use crate::refused::Refused;
use crate::token::{self, Scratch, revocation, signature, zone};

/// The gates and what they need of the world.
#[expect(missing_docs, reason = "each port is documented where it is defined")]
pub struct Admission<E: ?Sized> {
    pub limits: Limits,
    pub egress: EgressPolicy,
    pub dialect: Dialect,
    pub on_replay_outage: OnReplayOutage,
    pub signer: ExchangeSigner,
    pub clock: Arc<dyn Clock>,
    pub keys: Arc<dyn SigningKeys>,
    pub revocations: Arc<dyn Revocations>,
    pub bindings: Arc<dyn Bindings>,
    pub resolver: Arc<dyn Resolver>,
    pub circuit: Arc<Circuit>,
    pub replay: Arc<dyn ReplayMarks>,
    pub sts: Arc<dyn Sts>,
    pub evidence: Arc<E>,
}

impl<E: EvidenceRooms + ?Sized> Admission<E> {
    /// Walks a request through every gate, in the order of decisions §2.
    ///
    /// The future may be dropped at any point: the circuit slot, the evidence room and a replay
    /// mark whose exchange has not left are given back.
    ///
    /// # Errors
    /// The first gate that refuses.
    pub async fn admit(&self, received: Received<'_>) -> Result<Permit<E::Room>, Refused> {
        let scratch = &mut Scratch::default();
        let (progress, now) = (received.progress, self.clock.now());
        let request = preflight::check(received, &self.limits)?;
        progress.passed(Stage::Preflight);
        let request = token::parse(request, scratch, &self.limits, now)?;
        let request = zone::check(request, &*self.bindings)?;
        let request = signature::verify(request, &*self.keys).await?;
        let request = revocation::check(request, &*self.revocations, self.clock.now())?;
        progress.passed(Stage::Token);
        let request = binding::resolve(request, &*self.bindings, &self.egress, &*self.resolver).await?;
        progress.passed(Stage::Binding);
        let request = circuit::enter(request, &self.circuit, self.clock.now())?;
        let request = room::reserve(request, &*self.evidence)?;
        let request = replay::reserve(request, &self.replay, self.on_replay_outage, now).await?;
        let request = perform(request, &self.signer, &*self.sts, &*self.clock).await?;
        let request = directive::judge(
            request,
            self.dialect,
            &*self.bindings,
            &self.egress,
            &*self.resolver,
        )
        .await?;
        progress.passed(Stage::Exchange);
        Ok(Permit::issue(request))
    }
}
