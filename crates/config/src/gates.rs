//! What a mandate must satisfy.

use std::num::NonZeroU32;
use std::time::Duration;

use admission::limits::{Limits, OnReplayOutage, ReusableUses};
use admission::mode::Mode;

use crate::keys::gates as keys;
use crate::keys::limits::MAX_REQUEST_BYTES;
use crate::reader::{Read, Reader};
use crate::upgrades::upgrades;
use crate::violation::{Quoted, Violation};
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
    /// Revoked anchors held in all.
    pub revocation_max_anchors: NonZeroU32,
    /// Revoked anchors held of one zone.
    pub revocation_max_zone_anchors: NonZeroU32,
}

impl Gates {
    pub(crate) fn read(reader: &mut Reader<'_>, mode: Read<Mode>) -> Read<Self> {
        let max_request_bytes = reader.bytes(&MAX_REQUEST_BYTES);
        let window = reader.duration(&keys::PREFLIGHT_WINDOW);
        // It is compared with times in whole seconds, so a fraction would promise what it cannot keep.
        let window = window.and_then(|value| match value.subsec_nanos() {
            0 => Ok(value),
            _ => Err(reader.report(Violation::Variable(
                keys::PREFLIGHT_WINDOW.name,
                "must be a whole number of seconds",
            ))),
        });
        let uses = Self::reusable_uses(reader);
        let upgrades = upgrades(reader);
        let on_replay_outage = Self::on_replay_outage(reader, mode);
        let snapshot_max_age = reader.duration(&keys::REVOCATION_SNAPSHOT_MAX_AGE);
        let max_anchors = reader.count(&keys::REVOCATION_MAX_ANCHORS);
        let max_zone_anchors = reader.count(&keys::REVOCATION_MAX_ZONE_ANCHORS);
        Ok(Self {
            limits: Limits {
                max_request_bytes: max_request_bytes?,
                preflight_window: window?,
                reusable_uses: ReusableUses::new(uses?),
                upgrades: upgrades?,
            },
            on_replay_outage: on_replay_outage?,
            revocation_snapshot_max_age: snapshot_max_age?,
            revocation_max_anchors: max_anchors?,
            revocation_max_zone_anchors: max_zone_anchors?,
        })
    }

    /// `none` stands alone: beside another class it would be unclear which of the two is meant.
    fn reusable_uses(reader: &mut Reader<'_>) -> Read<Vec<String>> {
        let uses = reader.list(&keys::REUSABLE_MANDATE_USES)?;
        if uses.len() > 1 && uses.iter().any(|class| class == "none") {
            return Err(reader.report(Violation::Rule("REUSABLE_MANDATE_USES: none must stand alone")));
        }
        // Any other class rests on the protection against replay that this takes away.
        let minted_for_one_use = |class: &&String| !matches!(class.as_str(), "none" | "session" | "ambient");
        for class in uses.iter().filter(minted_for_one_use) {
            reader.warn(Warning::Replayable(Quoted::new(class)));
        }
        Ok(uses)
    }

    pub(crate) fn on_replay_outage(reader: &mut Reader<'_>, mode: Read<Mode>) -> Read<OnReplayOutage> {
        let (_, proof) = reader.lax(mode, &keys::JTI_FAIL_OPEN, LaxFlag::JtiFailOpen)?;
        Ok(proof.map_or(OnReplayOutage::Refuse, OnReplayOutage::Pass))
    }
}
