//! What was asked of others, kept for a while. No I/O.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use env::clock::Moment;
use types::broker::LookupError;

/// What is older is asked for again. Source: Apache `topicRouteServiceCacheRefreshSeconds`.
pub(super) const REFRESH_AFTER: Duration = Duration::from_secs(20);
/// What nobody used for so long makes room for others; what is used is kept however old it is, while nobody says otherwise.
/// Source: Apache `topicRouteServiceCacheExpiredSeconds`.
pub(super) const UNUSED_MAX: Duration = Duration::from_secs(300);
/// Pause after nobody could be asked: who comes meanwhile gets what is known, or the same error.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);
/// Most entries; further ones are asked for each time. Source: Apache `topicRouteServiceCacheMaxNum`.
pub(super) const ENTRIES_MAX: usize = 20_000;

/// Values by key. While one caller asks again the others go on with what is known.
pub(super) struct Cache<K, V> {
    entries: papaya::HashMap<K, Arc<Entry<V>>>,
    /// Keys without an entry that are asked for now, or could not be; at most [`ENTRIES_MAX`] besides those asked for now.
    asks: papaya::HashMap<K, Arc<Ask<V>>>,
}

/// Held by who asks for a key without an entry; the answer is for all who wait meanwhile.
type Ask<V> = tokio::sync::Mutex<Option<(Moment, Result<V, LookupError>)>>;

struct Entry<V> {
    value: V,
    read_at: Moment,
    /// When it was last asked for, a [`Moment`] in milliseconds.
    used_at_ms: AtomicU64,
    /// Somebody found it to be wrong.
    is_stale: AtomicBool,
    /// Somebody asks for it now.
    is_renewing: AtomicBool,
    /// Nobody asks before, a [`Moment`] in milliseconds.
    paused_until_ms: AtomicU64,
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    pub(super) fn new() -> Self {
        Self { entries: papaya::HashMap::new(), asks: papaya::HashMap::new() }
    }

    /// The value, from `ask` if it is not known or too old. If that fails what is known goes on to be used. Asking is in a box of its own:
    /// hardly any of those who wait for messages ever asked, and each keeps the room that its future may need.
    ///
    /// # Errors
    /// What `ask` says; that there is no such thing is believed at once.
    pub(super) async fn get<F>(
        &self,
        key: &K,
        clock: impl Fn() -> Moment,
        ask: impl FnOnce() -> F,
    ) -> Result<V, LookupError>
    where
        F: Future<Output = Result<V, LookupError>>,
    {
        let now = clock();
        let known = self.entries.pin().get(key).cloned();
        let Some(entry) = known else { return Box::pin(self.ask_first(key, clock, ask())).await };
        entry.used_at_ms.store(ms(now), Ordering::Relaxed);
        if entry.is_fresh(now) {
            return Ok(entry.value.clone());
        }
        let Some(renewing) = entry.begin_renewing() else { return Ok(entry.value.clone()) };
        let asked = Box::pin(ask()).await;
        match asked {
            Ok(value) => {
                self.put(key, now, value.clone());
                Ok(value)
            }
            Err(LookupError::Unavailable(error)) => {
                tracing::warn!(%error, "what was known before is used");
                entry.paused_until_ms.store(ms(clock().plus(FAILURE_PAUSE)), Ordering::Relaxed);
                drop(renewing);
                Ok(entry.value.clone())
            }
            Err(error) => {
                self.entries.pin().remove(key);
                Err(error)
            }
        }
    }

    /// Asks for a key without an entry, one caller at a time.
    async fn ask_first(
        &self,
        key: &K,
        clock: impl Fn() -> Moment,
        ask: impl Future<Output = Result<V, LookupError>>,
    ) -> Result<V, LookupError> {
        let began_at = clock();
        let place = self.place(key);
        let mut last = place.lock().await;
        if let Some((at, answer)) = &*last {
            let is_paused = matches!(answer, Err(LookupError::Unavailable(_))) && clock().since(*at) < FAILURE_PAUSE;
            if *at >= began_at || is_paused {
                return answer.clone();
            }
        }
        let now = clock();
        let asked = ask.await;
        *last = Some((clock(), asked.clone()));
        if let Ok(value) = &asked {
            self.put(key, now, value.clone());
        }
        if !matches!(asked, Err(LookupError::Unavailable(_))) {
            self.asks.pin().remove(key);
        }
        asked
    }

    fn place(&self, key: &K) -> Arc<Ask<V>> {
        let asks = self.asks.pin();
        if asks.len() >= ENTRIES_MAX && !asks.contains_key(key) {
            // The map's own is the only one of those that nobody waits for.
            asks.retain(|_, ask| Arc::strong_count(ask) > 1);
        }
        asks.get_or_insert_with(key.clone(), Arc::default).clone()
    }

    /// What is known, however old.
    pub(super) fn known(&self, key: &K) -> Option<V> {
        self.entries.pin().get(key).map(|entry| entry.value.clone())
    }

    /// Lets the next caller ask again.
    pub(super) fn doubt(&self, key: &K) {
        if let Some(entry) = self.entries.pin().get(key) {
            entry.is_stale.store(true, Ordering::Relaxed);
        }
    }

    /// The same, if it is that old.
    pub(super) fn doubt_older(&self, key: &K, age: Duration, now: Moment) {
        if let Some(entry) = self.entries.pin().get(key).filter(|entry| now.since(entry.read_at) >= age) {
            entry.is_stale.store(true, Ordering::Relaxed);
        }
    }

    fn put(&self, key: &K, now: Moment, value: V) {
        let entries = self.entries.pin();
        if entries.len() >= ENTRIES_MAX && !entries.contains_key(key) {
            entries.retain(|_, entry| !entry.is_unused(now));
            if entries.len() >= ENTRIES_MAX {
                return;
            }
        }
        let entry = Entry {
            value,
            read_at: now,
            used_at_ms: AtomicU64::new(ms(now)),
            is_stale: AtomicBool::new(false),
            is_renewing: AtomicBool::new(false),
            paused_until_ms: AtomicU64::new(0),
        };
        entries.insert(key.clone(), Arc::new(entry));
    }
}

impl<V> Entry<V> {
    fn is_fresh(&self, now: Moment) -> bool {
        let is_new = now.since(self.read_at) < REFRESH_AFTER && !self.is_stale.load(Ordering::Relaxed);
        is_new || ms(now) < self.paused_until_ms.load(Ordering::Relaxed)
    }

    fn is_unused(&self, now: Moment) -> bool {
        let unused_ms = ms(now).saturating_sub(self.used_at_ms.load(Ordering::Relaxed));
        Duration::from_millis(unused_ms) >= UNUSED_MAX
    }

    fn begin_renewing(&self) -> Option<Renewing<'_>> {
        (!self.is_renewing.swap(true, Ordering::Relaxed)).then_some(Renewing(&self.is_renewing))
    }
}

fn ms(moment: Moment) -> u64 {
    u64::try_from(moment.0.as_millis()).unwrap_or(u64::MAX)
}

/// Ends with the caller that asks, even if it is dropped on the way.
struct Renewing<'a>(&'a AtomicBool);

impl Drop for Renewing<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use types::TopicName;
    use types::broker::Unavailable;

    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    fn down() -> LookupError {
        Unavailable::Stopping.into()
    }

    fn missing() -> LookupError {
        LookupError::TopicNotFound { topic: TopicName::new("t").expect("valid") }
    }

    #[tokio::test]
    async fn values_are_asked_for_again_when_old_or_doubted_and_outlive_a_failure() {
        let cache = Cache::new();
        assert_eq!(cache.get(&1, || at(0), || async { Ok("a") }).await, Ok("a"));
        assert_eq!(cache.get(&1, || at(19), || async { panic!("fresh") }).await, Ok("a"));
        assert_eq!(cache.get(&1, || at(20), || async { Err(down()) }).await, Ok("a"));
        assert_eq!(cache.get(&1, || at(20), || async { panic!("just failed") }).await, Ok("a"));
        assert_eq!(cache.get(&1, || at(21), || async { Ok("b") }).await, Ok("b"));
        cache.doubt(&1);
        assert_eq!(cache.get(&1, || at(21), || async { Ok("c") }).await, Ok("c"));
        assert_eq!(
            cache.get(&1, || at(4000), || async { Err(down()) }).await,
            Ok("c"),
            "old, but nobody says otherwise"
        );
    }

    #[tokio::test]
    async fn only_what_is_not_used_makes_room() {
        let cache = Cache::new();
        for key in 0..ENTRIES_MAX {
            cache.get(&key, || at(0), || async { Ok("a") }).await.expect("asked");
        }
        cache.get(&1, || at(299), || async { Err(down()) }).await.expect("known");
        cache.get(&ENTRIES_MAX, || at(300), || async { Ok("b") }).await.expect("asked");
        assert_eq!(cache.get(&ENTRIES_MAX, || at(300), || async { panic!("fresh") }).await, Ok("b"));
        assert_eq!(cache.get(&1, || at(300), || async { Err(down()) }).await, Ok("a"));
        assert_eq!(cache.get(&2, || at(300), || async { Err(down()) }).await, Err(down()), "made room");
    }

    #[tokio::test]
    async fn one_asks_for_what_is_not_known_and_all_take_the_answer() {
        let cache = Cache::new();
        let first = cache.get(
            &1,
            || at(0),
            || async {
                tokio::task::yield_now().await;
                Err(missing())
            },
        );
        let second = cache.get(&1, || at(0), || async { panic!("somebody asks") });
        let (first, second): (Result<&str, _>, _) = tokio::join!(first, second);
        assert_eq!((first, second), (Err(missing()), Err(missing())));
        assert_eq!(
            cache.get(&1, || at(0), || async { Err(down()) }).await,
            Err(down()),
            "only a failure makes a pause"
        );
        assert_eq!(cache.get(&1, || at(0), || async { panic!("just failed") }).await, Err(down()));
        assert_eq!(cache.get(&1, || at(1), || async { Ok("a") }).await, Ok("a"));
    }

    #[tokio::test]
    async fn what_is_gone_is_gone_at_once() {
        let cache = Cache::new();
        cache.get(&1, || at(0), || async { Ok("a") }).await.expect("asked");
        assert_eq!(cache.get(&1, || at(30), || async { Err(missing()) }).await, Err(missing()));
        assert_eq!(cache.get(&1, || at(30), || async { Err(down()) }).await, Err(down()));
    }

    #[tokio::test]
    async fn a_caller_that_is_dropped_lets_the_next_one_ask() {
        let cache = Cache::new();
        cache.get(&1, || at(0), || async { Ok("a") }).await.expect("asked");
        {
            let asking = cache.get(&1, || at(30), std::future::pending);
            tokio::pin!(asking);
            assert!(
                std::future::poll_fn(|context| std::task::Poll::Ready(asking.as_mut().poll(context).is_pending()))
                    .await
            );
            assert_eq!(cache.get(&1, || at(30), || async { panic!("somebody asks") }).await, Ok("a"));
        }
        assert_eq!(cache.get(&1, || at(30), || async { Ok("b") }).await, Ok("b"));
    }
}
