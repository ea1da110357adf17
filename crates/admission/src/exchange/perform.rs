//! Gate 15: the exchange is sent once, and granted.

use percent_encoding::percent_decode;

use super::answer::{self, Grant, NoGrant};
use super::circuit::Outcome;
use super::replay::Marked;
use super::sign::{ExchangeRequest, ExchangeSigner};
use crate::binding::Bound;
use crate::denial::Denial;
use crate::ports::{Clock, Departure, ExchangeFailure, Sts};
use crate::refused::Refused;

/// A request whose exchange was granted. The slot is settled and the mandate is spent.
pub struct Granted<'r, R> {
    bound: Bound<'r>,
    room: R,
    grant: Grant,
}

impl<'r, R> Granted<'r, R> {
    pub(super) fn into_parts(self) -> (Bound<'r>, R, Grant) {
        (self.bound, self.room, self.grant)
    }
}

/// Signs and sends the exchange, once; it is never cached, retried or redirected.
///
/// When no byte of it can have reached the STS, the replay mark is released with this
/// function's failure; otherwise the mandate is spent, also when the caller hangs up.
///
/// # Errors
/// [`Denial::ExchangeRefused`] with the STS's words, [`Denial::StsTimeout`],
/// [`Denial::StsUnreachable`], [`Denial::StsAnswerInvalid`], [`Denial::StsRefusedGateway`];
/// [`Denial::Overloaded`] where this process could not even ask.
pub async fn perform<'r, R>(
    request: Marked<'r, R>,
    signer: &ExchangeSigner,
    sts: &dyn Sts,
    clock: &dyn Clock,
) -> Result<Granted<'r, R>, Refused> {
    let call = signer.sign(
        &exchange_request(request.bound(), &path_of(request.bound())),
        clock.now(),
    );
    let (bound, slot, room, mark) = request.into_parts();
    let departing = Departing {
        departure: Departure::default(),
        mark: Some(mark),
    };
    let answer = sts.exchange(&call, &departing.departure).await;
    // Whoever answers was asked, whatever the transport noted.
    if matches!(answer, Ok(_) | Err(ExchangeFailure::Oversized)) {
        departing.departure.mark();
    }
    drop(departing);
    let result = match &answer {
        Ok(answer) => answer::read(answer, bound.verified().request().resource()),
        Err(failure) => Err(no_answer(failure)),
    };
    match result {
        Ok(grant) => {
            slot.settle(Outcome::Success, clock.now());
            Ok(Granted { bound, room, grant })
        }
        Err(NoGrant {
            denial,
            outcome,
            sts,
            cause,
        }) => {
            slot.settle(outcome, clock.now());
            Err(Refused { denial, cause, sts })
        }
    }
}

/// Holds the mark while the exchange is under way. However the wait ends, dropped futures
/// included, the mark is spent if bytes may have left, and released if none did.
struct Departing {
    departure: Departure,
    mark: Option<super::replay::HeldMark>,
}

impl Drop for Departing {
    fn drop(&mut self) {
        match self.mark.take() {
            Some(mark) if self.departure.happened() => mark.spend(),
            unspent => drop(unspent),
        }
    }
}

fn path_of(bound: &Bound<'_>) -> Vec<u8> {
    percent_decode(bound.verified().request().head().parts.uri.path().as_bytes()).collect()
}

fn exchange_request<'a>(bound: &'a Bound<'_>, request_path: &'a [u8]) -> ExchangeRequest<'a> {
    let request = bound.verified().request();
    let head = request.head();
    ExchangeRequest {
        zone_id: bound.verified().zone(),
        application_id: bound.application_id(),
        subject_token: request.token(),
        resource: request.resource(),
        request_method: head.parts.method.as_str(),
        request_path,
        exchange_id: head.exchange_id,
    }
}

fn no_answer(failure: &ExchangeFailure) -> NoGrant {
    let (denial, outcome, cause) = match failure {
        ExchangeFailure::Local(cause) => (Denial::Overloaded, Outcome::Unused, Some(cause.clone())),
        ExchangeFailure::Connect(cause) => (Denial::StsUnreachable, Outcome::StsFault, Some(cause.clone())),
        ExchangeFailure::Timeout(cause) => (Denial::StsTimeout, Outcome::ZoneFault, Some(cause.clone())),
        ExchangeFailure::Transport(cause) => {
            (Denial::StsUnreachable, Outcome::ZoneFault, Some(cause.clone()))
        }
        ExchangeFailure::Oversized => (Denial::StsAnswerInvalid, Outcome::ZoneFault, None),
    };
    NoGrant {
        denial,
        outcome,
        sts: None,
        cause,
    }
}
