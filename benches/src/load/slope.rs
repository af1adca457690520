//! What one more of many costs in memory.

use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinSet;

use crate::process;
use crate::server::Server;

/// How many there are at the two ends of the slope. Source: issues 5 and 6.
const FEW: usize = 2_000;
const MANY: usize = 10_000;
/// The same of a quick run.
const QUICK: (usize, usize) = (20, 100);
/// Those that are opened at a time.
const OPENED_TOGETHER: usize = 50;
/// How long the server is left alone before its memory is read.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// Opens what `open` opens, each under its number, and answers the server's anonymous memory for one, in KiB, by the difference that those
/// from the few to the many make; and all of them.
#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^53 bytes")]
pub(super) async fn memory_of_one<T, F>(
    server: &Server,
    is_quick: bool,
    open: impl Fn(usize) -> F,
) -> Result<(f64, Vec<T>)>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    process::raise_open_files()?;
    let (few, many) = if is_quick { QUICK } else { (FEW, MANY) };
    let mut opened = Vec::with_capacity(many);
    let at_few = memory_with(server, &mut opened, few, &open).await?;
    let at_many = memory_with(server, &mut opened, many, &open).await?;
    Ok(((at_many as f64 - at_few as f64) / 1024.0 / (many - few) as f64, opened))
}

/// Opens more until there are so many, and reads the server's anonymous memory, in bytes.
async fn memory_with<T, F>(server: &Server, all: &mut Vec<T>, count: usize, open: &impl Fn(usize) -> F) -> Result<u64>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    eprintln!("opening connections until {count} wait");
    while all.len() < count {
        let mut opening = JoinSet::new();
        for number in all.len()..count.min(all.len() + OPENED_TOGETHER) {
            opening.spawn(open(number));
        }
        while let Some(opened) = opening.join_next().await {
            all.push(opened??);
        }
    }
    tokio::time::sleep(SETTLED_AFTER).await;
    Ok(server.memory()?.anonymous_bytes)
}
