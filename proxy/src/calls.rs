//! How much is going on on one connection.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

/// The calls of a connection that are being answered, but for those that wait for something to come. Clones count the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls {
    open: Arc<AtomicUsize>,
}

impl Calls {
    /// Counts a call until it is answered or given up.
    pub(crate) fn count<F>(&self, answer: F) -> Counted<F> {
        self.open.fetch_add(1, Ordering::Relaxed);
        Counted { answer, calls: Some(self.clone()) }
    }

    /// Whether there are several.
    pub(crate) fn are_many(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 1
    }
}

/// An answer that is counted while it is made, if it is to be.
pub(crate) struct Counted<F> {
    answer: F,
    calls: Option<Calls>,
}

impl<F> Counted<F> {
    /// One that is not to be counted.
    pub(crate) fn uncounted(answer: F) -> Self {
        Self { answer, calls: None }
    }
}

impl<F: Future + Unpin> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        Pin::new(&mut self.answer).poll(cx)
    }
}

impl<F> Drop for Counted<F> {
    fn drop(&mut self) {
        if let Some(calls) = &self.calls {
            calls.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    #[tokio::test]
    async fn calls_count_until_they_are_answered_or_given_up() {
        let calls = Calls::default();
        let (answered, given_up, open) = (calls.count(ready(())), calls.count(ready(())), calls.count(ready(())));
        let passed = Counted::uncounted(ready(()));
        answered.await;
        assert!(calls.are_many());
        drop(given_up);
        assert!(!calls.are_many());
        drop((open, passed));
    }
}
