//! A socket that the body of a response, or whoever had its protocol switched, reads, while the task of its connection waits
//! for it.

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{self, AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::sync::oneshot;

use super::socket::Wire;

/// Most bytes that are read at a time. They are held until the caller took them, and nothing is while none are there.
const READ_BYTES: usize = 8 * 1024;

/// A socket on loan. Dropped, it goes back to be closed, or is reset.
#[derive(Debug)]
pub(super) struct Lent {
    loan: Option<(Wire, oneshot::Sender<Returned>)>,
    /// What was read of the body already.
    pub(super) ahead: Bytes,
    /// Its peer must not take the end for that of what was sent.
    pub(super) is_broken: bool,
}

/// A socket that came back.
#[derive(Debug)]
pub(super) struct Returned {
    pub(super) wire: Wire,
    /// The next request may be sent over it.
    pub(super) is_reusable: bool,
}

impl Lent {
    pub(super) fn new(wire: Wire, ahead: Bytes) -> (Self, oneshot::Receiver<Returned>) {
        let (back, returned) = oneshot::channel();
        let loan = Some((wire, back));
        let lent = Self {
            loan,
            ahead,
            is_broken: false,
        };
        (lent, returned)
    }

    /// Reads what is there; empty at the end of the connection.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let Some((wire, _)) = &mut self.loan else {
            return Poll::Ready(Ok(Bytes::new()));
        };
        // TLS may have to answer what it reads.
        if let Poll::Ready(flushed) = Pin::new(&mut *wire).poll_flush(cx) {
            flushed?;
        }
        let mut space = [MaybeUninit::uninit(); READ_BYTES];
        let mut buf = ReadBuf::uninit(&mut space);
        ready!(Pin::new(wire).poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(Bytes::copy_from_slice(buf.filled())))
    }

    /// Does something with the socket.
    pub(super) fn poll_wire<T>(
        &mut self,
        work: impl FnOnce(Pin<&mut Wire>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut self.loan {
            Some((wire, _)) => work(Pin::new(wire)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// What can no longer be written does not count as written any more.
    pub(super) fn tells_of_loss(&mut self) {
        if let Some((wire, _)) = &mut self.loan {
            wire.tells_of_loss();
        }
    }

    /// Gives it back for the next request.
    pub(super) fn reuse(mut self) {
        self.give_back(true);
    }

    fn give_back(&mut self, is_reusable: bool) {
        if let Some((wire, back)) = self.loan.take() {
            if self.is_broken {
                // Dropped here; its task ends with that.
                return wire.reset();
            }
            // A task that is gone took its runtime along.
            let _ = back.send(Returned { wire, is_reusable });
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.give_back(false);
    }
}
