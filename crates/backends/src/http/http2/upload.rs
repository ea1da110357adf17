//! The body of a request on its way into a stream.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{Reason, SendStream};
use hyper::body::{Body, Frame};
use tokio_util::sync::CancellationToken;

use super::connection::Slot;

/// Sends the body as the peer's windows let it, until its end, until the peer wants no more of it, or until its answer is
/// over.
pub(super) async fn upload<B>(
    mut body: B,
    mut stream: SendStream<Bytes>,
    answer_is_over: CancellationToken,
    slot: Arc<Slot>,
) where
    B: Body + Unpin,
    B::Data: Buf,
{
    let sent = answer_is_over
        .run_until_cancelled(send(&mut body, &mut stream, &slot))
        .await;
    if !matches!(sent, Some(Ok(()))) {
        // A truncated body must not look whole.
        stream.send_reset(Reason::CANCEL);
    }
}

/// The body did not reach its end.
struct BrokeOff;

async fn send<B>(body: &mut B, stream: &mut SendStream<Bytes>, slot: &Slot) -> Result<(), BrokeOff>
where
    B: Body + Unpin,
    B::Data: Buf,
{
    loop {
        // First, because the caller is waited for as long as its body has nothing: a window that is shut is not its fault.
        let frame = poll_fn(|cx| poll_next(body, stream, cx)).await?;
        let sent = match frame.map(Frame::into_data) {
            None => stream.send_data(Bytes::new(), true).map(|()| true),
            Some(Ok(mut data)) => {
                let is_last = body.is_end_stream();
                let bytes = data.copy_to_bytes(data.remaining());
                if !bytes.is_empty() {
                    poll_fn(|cx| poll_window(stream, cx)).await?;
                    // What was sent before leaves, so the peer is there.
                    slot.heard();
                }
                stream.send_data(bytes, is_last).map(|()| is_last)
            }
            Some(Err(frame)) => {
                let trailers = frame.into_trailers().map_err(|_| BrokeOff)?;
                stream.send_trailers(trailers).map(|()| true)
            }
        };
        if sent.map_err(|_| BrokeOff)? {
            return Ok(());
        }
    }
}

/// The next frame of the body, unless the peer wants no more of it.
fn poll_next<B: Body + Unpin>(
    body: &mut B,
    stream: &mut SendStream<Bytes>,
    cx: &mut Context<'_>,
) -> Poll<Result<Option<Frame<B::Data>>, BrokeOff>> {
    if stream.poll_reset(cx).is_ready() {
        return Poll::Ready(Err(BrokeOff));
    }
    let frame = ready!(Pin::new(body).poll_frame(cx));
    Poll::Ready(frame.transpose().map_err(|_| BrokeOff))
}

/// Waits until a byte may be sent.
fn poll_window(stream: &mut SendStream<Bytes>, cx: &mut Context<'_>) -> Poll<Result<(), BrokeOff>> {
    stream.reserve_capacity(1);
    while stream.capacity() == 0 {
        match ready!(stream.poll_capacity(cx)) {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Poll::Ready(Err(BrokeOff)),
        }
    }
    Poll::Ready(Ok(()))
}
