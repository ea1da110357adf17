//! What a power cut leaves of operations that were not synced.

use std::collections::{BTreeMap, HashMap};

use super::Node;

/// A small generator (SplitMix64), so that a seed says everything.
pub(super) fn next(random: &mut u64) -> u64 {
    *random = random.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *random;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// What some of the operations between two states leave.
pub(super) fn mix(
    durable: &HashMap<u64, Node>,
    live: &HashMap<u64, Node>,
    random: &mut u64,
) -> HashMap<u64, Node> {
    let empty = Node::default();
    let mut inodes: Vec<_> = live.keys().chain(durable.keys()).copied().collect();
    inodes.sort_unstable();
    inodes.dedup();
    let mut mixed = HashMap::new();
    for inode in inodes {
        let (old, new) = (
            durable.get(&inode).unwrap_or(&empty),
            live.get(&inode).unwrap_or(&empty),
        );
        let mut names: Vec<_> = old.entries.keys().chain(new.entries.keys()).collect();
        names.sort_unstable();
        names.dedup();
        let mut entries = BTreeMap::new();
        for name in names {
            let side = if next(random).is_multiple_of(2) { old } else { new };
            if let Some(inode) = side.entries.get(name) {
                entries.insert(name.clone(), *inode);
            }
        }
        // A renamed file has one of its names.
        for (name, inode) in &new.entries {
            let renamed = old
                .entries
                .iter()
                .find(|(before, same)| *same == inode && *before != name);
            if let Some((before, _)) = renamed {
                let (kept, other) = if next(random).is_multiple_of(2) {
                    (name, before)
                } else {
                    (before, name)
                };
                entries.remove(other);
                entries.insert(kept.clone(), *inode);
            }
        }
        let (short, long) = (
            old.bytes.len().min(new.bytes.len()),
            old.bytes.len().max(new.bytes.len()),
        );
        let spread = (long - short) as u64 + 1;
        let length = short + usize::try_from(next(random) % spread).unwrap();
        let longer = if new.bytes.len() == long { new } else { old };
        let mut bytes = longer.bytes[..length].to_vec();
        // What was written over may not have arrived.
        if next(random).is_multiple_of(2) {
            bytes[..short].copy_from_slice(&old.bytes[..short]);
        }
        if length > short && next(random).is_multiple_of(3) {
            // The length arrived, and not all of the contents.
            let from = short + usize::try_from(next(random) % (length - short) as u64).unwrap();
            bytes[from..].fill(0);
        }
        mixed.insert(
            inode,
            Node {
                entries,
                bytes,
                allocated: 0,
            },
        );
    }
    mixed
}
