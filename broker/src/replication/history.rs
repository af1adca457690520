//! The epochs of this broker's log, kept in a file: on the disk before the first record of an epoch is in the log.

use std::path::Path;
use std::sync::Arc;

use env::{Env, Kept, kept};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::epochs::{Begin, EPOCHS_MAX, Epochs};

/// The file, in the broker's data directory.
const FILE: &str = "epochs.json";
/// Most bytes of one epoch in it.
const EPOCH_BYTES_MAX: u64 = 64;
const VERSION: u32 = 1;

/// See the module's head. Clones are the same.
#[derive(Clone)]
pub struct History {
    file: Kept,
    /// Held for a look or a change.
    epochs: Arc<Mutex<Epochs>>,
}

/// The file: JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u32,
    epochs: Vec<Begin>,
}

impl History {
    /// That of the broker with this data directory. Blocks.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn open(env: &Env, data: &Path) -> Result<Self, kept::Error> {
        let file = Kept::new(env.clone(), "file of a log's epochs", data.join(FILE));
        let epochs = file.read(EPOCHS_MAX as u64 * EPOCH_BYTES_MAX, parse)?.unwrap_or_default();
        Ok(Self { file, epochs: Arc::new(Mutex::new(epochs)) })
    }

    /// They, as they are now.
    #[must_use]
    pub fn epochs(&self) -> Epochs {
        self.epochs.lock().clone()
    }

    /// From now on it is these; on the disk on return.
    ///
    /// # Errors
    /// The file cannot be written; then they are as before.
    pub async fn set(&self, epochs: Epochs) -> Result<(), kept::Error> {
        if *self.epochs.lock() == epochs {
            return Ok(());
        }
        let text = Text { version: VERSION, epochs: epochs.all().to_vec() };
        self.file.write(move || serde_json::to_vec_pretty(&text).expect("numbers are JSON")).await?;
        *self.epochs.lock() = epochs;
        Ok(())
    }
}

fn parse(text: &[u8]) -> Result<Epochs, String> {
    let Text { version, epochs } = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if version != VERSION {
        return Err(format!("it has version {version}, this program knows {VERSION}"));
    }
    Epochs::new(epochs).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use env::sim;
    use types::PhysicalOffset;

    use super::super::epochs::Epoch;
    use super::*;

    #[test]
    fn an_epoch_that_was_begun_is_known_after_a_power_loss() {
        sim::run(1, async |world: sim::World| {
            let open = || History::open(&world.env(), Path::new("/data"));
            let begun = Epochs::default().with(Epoch(3), PhysicalOffset(0), PhysicalOffset(9));
            let history = open().expect("none is none");
            history.set(begun.clone()).await.expect("written");
            world.lose_power().await;
            assert_eq!(open().expect("whole").epochs(), begun);
        });
    }

    #[test]
    fn a_file_of_another_version_is_refused() {
        let of = |version| format!("{{\"version\": {version}, \"epochs\": []}}");
        assert!(parse(of(1).as_bytes()).is_ok() && parse(of(2).as_bytes()).is_err() && parse(b"").is_err());
    }
}
