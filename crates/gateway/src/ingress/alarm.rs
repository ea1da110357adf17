//! A timer that costs nothing until somebody waits.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::time::Sleep;

/// An alarm whose timer is armed when somebody has to wait, and moved only when it must ring earlier.
#[derive(Default)]
pub struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Completes once `deadline` has passed.
    pub fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let deadline = tokio::time::Instant::from_std(deadline);
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        loop {
            if sleep.deadline() > deadline {
                sleep.as_mut().reset(deadline);
            }
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;
    use crate::clock;

    #[tokio::test]
    async fn alarm_rings_at_the_latest_deadline_it_was_given() {
        let mut alarm = Alarm::default();
        let start = clock::instant();
        let late = start + Duration::from_millis(80);
        let early = start + Duration::from_millis(20);
        // Armed late, moved earlier, moved late again: it never rings early, and at last it rings.
        for deadline in [late, early, late] {
            let rings = poll_fn(|cx| Poll::Ready(alarm.poll(cx, deadline).is_ready())).await;
            assert!(!rings || clock::instant() >= deadline);
        }
        poll_fn(|cx| alarm.poll(cx, late)).await;
        assert!(clock::instant() >= late);
    }
}
