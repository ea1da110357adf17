//! What happens to a request behind the listener: the operator's endpoints, or the proxy.

use std::sync::Arc;

use admission::Denial;
use http::header::{CONNECTION, HeaderValue};
use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;

use crate::ids;
use crate::ingress::capacity::{Capacity, RequestPlace};
use crate::ingress::connection::Peer;
use crate::ingress::pace::InFlight;
use crate::ingress::target;
use crate::ingress::upload::Upload;
use crate::operator::{ListenerRole, Operator};
use crate::proxy::{Arrival, Proxy};
use crate::refusal;
use crate::relay::Body;

/// Answers requests.
pub struct Front {
    /// The proxy; absent on the operator's own listener.
    pub proxy: Option<Arc<Proxy>>,
    /// The operator's endpoints.
    pub operator: Arc<Operator>,
    /// Which of them this listener shows.
    pub role: ListenerRole,
    /// How many requests are taken on at a time.
    pub capacity: Arc<Capacity>,
}

impl Front {
    /// Answers one request. The request stays in flight until its answer is written.
    pub async fn answer(&self, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        let in_flight = peer.pace.request(request.version());
        let (head, body) = request.into_parts();
        let upload = Upload::new(&head, body);
        let (mut response, mut place) = self.answer_head(head, &upload, &peer, &in_flight).await;
        let decided = response.body().is_decided();
        if decided && in_flight.is_multiplexed() {
            upload.answer_is_over();
        } else if decided {
            // Those who are served lose no place to those whose body is waited for.
            drop(place.take());
            if !upload.settle().await {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
                in_flight.leaves_unread();
            }
        }
        response.map(|body| body.holding(in_flight, place))
    }

    async fn answer_head(
        &self,
        head: Parts,
        upload: &Arc<Upload>,
        peer: &Peer,
        in_flight: &InFlight,
    ) -> (Response<Body>, Option<RequestPlace>) {
        let own_id = ids::fresh();
        let request_id = ids::request_id(&head.headers, &own_id);
        if let Some(endpoint) = self.operator.route(self.role, &head) {
            let response = self.operator.answer(endpoint, &head, &request_id).await;
            return (response.map(Body::full), None);
        }
        let Some(proxy) = &self.proxy else {
            let answer = refusal::answer(Denial::BadTarget, None, &request_id, head.version);
            return (answer, None);
        };
        let place = self.capacity.request();
        let refusal = match &place {
            Err(_) => Some(Denial::Overloaded),
            Ok(_) => target::check(&head).err(),
        };
        let arrival = Arrival {
            peer: peer.address.ip(),
            scheme: peer.scheme,
            request_id: &request_id,
            own_id,
            in_flight,
            upload,
        };
        let response = match refusal {
            Some(denial) => proxy.refuse(&head, &arrival, denial),
            None => proxy.run(head, arrival).await,
        };
        (response, place.ok())
    }
}
