//! What happens to a request behind the listener: the operator's endpoints, or the proxy.

use std::sync::Arc;

use admission::Refused;
use admission::upgrade::WEBSOCKET;
use http::header::{CONNECTION, HeaderValue};
use http::request::Parts;
use http::{Request, Response, Version};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::ids;
use crate::ingress::connection::{Handler, InFlight, Peer};
use crate::ingress::upload::Upload;
use crate::ingress::{extended_connect, target};
use crate::operator::{ListenerRole, Operator};
use crate::proxy::{Arrival, Proxy};
use crate::refusal::{self, Form};
use crate::relay::Body;

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// Answers requests.
pub struct Front {
    /// The proxy, to which the operator's own listener leaves nothing.
    pub proxy: Arc<Proxy>,
    /// The operator's endpoints.
    pub operator: Arc<Operator>,
    /// Which of them this listener shows.
    pub role: ListenerRole,
}

impl Handler for Front {
    type Body = Body;

    /// Answers one request. The request stays in flight until its answer is written.
    async fn answer(&self, request: Request<Incoming>, peer: Peer, in_flight: InFlight) -> Response<Body> {
        let version = request.version();
        let (head, body) = request.into_parts();
        let upload = Upload::new(&head, body);
        let mut response = self.answer_head(head, &upload, &peer, &in_flight).await;
        if response.body().is_decided() {
            if in_flight.is_multiplexed() {
                if let Some(rest) = upload.answer_is_over() {
                    in_flight.discard(rest);
                }
            } else if !upload.drop_arrived().await {
                response.headers_mut().insert(CONNECTION, CLOSE);
                in_flight.leaves_unread();
            }
        } else if version <= Version::HTTP_10 && response.body().size_hint().exact().is_none() {
            // Only the end of the connection ends such a body (RFC 9112 §6.3, §9.3).
            response.headers_mut().insert(CONNECTION, CLOSE);
        }
        if version <= Version::HTTP_10 && response.headers().contains_key(CONNECTION) {
            // The library would say `keep-alive` beside it.
            *response.version_mut() = Version::HTTP_10;
        }
        response.map(|body| body.holding(in_flight))
    }

    fn takes_extended_connect(&self) -> bool {
        let upgrades = &self.proxy.admission.limits.upgrades;
        self.role == ListenerRole::Public && upgrades.contains(WEBSOCKET)
    }
}

impl Front {
    async fn answer_head(
        &self,
        mut head: Parts,
        upload: &Arc<Upload>,
        peer: &Peer,
        in_flight: &InFlight,
    ) -> Response<Body> {
        let own_id = ids::fresh();
        let request_id = ids::request_id(&head.headers, &own_id);
        let characters = target::check_characters(in_flight.found_in_target());
        let translated = extended_connect::translate(&mut head, &self.proxy.admission.limits.upgrades);
        if let Some(endpoint) = self.operator.route(self.role, &head) {
            let checked = target::check_operator(&head).map_err(Refused::new);
            if let Err(refused) = characters.and(checked) {
                return refusal::answer(refused.denial, None, &request_id, Form::of(&head));
            }
            let response = self.operator.answer(endpoint, &head, &request_id).await;
            return response.map(Body::full);
        }
        let arrival = Arrival {
            peer: peer.address.ip(),
            client_certificate: peer.certificate.as_ref(),
            scheme: peer.scheme,
            request_id: &request_id,
            own_id,
            in_flight,
            upload,
        };
        let origin = self.proxy.cors.origin_of(&head.headers);
        let checked = translated
            .and_then(|()| target::check(&head))
            .map_err(Refused::new);
        let mut response = match characters.and(checked) {
            Err(refused) => self.proxy.refuse(&head, &arrival, &refused),
            Ok(()) => {
                let preflight = origin.and_then(|origin| self.proxy.preflight(&head, &arrival, origin));
                match preflight {
                    Some(answer) => return answer,
                    None => self.proxy.run(head, arrival).await,
                }
            }
        };
        self.proxy.cors.admit(origin, response.headers_mut());
        response
    }
}
