//! A broker that is used in every way.

use std::path::{Path, PathBuf};
use std::time::Duration;

use broker::LocalBroker;
use env::disk::OpenMode;
use env::sim::World;
use types::admin::{Admin, AdminError};
use types::broker::{ChangeInvisible, EndTransaction, Pop, Resolution};
use types::properties::names;
use types::{Broker, GroupConfig, QueueId, QueueOffset};

use super::*;

/// The newest checkpoint's bytes.
pub fn newest_checkpoint(world: &World, data: &str) -> (PathBuf, Vec<u8>) {
    let (dir, disk) = (Path::new(data).join("checkpoints"), world.env().disk);
    let newest = disk.list(&dir).expect("listed").pop().expect("a checkpoint was written");
    let path = dir.join(newest);
    let file = disk.open(&path, OpenMode::Read).expect("opened");
    let mut bytes = vec![0; usize::try_from(file.len().expect("a length")).expect("fits")];
    assert_eq!(file.read_at(&mut bytes, 0).expect("read"), bytes.len());
    (path, bytes)
}

/// A bit of everything, as the seed wants it.
pub async fn live(world: &World, broker: &LocalBroker) {
    let mut rng = world.random().fork();
    let one_attempt = GroupConfig { attempts_max: 1, ..GroupConfig::new(group("once")) };
    let made = broker.put_group(one_attempt, false).await;
    assert!(matches!(made, Ok(()) | Err(AdminError::Exists { .. })), "{made:?}");
    let mut halves = Vec::new();
    for n in 0..150 {
        let body = n.to_string();
        match rng.u32(..12) {
            0 => {
                // Some are repeats, of a key that is known or forgotten.
                let mut keyed = message("t", &(n % 5).to_string(), &[]);
                keyed.properties.set_own(names::IDEMPOTENCY_KEY, &(n % 5).to_string());
                try_send(broker, keyed).await.expect("taken");
            }
            1..4 => drop(send(broker, "t", &body).await),
            4 => {
                let fifo = message("t", &body, &[(names::MESSAGE_GROUP, "a")]);
                try_send(broker, fifo).await.expect("stored");
            }
            5 => {
                let seconds = rng.u32(1..4).to_string();
                let delayed = message("t", &body, &[(names::TIMER_DELAY_SECONDS, &seconds)]);
                let handle = try_send(broker, delayed).await.expect("stored").recall_handle.expect("delayed");
                if rng.bool() {
                    broker.recall(topic("t"), handle).await.expect("recalled");
                }
            }
            6 => {
                let half = message("t", &body, &[(names::TRANSACTION_PREPARED, "true")]);
                halves.push(try_send(broker, half).await.expect("stored").transaction.expect("a half message"));
            }
            7 => {
                let Some(place) = halves.pop() else { continue };
                let resolution = if rng.bool() { Resolution::Commit } else { Resolution::Rollback };
                broker.end_transaction(EndTransaction::new(topic("t"), place, resolution)).await.expect("ended");
            }
            8 => {
                let name = if rng.bool() { "g" } else { "once" };
                let invisible = Duration::from_secs(rng.u64(1..4));
                let popped = pop(broker, Pop { invisible, messages_max: 8, ..pop_of(name, "t") }).await;
                for message in popped.messages {
                    match rng.u32(..4) {
                        0 => drop(broker.ack(owner(name, "t"), vec![message.handle]).await),
                        1 => {
                            // At once, or so late that the message goes to the retry topic; then perhaps acked there.
                            let invisible = Duration::from_secs(rng.u64(..2) * 200);
                            let handle = message.handle;
                            drop(
                                broker
                                    .change_invisible(
                                        owner(name, "t"),
                                        handle.clone(),
                                        ChangeInvisible { invisible, suspend: rng.bool() },
                                    )
                                    .await,
                            );
                            if rng.bool() {
                                drop(broker.ack(owner(name, "t"), vec![handle]).await);
                            }
                        }
                        2 => drop(broker.dead_letter(owner(name, "t"), message.handle).await),
                        _ => {}
                    }
                }
            }
            9 => {
                let offset = QueueOffset(rng.u64(..9));
                broker.commit_offset(&group("puller"), &topic("t"), QueueId(0), offset).await.expect("committed");
            }
            // Checks of transactions are put off in memory when nobody can be asked.
            11 if halves.is_empty() => world.env().clock.sleep(Duration::from_secs(100)).await,
            10 if rng.u32(..8) == 0 => broker.delete_group(&group("g")).await.unwrap_or_default(),
            _ => world.env().clock.sleep(Duration::from_millis(rng.u64(..100))).await,
        }
    }
}
