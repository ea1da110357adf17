use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{SpoolPart, Stored, read_spool};
use crate::spool::{Fsync, flush, segment};
use crate::testing::{MIB, cross, execute, home, interrupted, open, open_with, plain, ship};
use crate::verify::Verifier;

fn read(dir: &Path) -> (Vec<SpoolPart>, Vec<Stored>) {
    let mut all = Vec::new();
    let parts = read_spool(dir, &mut |stored| all.push(stored)).unwrap();
    (parts, all)
}

#[tokio::test]
async fn a_spool_is_read_beside_its_process_and_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    execute(&spool, 0..2).await;
    let crossing = cross(&spool, 7).await;
    let mut sink = ship(&spool).await.shipments();
    execute(&spool, 2..5).await;
    flush(&spool.inner).await;
    let (parts, running) = read(dir.path());
    let [part] = &parts[..] else { panic!("{parts:?}") };
    assert_eq!(
        (part.shipped, part.waiting, part.under_way, &part.holes[..]),
        (Some(2), 3, 1, &[][..])
    );
    // A process's own directory may be named too.
    assert_eq!(read(&home(&spool)).1, running);
    let (waiting, under_way) = running.split_at(3);
    assert_eq!(
        (under_way[0].is_finished, &under_way[0].data),
        (false, &interrupted(7))
    );

    crossing.abandon();
    drop(spool);
    assert_eq!(read(dir.path()).1, running);
    let next = open(dir.path());
    sink.extend(crate::testing::ship_until(&next, 4).await.shipments());
    let shipped: Vec<_> = sink
        .iter()
        .skip(2)
        .map(|shipment| plain(&shipment.data))
        .collect();
    let expected: Vec<_> = waiting.iter().map(|stored| stored.data.clone()).collect();
    assert_eq!((&shipped[..3], &shipped[3]), (&expected[..], &interrupted(7)));
    let mut verifier = Verifier::default();
    sink.iter()
        .for_each(|shipment| verifier.add(&shipment.id, &shipment.data, None));
    let report = verifier.finish();
    assert!(report.is_sound() && report.chains[0].is_complete, "{report:?}");
}

#[tokio::test]
async fn what_is_missing_or_damaged_in_a_spool_is_named() {
    type Damage = fn(&Path, &[u64]);
    let cases: [(&str, Damage, usize, usize); 5] = [
        ("the middle", |dir, bases| remove(dir, bases[1]), 2, 1),
        ("the first", |dir, bases| remove(dir, bases[0]), 1, 1),
        (
            "a bit of the middle",
            |dir, bases| flip(dir, bases[1], 2000),
            1,
            1,
        ),
        ("a bit of the last", |dir, bases| flip(dir, bases[3], 100), 3, 1),
        // What is left of a record, and everything behind it.
        (
            "the end of the first",
            |dir, bases| cut(dir, bases[0], 2000),
            0,
            2,
        ),
    ];
    for (case, damage, named, count) in cases {
        let root = tempfile::tempdir().unwrap();
        let (spool, _, _) = open_with(root.path(), MIB, Fsync::Interval(Duration::from_millis(1)));
        let dir = home(&spool);
        while super::bases(&dir).unwrap().len() < 4 {
            execute(&spool, 0..1).await;
        }
        execute(&spool, 1..4).await;
        flush(&spool.inner).await;
        assert!(read(root.path()).0[0].holes.is_empty(), "{case}");
        let bases = super::bases(&dir).unwrap();
        damage(&dir, &bases);
        let holes = read(root.path()).0.remove(0).holes;
        let is_named = holes
            .first()
            .is_some_and(|hole| hole.contains(&segment::name(bases[named])));
        assert!(is_named && holes.len() == count, "{case}: {holes:?}");
    }
}

fn remove(dir: &Path, base: u64) {
    fs::remove_file(dir.join(segment::name(base))).unwrap();
}

fn flip(dir: &Path, base: u64, at: usize) {
    let path = dir.join(segment::name(base));
    let mut bytes = fs::read(&path).unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
}

fn cut(dir: &Path, base: u64, at: usize) {
    let path = dir.join(segment::name(base));
    fs::write(&path, &fs::read(&path).unwrap()[..at]).unwrap();
}

#[test]
fn a_directory_that_is_not_there_is_an_error_and_an_empty_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    assert!(read(dir.path()).1.is_empty());
    assert!(read_spool(&dir.path().join("missing"), &mut |_| {}).is_err());
}

#[test]
fn what_was_set_aside_is_named() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("spool-1-0");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("0000000000000000.damaged"), b"").unwrap();
    let holes = read(root.path()).0.remove(0).holes;
    assert!(holes.len() == 1 && holes[0].contains(".damaged"), "{holes:?}");
}
