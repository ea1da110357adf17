//! Making a connection, and the task that drives it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use admission::ports::{Cause, Clock};
use bytes::Bytes;
use h2::client::{Builder, Connection as Library};
use h2::{Ping, PingPong};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, MAX_CUT, MAX_STREAMS, State};
use crate::http::driver::{BUFFER_BYTES, CLOSE_TIMEOUT, MAX_FIELDS};
use crate::http::failure::http2_in_words;
use crate::http::pool::Endpoint;
use crate::http::socket::Wire;

/// How long the peer has for its SETTINGS, the first thing that it says.
const SETTINGS_TIMEOUT: Duration = Duration::from_secs(5);
/// Of one stream, and so the most of a body that lies here because its caller does not take it.
const STREAM_WINDOW: u32 = 64 * 1024;
/// As much as all streams together, so that callers that take nothing hold up nobody else.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MAX_STREAMS as u32;
/// What small pieces of answers that nobody takes may cost, in bytes beside their own: the library takes each for 256 in
/// all, and ends the connection beyond this. A stream that holds its window in single bytes costs 16 MiB, so none does it
/// alone; all 100 do it together only with pieces of 51 bytes or less.
const SMALL_PIECES: usize = 4 * CONNECTION_WINDOW as usize;
/// How long the library remembers a stream that it has reset: what still comes for it is dropped as long, and is an error
/// of its peer later, of which it takes so many on one connection.
const RESET_MEMORY: Duration = Duration::from_secs(30);
const MAX_LATE: usize = 10 * MAX_CUT;
/// What each field counts beside its bytes (RFC 9113 §6.5.2).
const FIELD_OVERHEAD: u32 = 32;

/// When a peer is asked for a sign of life (RFC 9113 §6.7).
#[derive(Clone, Copy, Debug)]
pub struct Pings {
    /// Once nothing of any answer came for one to two of these times while requests wait.
    pub silence: Duration,
    /// How long it may take for that.
    pub patience: Duration,
    /// It is not asked again for so many times `silence`, unless something of an answer came: gRPC servers hang up on
    /// who asks twice within five minutes for nothing.
    pub rest: u32,
}

impl Default for Pings {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(10),
            patience: Duration::from_secs(10),
            rest: 31,
        }
    }
}

/// What a connection's task needs.
pub(in super::super) struct Driver {
    // Boxed, because the task would hold its place twice.
    library: Box<Library<Wire, Bytes>>,
    state: Arc<State>,
    looked: watch::Sender<u64>,
    unwanted: CancellationToken,
    pings: Pings,
}

/// A connection over this socket, and what drives it. Its peer has said what it allows.
///
/// # Errors
/// Why the peer does not speak HTTP/2.
pub(in super::super) async fn open(
    wire: Wire,
    endpoint: &Endpoint,
    number: u64,
    clock: Arc<dyn Clock>,
    pings: Pings,
) -> Result<(Connection, Driver), Cause> {
    let handshake = async {
        let (sender, mut library) = builder().handshake(wire).await?;
        poll_fn(|cx| match Pin::new(&mut library).poll(cx) {
            Poll::Ready(ended) => Poll::Ready(ended),
            Poll::Pending if library.max_concurrent_send_streams() > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        })
        .await?;
        Ok::<_, h2::Error>((sender, library))
    };
    let (sender, library) = timeout(SETTINGS_TIMEOUT, handshake)
        .await
        .map_err(|_| Cause::new("HTTP/2: no SETTINGS that allow a request within 5 s"))?
        .map_err(|error| http2_in_words("HTTP/2", &error))?;
    let (state, unwanted) = (Arc::<State>::default(), CancellationToken::new());
    let wanted = unwanted.clone().drop_guard();
    let (looked, looks) = watch::channel(0);
    let connection = Connection::new(
        sender,
        endpoint.clone(),
        number,
        clock,
        Arc::clone(&state),
        looks,
        wanted,
    );
    let driver = Driver {
        library: Box::new(library),
        state,
        looked,
        unwanted,
        pings,
    };
    Ok((connection, driver))
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        // None before the peer has said how many: that tells its SETTINGS from their absence.
        .initial_max_send_streams(0)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(BUFFER_BYTES as u32 + FIELD_OVERHEAD * MAX_FIELDS as u32)
        .data_frame_budget(SMALL_PIECES)
        // More than there can be: a connection that cut as many streams gets no further one.
        .max_concurrent_reset_streams(MAX_CUT + MAX_STREAMS)
        .reset_stream_duration(RESET_MEMORY)
        .max_local_error_reset_streams(Some(MAX_LATE))
        .max_send_buffer_size(STREAM_WINDOW as usize)
        .enable_push(false);
    builder
}

impl Driver {
    /// Drives the connection until it ends, its peer is gone, or nobody wants it any more.
    pub(in super::super) async fn run(self) {
        let Self {
            mut library,
            state,
            looked,
            unwanted,
            pings,
        } = self;
        let ping = library.ping_pong();
        let ended = tokio::select! {
            biased;
            // The requests that suffer from it are told; an idle connection's end is no event.
            () = poll_fn(|cx| poll_looking(&mut library, &state, &looked, cx)) => true,
            () = unwanted.cancelled() => false,
            () = vanished(ping, &state, pings) => {
                state.has_vanished.store(true, Ordering::Release);
                true
            }
        };
        state.is_over.store(true, Ordering::Release);
        if !ended {
            // It says GOAWAY. Its peer may have stopped reading.
            let _ = timeout(CLOSE_TIMEOUT, &mut library).await;
        }
    }
}

/// Drives the connection, and tells those who asked for a look that it read what was there.
fn poll_looking(
    library: &mut Library<Wire, Bytes>,
    state: &State,
    looked: &watch::Sender<u64>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    state.task.register(cx.waker());
    // Before it reads: who asks later wakes the task again.
    let asked = state.asked.load(Ordering::Acquire);
    let polled = Pin::new(library).poll(cx);
    if polled.is_ready() {
        state.is_over.store(true, Ordering::Release);
    }
    looked.send_if_modified(|last| std::mem::replace(last, asked) != asked);
    polled.map(drop)
}

/// Completes when the peer gives no sign of life.
async fn vanished(ping: Option<PingPong>, state: &State, pings: Pings) {
    let Some(mut ping) = ping else {
        return std::future::pending().await;
    };
    let mut rest = 0;
    loop {
        sleep(pings.silence).await;
        if state.heard.swap(false, Ordering::AcqRel) {
            rest = 0;
        } else if rest > 0 {
            rest -= 1;
        } else if state.streams.load(Ordering::Acquire) > 0 {
            let asked = async {
                ping.send_ping(Ping::opaque())?;
                poll_fn(|cx| ping.poll_pong(cx)).await
            };
            match timeout(pings.patience, asked).await {
                Ok(Ok(_)) => rest = pings.rest,
                // The connection itself ends.
                Ok(Err(_)) => std::future::pending().await,
                Err(_) => return,
            }
        }
    }
}
