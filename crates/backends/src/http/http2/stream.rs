//! One request over one stream.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use admission::Scheme;
use admission::ports::Cause;
use bytes::{Buf, Bytes};
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};
use hyper::body::Body;
use hyper::ext::ReasonPhrase;
use tokio_util::task::TaskTracker;

use super::body::StreamBody;
use super::connection::{Held, Slot};
use super::head::in_http2_form;
use super::upload::upload;
use crate::http::failure::{SendFailure, http2_in_words, in_words};
use crate::http::leaving::Leaving;
use crate::http::unsent::{Unsent, is_end, is_too_large, too_large};

/// Sends a request and waits for the head of its answer. Dropped before, it resets the stream, and no other.
pub(in super::super) async fn attempt<B>(
    slot: Slot,
    request: Request<B>,
    scheme: Scheme,
    leaving: &impl Leaving,
    tracker: &TaskTracker,
) -> Result<Response<StreamBody>, Unsent<B>>
where
    B: Body + Unpin + Send + 'static,
    B::Data: Buf + Send,
{
    let head = in_http2_form(&request, scheme).map_err(|cause| Unsent::Gone(SendFailure::NotSent(cause)))?;
    let (is_used, is_bodiless) = (slot.is_used(), request.body().is_end_stream());
    slot.look().await;
    // A shared connection whose answer is missing takes no further request, whether it answered before or not.
    leaving.mark(true);
    let (response, stream) = match start(&slot, head, is_bodiless, leaving) {
        Ok(started) => started,
        Err(NotStarted::Barred(cause)) => return Err(Unsent::Gone(SendFailure::Barred(cause))),
        Err(NotStarted::Closed(cause)) => {
            leaving.take_back();
            return Err(Unsent::Whole(Box::new(request), cause));
        }
    };
    let (held, answer_is_over) = Held::new(slot);
    let (head, body) = request.into_parts();
    // A body in which there is nothing stays here, for another try.
    let whole = if is_bodiless {
        Some(Request::from_parts(head, body))
    } else {
        tracker.spawn(upload(body, stream, answer_is_over, Arc::clone(&held.slot)));
        None
    };
    let mut has_heard = false;
    match head_of(response, &mut has_heard).await {
        Ok(response) => answered(response, held, tracker),
        Err(error) => {
            let whole = whole.filter(|_| !has_heard);
            let may_be_lost = is_used && !held.slot.has_vanished();
            Err(unanswered(&error, whole, may_be_lost, &held.slot))
        }
    }
}

/// Nothing of a request left.
enum NotStarted {
    /// Its departure could not be recorded.
    Barred(Cause),
    /// The connection takes no request any more.
    Closed(Cause),
}

/// Hands a request to the connection.
///
/// The guard is called right before: the bytes leave among those of other requests, so nothing that is nearer to the
/// socket could tell whose they are.
fn start(
    slot: &Slot,
    head: Request<()>,
    is_bodiless: bool,
    leaving: &impl Leaving,
) -> Result<(ResponseFuture, SendStream<Bytes>), NotStarted> {
    if !slot.is_open() {
        return Err(NotStarted::Closed(Cause::new("request: the connection closes")));
    }
    if let Some(guard) = leaving.guard() {
        guard
            .mark()
            .map_err(|error| NotStarted::Barred(in_words("request", &error)))?;
    }
    let started = slot.sender().send_request(head, is_bodiless);
    started.map_err(|error| NotStarted::Closed(http2_in_words("request", &error)))
}

/// The final head; those before it only show that the peer works on it.
async fn head_of(
    mut response: ResponseFuture,
    has_heard: &mut bool,
) -> Result<Response<RecvStream>, h2::Error> {
    poll_fn(|cx| {
        while let Poll::Ready(Some(Ok(_))) = response.poll_informational(cx) {
            *has_heard = true;
        }
        Pin::new(&mut response).poll(cx)
    })
    .await
}

fn answered<B>(
    response: Response<RecvStream>,
    held: Held,
    tracker: &TaskTracker,
) -> Result<Response<StreamBody>, Unsent<B>> {
    held.slot.answered();
    if is_too_large(response.headers()) {
        return Err(too_large());
    }
    let (mut head, stream) = response.into_parts();
    // HTTP/2 has none (RFC 9113 §8.3.2); of a status without a name the library would make up one for HTTP/1.1 callers.
    if head.status.canonical_reason().is_none() {
        head.extensions.insert(ReasonPhrase::from_static(b""));
    }
    let body = StreamBody::new(stream, &head.headers, held, tracker.clone());
    Ok(Response::from_parts(head, body))
}

/// What is left of a request of whose answer nothing came, of which there is all where it has no body.
fn unanswered<B>(error: &h2::Error, whole: Option<Request<B>>, may_be_lost: bool, slot: &Slot) -> Unsent<B> {
    let cause = http2_in_words("request", error);
    // What ended the connection may be the answer to another request.
    if error.is_library() && (error.is_reset() || slot.is_alone()) {
        return Unsent::Gone(SendFailure::Invalid(cause));
    }
    // The peer says that it did nothing for the stream, or that it is behind the last one that it works on (RFC 9113
    // §8.7).
    let is_refused = error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM) && slot.refused();
    let is_unprocessed = is_refused || error.is_remote() && error.is_go_away();
    let has_ended = error.is_library() || error.get_io().is_some_and(is_end);
    match whole {
        Some(request) if is_unprocessed || (has_ended && may_be_lost) => {
            Unsent::Unanswered(request.into_body(), cause)
        }
        _ => Unsent::Gone(SendFailure::MaybeSent(cause)),
    }
}
