//! How far the streams are followed, each by itself: in a cluster they may lie on different servers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::message::Stream;
use crate::last_seen::LastSeen;

/// A ticket that no snapshot answers.
const NEVER: u64 = u64::MAX;

/// The streams as they are followed.
pub(super) struct Followed([OneStream; Stream::ALL.len()]);

struct OneStream {
    /// The last time that it had answered, and everything in it was applied.
    contact: LastSeen,
    /// The ticket of the snapshot from which on nothing in it was missed.
    required: AtomicU64,
}

impl Followed {
    /// Nothing was read yet.
    pub(super) fn not_yet() -> Self {
        Self(Stream::ALL.map(|_| OneStream {
            contact: LastSeen::never(),
            required: AtomicU64::new(NEVER),
        }))
    }

    /// These answered at this monotonic time.
    pub(super) fn touch(&self, streams: impl IntoIterator<Item = Stream>, monotonic: Duration) {
        for stream in streams {
            self.of(stream).contact.set(monotonic);
        }
    }

    /// How long the one has been silent that has been so longest; none before all of them have answered.
    pub(super) fn silence(&self, monotonic: Duration) -> Option<Duration> {
        let mut ages = self.0.iter().map(|stream| stream.contact.age(monotonic));
        ages.try_fold(Duration::ZERO, |longest, age| Some(longest.max(age?)))
    }

    /// Messages of these may have been lost: no snapshot is enough.
    pub(super) fn incomplete(&self, streams: impl IntoIterator<Item = Stream>) {
        self.complete_from(streams, NEVER);
    }

    /// These are followed without a gap since before the snapshot with this ticket.
    pub(super) fn complete_from(&self, streams: impl IntoIterator<Item = Stream>, ticket: u64) {
        for stream in streams {
            self.of(stream).required.store(ticket, Ordering::Release);
        }
    }

    /// The ticket of the snapshot from which on nothing was missed.
    pub(super) fn required(&self) -> u64 {
        let required = |stream: &OneStream| stream.required.load(Ordering::Acquire);
        self.0.iter().map(required).max().unwrap_or(NEVER)
    }

    fn of(&self, stream: Stream) -> &OneStream {
        &self.0[stream as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Followed, NEVER, Stream};

    #[test]
    fn contact_is_that_of_the_stream_that_has_been_silent_longest() {
        let (followed, at) = (Followed::not_yet(), Duration::from_secs);
        assert_eq!(followed.silence(at(1)), None);
        followed.touch(Stream::ALL.into_iter().skip(1), at(1));
        assert_eq!(followed.silence(at(1)), None, "one has never answered");
        followed.touch([Stream::ALL[0]], at(5));
        assert_eq!(followed.silence(at(6)), Some(at(5)));
        followed.touch(Stream::ALL, at(6));
        assert_eq!(followed.silence(at(7)), Some(at(1)));
    }

    #[test]
    fn gap_in_one_stream_is_a_gap_whatever_the_others_say() {
        let followed = Followed::not_yet();
        followed.complete_from(Stream::ALL.into_iter().skip(1), 7);
        assert_eq!(followed.required(), NEVER);
        followed.complete_from([Stream::ALL[0]], 3);
        assert_eq!(followed.required(), 7);
        followed.incomplete([Stream::Keys]);
        followed.complete_from([Stream::Agents], 8);
        assert_eq!(followed.required(), NEVER);
        followed.complete_from([Stream::Keys], 9);
        assert_eq!(followed.required(), 9);
    }
}
