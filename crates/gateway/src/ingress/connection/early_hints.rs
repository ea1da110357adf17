//! Interim answers to HTTP/1.1 callers (103, RFC 8297), which the library has no way to send.
//!
//! They are written in its stead, and only while it has nothing to write: whatever it began is flushed, and the answer
//! has not begun.

use std::sync::Arc;
use std::task::{Context, Waker};

use http::HeaderMap;
use parking_lot::Mutex;

const STATUS_LINE: &[u8] = b"HTTP/1.1 103 Early Hints\r\n";
/// The most interim answers of one request that are passed on, and the most bytes of them that wait to be written.
const MAX_HINTS: u8 = 8;
const MAX_BYTES: usize = 16 * 1024;

/// What waits to be written on one connection.
#[derive(Debug, Default)]
pub(super) struct HintQueue(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    /// Which of the connection's requests it is for: nothing of an earlier one may come in.
    request: u64,
    is_open: bool,
    bytes: Vec<u8>,
    passed: u8,
    /// The task of the connection.
    task: Option<Waker>,
}

/// Where the interim answers to one request go.
#[derive(Clone)]
pub struct EarlyHints {
    queue: Arc<HintQueue>,
    request: u64,
}

impl HintQueue {
    /// A request may have interim answers from now on.
    fn open(&self) -> u64 {
        let mut queue = self.0.lock();
        *queue = Queue {
            request: queue.request + 1,
            is_open: true,
            ..Queue::default()
        };
        queue.request
    }

    /// The answer begins: what was not written by now is of no use any more.
    pub(super) fn close(&self) {
        let mut queue = self.0.lock();
        *queue = Queue {
            request: queue.request,
            ..Queue::default()
        };
    }

    /// What is to be written now. Where more may come the task is kept, and woken by it.
    pub(super) fn take(&self, cx: &Context<'_>) -> Vec<u8> {
        let mut queue = self.0.lock();
        if !queue.is_open {
            return Vec::new();
        }
        queue.task = Some(cx.waker().clone());
        std::mem::take(&mut queue.bytes)
    }

    fn push(&self, request: u64, headers: &HeaderMap) {
        let mut queue = self.0.lock();
        let queue = &mut *queue;
        if !queue.is_open || queue.request != request || queue.passed == MAX_HINTS {
            return;
        }
        let before = queue.bytes.len();
        queue.bytes.extend_from_slice(STATUS_LINE);
        for (name, value) in headers {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                queue.bytes.extend_from_slice(part);
            }
        }
        queue.bytes.extend_from_slice(b"\r\n");
        if queue.bytes.len() > MAX_BYTES {
            queue.bytes.truncate(before);
            return;
        }
        queue.passed += 1;
        if let Some(task) = queue.task.take() {
            task.wake();
        }
    }
}

impl EarlyHints {
    pub(super) fn open(queue: &Arc<HintQueue>) -> Self {
        Self {
            queue: Arc::clone(queue),
            request: queue.open(),
        }
    }

    /// Passes on an interim answer with these fields. One that is too much, or too late, is dropped.
    pub fn send(&self, headers: &HeaderMap) {
        self.queue.push(self.request, headers);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker;
    use http::HeaderValue;

    use super::*;

    #[test]
    fn early_hints_are_bounded_and_never_come_behind_the_beginning_of_an_answer() {
        let (queue, waker) = (HintQueue::default(), noop_waker());
        let take = || {
            let bytes = queue.take(&Context::from_waker(&waker));
            String::from_utf8(bytes).unwrap()
        };
        let mut headers = HeaderMap::new();
        headers.insert("link", HeaderValue::from_static("</a>"));
        queue.push(0, &headers);
        assert_eq!(take(), "", "no request is open");
        let first = queue.open();
        queue.push(first, &headers);
        let hint = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
        assert_eq!(take(), hint);
        assert_eq!(take(), "");
        for _ in 0..100 {
            queue.push(first, &headers);
        }
        assert_eq!(take().matches(hint).count(), usize::from(MAX_HINTS) - 1);

        let second = queue.open();
        queue.push(first, &headers);
        assert_eq!(take(), "", "of an earlier request");
        let long = HeaderValue::from_str(&"a".repeat(MAX_BYTES)).unwrap();
        queue.push(second, &HeaderMap::from_iter([(http::header::LINK, long)]));
        queue.push(second, &headers);
        assert_eq!(take(), hint, "one that is too long is left out");
        queue.push(second, &headers);
        queue.close();
        queue.push(second, &headers);
        assert_eq!(take(), "", "the answer has begun");
    }
}
