//! What reaches the stream: whatever is shipped again is the same.

use std::io;

use uuid::Uuid;

use super::{Gap, World};
use crate::shipper::Batch;
use crate::spool::{Orphan, Spool};
use crate::testing::plain;

impl World {
    pub(super) fn deliver(&mut self, batch: &Batch) {
        for shipment in &batch.shipments {
            let id = Uuid::try_parse(&shipment.id).unwrap();
            let fact = usize::try_from(id.as_u128()).ok().and_then(|n| self.facts.get(n));
            // Of an event that was shipped from a segment which is gone nothing is known any more.
            if self.forgets && fact.is_none_or(|fact| fact.at_risk) && self.delivered.contains_key(&id) {
                continue;
            }
            // What was damaged may have cost its place in the chain.
            let is_inexact = fact.is_some_and(|fact| fact.at_risk && !fact.is_exact);
            let is_moved = self.forgets || (self.damaged && is_inexact);
            let known = |data: &[u8]| if is_moved { plain(data) } else { data.to_vec() };
            let first = self.delivered.entry(id).or_insert_with(|| shipment.data.to_vec());
            assert_eq!(
                String::from_utf8_lossy(&known(first)),
                String::from_utf8_lossy(&known(&shipment.data)),
                "shipped again, and not the same"
            );
        }
    }

    pub(super) fn ship(&mut self) -> bool {
        let Some(inner) = self.inner() else { return false };
        let mut shipped = false;
        let was_whole = self.gap == Gap::None;
        while let Some((segment, from)) = inner.with_log(|log| log.unshipped()) {
            let (source, chain) = inner.with_log(|log| (log.source(segment.base), log.chain().cloned()));
            let batch = Batch::read(&source, &segment, from, None, chain, &[]).unwrap();
            assert!(!batch.damaged, "what was written does not read back");
            self.deliver(&batch);
            let events = batch.shipments.len() as u64;
            inner.with_log(|log| log.ship(segment.base, batch.until, events, batch.last, batch.chain, 1));
            let _ = inner.trim();
            shipped = true;
        }
        if shipped && !was_whole {
            self.gap = Gap::Shipped;
        }
        shipped
    }

    pub(super) fn ship_orphan(&mut self, mut orphan: Orphan, spool: &Spool) -> io::Result<()> {
        let counters = &spool.inner.counters;
        while let Some((segment, from)) = orphan.next()? {
            let (source, chain) = (orphan.source(segment.base), orphan.chain());
            let read = Batch::read(&source, &segment, from, None, chain.clone(), &orphan.rewritten());
            let batch = match read {
                // Somebody removed it, or what said that it stands elsewhere is damaged.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        || self.misses
                        || self.facts.iter().any(|fact| fact.harmed) =>
                {
                    Batch::unreadable(from, chain)
                }
                read => read?,
            };
            self.deliver(&batch);
            orphan.ship(batch.until, batch.damaged, batch.chain, batch.last, counters)?;
        }
        orphan.remove(counters)
    }
}
