//! One direction of a switched connection.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::websocket::Frames;
use crate::clock;

/// The most bytes that are held. They are read when the ones before are taken, and none are held while none are there.
const READ_BYTES: usize = 8 * 1024;
/// So often a direction reads and writes before others have their turn.
const TURNS: u8 = 16;

/// Which end failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The one that is read.
    Source,
    /// The one that is written to.
    Sink,
}

/// Passes bytes from one end to the other, with back-pressure, and its end behind them.
#[derive(Debug)]
pub(super) struct Lane {
    /// What was read and is not taken.
    held: Bytes,
    progress: Progress,
    is_flushed: bool,
    /// Since when the other end has not taken what is held.
    stalled_since: Option<Instant>,
    /// Where the protocol is WebSocket.
    frames: Option<Frames>,
    /// So many bytes were taken since this was last asked.
    taken: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Open,
    /// The source has ended, which the sink is to be told.
    Ending,
    Ended,
}

impl Lane {
    pub(super) fn new(frames: Option<Frames>) -> Self {
        Self {
            held: Bytes::new(),
            progress: Progress::Open,
            is_flushed: true,
            stalled_since: None,
            frames,
            taken: 0,
        }
    }

    /// Passes on what is there. Ready once the end was passed on, too.
    pub(super) fn poll<R, W>(
        &mut self,
        source: &mut R,
        sink: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>>
    where
        R: AsyncRead + Unpin + ?Sized,
        W: AsyncWrite + Unpin + ?Sized,
    {
        for _ in 0..TURNS {
            if !self.held.is_empty() {
                let written =
                    ready!(self.poll_sink(cx, |cx, held| Pin::new(&mut *sink).poll_write(cx, held)))?;
                if written == 0 {
                    return Poll::Ready(Err(Broken::Sink));
                }
                let taken = self.held.split_to(written);
                if let Some(frames) = &mut self.frames {
                    frames.pass(&taken);
                }
                self.taken += taken.len() as u64;
                self.is_flushed = false;
                if self.held.is_empty() {
                    self.held = Bytes::new();
                }
                continue;
            }
            match self.progress {
                Progress::Open => match poll_bytes(source, cx) {
                    Poll::Pending => {
                        if !self.is_flushed {
                            ready!(self.poll_sink(cx, |cx, _| Pin::new(&mut *sink).poll_flush(cx)))?;
                            self.is_flushed = true;
                        }
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(bytes)) if bytes.is_empty() => self.progress = Progress::Ending,
                    Poll::Ready(Ok(bytes)) => self.held = bytes,
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Source)),
                },
                Progress::Ending => {
                    ready!(self.poll_sink(cx, |cx, _| Pin::new(&mut *sink).poll_shutdown(cx)))?;
                    self.progress = Progress::Ended;
                }
                Progress::Ended => return Poll::Ready(Ok(())),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_sink<T>(
        &mut self,
        cx: &mut Context<'_>,
        work: impl FnOnce(&mut Context<'_>, &[u8]) -> Poll<io::Result<T>>,
    ) -> Poll<Result<T, Broken>> {
        match work(cx, &self.held) {
            Poll::Pending => {
                self.stalled_since.get_or_insert_with(clock::instant);
                Poll::Pending
            }
            Poll::Ready(result) => {
                self.stalled_since = None;
                Poll::Ready(result.map_err(|_| Broken::Sink))
            }
        }
    }

    /// How many bytes were taken since this was last asked.
    pub(super) fn take_taken(&mut self) -> u64 {
        std::mem::take(&mut self.taken)
    }

    /// Since when the sink has taken nothing of what it is given.
    pub(super) fn stalled_since(&self) -> Option<Instant> {
        self.stalled_since
    }

    /// Whether it waits for nothing but its source.
    pub(super) fn reads(&self) -> bool {
        self.progress == Progress::Open && self.held.is_empty()
    }

    /// Whether a close frame of the gateway's own may come next.
    pub(super) fn may_close(&self) -> bool {
        self.progress != Progress::Ended && self.frames.as_ref().is_some_and(Frames::may_close)
    }

    /// Whether the source has closed the connection in its protocol's way.
    pub(super) fn has_closed(&self) -> bool {
        self.frames.as_ref().is_some_and(Frames::has_closed)
    }
}

/// Reads what is there; empty at the end.
fn poll_bytes<R: AsyncRead + Unpin + ?Sized>(
    source: &mut R,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Bytes>> {
    let mut space = [MaybeUninit::uninit(); READ_BYTES];
    let mut buf = ReadBuf::uninit(&mut space);
    ready!(Pin::new(source).poll_read(cx, &mut buf))?;
    Poll::Ready(Ok(Bytes::copy_from_slice(buf.filled())))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn lane_passes_bytes_and_their_end_and_holds_no_more_than_one_piece() {
        let (mut caller, mut source) = duplex(1 << 20);
        let (mut sink, mut upstream) = duplex(16);
        let sent = vec![b'x'; 100_000];
        caller.write_all(&sent).await.unwrap();
        let mut lane = Lane::new(None);
        let mut poll =
            async |lane: &mut Lane| poll_fn(|cx| Poll::Ready(lane.poll(&mut source, &mut sink, cx))).await;
        assert_eq!(poll(&mut lane).await, Poll::Pending);
        assert!(lane.held.len() <= READ_BYTES && lane.stalled_since().is_some());
        assert_eq!(lane.take_taken(), 16);
        drop(caller);
        let (ended, seen) = tokio::join!(poll_fn(|cx| lane.poll(&mut source, &mut sink, cx)), async {
            let mut seen = Vec::new();
            upstream.read_to_end(&mut seen).await.unwrap();
            seen
        });
        assert_eq!((ended, seen.len()), (Ok(()), sent.len()));
        assert_eq!(lane.take_taken(), 100_000 - 16);
        assert!(lane.stalled_since().is_none() && !lane.may_close());
    }

    #[tokio::test]
    async fn lane_tells_which_end_is_broken() {
        let (mut caller, mut source) = duplex(16);
        let (mut sink, upstream) = duplex(16);
        drop(upstream);
        caller.write_all(b"x").await.unwrap();
        let mut lane = Lane::new(Some(Frames::default()));
        let broken = poll_fn(|cx| lane.poll(&mut source, &mut sink, cx)).await;
        assert_eq!(broken, Err(Broken::Sink));
    }
}
