//! What the STS knows, and what it was asked.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::signature::Nonces;
use super::token;
use super::zone::{self, Zone};
use crate::clock::Clock;
use crate::config::{Binding, StackConfig};
use crate::revoke::{Revocation, Revocations, RevokeError};
use crate::script::Script;
use crate::{Error, Secret};

/// How often the STS was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StsCounts {
    /// Gateway-signed exchanges, refused ones and ones with a false signature included.
    pub exchanges: u64,
    /// Unsigned token requests.
    pub mints: u64,
    /// Key set requests.
    pub jwks: u64,
}

/// A handle on the STS; clones share it.
#[derive(Clone)]
pub struct Sts(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(super) issuer: String,
    pub(super) zones: HashMap<String, Zone>,
    pub(crate) gateway_hmac_key: Secret,
    pub(super) gateway_key: hmac::Key,
    pub(crate) admin_token: Secret,
    pub(super) accept_session_mandates: bool,
    pub(super) nonces: Mutex<Nonces>,
    pub(crate) revocations: Revocations,
    pub(crate) script: Script,
    pub(super) counts: watch::Sender<StsCounts>,
    pub(super) clock: Clock,
}

impl Sts {
    pub(crate) fn new(config: &StackConfig, bindings: &[Binding], issuer: String) -> Result<Self, Error> {
        let gateway_hmac_key = Secret::random()?;
        let key_bytes = HEXLOWER
            .decode(gateway_hmac_key.expose().as_bytes())
            .map_err(|_| Error::Crypto)?;
        Ok(Self(Arc::new(Inner {
            zones: zone::assemble(config, bindings, (config.clock)())?,
            issuer,
            gateway_key: hmac::Key::new(hmac::HMAC_SHA256, &key_bytes),
            gateway_hmac_key,
            admin_token: Secret::random()?,
            accept_session_mandates: config.accept_session_mandates,
            nonces: Mutex::default(),
            revocations: Revocations::new(),
            script: Script::default(),
            counts: watch::Sender::default(),
            clock: Arc::clone(&config.clock),
        })))
    }

    /// Makes a new signing key for a zone and returns its `kid`. The previous key stays
    /// published for 24 hours; older ones are withdrawn at once.
    ///
    /// # Errors
    /// [`Error::UnknownZone`], or no key could be made.
    pub fn rotate_key(&self, zone: &str) -> Result<String, Error> {
        self.zone(zone)?.rotate(self.now())
    }

    /// Signs any header and any payload with a zone's newest key (RFC 7515 §7.1): for
    /// tokens that no real STS would make.
    ///
    /// # Errors
    /// [`Error::UnknownZone`], or signing failed.
    pub fn sign_literally(&self, zone: &str, header: &str, payload: &str) -> Result<Secret, Error> {
        let (key, header) = (
            self.zone(zone)?.signing_key(),
            BASE64URL_NOPAD.encode(header.as_bytes()),
        );
        Ok(Secret::new(token::sign(&key, &header, payload.as_bytes())?))
    }

    /// The `kid` of a zone's newest key.
    #[must_use]
    pub fn kid(&self, zone: &str) -> Option<String> {
        self.0.zones.get(zone).map(|zone| zone.signing_key().kid.clone())
    }

    /// How often the STS was asked so far.
    #[must_use]
    pub fn counts(&self) -> StsCounts {
        *self.0.counts.borrow()
    }

    /// Waits until the counts are as wanted; `None` when they are not within the time.
    pub async fn wait_for(
        &self,
        within: Duration,
        wanted: impl FnMut(&StsCounts) -> bool,
    ) -> Option<StsCounts> {
        let mut counts = self.0.counts.subscribe();
        let reached = tokio::time::timeout(within, counts.wait_for(wanted)).await;
        reached.ok()?.ok().map(|counts| *counts)
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.0.issuer
    }

    pub(crate) fn revoke(&self, revocation: Revocation) -> Result<(), RevokeError> {
        self.0.revocations.revoke(revocation, self.now())
    }

    fn zone(&self, id: &str) -> Result<&Zone, Error> {
        let known = self.0.zones.get(id);
        known.ok_or_else(|| Error::UnknownZone(id.into()))
    }

    pub(super) fn now(&self) -> u64 {
        (self.0.clock)()
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut StsCounts)) {
        self.0.counts.send_modify(change);
    }
}

impl fmt::Debug for Sts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sts")
            .field("issuer", &self.0.issuer)
            .finish_non_exhaustive()
    }
}
