//! One request and the world it meets; both are good until a fault is applied.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use admission::exchange::circuit::Outcome;
use admission::exchange::{Dialect, ExchangeSigner};
use admission::limits::{EgressPolicy, Limits, OnReplayOutage, PrivateUpstreams, ReusableUses};
use admission::ports::{Clock as _, Egress};
use admission::{Admission, Denial, OwnPlace, Permit, PermitParts, Received, Refused};
use serde_json::{Value, json};
use testkit::clock::{FixedClock, START};
use testkit::mint::{Key, Mandate};

use crate::ports::{Exchange, Kept, Keys, RESOURCE, Revocation, Script, Set, World, ZONE, binding};

pub(crate) const UPSTREAM: &str = "https://api.example/base";
pub(crate) const EXCHANGE_ID: &str = "0192-exchange";

/// A request, its world and its gateway before the walk.
pub(crate) struct Scene {
    pub(crate) mandate: Mandate,
    pub(crate) key: Key,
    pub(crate) scheme: &'static str,
    pub(crate) resource: &'static str,
    pub(crate) target: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) version: http::Version,
    pub(crate) script: Script,
    pub(crate) circuit_faults: usize,
    pub(crate) dialect: Dialect,
    pub(crate) on_outage: OnReplayOutage,
    pub(crate) egress: EgressPolicy,
    pub(crate) reusable: &'static str,
}

/// A world after a walk.
pub(crate) struct Walked {
    pub(crate) world: Arc<World>,
    pub(crate) result: Result<Permit<Kept>, (Kept, Refused)>,
}

impl Walked {
    /// What the permit holds.
    pub(crate) fn permit(self) -> PermitParts<Kept> {
        self.split().1
    }

    /// The world, and what the permit holds.
    pub(crate) fn split(self) -> (Arc<World>, PermitParts<Kept>) {
        match self.result {
            Ok(permit) => (self.world, permit.into_parts()),
            Err((_, refused)) => panic!("{refused:?}"),
        }
    }

    /// What was kept of a refused request, and the refusal.
    pub(crate) fn refused(&self) -> Option<&(Kept, Refused)> {
        self.result.as_ref().err()
    }

    /// The refusal.
    pub(crate) fn denial(&self) -> Option<Denial> {
        self.refused().map(|(_, refused)| refused.denial)
    }
}

/// The answer of an STS that grants, with this directive for the resource.
pub(crate) fn granting(directive: &Value) -> Exchange {
    let body = json!({
        "access_token": "resource.mandate.sig", "token_type": "Bearer", "expires_in": 900,
        "upstreams": { RESOURCE: directive },
    });
    Exchange::Answers(200, body.to_string())
}

/// The directive for a resource that takes the mandate itself.
pub(crate) fn directive() -> Value {
    json!({ "url": UPSTREAM, "auth_mode": "caracal_jwt", "auth_header": "Authorization", "auth_scheme": "Bearer" })
}

impl Scene {
    pub(crate) fn good() -> Self {
        Self {
            mandate: Mandate::single_use(ZONE, START),
            key: Key::generate("key-1"),
            scheme: "Bearer",
            resource: RESOURCE,
            target: "/v1/models?limit=2",
            headers: vec![],
            version: http::Version::HTTP_11,
            script: Script {
                keys: Keys::Known,
                keys_take: Duration::ZERO,
                revocation: Revocation::Clear,
                bound: Some(binding(UPSTREAM)),
                reread: None,
                addresses: vec![[93, 184, 216, 34].into()],
                place: true,
                room: true,
                set: Set::Created,
                exchange: granting(&directive()),
            },
            circuit_faults: 0,
            dialect: Dialect::Caracal,
            on_outage: OnReplayOutage::Refuse,
            egress: EgressPolicy {
                private: PrivateUpstreams::Blocked,
                allowlist: vec![],
                own_endpoints: vec![],
            },
            reusable: "session",
        }
    }

    /// The good scene with one change.
    pub(crate) fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut scene = Self::good();
        change(&mut scene);
        scene
    }

    /// Changes the claims.
    pub(crate) fn mandate(&mut self, change: impl FnOnce(Mandate) -> Mandate) {
        self.mandate = change(self.mandate.clone());
    }

    /// Walks to the end.
    pub(crate) fn walk(self) -> Walked {
        let token = self.mandate.sign(&self.key);
        self.walk_with_token(&token)
    }

    /// Walks to the end with this token in the mandate's place.
    pub(crate) fn walk_with_token(self, token: &str) -> Walked {
        let (world, admission, head) = self.open(token);
        let result = match poll(pin!(
            admission.admit(received(&world, head), |upstream| world.expect(upstream))
        )) {
            Poll::Ready(result) => result,
            Poll::Pending => panic!("the walk waits"),
        };
        Walked { world, result }
    }

    /// Walks until the first wait; there the caller hangs up.
    pub(crate) fn walk_and_hang_up(self) -> Arc<World> {
        let token = self.mandate.sign(&self.key);
        let (world, admission, head) = self.open(&token);
        assert!(
            poll(pin!(
                admission.admit(received(&world, head), |upstream| world.expect(upstream))
            ))
            .is_pending()
        );
        world
    }

    fn open(self, token: &str) -> (Arc<World>, Admission, http::request::Parts) {
        let mut request = http::Request::builder()
            .method("POST")
            .uri(self.target)
            .version(self.version)
            .header("authorization", format!("{} {token}", self.scheme))
            .header("x-caracal-resource", self.resource);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let world = World::new(FixedClock::at(START), self.key, self.script);
        for _ in 0..self.circuit_faults {
            let now = world.clock.now();
            world
                .circuit
                .enter(ZONE, now)
                .unwrap()
                .settle(Outcome::StsFault, now);
        }
        let admission = Admission {
            limits: Limits {
                max_request_bytes: 1000,
                preflight_window: Duration::from_secs(35),
                reusable_uses: ReusableUses::new([self.reusable.to_owned()]),
                upgrades: admission::Upgrades::default(),
            },
            egress: Arc::new(Policy(Arc::new(self.egress))),
            dialect: self.dialect,
            on_replay_outage: self.on_outage,
            signer: ExchangeSigner::new(&[7; 32], ""),
            clock: Arc::new(world.clock.clone()),
            keys: Arc::clone(&world) as _,
            verified_once: admission::token::VerifiedOnce::default(),
            revocations: Arc::clone(&world) as _,
            bindings: Arc::clone(&world) as _,
            resolver: Arc::clone(&world) as _,
            circuit: Arc::clone(&world.circuit),
            replay: Arc::clone(&world) as _,
            sts: Arc::clone(&world) as _,
        };
        (world, admission, head)
    }
}

/// One policy for good.
struct Policy(Arc<EgressPolicy>);

impl Egress for Policy {
    fn policy(&self) -> Arc<EgressPolicy> {
        Arc::clone(&self.0)
    }
}

fn received(world: &Arc<World>, head: http::request::Parts) -> Received<Kept> {
    Received::new(head, EXCHANGE_ID.to_owned(), OwnPlace::default(), |_| Kept {
        world: Arc::clone(world),
        bearer: None,
        subject: None,
        application_id: None,
    })
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
