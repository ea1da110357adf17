//! A response body that is read from its socket, without the HTTP library and its buffers.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, TRANSFER_ENCODING};
use http::{Response, Version};
use hyper::body::{Body as _, Frame, Incoming};
use tokio::io;

use super::chunked::{Chunked, Malformed, Piece};
use super::failure::Http2Reason;
use super::lent::Lent;

/// Why a response body broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// What the HTTP library says.
    #[error(transparent)]
    Library(#[from] hyper::Error),
    /// What the HTTP/2 library says.
    #[error("{}", Http2Reason(.0))]
    Http2(h2::Error),
    /// The connection broke.
    #[error("connection broken")]
    Connection(#[from] io::Error),
    /// The connection ended before the body did.
    #[error("connection ended before the body did")]
    Incomplete,
    /// See [`Malformed`].
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// How a body ends, and what becomes of its connection then.
#[derive(Debug)]
pub(super) enum Framing {
    /// In its last chunk.
    Chunked {
        chunks: Chunked,
        /// The server keeps the connection for another request.
        is_kept: bool,
    },
    /// With its connection (RFC 9112 §6.3).
    UntilClose,
}

impl Framing {
    /// For a stream of events, where there is no doubt of its framing. Anything else is the library's.
    pub(super) fn of(response: &Response<Incoming>) -> Option<Self> {
        let (headers, body) = (response.headers(), response.body());
        let is_stream = forwarding::is_media_type(headers, "text/event-stream");
        if !is_stream || body.is_end_stream() || body.size_hint().exact().is_some() {
            return None;
        }
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
        match (codings.next(), codings.next()) {
            (None, _) => Some(Self::UntilClose),
            (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
                let mut options = headers.get_all(CONNECTION).iter();
                let keeps = options.all(|option| option.as_bytes().eq_ignore_ascii_case(b"keep-alive"));
                Some(Self::Chunked {
                    chunks: Chunked::default(),
                    is_kept: keeps && response.version() == Version::HTTP_11,
                })
            }
            _ => None,
        }
    }
}

/// The body. What it holds while it waits is its socket and a few words.
#[derive(Debug)]
pub(super) struct DirectBody {
    /// Until its end.
    lent: Option<Lent>,
    framing: Framing,
    /// Why it broke off, until that was told.
    broken: Option<BodyError>,
}

impl DirectBody {
    pub(super) fn new(lent: Lent, framing: Framing) -> Self {
        Self {
            lent: Some(lent),
            framing,
            broken: None,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.lent.is_none() && self.broken.is_none()
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match self.poll_next(cx) {
            Poll::Ready(Some(Err(error))) => {
                // Who writes the body drops with the error what is not flushed, so it comes a turn later.
                self.broken = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            polled => polled,
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(mut lent) = self.lent.take() else {
            return Poll::Ready(None);
        };
        loop {
            if !lent.ahead.is_empty() {
                let piece = match &mut self.framing {
                    Framing::UntilClose => Some(Piece::Data(std::mem::take(&mut lent.ahead))),
                    Framing::Chunked { chunks, .. } => chunks.next(&mut lent.ahead)?,
                };
                match piece {
                    Some(Piece::Data(data)) => {
                        self.lent = Some(lent);
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    Some(Piece::End(trailers)) => {
                        // Bytes that nobody asked for are nobody's answer.
                        if matches!(self.framing, Framing::Chunked { is_kept: true, .. })
                            && lent.ahead.is_empty()
                        {
                            lent.reuse();
                        }
                        return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                    }
                    None => {}
                }
            }
            match lent.poll_read(cx) {
                Poll::Pending => {
                    self.lent = Some(lent);
                    return Poll::Pending;
                }
                Poll::Ready(read) => lent.ahead = read?,
            }
            if lent.ahead.is_empty() {
                return Poll::Ready(match self.framing {
                    Framing::UntilClose => None,
                    Framing::Chunked { .. } => Some(Err(BodyError::Incomplete)),
                });
            }
        }
    }
}
