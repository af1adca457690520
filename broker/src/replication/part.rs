//! A part of a master's log that is got as bytes before a broker starts on it: what a slave that begins (`join`) and one whose log is damaged
//! (`mend`) have in common.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BytesMut;
use env::Clock;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use types::PhysicalOffset;

use super::epochs::Epochs;
use super::slave::{Ended, Follower, check_newest, follow_for_ever, greet};
use super::wire::{Greeting, Report, Welcome};
use crate::membership::Membership;

/// How much of it has come.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// Where what has come ends.
    end: AtomicU64,
    /// Where that is enough.
    until: AtomicU64,
}

impl Part {
    /// It has come up to `end`, and `until` is to come.
    pub(super) fn begin(&self, end: PhysicalOffset, until: PhysicalOffset) {
        self.until.store(until.0, Ordering::Release);
        self.came(end);
    }

    /// It has come up to here.
    pub(super) fn came(&self, end: PhysicalOffset) {
        self.end.store(end.0, Ordering::Release);
    }

    /// Where what has come ends.
    pub(super) fn end(&self) -> PhysicalOffset {
        PhysicalOffset(self.end.load(Ordering::Acquire))
    }

    /// What the master is told of what ends there: that the slave lives, and may not be waited for.
    ///
    /// # Errors
    /// [`Ended::Joined`] once that is enough.
    pub(super) fn report(&self, end: PhysicalOffset) -> Result<Report, Ended> {
        match end.0 >= self.until.load(Ordering::Acquire) {
            true => Err(Ended::Joined),
            false => Ok(Report::Hello),
        }
    }
}

/// Follows whoever is the master until `follow`, which does it with the one at an address, has got all that is to come ([`Ended::Joined`]).
pub(super) async fn follow_until_joined<F: Future<Output = Result<Infallible, Ended>>>(
    follower: &impl Follower,
    clock: &dyn Clock,
    master: watch::Receiver<Option<String>>,
    follow: impl Fn(String) -> F,
) {
    let (follow, done) = (&follow, &CancellationToken::new());
    let follow = |address: String| async move {
        match follow(address).await {
            Err(Ended::Joined) => {
                done.cancel();
                std::future::pending().await
            }
            other => other,
        }
    };
    tokio::select! {
        biased;
        () = done.cancelled() => {}
        // Loops for ever.
        () = follow_for_ever(follower, clock, master, follow) => {}
    }
}

/// Greets a master, under controllers the one that they speak of, as who does not count yet; answers what it says of its log.
///
/// # Errors
/// [`Ended`].
pub(super) async fn greet_newest<S: AsyncRead + AsyncWrite + Unpin>(
    clock: &dyn Clock,
    stream: &mut S,
    membership: Option<&Arc<Membership>>,
    input: &mut BytesMut,
) -> Result<(Welcome, Option<Epochs>), Ended> {
    let greeting = membership.map_or(Greeting::Anyone, |of| Greeting::Member(of.id()));
    let (welcome, epochs) = greet(clock, stream, greeting, input).await?;
    if let (Some(membership), Some(epochs)) = (membership, &epochs) {
        check_newest(membership, epochs)?;
    }
    Ok((welcome, epochs))
}
