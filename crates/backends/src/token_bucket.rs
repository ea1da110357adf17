//! One token bucket for everything that is rationed here.

use std::time::Duration;

/// A bucket that holds `size` tokens and gains one in every `refill`. It has no clock: time is an argument.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    size: u32,
    refill: Duration,
    /// When it is full again, if nobody takes a token until then.
    full_at: Duration,
}

impl TokenBucket {
    pub(crate) fn full(size: u32, refill: Duration) -> Self {
        Self {
            size,
            refill,
            full_at: Duration::ZERO,
        }
    }

    /// Whether nothing is missing: it is as a new one.
    pub(crate) fn is_full(&self, now: Duration) -> bool {
        self.full_at <= now
    }

    /// Takes a token, or says how long until there is one.
    pub(crate) fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let full_at = self.full_at.max(now) + self.refill;
        let wait = full_at.saturating_sub(now + self.refill * self.size);
        if wait.is_zero() {
            self.full_at = full_at;
            return Ok(());
        }
        Err(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::TokenBucket;
    use std::time::Duration;

    #[test]
    fn bucket_gives_a_burst_and_then_one_token_per_refill() {
        let at = Duration::from_millis;
        let mut bucket = TokenBucket::full(2, at(500));
        let mut wait = |now| bucket.take(at(now)).err().map_or(0, |wait| wait.as_millis());
        assert_eq!([wait(0), wait(0), wait(0)], [0, 0, 500]);
        assert_eq!([wait(499), wait(500), wait(500)], [1, 0, 500]);
        assert_eq!(
            [wait(60_000), wait(60_000), wait(60_000)],
            [0, 0, 500],
            "never more"
        );
        assert_eq!(wait(59_000), 1500, "a clock that went back earns nothing");
    }
}
