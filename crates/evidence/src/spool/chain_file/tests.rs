use std::fs;
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use super::{BLOCK, CHAIN, Carried, ChainFile, KEY};
use crate::chain::{Chain, CheckpointKey};
use crate::spool::disk::{Directory, Disk as _, System};
use crate::testing::{DONE, event};

fn dir(path: &Path) -> Arc<dyn Directory> {
    System.open(path, false).unwrap()
}

fn chain() -> Chain {
    Chain::new(Uuid::from_u128(7), CheckpointKey::generate().unwrap())
}

fn create(path: &Path, chain: Chain, position: u64, lasting: bool) -> std::io::Result<ChainFile> {
    ChainFile::create(&*dir(path), CHAIN, Carried { chain, at: 0 }, position, lasting)
}

/// The chain with so many events more.
fn longer(file: &ChainFile, events: u128) -> Chain {
    let mut chain = file.chain().clone();
    (0..events).for_each(|n| drop(chain.join(&event(n, &DONE))));
    chain
}

fn open(path: &Path) -> ChainFile {
    ChainFile::open(&*dir(path), None).unwrap().unwrap()
}

#[test]
fn a_successor_goes_on_where_the_chain_stands_with_its_key() {
    let path = tempfile::tempdir().unwrap();
    let mut file = create(path.path(), chain(), 5, false).unwrap();
    for round in 0..4 {
        let next = longer(&file, 3);
        file.advance(100 + round, next.clone(), Some(7));
        if round == 1 {
            file.sync().unwrap();
        }
        let found = open(path.path());
        assert_eq!(
            (found.position(), found.at(), found.chain().head),
            (100 + round, 7, next.head)
        );
        assert_eq!((found.chain().id, found.chain().public), (next.id, next.public));
        assert_eq!(found.chain().key.as_ref().unwrap().public(), next.public);
    }
    assert_eq!(file.durable(), 101);
}

#[test]
fn what_is_torn_leaves_what_was_synced() {
    let path = tempfile::tempdir().unwrap();
    let mut file = create(path.path(), chain(), 0, false).unwrap();
    for round in 1..4 {
        file.advance(round * 10, longer(&file, 1), None);
        file.sync().unwrap();
        let synced = fs::read(path.path().join(CHAIN)).unwrap();
        file.advance(round * 10 + 1, longer(&file, 1), None);
        file.advance(round * 10 + 2, longer(&file, 1), None);
        let written = fs::read(path.path().join(CHAIN)).unwrap();
        // Whatever of it reached the disk, the other place stands.
        for torn in 0..written.len() {
            let mixed = [&written[..torn], &synced[torn..]].concat();
            fs::write(path.path().join(CHAIN), mixed).unwrap();
            let found = open(path.path()).position();
            assert!([round * 10, round * 10 + 2].contains(&found), "{torn}: {found}");
        }
        fs::write(path.path().join(CHAIN), &written).unwrap();
    }
}

#[test]
fn what_is_written_during_a_sync_waits_for_its_end() {
    let path = tempfile::tempdir().unwrap();
    let mut file = create(path.path(), chain(), 0, false).unwrap();
    file.advance(10, longer(&file, 1), None);
    let (_, position) = file.begin_sync().unwrap();
    file.advance(20, longer(&file, 1), None);
    assert_eq!(open(path.path()).position(), 10, "the sync is about this");
    let at_10 = fs::read(path.path().join(CHAIN)).unwrap();
    file.end_sync(Some(position));
    assert_eq!((file.durable(), open(path.path()).position()), (10, 20));
    // One that failed makes nothing durable, and what the kernel may have dropped is written once more.
    let _ = file.begin_sync().unwrap();
    fs::write(path.path().join(CHAIN), &at_10).unwrap();
    file.end_sync(None);
    assert_eq!(file.durable(), 10);
    let (_, position) = file.begin_sync().unwrap();
    assert_eq!((position, open(path.path()).position()), (20, 20));
}

#[test]
fn the_secret_is_kept_only_where_it_is_the_process_s_own_and_for_nobody_else() {
    use std::os::unix::fs::PermissionsExt as _;
    let (own, lasting) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    create(own.path(), chain(), 0, false).unwrap();
    let mode = own.path().join(KEY).metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let chain = chain();
    let key = chain.key.clone().unwrap();
    create(lasting.path(), chain, 0, true).unwrap();
    assert!(!lasting.path().join(KEY).exists());
    let found = |key| {
        let file = ChainFile::open(&*dir(lasting.path()), key).unwrap();
        file.unwrap().chain().key.is_some()
    };
    let other = CheckpointKey::generate().unwrap();
    assert!(found(Some(&key)));
    assert!(!found(Some(&other)), "it signs with no other");
    assert!(!found(None));
}

#[test]
fn what_is_no_state_of_a_chain_is_none() {
    let path = tempfile::tempdir().unwrap();
    assert!(ChainFile::open(&*dir(path.path()), None).unwrap().is_none());
    create(path.path(), chain(), 0, false).unwrap();
    let whole = fs::read(path.path().join(CHAIN)).unwrap();
    for damaged in [0, 10, 55] {
        let mut bytes = whole.clone();
        bytes[damaged] ^= 1;
        fs::write(path.path().join(CHAIN), bytes).unwrap();
        assert!(
            ChainFile::open(&*dir(path.path()), None).unwrap().is_none(),
            "{damaged}"
        );
    }
    fs::write(path.path().join(CHAIN), &whole[..BLOCK]).unwrap();
    assert!(ChainFile::open(&*dir(path.path()), None).unwrap().is_none());
}
