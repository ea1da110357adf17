//! The gates and what they need of the world.

use std::sync::Arc;

use crate::exchange::{Circuit, Dialect, ExchangeSigner};
use crate::limits::{Limits, OnReplayOutage};
use crate::ports::{Bindings, Clock, Egress, ReplayMarks, Resolver, Revocations, SigningKeys, Sts};
use crate::token::VerifiedOnce;

/// Admits requests: see [`Admission::admit`].
#[expect(missing_docs, reason = "each port is documented where it is defined")]
pub struct Admission {
    pub limits: Limits,
    pub egress: Arc<dyn Egress>,
    pub dialect: Dialect,
    pub on_replay_outage: OnReplayOutage,
    pub signer: ExchangeSigner,
    pub clock: Arc<dyn Clock>,
    pub keys: Arc<dyn SigningKeys>,
    pub verified_once: VerifiedOnce,
    pub revocations: Arc<dyn Revocations>,
    pub bindings: Arc<dyn Bindings>,
    pub resolver: Arc<dyn Resolver>,
    pub circuit: Arc<Circuit>,
    pub replay: Arc<dyn ReplayMarks>,
    pub sts: Arc<dyn Sts>,
}
