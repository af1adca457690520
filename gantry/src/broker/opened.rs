//! The directory of a slave, opened. A segment that is found damaged comes from the master first.

use ::broker::replication::{damage, join};
use ::broker::{LocalBroker, Options};
use env::Env;

use crate::local::{cannot_open, open_broker};

/// Opens it each time after `prepare`, which gets what a start needs, until no other segment is found damaged. If that does not help, a log that
/// was only ever a slave's is got anew.
///
/// # Errors
/// Why it cannot be.
pub(super) async fn open_slave(
    stored: &Options,
    prepare: impl AsyncFn() -> anyhow::Result<()>,
) -> anyhow::Result<LocalBroker> {
    let (env, mut got) = (Env::real(), None);
    loop {
        prepare().await?;
        let error = match open_broker(stored.clone()).await? {
            Ok(broker) => return Ok(broker),
            Err(error) => error,
        };
        let damaged = damage::note_refused(&*env.disk, &stored.dir, &error)?;
        if damaged.is_none() || damaged == got && !join::give_up(&*env.disk, &stored.dir)? {
            return Err(cannot_open(error, &stored.dir));
        }
        got = damaged;
    }
}
