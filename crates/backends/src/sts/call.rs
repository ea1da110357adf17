//! One call, within one deadline.

use std::sync::atomic::{AtomicBool, Ordering};

use admission::ports::{Cause, Departure, ExchangeFailure, StsAnswer};
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Body;
use tokio::time::timeout;

use super::{Inner, MAX_ANSWER_BYTES};
use crate::http::{BodyError, Leaving, SendFailure, Target, in_words};

/// How far a call came, for its failure's name and for the replay mark.
#[derive(Default)]
pub(super) struct Phase<'a> {
    departure: Option<&'a Departure>,
    connected: AtomicBool,
    /// Over a connection that had answered before.
    reused: AtomicBool,
}

impl<'a> Phase<'a> {
    pub(super) fn of(departure: &'a Departure) -> Self {
        Self {
            departure: Some(departure),
            ..Self::default()
        }
    }
}

impl Leaving for Phase<'_> {
    fn mark(&self, reused: bool) {
        self.reused.store(reused, Ordering::Relaxed);
        self.connected.store(true, Ordering::Relaxed);
        if let Some(departure) = self.departure {
            departure.mark();
        }
    }

    fn take_back(&self) {
        self.connected.store(false, Ordering::Relaxed);
        if let Some(departure) = self.departure {
            departure.take_back();
        }
    }
}

impl Inner {
    pub(super) async fn call(
        &self,
        request: Request<Full<Bytes>>,
        phase: &Phase<'_>,
    ) -> Result<StsAnswer, ExchangeFailure> {
        let (began, answered) = (self.clock.now().monotonic, self.health.exchanges_answered());
        let outcome = timeout(self.timeout, self.call_unbounded(request, phase)).await;
        let outcome = outcome.unwrap_or_else(|_| {
            let within = self.timeout;
            // A host that swallows packets is a fault of the whole STS, not of one zone's exchange.
            Err(if phase.connected.load(Ordering::Relaxed) {
                ExchangeFailure::Timeout(Cause::new(format!("sts: no answer within {within:?}")))
            } else {
                ExchangeFailure::Connect(Cause::new(format!("sts: no connection within {within:?}")))
            })
        });
        match outcome {
            Ok(_) if phase.departure.is_some() => self.health.exchange_answered(),
            // It may have moved.
            Err(ExchangeFailure::Connect(_)) => self.resolver.forget(&self.endpoint.origin.host),
            // The server at the other end may be gone, which a new connection does not suffer from.
            Err(ExchangeFailure::Timeout(_)) if phase.reused.load(Ordering::Relaxed) => {
                self.http.distrust(&self.endpoint.origin, began);
                self.health
                    .suspect_connections(answered, self.clock.now().monotonic);
            }
            _ => {}
        }
        outcome
    }

    async fn call_unbounded(
        &self,
        request: Request<Full<Bytes>>,
        phase: &Phase<'_>,
    ) -> Result<StsAnswer, ExchangeFailure> {
        let addresses = self.endpoint.addresses(&*self.resolver).await;
        let sent = match &addresses {
            Ok(addresses) => {
                let target = Target {
                    origin: &self.endpoint.origin,
                    addresses,
                };
                self.http.send_to(&target, request, phase).await
            }
            Err(cause) => Err(SendFailure::to_connect(cause.clone())),
        };
        read(sent.map_err(|failure| match failure {
            SendFailure::Local(cause) => ExchangeFailure::Local(cause),
            SendFailure::Connect(cause) => ExchangeFailure::Connect(cause),
            SendFailure::NotSent(cause)
            | SendFailure::Barred(cause)
            | SendFailure::MaybeSent(cause)
            | SendFailure::Invalid(cause) => ExchangeFailure::Transport(cause),
        })?)
        .await
    }
}

async fn read<B>(response: Response<B>) -> Result<StsAnswer, ExchangeFailure>
where
    B: Body<Data = Bytes, Error = BodyError>,
{
    let (head, body) = response.into_parts();
    let content_type = head.headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    Ok(StsAnswer {
        status: head.status.as_u16(),
        content_type: content_type.unwrap_or_default().to_owned(),
        body: collect(body).await?,
    })
}

async fn collect<B>(body: B) -> Result<Bytes, ExchangeFailure>
where
    B: Body<Data = Bytes, Error = BodyError>,
{
    if body.size_hint().lower() > MAX_ANSWER_BYTES as u64 {
        return Err(ExchangeFailure::Oversized);
    }
    match Limited::new(body, MAX_ANSWER_BYTES).collect().await {
        // An answer nearly always comes in one piece, which is taken as it is.
        Ok(all) => Ok(all.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ExchangeFailure::Oversized),
        Err(error) => Err(ExchangeFailure::Transport(in_words("sts answer", &*error))),
    }
}
