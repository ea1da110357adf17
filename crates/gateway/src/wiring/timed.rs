//! The STS, with every exchange measured.

use std::sync::Arc;

use admission::exchange::SignedExchange;
use admission::ports::{BoxFuture, Departure, ExchangeFailure, Sts, StsAnswer};
use backends::sts::StsClient;

use crate::clock;
use crate::telemetry::Metrics;

/// Measures what passes through it.
pub(super) struct TimedSts {
    pub(super) sts: StsClient,
    pub(super) metrics: Arc<Metrics>,
}

impl Sts for TimedSts {
    fn exchange<'a>(
        &'a self,
        call: &'a SignedExchange,
        departure: &'a Departure,
    ) -> BoxFuture<'a, Result<StsAnswer, ExchangeFailure>> {
        Box::pin(async move {
            let start = clock::instant();
            let answer = self.sts.exchange(call, departure).await;
            self.metrics.exchange(clock::instant().duration_since(start));
            answer
        })
    }
}
