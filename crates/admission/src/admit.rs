//! May this request reach an upstream? The whole answer, on one screen.
//!
//! Cheap and local gates come first, nothing remote happens before a valid signature, and the
//! replay mark, the only write, comes last before the exchange, so that a refusal never spends
//! a single-use mandate.

pub mod permit;

use crate::admission::Admission;
use crate::binding::{self, JudgedUpstream};
use crate::denial::Stage;
use crate::exchange::{circuit, directive, perform, replay, room};
use crate::journal::Journal;
use crate::preflight;
use crate::received::{Head, Received};
use crate::refused::Refused;
use crate::subprotocols::{self, Subprotocols};
use crate::token::{self, Scratch, revocation, signature, zone};
use crate::upgrade::Upgrade;
use permit::{Admitted, Permit};

impl Admission {
    /// Walks a request through every gate, in the order of decisions §2.
    ///
    /// `expect` is told, right before the exchange is sent, where the request goes if that is granted: a connection may be
    /// made meanwhile, over which nothing may be said without the permit.
    ///
    /// The future may be dropped at any point: the circuit slot, the evidence room and a replay
    /// mark whose exchange has not left are given back, and the journal ends with what it was told.
    ///
    /// # Errors
    /// The first gate that refuses, with the journal.
    pub async fn admit<J: Journal>(
        &self,
        received: Received<J>,
        expect: impl FnOnce(&JudgedUpstream) + Send,
    ) -> Result<Permit<J>, (J, Refused)> {
        let Received {
            head,
            exchange_id,
            own_place,
            mut journal,
        } = received;
        let upgrade = Upgrade::of(&head, &self.limits.upgrades);
        let handshake = upgrade.as_ref().filter(|upgrade| upgrade.is_websocket());
        let said = handshake.map(|_| Subprotocols::of(&head.headers));
        let request = Head {
            parts: &head,
            exchange_id: &exchange_id,
            own_place: &own_place,
            subprotocols: said.as_ref().unwrap_or(&subprotocols::NONE),
        };
        // A switch of protocols has a connection of its own, which is not made ahead.
        let is_expected = upgrade.is_none();
        let expect = |upstream: &JudgedUpstream| {
            if is_expected {
                expect(upstream);
            }
        };
        match self.walk(request, &mut journal, expect).await {
            Ok(admitted) => Ok(Permit::issue(head, upgrade, journal, admitted)),
            Err(refused) => Err((journal, refused)),
        }
    }

    async fn walk<J: Journal>(
        &self,
        head: Head<'_>,
        journal: &mut J,
        expect: impl FnOnce(&JudgedUpstream) + Send,
    ) -> Result<Admitted<J::Room>, Refused> {
        let (scratch, now) = (&mut Scratch::default(), self.clock.now());
        let request = preflight::check(head, &self.limits, |token| journal.bearer(token))?;
        journal.passed(Stage::Preflight);
        let request = token::parse(request, scratch, &self.limits, now)?;
        let request = zone::check(request, &*self.bindings)?;
        let request = signature::verify(request, &*self.keys, &self.verified_once).await?;
        journal.identified(request.subject())?;
        let request = revocation::check(request, &*self.revocations, self.clock.now())?;
        journal.passed(Stage::Token);
        let egress = self.egress.policy();
        let request = binding::resolve(request, &*self.bindings, &egress, &*self.resolver).await?;
        journal.bound(request.application_id());
        journal.passed(Stage::Binding);
        let request = circuit::enter(request, &self.circuit, self.clock.now())?;
        let request = room::reserve(request, journal)?;
        let request = replay::reserve(request, &self.replay, self.on_replay_outage, now).await?;
        expect(request.bound().upstream());
        let request = perform(request, &self.signer, &*self.sts, &*self.clock).await?;
        let request =
            directive::judge(request, self.dialect, &*self.bindings, &egress, &*self.resolver).await?;
        journal.passed(Stage::Exchange);
        Ok(Admitted::of(request))
    }
}
