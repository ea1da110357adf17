//! One request over one HTTP/1.1 connection.

use std::io;
use std::sync::Arc;

use admission::ports::Cause;
use bytes::Buf;
use http::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::{Request, Response, StatusCode};
use hyper::body::{Body, Incoming};
use tokio::sync::oneshot;

use super::BoxError;
use super::body::PooledBody;
use super::direct::Framing;
use super::failure::{SendFailure, in_words};
use super::handover::RequestBody;
use super::leaving::Leaving;
use super::lent::Lent;
use super::pool::{Connection, Pool};
use super::unsent::{Unsent, is_end, is_too_large, too_large};
use super::upgraded::Upgraded;

/// Sends a request and waits for the head of its answer.
pub(super) async fn attempt<B>(
    mut connection: Connection<B>,
    request: Request<B>,
    leaving: &impl Leaving,
    pool: &Arc<Pool<B>>,
) -> Result<Response<PooledBody<B>>, Unsent<B>>
where
    B: Body + Unpin + Send + 'static,
    B::Data: Buf + Send,
    B::Error: Into<BoxError>,
{
    leaving.mark(connection.reused);
    connection.handover.begin();
    let switched = connection.may_switch.then(|| {
        let (lend, lent) = oneshot::channel();
        connection.handover.begin_switch(lend);
        lent
    });
    let probe = connection.endpoint.probe.clone();
    probe.begin(leaving.guard());
    let (mut head, body) = request.into_parts();
    // Else the library sends no body of an unknown length with GET or HEAD (RFC 9110 §9.3.1 lets them have one).
    if !body.is_end_stream()
        && body.size_hint().exact().is_none()
        && !head.headers.contains_key(CONTENT_LENGTH)
    {
        head.headers
            .insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    // A body in which there is nothing stays here, for another try.
    let (empty, body) = match body.is_end_stream() {
        true => (Some(body), None),
        false => (None, Some(body)),
    };
    let body = RequestBody::new(body, connection.handover.clone());
    let mut failed = match connection
        .sender
        .try_send_request(Request::from_parts(head, body))
        .await
    {
        Ok(response) if is_too_large(response.headers()) => return Err(too_large()),
        Ok(mut response) => {
            if response.status() == StatusCode::SWITCHING_PROTOCOLS
                && let Some(lent) = switched
            {
                return take_switched(response, lent).await;
            }
            connection.handover.restore_reason(&mut response);
            return take_over(connection, response, pool).await;
        }
        Err(failed) => failed,
    };
    let whole = failed.take_message().map(Request::into_parts);
    let error = failed.into_error();
    let cause = in_words("request", &error);
    let (head, body) = match whole {
        Some((mut head, body)) => {
            // Another connection may speak HTTP/2.
            head.headers.remove(TRANSFER_ENCODING);
            (Some(head), empty.or_else(|| body.into_inner()))
        }
        None => (None, empty),
    };
    Err(match (head, body) {
        (Some(head), Some(body)) => {
            leaving.take_back();
            Unsent::Whole(Box::new(Request::from_parts(head, body)), cause)
        }
        _ if probe.was_barred() => Unsent::Gone(SendFailure::Barred(cause)),
        _ if error.is_parse() => Unsent::Gone(SendFailure::Invalid(cause)),
        (None, Some(body)) if connection.reused && !probe.has_heard() && has_ended(&error) => {
            Unsent::Unanswered(body, cause)
        }
        _ => Unsent::Gone(SendFailure::MaybeSent(cause)),
    })
}

/// Whether the connection ended, and nothing else: its peer closed or reset it.
fn has_ended(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    error.is_incomplete_message() || source.is_some_and(is_end)
}

/// Takes the socket from the library, which has ended behind a switch of protocols.
async fn take_switched<B>(
    response: Response<Incoming>,
    lent: oneshot::Receiver<Lent>,
) -> Result<Response<PooledBody<B>>, Unsent<B>> {
    let lent = lent.await.map_err(|_| broken_behind_the_head())?;
    Ok(response.map(|_nothing| PooledBody::switched(Upgraded::new(lent))))
}

fn broken_behind_the_head<B>() -> Unsent<B> {
    let cause = Cause::new("request: connection broken behind the response's head");
    Unsent::Gone(SendFailure::MaybeSent(cause))
}

/// Lets the library read the body, or the body itself.
async fn take_over<B>(
    connection: Connection<B>,
    response: Response<Incoming>,
    pool: &Arc<Pool<B>>,
) -> Result<Response<PooledBody<B>>, Unsent<B>> {
    let mut framing = Framing::of(&response);
    if connection.may_switch
        && let Some(Framing::Chunked { is_kept, .. }) = &mut framing
    {
        *is_kept = false;
    }
    let Some((lent, framing)) = connection.handover.settle(framing.is_some()).zip(framing) else {
        return Ok(response.map(|incoming| PooledBody::new(incoming, connection, Arc::clone(pool))));
    };
    // Without them the library would close the connection.
    let (head, _incoming) = response.into_parts();
    let lent = lent.await.map_err(|_| broken_behind_the_head())?;
    Ok(Response::from_parts(head, PooledBody::direct(lent, framing)))
}
