//! What was answered, for as long as it holds.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use super::Answer;

/// The least time an answer is remembered, a failure too: a resolver that cannot keep up must
/// not be asked once per request.
const FLOOR: Duration = Duration::from_secs(1);
/// The most time an answer is remembered.
const CEILING: Duration = Duration::from_secs(60);
/// Most names that are remembered.
const MOST: usize = 4096;

#[derive(Default)]
pub(super) struct Cache(RwLock<HashMap<Box<str>, Entry>>);

struct Entry {
    answer: Answer,
    until: Duration,
}

impl Cache {
    pub(super) fn get(&self, host: &str, now: Duration) -> Option<Answer> {
        let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(host)?;
        (now < entry.until).then(|| entry.answer.clone())
    }

    /// Remembers an answer for its life, within the bounds.
    pub(super) fn put(&self, host: &str, answer: Answer, now: Duration, life: Duration) {
        let until = now + life.clamp(FLOOR, CEILING);
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MOST && !entries.contains_key(host) {
            entries.retain(|_, entry| now < entry.until);
            if entries.len() >= MOST {
                let any = entries.keys().next().cloned();
                any.and_then(|any| entries.remove(&any));
            }
        }
        entries.insert(host.into(), Entry { answer, until });
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
    fn cache_full_drops_what_expired_and_then_anything() {
        let cache = Cache::default();
        for index in 0..MOST {
            cache.put(&format!("h{index}"), answer(), Duration::ZERO, FLOOR * 2);
        }
        cache.put("one more", answer(), Duration::ZERO, FLOOR);
        assert_eq!(cache.0.read().unwrap().len(), MOST);
        cache.put("later", answer(), FLOOR * 3, FLOOR);
        assert_eq!(cache.0.read().unwrap().len(), 1);
        assert!(cache.get("later", FLOOR * 3).is_some());
    }
}
