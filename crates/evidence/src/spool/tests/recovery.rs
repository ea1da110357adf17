//! Processes end, and others take over.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use uuid::Uuid;

use crate::chain::is_checkpoint;
use crate::event::Outcome;
use crate::spool::claim::Claim;
use crate::spool::record::{self, Kind};
use crate::spool::recovery::{adopt, recover};
use crate::spool::segment::{self, PREFACE, Records};
use crate::spool::{Inner, Spool, Unread, flush};
use crate::testing::{
    DONE, Memory, cross, event, execute, home, intend, interrupted, is_a_checkpoint, not_dispatched, open,
    plain, ship, ship_until,
};
use crate::verify::Verifier;

/// Events that the next process would ship, without shipping them.
fn recovered(root: &Path) -> Vec<(Uuid, Vec<u8>)> {
    let elsewhere = tempfile::tempdir().unwrap();
    recovered_by(&open(elsewhere.path()).inner, root)
}

fn recovered_by(inner: &Inner, root: &Path) -> Vec<(Uuid, Vec<u8>)> {
    let mut events = Vec::new();
    for claim in Claim::orphans(&*inner.disk, root, root.metadata().unwrap().uid()).unwrap() {
        let orphan = recover(inner, claim, &mut Unread::default(), None)
            .unwrap()
            .unwrap();
        for segment in &orphan.segments {
            let (source, length) = (orphan.source(segment.base), usize::try_from(segment.len).unwrap());
            let bytes = segment::read(&source, segment, segment.first(), length - PREFACE.len()).unwrap();
            let mut position = segment.first();
            for record in Records::new(&bytes) {
                if record.kind == Kind::Event && position >= orphan.shipped && !is_checkpoint(record.payload)
                {
                    events.push((record.id, record.payload.to_vec()));
                }
                position += record.bytes.len() as u64;
            }
        }
    }
    events
}

fn own_segment(spool: &Spool) -> PathBuf {
    home(spool).join(segment::name(0))
}

#[tokio::test]
async fn what_a_killed_process_leaves_is_shipped_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let killed = open(dir.path());
    execute(&killed, 0..2).await;
    cross(&killed, 2).await.abandon();
    drop(cross(&killed, 3).await);
    drop(killed);

    let next = open(dir.path());
    let sink = ship_until(&next, 4).await;
    assert_eq!(
        sink.data(),
        [event(0, &DONE), event(1, &DONE), interrupted(3), interrupted(2)]
    );
    assert_eq!((next.stats().recovered, next.stats().bytes), (1, 0));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left");
}

#[tokio::test]
async fn what_was_shipped_is_not_shipped_again() {
    let dir = tempfile::tempdir().unwrap();
    let killed = open(dir.path());
    execute(&killed, 0..10).await;
    let open_one = cross(&killed, 10).await;
    assert_eq!(ship(&killed).await.data().len(), 10);
    open_one.abandon();
    drop(killed);
    assert_eq!(recovered(dir.path()), [(Uuid::from_u128(10), interrupted(10))]);
}

#[tokio::test]
async fn a_torn_tail_is_cut_wherever_it_tears() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let path = own_segment(&spool);
    execute(&spool, 0..1).await;
    let crossing = cross(&spool, 1).await;
    let intent_end = usize::try_from(path.metadata().unwrap().len()).unwrap();
    crossing.outcome(&DONE);
    let outcome_end = usize::try_from(path.metadata().unwrap().len()).unwrap();
    let last = intend(&spool, 2).await;
    let last_intent_end = usize::try_from(path.metadata().unwrap().len()).unwrap();
    last.departure().mark().unwrap();
    last.abandon();
    drop(spool);
    let whole = fs::read(&path).unwrap();

    let (first, ended) = (
        (Uuid::from_u128(0), event(0, &DONE)),
        (Uuid::from_u128(1), event(1, &DONE)),
    );
    let cut = (Uuid::from_u128(1), interrupted(1));
    let spool_dir = path.parent().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let next = open(elsewhere.path());
    for end in intent_end..=whole.len() {
        let _ = fs::remove_dir_all(spool_dir);
        fs::create_dir(spool_dir).unwrap();
        fs::write(&path, &whole[..end]).unwrap();
        let mut expected = vec![
            first.clone(),
            if end < outcome_end {
                cut.clone()
            } else {
                ended.clone()
            },
        ];
        if end == whole.len() {
            expected.push((Uuid::from_u128(2), interrupted(2)));
        } else if end >= last_intent_end {
            expected.push((Uuid::from_u128(2), not_dispatched(2)));
        }
        assert_eq!(recovered_by(&next.inner, dir.path()), expected, "cut at {end}");
        assert_eq!(
            recovered_by(&next.inner, dir.path()),
            expected,
            "adopted a second time, cut at {end}"
        );
    }
}

#[tokio::test]
async fn a_recovery_that_is_killed_is_done_again() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    for n in 0..3 {
        cross(&spool, n).await.abandon();
    }
    intend(&spool, 3).await.abandon();
    drop(spool);
    let marked = (0..3).map(|n| (Uuid::from_u128(n), interrupted(n)));
    let expected: Vec<_> = marked.chain([(Uuid::from_u128(3), not_dispatched(3))]).collect();
    assert_eq!(recovered(dir.path()), expected);
    assert_eq!(recovered(dir.path()), expected);
}

#[tokio::test]
async fn what_an_older_version_left_counts_as_dispatched() {
    let dir = tempfile::tempdir().unwrap();
    let spool_dir = dir.path().join("spool-7-0");
    fs::create_dir(&spool_dir).unwrap();
    let mut file = segment::PREFACE_BEFORE.to_vec();
    let mut buffer = Vec::new();
    record::encode(&mut buffer, Kind::Intent, 0, Uuid::from_u128(1), &interrupted(1));
    file.extend_from_slice(&buffer);
    fs::write(spool_dir.join(segment::name(0)), file).unwrap();
    assert_eq!(recovered(dir.path()), [(Uuid::from_u128(1), interrupted(1))]);
}

#[tokio::test]
async fn processes_side_by_side_leave_each_other_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (open(dir.path()), open(dir.path()));
    execute(&one, 0..5).await;
    execute(&two, 5..10).await;
    let mine = ship_until_flushed(&two, 5).await;
    assert_eq!(mine.data(), (5..10).map(|n| event(n, &DONE)).collect::<Vec<_>>());
    execute(&one, 10..11).await;
    assert_eq!(ship(&one).await.data().len(), 6);
}

async fn ship_until_flushed(spool: &Spool, count: usize) -> std::sync::Arc<Memory> {
    flush(&spool.inner).await;
    ship_until(spool, count).await
}

#[tokio::test]
async fn a_spool_of_another_format_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let foreign = dir.path().join("spool-1-99");
    fs::create_dir(&foreign).unwrap();
    let segment = foreign.join(segment::name(0));
    fs::write(&segment, b"carspl\n\x03future").unwrap();
    let dead = open(dir.path());
    execute(&dead, 0..1).await;
    drop(dead);
    let next = open(dir.path());
    assert_eq!(ship_until(&next, 1).await.data(), [event(0, &DONE)]);
    assert_eq!(fs::read(segment).unwrap(), b"carspl\n\x03future");
}

#[tokio::test]
async fn damage_in_an_abandoned_spool_is_counted_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (dead, _, _) = crate::testing::open_with(dir.path(), crate::testing::MIB, super::INTERVAL);
    execute(&dead, 0..100).await;
    let path = own_segment(&dead);
    drop(dead);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();

    let next = open(dir.path());
    let sink = Memory::new();
    let last = Uuid::from_u128(99).to_string();
    let done = {
        let sink = sink.clone();
        async move {
            let mut held = 1;
            loop {
                sink.holds(held).await;
                let shipments = sink.shipments();
                if shipments.iter().any(|shipment| shipment.id == last) {
                    break;
                }
                held = shipments.len() + 1;
            }
        }
    };
    crate::Shipper::new(&next, None).run(sink.clone(), done).await;
    assert!(sink.data().len() > 60);
    assert_eq!(
        next.stats().dropped,
        2,
        "the file, and the request whose outcome it was that changed"
    );
    assert!(path.with_extension("damaged").exists());
}

#[test]
fn adoption_is_bounded_and_what_holds_no_evidence_takes_no_place_in_it() {
    let root = tempfile::tempdir().unwrap();
    let spool = open(root.path());
    for n in 0..100 {
        let left = |kind: &str| {
            let dir = root.path().join(format!("spool-{kind}-{n}"));
            fs::create_dir(&dir).unwrap();
            dir
        };
        fs::write(left("evidence").join(segment::name(0)), PREFACE).unwrap();
        fs::write(left("aside").join("0000000000000000.damaged"), "").unwrap();
        fs::create_dir(left("unreadable").join(segment::name(0))).unwrap();
    }
    let mut unread = HashMap::new();
    let first = adopt(&spool.inner, &mut unread).unwrap();
    let second = adopt(&spool.inner, &mut unread).unwrap();
    assert_eq!((first.len(), second.len()), (64, 36));
    let found = first.iter().chain(&second);
    assert!(
        found
            .map(|orphan| &orphan.segments)
            .all(|segments| segments.len() == 1)
    );
}

/// What a test does to a crossing.
#[derive(Debug, Clone, Copy)]
enum Step {
    Begin,
    End(prop::sample::Index, bool),
    Flush,
    Ship,
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Begin),
        4 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(which, known)| Step::End(which, known)),
        1 => Just(Step::Flush),
        1 => Just(Step::Ship),
        1 => Just(Step::Kill),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_crossing_has_one_event_whatever_happens(steps in proptest::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(run(&steps));
    }
}

async fn run(steps: &[Step]) {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let mut under_way = Vec::new();
    let mut expected: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut shipped = Vec::new();
    for step in steps.iter().chain([&Step::Kill]) {
        match step {
            Step::Begin => {
                let n = expected.len() as u128;
                let crossing = cross(&spool, n).await;
                expected.insert(crossing.id().to_string(), interrupted(n));
                under_way.push((n, crossing));
            }
            Step::End(which, known) if !under_way.is_empty() => {
                let (n, crossing) = under_way.swap_remove(which.index(under_way.len()));
                if *known {
                    let outcome = Outcome {
                        response_bytes: Some(17),
                        ..DONE
                    };
                    expected.insert(crossing.id().to_string(), event(n, &outcome));
                    crossing.outcome(&outcome);
                }
            }
            Step::End(..) => {}
            Step::Flush => {
                flush(&spool.inner).await;
            }
            Step::Ship => {
                // Something is under way, lest the spool be removed.
                let n = expected.len() as u128;
                let crossing = cross(&spool, n).await;
                expected.insert(crossing.id().to_string(), interrupted(n));
                shipped.extend(ship(&spool).await.shipments());
                drop(crossing);
            }
            Step::Kill => {
                under_way.drain(..).for_each(|(_, crossing)| crossing.abandon());
                drop(spool);
                let once = recovered(dir.path());
                assert_eq!(once, recovered(dir.path()), "the same bytes every time");
                spool = open(dir.path());
                shipped.extend(ship_until(&spool, once.len()).await.shipments());
                spool = open(dir.path());
            }
        }
    }
    // Every process before the last has ended its chain.
    let mut verifier = Verifier::default();
    shipped
        .iter()
        .for_each(|shipment| verifier.add(&shipment.id, &shipment.data, None));
    let report = verifier.finish();
    assert!(report.is_sound(), "{report:?}");
    assert!(report.chains.iter().all(|chain| chain.is_complete), "{report:?}");
    let events: Vec<_> = shipped
        .into_iter()
        .filter(|shipment| !is_a_checkpoint(shipment))
        .collect();
    let found: BTreeMap<_, _> = events
        .iter()
        .map(|shipment| (shipment.id.clone(), text(&plain(&shipment.data))))
        .collect();
    let expected: BTreeMap<_, _> = expected.into_iter().map(|(id, data)| (id, text(&data))).collect();
    assert_eq!(found, expected);
    assert_eq!(events.len(), found.len(), "nothing was shipped twice");
}

#[test]
fn an_acknowledgement_is_no_event() {
    let dir = tempfile::tempdir().unwrap();
    let spool_dir = dir.path().join("spool-7-0");
    fs::create_dir(&spool_dir).unwrap();
    let mut file = PREFACE.to_vec();
    let mut buffer = Vec::new();
    record::encode(&mut buffer, Kind::Event, 0, Uuid::from_u128(1), b"shipped");
    file.extend_from_slice(&buffer);
    let shipped = file.len() as u64;
    record::encode(&mut buffer, Kind::Event, 0, Uuid::from_u128(2), b"waiting");
    file.extend_from_slice(&buffer);
    record::ack(&mut buffer, shipped, 0);
    file.extend_from_slice(&buffer);
    fs::write(spool_dir.join(segment::name(0)), file).unwrap();
    assert_eq!(recovered(dir.path()), [(Uuid::from_u128(2), b"waiting".to_vec())]);
}
