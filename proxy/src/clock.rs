//! What time it is. The front doors are exempt from the simulation, so they ask the machine; everything that is
//! worth testing with another time takes it as a parameter.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use types::Timestamp;

/// The wall clock.
#[expect(clippy::disallowed_methods, reason = "front doors are not simulated")]
pub(crate) fn now() -> Timestamp {
    // A machine whose clock stands before 1970 is one without a clock: time then begins at 0.
    Timestamp::default().plus(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Waits.
#[expect(clippy::disallowed_methods, reason = "front doors are not simulated")]
pub(crate) async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}
