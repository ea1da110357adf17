//! The run of one proxied request: admit, rewrite, record the intent, dispatch, relay.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use admission::binding::JudgedUpstream;
use admission::ports::Cause;
use admission::{Admission, Denial, Received, Refused, Scheme};
use evidence::Uuid;
use forwarding::{Crossing, Dispatch, Outbound, TrustedProxies};
use http::header::HeaderValue;
use http::{Response, StatusCode, request};
use tokio_util::sync::CancellationToken;

use crate::authority::Authority;
use crate::clock;
use crate::cors::{Cors, Origin};
use crate::ids;
use crate::ingress::connection::{EarlyHints, InFlight};
use crate::ingress::overload::Overload;
use crate::ingress::upload::{BodyTime, Fault, Upload, UploadBody};
use crate::record::{Answered, Arrived, End, Phase, Record, Recorder};
use crate::refusal::{self, Form};
use crate::relay::{Body, Relayed, ResponseLimits, Tunnel, TunnelLimits};
use crate::upstream::{Answer, Upstream};

/// Time limits of a crossing.
#[derive(Clone, Copy, Debug)]
pub struct CrossingTimes {
    /// `READ_TIMEOUT`: the caller's own time, from the first byte of its head to the end of its body.
    pub read: Duration,
    /// `WRITE_TIMEOUT`: a fixed-length response as a whole.
    pub write: Duration,
    /// `STREAM_IDLE_TIMEOUT`: silence of the upstream in a stream; `None` for no bound.
    pub stream_idle: Option<Duration>,
    /// `SSE_KEEPALIVE`: after how long a silence of the upstream an event stream gets a comment; `None` for none.
    pub sse_keepalive: Option<Duration>,
}

/// Everything that a proxied request needs.
pub struct Proxy {
    /// The gates.
    pub admission: Admission,
    /// Refuses before the gates what would come too late.
    pub overload: Arc<Overload>,
    /// The way to upstreams.
    pub upstream: Upstream,
    /// Where records end up.
    pub recorder: Arc<Recorder>,
    /// Whose `X-Forwarded-*` is believed.
    pub trusted_proxies: TrustedProxies,
    /// Which web pages may read answers.
    pub cors: Cors,
    /// `EARLY_HINTS`: whether HTTP/1.1 callers get them.
    pub early_hints: bool,
    /// The time limits.
    pub times: CrossingTimes,
    /// Ends live streams when the process ends.
    pub closing: CancellationToken,
}

/// What the front knows of a request besides its head and body.
pub struct Arrival<'a> {
    /// The other end of the connection.
    pub peer: IpAddr,
    /// The subject of the certificate that it showed.
    pub client_certificate: Option<&'a Arc<str>>,
    /// How the caller spoke to the gateway.
    pub scheme: Scheme,
    /// The request's id.
    pub request_id: &'a HeaderValue,
    /// The gateway's own id of this request: the exchange's, and the evidence's.
    pub own_id: Uuid,
    /// The request on its connection.
    pub in_flight: &'a InFlight,
    /// The request's body.
    pub upload: &'a Arc<Upload>,
}

impl Proxy {
    /// Runs one request.
    pub async fn run(&self, head: request::Parts, arrival: Arrival<'_>) -> Response<Body> {
        if let Err(late) = self.overload.admit() {
            return self.refuse(&head, &arrival, &late);
        }
        let form = Form::of(&head);
        match self.cross(head, &arrival).await {
            Ok(answer) => self.relay(answer, &arrival, form),
            Err(refused) => refusal::answer(refused.denial, refused.sts.as_ref(), arrival.request_id, form),
        }
    }

    /// Refuses a request before the gates.
    pub fn refuse(&self, head: &request::Parts, arrival: &Arrival<'_>, refused: &Refused) -> Response<Body> {
        self.open(head, arrival).refused(refused);
        refusal::answer(refused.denial, None, arrival.request_id, Form::of(head))
    }

    /// Answers a request before the gates, if it is a preflight of this origin.
    pub fn preflight(
        &self,
        head: &request::Parts,
        arrival: &Arrival<'_>,
        origin: Origin<'_>,
    ) -> Option<Response<Body>> {
        let answer = origin.preflight(head, arrival.request_id)?;
        self.open(head, arrival).preflight();
        Some(answer)
    }

    fn open(&self, head: &request::Parts, arrival: &Arrival<'_>) -> Record<crate::record::Received> {
        self.recorder.open(
            head,
            &Arrived {
                own_id: arrival.own_id,
                request_id: arrival.request_id,
                client: forwarding::client_address(arrival.peer, &head.headers, &self.trusted_proxies),
                client_certificate: arrival.client_certificate,
                in_flight: arrival.in_flight,
            },
        )
    }

    /// From the gates to the upstream's response head. Whatever ends the request on the way is on
    /// record when this returns.
    async fn cross(&self, head: request::Parts, arrival: &Arrival<'_>) -> Result<Answer, Refused> {
        let received = Received::new(
            head,
            arrival.own_id.to_string(),
            arrival.in_flight.own_place(),
            |head| self.open(head, arrival),
        );
        // The handshakes of the upstream run beside the exchange. Held until there is an answer, or no reason for one.
        let mut preconnect = None;
        let expect = |upstream: &JudgedUpstream| preconnect = Some(self.upstream.preconnect(upstream));
        let permit = self.admission.admit(received, expect).await.map_err(refuse)?;
        let crossing = Crossing {
            peer: arrival.peer,
            scheme: arrival.scheme,
            request_id: arrival.request_id,
            trusted_proxies: &self.trusted_proxies,
            trace: ids::fresh_trace(),
            is_bodiless: arrival.upload.is_whole(),
        };
        let outbound = Outbound::rewrite(permit, &crossing).map_err(refuse)?;
        let (mut dispatch, trailers) = outbound.record().await.map_err(refuse)?;
        if let Some(hints) = self
            .early_hints
            .then(|| arrival.in_flight.early_hints())
            .flatten()
        {
            pass_early_hints(&mut dispatch, hints);
        }

        let time = match dispatch.rules().is_grpc() {
            true => BodyTime::Silence(self.times.stream_idle),
            false => BodyTime::Total(self.times.read.saturating_sub(arrival.in_flight.head_took())),
        };
        let limit = self.admission.limits.max_request_bytes;
        let authority = Authority::new(Arc::clone(dispatch.watch()));
        let body = UploadBody::new(Arc::clone(arrival.upload), limit, time, authority, trailers);
        let sent = self.upstream.send(dispatch, body, arrival.upload).await;
        drop(preconnect);
        sent.map_err(|(record, refused)| match arrival.upload.fault() {
            // Whether or not anybody is there to see the refusal, nobody refused anything.
            Some(Fault::Broken) => {
                record.end(End::CallerLeft);
                refused
            }
            _ => refuse((record, refused)),
        })
    }

    /// From the upstream's response head to the caller's.
    fn relay(&self, answer: Answer, arrival: &Arrival<'_>, form: Form) -> Response<Body> {
        let Answer {
            response,
            record,
            authority,
            rules,
        } = answer;
        let (head, body) = response.into_parts();
        let mut record = record.answered(head.status);
        let invalid = |record: Record<Answered>, words: String| {
            let refused = Refused::because(Denial::UpstreamResponseInvalid, Cause::new(words));
            record.refused(&refused);
            refusal::answer(refused.denial, None, arrival.request_id, form)
        };
        let inbound = match forwarding::response_head(head, &rules, clock::unix().as_secs()) {
            Ok(inbound) => inbound,
            Err(error) => return invalid(record, error.to_string()),
        };
        if let Some(protocol) = inbound.switched {
            let Some(upstream) = body.into_upgraded() else {
                return invalid(record, "a switch of protocols on a shared connection".to_owned());
            };
            record.switched(inbound.head.status);
            let limits = TunnelLimits {
                silence: self.times.stream_idle,
                write: self.times.write,
                closing: self.closing.clone(),
            };
            let tunnel = Tunnel::new(upstream, protocol, limits, authority, record);
            return Response::from_parts(inbound.head, Body::switched(tunnel));
        }
        let limits = ResponseLimits {
            write: self.times.write,
            silence: self.times.stream_idle,
            keepalive: self.times.sse_keepalive,
            closing: self.closing.clone(),
        };
        let relayed = Relayed::new(
            body,
            &inbound,
            limits,
            Arc::clone(arrival.upload),
            authority,
            record,
        );
        Response::from_parts(inbound.head, Body::relayed(relayed))
    }
}

/// Has the upstream's early hints reach the caller. Other interim answers are for the connection that they come on.
fn pass_early_hints<I>(dispatch: &mut Dispatch<I>, hints: EarlyHints) {
    let rules = dispatch.rules().clone();
    // The library takes it with a request, and the dispatch makes that only when it is spent.
    let mut carrier = http::Request::new(());
    hyper::ext::on_informational(&mut carrier, move |interim| {
        if interim.status() == StatusCode::EARLY_HINTS {
            hints.send(&forwarding::early_hints(interim.headers(), &rules));
        }
    });
    dispatch
        .extensions_mut()
        .extend(carrier.into_parts().0.extensions);
}

/// Ends the record of a refused request.
fn refuse<P: Phase>((record, refused): (Record<P>, Refused)) -> Refused {
    record.refused(&refused);
    refused
}
