//! What the STS client makes of exchanges without an answer: whether it is the STS, a zone's provider or a connection.

use std::sync::Arc;

use admission::exchange::circuit::{Circuit, CircuitLimits, Outcome};
use admission::ports::Clock as _;
use backends::sts::StsClient;
use devstack::{Scope, Step};
use futures_util::future::join_all;
use testkit::proxy::{Fault, FaultProxy};
use testkit::wait::{PATIENCE, until};
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;

use crate::authority::{Authority, send, word};
use crate::support::Background;

/// So many timeouts open a zone's breaker.
const FAILURES: usize = 5;

/// The STS holds so many exchanges back until the gate opens, and answers further ones.
async fn hold(authority: &Authority, gate: &Arc<Semaphore>, count: usize) {
    let (sts, script) = (authority.stack.sts(), authority.stack.script());
    let held = Step {
        hold: Some(Arc::clone(gate)),
        ..Step::default()
    };
    script.set(Scope::Exchange, held);
    let wanted = sts.counts().exchanges + count as u64;
    let there = sts.wait_for(PATIENCE, |counts| counts.exchanges >= wanted);
    there.await.unwrap();
    script.clear(&Scope::Exchange);
}

/// Has the client make so many connections, which are idle then.
async fn connect(client: &StsClient, authority: &Authority, count: usize) {
    let gate = Arc::new(Semaphore::new(0));
    let calls: Vec<_> = (0..count).map(|_| authority.exchange("")).collect();
    let held = async {
        hold(authority, &gate, count).await;
        gate.add_permits(count);
    };
    tokio::join!(held, join_all(calls.iter().map(|call| send(client, call))));
    assert_eq!(client.stats().idle, count);
    // Each takes the next request once its task had its turn.
    for _ in 0..100 {
        yield_now().await;
    }
}

#[tokio::test]
async fn sts_that_vanished_and_came_back_costs_one_deadline_however_many_connections_it_had() {
    let authority = Authority::start().await;
    let proxy = FaultProxy::start(authority.addr()).await;
    let client = authority.client_at(proxy.addr());
    connect(&client, &authority, 3).await;
    proxy.set(Fault::Vanish).await;
    for expect in ["timeout", "200"] {
        let outcome = send(&client, &authority.exchange("")).await.0;
        assert_eq!(word(&outcome), expect);
    }
}

/// A circuit whose recovery the client watches.
fn watched(client: &StsClient, background: &mut Background) -> Arc<Circuit> {
    let circuit = Circuit::new(CircuitLimits { max_inflight: 100 });
    let watching = client.clone();
    background.run(watching.watch_recovery(Arc::clone(&circuit), CancellationToken::new()));
    circuit
}

/// Exchanges of "zone" that get no answer, at the same time.
async fn time_out(authority: &Authority, client: &StsClient, circuit: &Arc<Circuit>) {
    let now = authority.clock.now();
    let calls: Vec<_> = (0..FAILURES).map(|_| authority.exchange("")).collect();
    let failures = join_all(calls.iter().map(async |call| {
        let slot = circuit.enter("zone", now).unwrap();
        let outcome = send(client, call).await.0;
        slot.settle(Outcome::ZoneFault, now);
        word(&outcome)
    }));
    assert_eq!(failures.await, ["timeout"; FAILURES]);
}

/// Its health says nothing of it, because that is asked over a new connection.
#[tokio::test]
async fn sts_that_vanished_under_exchanges_and_came_back_is_probed_at_once() {
    let authority = Authority::start().await;
    let proxy = FaultProxy::start(authority.addr()).await;
    let client = authority.client_at(proxy.addr());
    connect(&client, &authority, FAILURES).await;
    let mut background = Background::default();
    let circuit = watched(&client, &mut background);
    let now = authority.clock.now();
    proxy.set(Fault::Vanish).await;
    time_out(&authority, &client, &circuit).await;
    // The clock stands still, so the breaker's own time does not come.
    let slot = until("a probe", async || circuit.enter("zone", now).ok()).await;
    let probe = send(&client, &authority.exchange("")).await.0;
    assert_eq!(word(&probe), "200");
    slot.settle(Outcome::Success, now);
    assert!(circuit.enter("zone", now).is_ok());
}

#[tokio::test]
async fn sts_that_answers_others_meanwhile_is_not_probed_early_for_a_zone_whose_provider_hangs() {
    let authority = Authority::start().await;
    let client = authority.client_at(authority.addr());
    connect(&client, &authority, FAILURES + 1).await;
    let mut background = Background::default();
    let circuit = watched(&client, &mut background);
    let gate = Arc::new(Semaphore::new(0));
    let dialled = client.stats().dialled;
    let other = async {
        hold(&authority, &gate, FAILURES).await;
        let outcome = send(&client, &authority.exchange("")).await.0;
        assert_eq!(word(&outcome), "200");
    };
    tokio::join!(other, time_out(&authority, &client, &circuit));
    assert_eq!(
        client.stats().dialled,
        dialled,
        "all went over pooled connections"
    );
    // Asked for its health a third time, the client has drawn its conclusions from two good answers.
    let requests = || client.stats().dialled + client.stats().reused;
    let asked = requests() + 3;
    let now = authority.clock.now();
    until("the third question", async || {
        assert!(circuit.enter("zone", now).is_err(), "probed early");
        (requests() >= asked).then_some(())
    })
    .await;
    assert!(circuit.enter("another zone", now).is_ok());
}
