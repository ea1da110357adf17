//! How a connection ends, and how it is learned that its caller has gone.

use std::task::{Context, Poll};
use std::time::Duration;

use super::{MAX_LOOK_AHEAD, TimedIo};
use crate::clock;
use crate::ingress::connection::state::{ConnectionState, Ending};
use crate::ingress::connection::switched::Duplex;
use crate::ingress::connection::transport::Transport;

/// How long a caller that is still sending may take to notice that nobody reads it any more. Closed
/// at once, the connection would be reset, and the answer lost with it (RFC 9112 §9.6).
const LINGER_TIMEOUT: Duration = Duration::from_secs(5);

impl<S: Transport> TimedIo<S> {
    /// Its protocol is switched: dropped from now on, it is reset.
    pub(in crate::ingress::connection) fn switches(&mut self) {
        self.is_switched = true;
    }

    /// All that is to be said was said.
    pub(in crate::ingress::connection) fn ends(&mut self) {
        self.is_switched = false;
    }

    /// Whether the caller's bytes stopped where only the protocol that was switched to could tell that they are whole.
    pub(super) fn is_cut_short(&self) -> bool {
        self.is_truncated && self.is_switched
    }

    /// Reads and drops what the caller still sends, until it ends its side or for [`LINGER_TIMEOUT`].
    pub(super) fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let until = *self.lingering.get_or_insert_with(clock::instant) + LINGER_TIMEOUT;
        while !self.at_eof && clock::instant() < until {
            self.held.clear();
            match self.poll_held(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return self.read.poll(cx, until),
            }
        }
        Poll::Ready(())
    }
}

impl<S: Transport + Send> Duplex for TimedIo<S> {
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_read {
            // Who waits for bytes is told.
            return Poll::Pending;
        }
        let is_unread = |io: &Self| io.at_eof || io.held.len() >= MAX_LOOK_AHEAD;
        let is_gone = self.look_ahead(cx).is_err()
            || self.is_cut_short()
            // A reset lies behind what is not read, or behind the end of the caller's side.
            || is_unread(self) && self.stream.has_failed();
        if !is_gone {
            return Poll::Pending;
        }
        self.timer.end(Ending::CallerLeft);
        Poll::Ready(())
    }
}

impl<S: Transport> Drop for TimedIo<S> {
    /// An ordinary end would make a response that broke off look whole to an HTTP/1.0 caller, or what a protocol was
    /// switched to.
    fn drop(&mut self) {
        let needs_reset = match self.timer.state() {
            ConnectionState::Busy(exchange) => exchange.needs_reset,
            ConnectionState::Ended { needs_reset, .. } => needs_reset,
            _ => false,
        };
        if needs_reset || self.is_switched {
            self.stream.reset();
        }
    }
}
