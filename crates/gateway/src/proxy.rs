//! The run of one proxied request: admit, rewrite, record the intent, dispatch, relay.

mod credential;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use admission::ports::{Cause, EvidenceRooms};
use admission::received::Progress;
use admission::{Admission, Denial, Permit, Received, Refused};
use forwarding::{Base, Crossing, Outbound, Scheme, TrustedProxies};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Request, Response, request};
use tokio_util::sync::CancellationToken;

use crate::account::{Account, Accounts, End};
use crate::authority::Authority;
use crate::clock;
use crate::ids;
use crate::ingress::connection::InFlight;
use crate::ingress::upload::{BodyTime, Fault, Upload, UploadBody};
use crate::refusal;
use crate::relay::{Body, RelayLimits, Relayed};
use crate::upstream::{Answer, Upstream};

/// The spool as the gate of evidence sees it.
pub struct SpoolRooms(pub evidence::Spool);

impl EvidenceRooms for SpoolRooms {
    type Room = evidence::Room;

    fn reserve(&self) -> Result<evidence::Room, Cause> {
        self.0
            .reserve()
            .map_err(|no_room| Cause::new(no_room.to_string()))
    }
}

/// Time limits of a crossing.
#[derive(Clone, Copy, Debug)]
pub struct CrossingTimes {
    /// `READ_TIMEOUT`: the caller's own time, from the first byte of its head to the end of its body.
    pub read: Duration,
    /// `WRITE_TIMEOUT`: a fixed-length response as a whole.
    pub write: Duration,
    /// `STREAM_IDLE_TIMEOUT`: silence of the upstream in a stream; `None` for no bound.
    pub stream_idle: Option<Duration>,
}

/// Everything that a proxied request needs.
pub struct Proxy {
    /// The gates.
    pub admission: Admission<SpoolRooms>,
    /// The way to upstreams.
    pub upstream: Upstream,
    /// Where accounts are given.
    pub accounts: Arc<Accounts>,
    /// Whose `X-Forwarded-*` is believed.
    pub trusted_proxies: TrustedProxies,
    /// The time limits.
    pub times: CrossingTimes,
    /// Ends event streams when the process ends.
    pub closing: CancellationToken,
}

/// What the front knows of a request besides its head and body.
pub struct Arrival<'a> {
    /// The other end of the connection.
    pub peer: IpAddr,
    /// How the caller spoke to the gateway.
    pub scheme: Scheme,
    /// The request's id.
    pub request_id: &'a HeaderValue,
    /// The gateway's own id of this request: the exchange's, and the evidence's.
    pub own_id: evidence::Uuid,
    /// The request on its connection.
    pub in_flight: &'a InFlight,
    /// The request's body.
    pub upload: &'a Arc<Upload>,
}

impl Proxy {
    /// Runs one request.
    pub async fn run(&self, head: request::Parts, arrival: Arrival<'_>) -> Response<Body> {
        let version = head.version;
        let mut account = self.open(&head, &arrival);
        match self.cross(head, &arrival, &mut account).await {
            Ok((answer, crossed)) => self.relay(answer, crossed, &arrival, account),
            Err(refused) => {
                match arrival.upload.fault() {
                    // Whether or not anybody is there to see the refusal, nobody refused anything.
                    Some(Fault::Broken) => account.end(End::CallerLeft),
                    _ => account.refused(&refused),
                }
                refusal::answer(refused.denial, refused.sts.as_ref(), arrival.request_id, version)
            }
        }
    }

    /// Refuses a request before the gates.
    pub fn refuse(&self, head: &request::Parts, arrival: &Arrival<'_>, denial: Denial) -> Response<Body> {
        let refused = Refused {
            denial,
            cause: None,
            subject: None,
            sts: None,
        };
        self.open(head, arrival).refused(&refused);
        refusal::answer(denial, None, arrival.request_id, head.version)
    }

    fn open(&self, head: &request::Parts, arrival: &Arrival<'_>) -> Account {
        let client = forwarding::client_address(arrival.peer, &head.headers, &self.trusted_proxies);
        self.accounts
            .open(head, client, arrival.request_id.clone(), arrival.own_id)
    }

    /// From the gates to the upstream's response head.
    async fn cross(
        &self,
        head: request::Parts,
        arrival: &Arrival<'_>,
        account: &mut Account,
    ) -> Result<(Answer, Crossed), Refused> {
        let mut buffer = evidence::Uuid::encode_buffer();
        let exchange_id = arrival.own_id.hyphenated().encode_lower(&mut buffer);
        let stages: &dyn Progress = account.stages();
        let received = Received {
            head: &head,
            exchange_id,
            progress: stages,
        };
        let permit = self.admission.admit(received).await?;

        let (is_grpc, expires_at) = (is_grpc(&head.headers), permit.parts().subject.expires_at);
        let (outbound, base) = self.rewrite(head, &permit, arrival)?;
        account.outbound(&permit, &outbound.head.headers);
        let (permit, room) = permit.take_room();
        let crossing = account
            .intent(room)
            .await
            .map_err(|error| refuse(Denial::EvidenceUnavailable, error, &permit))?;
        let permit = permit.hold(crossing);

        let Outbound {
            head,
            trailers,
            way_back,
        } = outbound;
        let time = match is_grpc {
            true => BodyTime::Silence(self.times.stream_idle),
            false => BodyTime::Total(self.times.read.saturating_sub(arrival.in_flight.head_took())),
        };
        let limit = self.admission.limits.max_request_bytes;
        let authority = Authority::new(Arc::clone(&permit.parts().watch));
        let body = UploadBody::new(Arc::clone(arrival.upload), limit, time, authority, trailers);
        let answer = self
            .upstream
            .send(permit, Request::from_parts(head, body), arrival.upload, account)
            .await?;
        Ok((
            answer,
            Crossed {
                base,
                way_back,
                is_grpc,
                expires_at,
            },
        ))
    }

    fn rewrite<R>(
        &self,
        head: request::Parts,
        permit: &Permit<R>,
        arrival: &Arrival<'_>,
    ) -> Result<(Outbound, Base), Refused> {
        let parts = permit.parts();
        let failed = |words: String| refuse(Denial::DirectiveInvalid, words, permit);
        let base = Base::parse(parts.upstream.url().base()).map_err(|error| failed(error.to_string()))?;
        let credential = credential::place(&parts.credential).map_err(|error| failed(error.to_string()))?;
        let crossing = Crossing {
            peer: arrival.peer,
            scheme: arrival.scheme,
            request_id: arrival.request_id,
            trusted_proxies: &self.trusted_proxies,
            trace: ids::fresh_trace(),
        };
        let outbound = forwarding::request_head(head, &crossing, &base, credential)
            .map_err(|error| failed(error.to_string()))?;
        Ok((outbound, base))
    }

    /// From the upstream's response head to the caller's.
    fn relay(
        &self,
        answer: Answer,
        crossed: Crossed,
        arrival: &Arrival<'_>,
        mut account: Account,
    ) -> Response<Body> {
        let Answer { response, watch } = answer;
        let (head, body) = response.into_parts();
        let upstream_status = head.status;
        let left = crossed
            .expires_at
            .saturating_sub(i64::try_from(clock::unix().as_secs()).unwrap_or(i64::MAX));
        let context = forwarding::ResponseContext {
            base: &crossed.base,
            way_back: &crossed.way_back,
            request_id: arrival.request_id,
            token_expires_in: u64::try_from(left).unwrap_or_default(),
        };
        let inbound = match forwarding::response_head(head, &context) {
            Ok(inbound) => inbound,
            Err(error) => {
                account.unusable_answer(upstream_status, &error.to_string());
                let version = http::Version::HTTP_11;
                return refusal::answer(Denial::UpstreamUnreachable, None, arrival.request_id, version);
            }
        };
        account.answered(upstream_status);
        let is_event_stream = is_event_stream(&inbound.head.headers);
        let fixed = http_body::Body::size_hint(&body).exact().is_some() && !is_event_stream;
        let limits = RelayLimits {
            deadline: fixed.then(|| clock::instant() + self.times.write),
            silence: self.times.stream_idle,
            closing: is_event_stream.then(|| self.closing.clone()),
        };
        let relayed = Relayed::new(
            body,
            Arc::clone(arrival.upload),
            watch,
            limits,
            inbound.carries_trailers,
            crossed.is_grpc,
            account,
        );
        Response::from_parts(inbound.head, Body::relayed(relayed))
    }
}

/// What the way back needs to know of the way there.
struct Crossed {
    base: Base,
    way_back: forwarding::response::WayBack,
    is_grpc: bool,
    expires_at: i64,
}

fn refuse<R>(denial: Denial, cause: impl ToString, permit: &Permit<R>) -> Refused {
    Refused {
        denial,
        cause: Some(Cause::new(cause.to_string())),
        subject: Some(Box::new(permit.parts().subject.clone())),
        sts: None,
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    media_type_starts_with(headers, "application/grpc")
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    media_type_starts_with(headers, "text/event-stream")
}

fn media_type_starts_with(headers: &HeaderMap, prefix: &str) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.as_bytes().get(..prefix.len()))
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}
