//! What was answered, for as long as it holds.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::RwLock;

use super::Answer;

/// The shortest that an answer is remembered, a failure too: a resolver that cannot keep up must
/// not be asked once per request.
const MIN_LIFE: Duration = Duration::from_secs(1);
/// The longest that an answer is remembered.
const MAX_LIFE: Duration = Duration::from_secs(60);
/// How many names are remembered.
const MAX_NAMES: usize = 4096;

#[derive(Default)]
pub(super) struct Cache(RwLock<HashMap<Box<str>, Entry>>);

struct Entry {
    answer: Answer,
    since: Duration,
    until: Duration,
}

impl Cache {
    pub(super) fn get(&self, host: &str, now: Duration) -> Option<Answer> {
        let entries = self.0.read();
        let entry = entries.get(host)?;
        (now < entry.until).then(|| entry.answer.clone())
    }

    /// Remembers an answer for its life, within the bounds.
    pub(super) fn put(&self, host: &str, answer: Answer, now: Duration, life: Duration) {
        let until = now + life.clamp(MIN_LIFE, MAX_LIFE);
        let mut entries = self.0.write();
        if entries.len() >= MAX_NAMES && !entries.contains_key(host) {
            entries.retain(|_, entry| now < entry.until);
            if entries.len() >= MAX_NAMES {
                let any = entries.keys().next().cloned();
                any.and_then(|any| entries.remove(&any));
            }
        }
        let since = now;
        entries.insert(host.into(), Entry { answer, since, until });
    }

    /// Has a name asked for again, though no sooner than the shortest life of an answer.
    pub(super) fn forget(&self, host: &str) {
        if let Some(entry) = self.0.write().get_mut(host) {
            entry.until = entry.until.min(entry.since + MIN_LIFE);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn answer() -> Answer {
        Ok(Arc::from([[192, 0, 2, 1].into()]))
    }

    #[test]
    fn cache_answers_hold_for_their_ttl_between_floor_and_ceiling() {
        for (ttl, held) in [(0, 1), (1, 1), (7, 7), (60, 60), (3600, 60)] {
            let cache = Cache::default();
            let start = Duration::from_secs(100);
            cache.put("host", answer(), start, Duration::from_secs(ttl));
            let end = start + Duration::from_secs(held);
            assert!(
                cache.get("host", end - Duration::from_nanos(1)).is_some(),
                "{ttl}"
            );
            assert!(cache.get("host", end).is_none(), "{ttl}");
        }
    }

    #[test]
    fn cache_answer_that_is_to_be_forgotten_holds_for_a_second_only() {
        let cache = Cache::default();
        let start = Duration::from_secs(100);
        cache.put("host", answer(), start, MAX_LIFE);
        cache.forget("host");
        cache.forget("another");
        let end = start + MIN_LIFE;
        assert!(cache.get("host", end - Duration::from_nanos(1)).is_some());
        assert!(cache.get("host", end).is_none());
    }

    #[test]
    fn cache_full_drops_what_expired_and_then_anything() {
        let cache = Cache::default();
        for index in 0..MAX_NAMES {
            cache.put(&format!("h{index}"), answer(), Duration::ZERO, MIN_LIFE * 2);
        }
        cache.put("one more", answer(), Duration::ZERO, MIN_LIFE);
        assert_eq!(cache.0.read().len(), MAX_NAMES);
        cache.put("later", answer(), MIN_LIFE * 3, MIN_LIFE);
        assert_eq!(cache.0.read().len(), 1);
        assert!(cache.get("later", MIN_LIFE * 3).is_some());
    }
}
