//! Hears of changes at once, where the database has triggers.
//!
//! A proxy that pools transactions takes a `LISTEN`, and then hands what is heard to nobody, or to another of its
//! clients. So a listener is trusted only while a notification that the gateway sends to itself comes back: sent over the
//! connection that reads, heard on this one, which asks nothing meanwhile.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use admission::ports::Cause;
use data_encoding::HEXLOWER;
use tokio::time::sleep;

use super::Shared;
use super::changes::Probe;
use super::config::BindingsConfig;
use crate::pause::{RETRY, spread, within};
use crate::postgres::{PostgresConnector, Session, execute};

/// What is waited for in vain behind a proxy that pools transactions.
const WHAT: &str = "postgres: the gateway's own notification (does a proxy pool transactions?)";
const CHANNEL: &str = "caracal_gateway_bindings";
/// How long the server may take to begin to notify.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause after the server has refused to notify, or did not. Whatever stands in the way, it is no short outage.
const UNHEARD_PAUSE: Duration = Duration::from_secs(5);

pub(super) struct Listener {
    pub(super) database: PostgresConnector,
    pub(super) config: BindingsConfig,
    pub(super) shared: Arc<Shared>,
}

/// Why a listener is none any more.
enum End {
    /// There is no connection.
    Lost(Cause),
    /// There is one, and it does not hear.
    Unheard(Cause),
}

impl Listener {
    pub(super) async fn listen(&self) {
        // One for the life of the process: behind a proxy each that was ever listened to stays.
        let mut own = None;
        for number in 1.. {
            let Err(end) = self.follow(number, &mut own).await;
            let (pause, cause) = match end {
                End::Lost(cause) => (RETRY, cause),
                End::Unheard(cause) => (UNHEARD_PAUSE, cause),
            };
            self.shared.unheard(&cause);
            sleep(spread(pause)).await;
        }
    }

    async fn follow(&self, number: u64, own: &mut Option<String>) -> Result<Infallible, End> {
        let own = match own {
            Some(own) => own,
            None => own.insert(format!("caracal_gateway_{}", random()?)),
        };
        let mut session = self.database.connect().await.map_err(End::Lost)?;
        // One message, so that no proxy can give each its own connection.
        let both = format!("LISTEN {CHANNEL}; LISTEN {own}");
        let listening = session.run(LISTEN_TIMEOUT, async |client| execute(client, &both).await);
        if let Err(cause) = listening.await {
            let lost = session.closed();
            return Err(if lost {
                End::Lost(cause)
            } else {
                End::Unheard(cause)
            });
        }
        self.shared.listening.store(number, Ordering::Release);
        loop {
            let payload = random()?;
            // What changed before we listened is looked for now, and from here on nothing is missed.
            self.shared.changes.probe(Probe {
                channel: own.clone(),
                payload: payload.clone(),
            });
            let heard = async {
                while self.own(&mut session, own).await? != payload {}
                Ok(())
            };
            let heard = within(WHAT, self.config.probe_timeout, heard).await;
            match heard {
                Ok(()) => self.shared.proven.store(number, Ordering::Release),
                Err(cause) if session.closed() => return Err(End::Lost(cause)),
                Err(cause) => return Err(End::Unheard(cause)),
            }
            let lost = async {
                loop {
                    if let Err(cause) = self.own(&mut session, own).await {
                        return cause;
                    }
                }
            };
            tokio::select! {
                cause = lost => return Err(End::Lost(cause)),
                () = sleep(spread(self.config.probe_every)) => {}
            }
        }
    }

    /// Passes on what is announced, until something comes on this channel of our own: its payload.
    async fn own(&self, session: &mut Session, own: &str) -> Result<String, Cause> {
        loop {
            let notification = session.notified().await?;
            match notification.channel() {
                CHANNEL => self.shared.changes.announce(notification.payload()),
                channel if channel == own => return Ok(notification.payload().to_owned()),
                _ => {}
            }
        }
    }
}

fn random() -> Result<String, End> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| End::Lost(Cause::local("bindings: no random bytes")))?;
    Ok(HEXLOWER.encode(&bytes))
}
