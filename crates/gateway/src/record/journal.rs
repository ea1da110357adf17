//! What the gates and the connection tell the record.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use admission::denial::Stage;
use admission::ports::Cause;
use admission::{CrossingFacts, Denial, Journal, Subject};
use backends::http::{Departs, Guard};
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
        let bearer = known.bearer.ok_or(Denial::MissingBearer)?;
        known.identity = Some(Identity {
            bearer,
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
        match &self.0 {
            Some((_, Intended(dispatched))) => {
                let departure = dispatched.evidence.departure();
                let attempts = Arc::clone(&dispatched.attempts);
                Arc::new(move || {
                    departure.mark()?;
                    attempts.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                })
            }
            None => Arc::new(|| Err(std::io::Error::other("the record has ended"))),
        }
    }
}
