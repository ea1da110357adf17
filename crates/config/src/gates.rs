//! What a mandate must satisfy.

use std::time::Duration;

use admission::limits::{Limits, OnReplayOutage, ReusableUses};
use admission::mode::Mode;

use crate::keys::gates as keys;
use crate::keys::limits::MAX_REQUEST_BYTES;
use crate::reader::{Read, Reader};
use crate::rules;
use crate::violation::Quoted;
use crate::warning::{LaxFlag, Warning};

/// Numbers and policies of the gates.
#[derive(Clone, Debug)]
pub struct Gates {
    /// Bounds of the local gates.
    pub limits: Limits,
    /// What happens while the replay store is down.
    pub on_replay_outage: OnReplayOutage,
    /// Oldest revocation snapshot that still counts as fresh.
    pub revocation_snapshot_max_age: Duration,
}

impl Gates {
    pub(crate) fn read(reader: &mut Reader<'_>, mode: Read<Mode>) -> Read<Self> {
        let max_request_bytes = reader.bytes(&MAX_REQUEST_BYTES);
        let window = reader.duration(&keys::PREFLIGHT_WINDOW);
        let window =
            window.and_then(|value| reader.judge(rules::whole_seconds(keys::PREFLIGHT_WINDOW.name, value)));
        let uses = reader.list(&keys::REUSABLE_MANDATE_USES);
        let uses =
            uses.and_then(|uses| reader.judge(rules::reusable_uses(keys::REUSABLE_MANDATE_USES.name, uses)));
        for class in uses.iter().flatten().filter(|class| rules::is_replayable(class)) {
            reader.warn(Warning::Replayable(Quoted::new(class)));
        }
        let on_replay_outage = Self::on_replay_outage(reader, mode);
        let snapshot_max_age = reader.duration(&keys::REVOCATION_SNAPSHOT_MAX_AGE);
        Ok(Self {
            limits: Limits {
                max_request_bytes: max_request_bytes?,
                preflight_window: window?,
                reusable_uses: ReusableUses::new(uses?),
            },
            on_replay_outage: on_replay_outage?,
            revocation_snapshot_max_age: snapshot_max_age?,
        })
    }

    pub(crate) fn on_replay_outage(reader: &mut Reader<'_>, mode: Read<Mode>) -> Read<OnReplayOutage> {
        let open = reader.flag(&keys::JTI_FAIL_OPEN)?;
        let proof = reader.lax(mode, LaxFlag::JtiFailOpen, open)?;
        Ok(proof.map_or(OnReplayOutage::Refuse, OnReplayOutage::Pass))
    }
}
