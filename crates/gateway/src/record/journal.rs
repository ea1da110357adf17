//! What the gates and the connection tell the record.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use admission::denial::Stage;
use admission::ports::Cause;
use admission::{CrossingFacts, Denial, Journal, Subject};
use backends::http::{Departs, Departure, Guard};
use evidence::Room;

use super::{Dispatched, Identity, Intended, Received, Record};

impl Journal for Record<Received> {
    type Room = Room;
    type Intent = Record<Intended>;

    fn passed(&mut self, stage: Stage) {
        if let Some((known, _)) = &mut self.0 {
            known.stages.pass(stage);
        }
    }

    fn bearer(&mut self, token: &str) {
        if let Some((known, _)) = &mut self.0 {
            known.bearer = Some(evidence::fingerprint(token.as_bytes()));
        }
    }

    fn identified(&mut self, subject: Subject) -> Result<(), Denial> {
        let Some((known, _)) = &mut self.0 else {
            return Err(Denial::Overloaded);
        };
        // Gates 2 and 3 found the bearer before gate 9 verified it.
        let (bearer, uri) = (known.bearer.zip(known.uri.take())).ok_or(Denial::MissingBearer)?;
        known.identity = Some(Identity {
            bearer,
            path: evidence::fingerprint(uri.path().as_bytes()),
            subject,
            application_id: None,
        });
        let place = known
            .recorder
            .capacity
            .request()
            .map_err(|_| Denial::Overloaded)?;
        known.in_flight.keep(place);
        Ok(())
    }

    fn bound(&mut self, application_id: &str) {
        if let Some((known, _)) = &mut self.0
            && let Some(identity) = &mut known.identity
        {
            identity.application_id = Some(application_id.to_owned());
        }
    }

    fn reserve(&mut self) -> Result<Room, Cause> {
        match &self.0 {
            Some((known, _)) => known
                .recorder
                .spool
                .reserve()
                .map_err(|no_room| Cause::new(no_room.to_string())),
            None => Err(Cause::new("the record has ended")),
        }
    }

    async fn intent(
        mut self,
        room: Room,
        crossing: &CrossingFacts<'_>,
    ) -> Result<Record<Intended>, (Self, Cause)> {
        let Some((known, identity)) = self
            .0
            .as_ref()
            .and_then(|(known, _)| Some((known, known.identity.as_ref()?)))
            .filter(|(_, identity)| identity.application_id.is_some())
        else {
            return Err((self, Cause::new("the record has no subject and application")));
        };
        let evidence = match room.intent(&known.event(identity, Some(crossing))).await {
            Ok(evidence) => evidence,
            Err(error) => return Err((self, Cause::new(error.to_string()))),
        };
        let dispatched = Dispatched {
            evidence,
            attempts: Arc::default(),
            upstream_host: crossing.upstream_host.into(),
            auth_mode: crossing.directive.auth_mode.as_str().into(),
            trace_id: crossing.trace_id.map(Box::from),
        };
        Ok(Record(
            self.0
                .take()
                .map(|(known, Received)| (known, Intended(dispatched))),
        ))
    }
}

impl Departs for Record<Intended> {
    fn departure(&self) -> Guard {
        let known = self.0.as_ref();
        Arc::new(Departing(known.map(|(_, Intended(dispatched))| {
            (dispatched.evidence.departure(), Arc::clone(&dispatched.attempts))
        })))
    }
}

/// A request that may leave for as long as its record has not ended, and how often it did.
struct Departing(Option<(evidence::Departure, Arc<AtomicU8>)>);

impl Departing {
    fn known(&self) -> io::Result<&(evidence::Departure, Arc<AtomicU8>)> {
        let ended = || io::Error::other("the record has ended");
        self.0.as_ref().ok_or_else(ended)
    }
}

impl Departure for Departing {
    fn keep(&self) -> io::Result<()> {
        self.known()?.0.keep()
    }

    fn mark(&self) -> io::Result<()> {
        let (departure, attempts) = self.known()?;
        departure.mark()?;
        attempts.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
