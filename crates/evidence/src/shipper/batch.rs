//! Batches, read back from the spool.

use std::io;
use std::ops::Range;

use bytes::Bytes;

use super::sink::Shipment;
use crate::chain::Chain;
use crate::signature::AuditKey;
use crate::spool::{Broken, Kind, MAX_RECORD, Records, Segment, Source, position as lost, read};

/// The most events in a batch.
const MAX_EVENTS: usize = 256;

/// The most bytes that are read for a batch.
const MAX_BYTES: usize = 512 * 1024;

/// The events of a stretch of a segment.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) shipments: Vec<Shipment>,
    /// The position behind what was read.
    pub(crate) until: u64,
    /// When the first event was recorded.
    pub(crate) first: Option<i64>,
    /// When the last event was recorded.
    pub(crate) last: Option<i64>,
    /// What follows cannot be read.
    pub(crate) damaged: bool,
    /// The chain as it stands behind these events.
    pub(crate) chain: Option<Chain>,
}

impl Batch {
    /// No event, and nothing to be read here.
    pub(crate) const fn unreadable(from: u64, chain: Option<Chain>) -> Self {
        Self {
            shipments: Vec::new(),
            until: from,
            first: None,
            last: None,
            damaged: true,
            chain,
        }
    }

    /// Reads on from a position that is below the segment's end, and joins what is read to the chain. What was `rewritten` is
    /// left out.
    pub(crate) fn read(
        source: &Source,
        segment: &Segment,
        from: u64,
        key: Option<&AuditKey>,
        chain: Option<Chain>,
        rewritten: &[Range<u64>],
    ) -> io::Result<Self> {
        let bytes = Bytes::from(read(source, segment, from, MAX_BYTES)?);
        let mut batch = Self {
            damaged: false,
            ..Self::unreadable(from, chain)
        };
        let mut records = Records::new(&bytes);
        while batch.shipments.len() < MAX_EVENTS
            && let Some(record) = records.next()
        {
            let position = from + (records.taken() - record.bytes.len()) as u64;
            let counts = !rewritten.iter().any(|range| range.contains(&position));
            if record.kind == Kind::Lost && counts {
                let events = lost(&record).unwrap_or(0);
                batch.chain.iter_mut().for_each(|chain| chain.skip(events));
            }
            if record.kind == Kind::Event && counts {
                let data = match &mut batch.chain {
                    Some(chain) => chain.join(record.payload).into(),
                    None => bytes.slice_ref(record.payload),
                };
                batch.shipments.push(Shipment {
                    id: record.id.to_string(),
                    sig: key.map(|key| key.sign(&data)),
                    data,
                });
                batch.first.get_or_insert(record.at);
                batch.last = Some(record.at);
            }
        }
        batch.until += records.taken() as u64;
        // A record may well be cut where reading stopped, but not where the segment ends, nor can it be as
        // long as all that was read.
        let rest = bytes.len() - records.taken();
        let cut = rest < MAX_RECORD && from + (bytes.len() as u64) < segment.end();
        batch.damaged = records
            .stopped()
            .is_some_and(|broken| !(cut && broken == Broken::Short));
        Ok(batch)
    }
}
