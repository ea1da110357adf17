//! The embedded stores keep the contracts of the real ones.

use std::sync::Arc;
use std::time::Duration;

use admission::binding::{Application, Binding};
use admission::ports::{Bindings, Clock as _, Mark, Moment, ReplayMarks, Revocations};
use backends::embedded::{MemoryBindings, MemoryReplay, MemoryRevocations, MemoryStream};
use backends::revocation::{Kind, RevocationConfig};
use evidence::{Shipment, StreamSink as _};
use testkit::clock::FixedClock;
use testkit::wait::PATIENCE;
use tokio::time::timeout;

use crate::authority::dev;
use crate::contract::bindings::{self, bindings_contract};
use crate::contract::replay::{mark, replay_contract, set};
use crate::contract::revocations::{self, Anchor, anchors, revocations_contract, standing};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_replay_keeps_the_contract() {
    let marks = MemoryReplay::new(dev(), Arc::new(FixedClock::default()));
    replay_contract(|| Arc::clone(&marks) as Arc<dyn ReplayMarks>).await;
}

#[tokio::test]
async fn embedded_replay_forgets_a_mark_when_its_life_is_over_and_not_before() {
    let clock = FixedClock::default();
    let marks = MemoryReplay::new(dev(), Arc::new(clock.clone()));
    let mark: Mark = mark("jti", "holder");
    assert_eq!(set(&*marks, &mark).await, "set");
    clock.advance(mark.life - Duration::from_millis(1));
    assert_eq!(set(&*marks, &mark).await, "seen");
    clock.advance(Duration::from_millis(1));
    assert_eq!(set(&*marks, &mark).await, "set");
}

struct RevocationBench(MemoryRevocations, FixedClock);

impl revocations::Bench for RevocationBench {
    fn revocations(&self) -> Arc<dyn Revocations> {
        Arc::new(self.0.state().clone())
    }

    fn now(&self) -> Moment {
        self.1.now()
    }

    async fn revoke(&self, anchor: Anchor, id: &str) {
        let kind = match anchor {
            Anchor::Record => Kind::Record,
            Anchor::Session => Kind::Session,
            Anchor::Edge => Kind::Edge,
        };
        self.0.revoke(kind, id).await;
    }
}

#[tokio::test]
async fn embedded_revocations_keep_the_contract_and_go_stale_when_nobody_confirms_them() {
    let clock = FixedClock::default();
    let memory = MemoryRevocations::new(dev(), RevocationConfig::default(), Arc::new(clock.clone()));
    let ids = anchors("stale");
    assert_eq!(standing(memory.state(), &ids, clock.now()), "stale");
    memory.confirm().await;
    assert_eq!(standing(memory.state(), &ids, clock.now()), "clear");
    let bench = RevocationBench(memory, clock);
    revocations_contract(&bench).await;
    bench.1.advance(Duration::from_secs(71));
    assert_eq!(standing(bench.0.state(), &ids, bench.1.now()), "stale");
}

struct BindingBench(Arc<MemoryBindings>);

impl bindings::Bench for BindingBench {
    fn bindings(&self) -> Arc<dyn Bindings> {
        Arc::clone(&self.0) as Arc<dyn Bindings>
    }

    async fn bind(&self, zone: &str, resource: &str, upstream_url: &str) {
        self.0.set([Binding {
            zone_id: zone.to_owned(),
            resource: resource.to_owned(),
            application: Application::Bound("app".to_owned()),
            upstream_url: upstream_url.into(),
        }]);
    }

    async fn unbind(&self, _zone: &str, _resource: &str) {
        self.0.set([]);
    }
}

#[tokio::test]
async fn embedded_bindings_keep_the_contract() {
    bindings_contract(&BindingBench(MemoryBindings::new(dev(), []))).await;
}

#[tokio::test]
async fn embedded_audit_stream_keeps_the_last_events_in_order() {
    let stream = MemoryStream::new(dev());
    let shipments: Vec<Shipment> = (0..10_005)
        .map(|number: u32| Shipment {
            id: number.to_string(),
            data: bytes::Bytes::from_static(b"{}"),
            sig: None,
        })
        .collect();
    for batch in shipments.chunks(256) {
        assert_eq!(stream.append(batch).await.unwrap(), batch.len());
    }
    let reached = timeout(PATIENCE, stream.reached(10_005));
    reached.await.expect("all were appended");
    let kept = stream.events();
    assert_eq!(kept.len(), 10_000);
    assert_eq!((kept[0].id.as_str(), kept[9_999].id.as_str()), ("5", "10004"));
}
