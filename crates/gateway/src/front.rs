//! What happens to a request behind the listener: the operator's endpoints, or the proxy.

use std::sync::Arc;

use admission::Denial;
use http::{Request, Response};
use hyper::body::Incoming;

use crate::ids;
use crate::ingress::capacity::Capacity;
use crate::ingress::connection::Peer;
use crate::ingress::target;
use crate::operator::{Door, Operator};
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
    pub door: Door,
    /// How many requests are taken on at a time.
    pub capacity: Arc<Capacity>,
}

impl Front {
    /// Answers one request. The request stays in flight until its answer is written.
    pub async fn answer(&self, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        let in_flight = peer.pace.request(request.version());
        let own_id = ids::fresh();
        let request_id = ids::request_id(request.headers(), &own_id);
        let (head, body) = request.into_parts();
        if let Some(endpoint) = self.operator.route(self.door, &head) {
            let response = self.operator.answer(endpoint, &head, &request_id).await;
            return response.map(|bytes| Body::full(bytes).holding(in_flight, None));
        }
        let Some(proxy) = &self.proxy else {
            let answer = refusal::answer(Denial::BadTarget, None, &request_id, head.version);
            return answer.map(|body| body.holding(in_flight, None));
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
            in_flight: &in_flight,
        };
        let response = match refusal {
            Some(denial) => proxy.refuse(&head, &arrival, denial),
            None => proxy.run(head, body, arrival).await,
        };
        response.map(|body| body.holding(in_flight, place.ok()))
    }
}
