//! The bytes of a connection, within its time limits.

mod ending;

use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::head::Head;
use super::state::{BodyLeft, ConnectionState, Ending, Event, Exchange};
use super::timer::ConnectionTimer;
use super::transport::Transport;
use crate::authority::Authority;
use crate::clock;
use crate::ingress::alarm::Alarm;

/// What opens an HTTP/2 connection (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The most bytes that are read before the library asks for them.
const MAX_LOOK_AHEAD: usize = 4096;

/// A stream that ends when its caller does not keep the time limits.
///
/// The HTTP/1 library is given a request head up to its end and no further, then its body, so that
/// bytes behind a request are known to begin the next one, and every request line is read here first.
pub(super) struct TimedIo<S: Transport> {
    stream: S,
    timer: Arc<ConnectionTimer>,
    /// Bytes that arrived and that the library was not given yet.
    held: BytesMut,
    /// The caller has shut its sending side.
    at_eof: bool,
    /// TLS ended without its own end.
    is_truncated: bool,
    /// Its protocol was switched and has not ended: bytes that stop or are left are in the middle of something.
    is_switched: bool,
    /// The library waits for bytes.
    is_read: bool,
    head: Head,
    /// What is left of an interim answer that is being written.
    interim: Vec<u8>,
    read: Alarm,
    write: Alarm,
    /// Since when a write has made no progress.
    stalled: Option<Instant>,
    /// What the stalled response rests on.
    authority: Option<Authority>,
    /// Since when the caller is waited for to end its side.
    lingering: Option<Instant>,
}

impl<S: Transport> TimedIo<S> {
    /// Watches over a stream.
    pub(super) fn new(stream: S, timer: Arc<ConnectionTimer>) -> Self {
        Self {
            stream,
            timer,
            held: BytesMut::new(),
            at_eof: false,
            is_truncated: false,
            is_switched: false,
            is_read: false,
            head: Head::default(),
            interim: Vec::new(),
            read: Alarm::default(),
            write: Alarm::default(),
            stalled: None,
            authority: None,
            lingering: None,
        }
    }

    /// Whether the caller opens with HTTP/2's preface. Nothing of it is lost.
    ///
    /// # Errors
    /// The stream's, and [`ErrorKind::TimedOut`].
    pub(super) async fn opens_http2(&mut self) -> io::Result<bool> {
        loop {
            let known = self.held.len().min(PREFACE.len());
            if self.at_eof || self.held[..known] != PREFACE[..known] {
                return Ok(false);
            }
            if known == PREFACE.len() {
                self.timer.after(Event::Http2(clock::instant()));
                return Ok(true);
            }
            self.hold_more().await?;
        }
    }

    /// Waits for the first byte of a request, and keeps it. Whether there is one: the caller may end its side instead.
    ///
    /// # Errors
    /// The stream's, and [`ErrorKind::TimedOut`].
    pub(super) async fn begins(&mut self) -> io::Result<bool> {
        if self.held.is_empty() && !self.at_eof {
            self.hold_more().await?;
        }
        Ok(!self.held.is_empty())
    }

    /// Waits for bytes or for the end of the caller's side, within its time.
    async fn hold_more(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| match self.poll_held(cx) {
            Poll::Pending => self.poll_read_deadline(cx),
            polled => polled,
        })
        .await?;
        self.given(self.held.len(), false);
        Ok(())
    }

    /// Reads more into [`Self::held`].
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [const { MaybeUninit::uninit() }; MAX_LOOK_AHEAD];
        let mut buf = ReadBuf::uninit(&mut bytes);
        match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf)) {
            Ok(()) => {
                self.at_eof = buf.filled().is_empty();
                self.held.extend_from_slice(buf.filled());
                Poll::Ready(Ok(()))
            }
            // TLS without its own end: whether a request is whole, its framing says.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                (self.at_eof, self.is_truncated) = (true, true);
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                self.timer.end(Ending::CallerLeft);
                Poll::Ready(Err(error))
            }
        }
    }

    fn poll_read_deadline<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let state = self.timer.state();
        let Some(deadline) = state.read_deadline(&self.timer.limits) else {
            return Poll::Pending;
        };
        // Only so that who serves the connection gives up the library.
        if let Some(rest) = state.rests_from()
            && clock::instant() < rest.min(deadline)
        {
            ready!(self.read.poll(cx, rest.min(deadline)));
        }
        ready!(self.read.poll(cx, deadline));
        Poll::Ready(Err(timed_out(
            "caller kept the connection longer than READ_HEADER_TIMEOUT or IDLE_TIMEOUT",
        )))
    }

    /// While a request is in flight the library reads nothing, so only this learns of a reset. The
    /// end of the caller's sending side says nothing: it still reads (RFC 9112 §9.6).
    fn look_ahead(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while !self.is_read && !self.at_eof && self.held.len() < MAX_LOOK_AHEAD {
            let ConnectionState::Busy(exchange) = self.timer.state() else {
                return Ok(());
            };
            // The library is about to read the body, in larger pieces.
            if matches!(exchange.body, BodyLeft::Length(1..)) && self.held.is_empty() {
                return Ok(());
            }
            match self.poll_held(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(read) => read?,
            }
        }
        Ok(())
    }

    /// How many of these bytes the library is given. Of a head, it is given what it can take of the request line.
    fn share(&mut self, bytes: &mut [u8]) -> usize {
        match self.timer.state() {
            ConnectionState::Idle { .. } | ConnectionState::Head { .. } => {
                let (share, found) = self.head.share(bytes);
                if self.head.is_too_large() {
                    self.timer.after(Event::HeadTooLarge(clock::instant()));
                }
                if let Some(found) = found {
                    self.timer.found_in_target(found);
                }
                share
            }
            ConnectionState::Busy(Exchange { body, .. }) => match body {
                BodyLeft::Length(left @ 1..) => usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len()),
                // They end with an empty line, and what is behind it may be another head.
                BodyLeft::Chunks { .. } => self.head.end.find(bytes).unwrap_or(bytes.len()),
                BodyLeft::Length(0) | BodyLeft::Passed => bytes.len(),
            },
            _ => bytes.len(),
        }
    }

    /// Whether the end of a head was kept back because the head is too large.
    pub(super) fn is_head_too_large(&self) -> bool {
        self.head.is_too_large()
    }

    fn given(&self, bytes: usize, ends_with_empty_line: bool) {
        self.timer.after(Event::Given {
            now: clock::instant(),
            bytes: bytes as u64,
            ends_with_empty_line,
        });
    }

    fn poll_stalled<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        // A pipelined response may begin behind one that is still being taken.
        if let Some(authority) = self.timer.authority() {
            self.authority = Some(authority);
        }
        let since = *self.stalled.get_or_insert_with(clock::instant);
        if let Some(authority) = &mut self.authority
            && authority.poll_revoked(cx).is_ready()
        {
            self.timer.end(Ending::Revoked);
            let words = "authority revoked while the caller did not take the response";
            return Poll::Ready(Err(io::Error::new(ErrorKind::ConnectionAborted, words)));
        }
        let mut deadline = since + self.timer.limits.write;
        if let ConnectionState::Busy(exchange) = self.timer.state()
            && let Some(by) = exchange.write_by
        {
            deadline = deadline.min(by);
        }
        ready!(self.write.poll(cx, deadline));
        self.timer.end(Ending::WriteTimeout);
        Poll::Ready(Err(timed_out(
            "caller did not take the response within WRITE_TIMEOUT",
        )))
    }

    fn wrote<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match result {
            Poll::Ready(result) => {
                self.stalled = None;
                self.authority = None;
                if result.is_err() {
                    self.timer.end(Ending::CallerLeft);
                }
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_stalled(cx),
        }
    }

    /// Writes what is left of an interim answer. Nothing of the library's may come between.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.interim.is_empty() {
            self.timer.writes();
            let result = Pin::new(&mut self.stream).poll_write(cx, &self.interim);
            match ready!(self.wrote(cx, result))? {
                0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                written => drop(self.interim.drain(..written)),
            }
            if self.interim.is_empty() {
                self.interim = Vec::new();
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn timed_out(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::TimedOut, what)
}

impl<S: Transport> AsyncRead for TimedIo<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        this.is_read = false;
        if matches!(this.timer.state(), ConnectionState::Draining { .. }) {
            // Nobody knows how much of what comes belongs to the request that was answered.
            return Poll::Ready(Ok(()));
        }
        if this.held.is_empty() && !this.at_eof {
            match Pin::new(&mut this.stream).poll_read(cx, buf) {
                Poll::Pending => {
                    this.is_read = true;
                    return this.poll_read_deadline(cx);
                }
                Poll::Ready(Err(error)) => {
                    this.timer.end(Ending::CallerLeft);
                    return Poll::Ready(Err(error));
                }
                Poll::Ready(Ok(())) => {}
            }
            let bytes = &mut buf.filled_mut()[before..];
            this.at_eof = bytes.is_empty();
            let share = this.share(bytes);
            this.held.extend_from_slice(&bytes[share..]);
            buf.set_filled(before + share);
        } else if this.held.is_empty() && this.is_cut_short() {
            this.timer.end(Ending::CallerLeft);
            return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
        } else {
            let mut held = std::mem::take(&mut this.held);
            let most = held.len().min(buf.remaining());
            let share = this.share(&mut held[..most]);
            buf.put_slice(&held.split_to(share));
            if !held.is_empty() {
                this.held = held;
            }
        }
        let bytes = &buf.filled()[before..];
        if !bytes.is_empty() {
            this.given(
                bytes.len(),
                bytes.ends_with(b"\n\r\n") || bytes == b"\r\n" || bytes == b"\n",
            );
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Transport> AsyncWrite for TimedIo<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_interim(cx))?;
        this.timer.writes();
        let result = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.wrote(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_interim(cx))?;
        this.timer.writes();
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.wrote(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.look_ahead(cx)?;
        // The library flushes when it has handed over everything.
        loop {
            ready!(this.poll_interim(cx))?;
            this.interim = this.timer.hints.take(cx);
            if this.interim.is_empty() {
                break;
            }
        }
        let result = Pin::new(&mut this.stream).poll_flush(cx);
        if let Poll::Ready(Ok(())) = result {
            this.timer.flushed();
        }
        this.wrote(cx, result)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingering.is_none() {
            let result = Pin::new(&mut this.stream).poll_shutdown(cx);
            ready!(this.wrote(cx, result))?;
        }
        if matches!(this.timer.state(), ConnectionState::Draining { .. }) {
            ready!(this.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}
