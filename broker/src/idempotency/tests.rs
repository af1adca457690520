//! Tests of the idempotency machine.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use proptest::prelude::*;
use types::Message;

use super::*;
use crate::codec::Input;

const SETTINGS: Settings = Settings { window: Duration::from_secs(60), keys_max: 1_000 };

fn topic(name: &str) -> TopicName {
    TopicName::new(name).expect("valid")
}

fn claim(topic_name: &str, key: &str, body: &str) -> Claim {
    Claim::new(&topic(topic_name), key, MessageType::Normal, body.as_bytes()).expect("short")
}

/// Stores a message with a key at a place of the log, in queue 3.
fn store(keys: &mut Keys, topic_name: &str, key: &str, body: &str, offset: u64) {
    let mut message = Message::new(topic(topic_name), Bytes::copy_from_slice(body.as_bytes()));
    message.properties.set_own(names::IDEMPOTENCY_KEY, key);
    message.properties.set_own(names::UNIQUE_KEY, &format!("ID{offset}"));
    let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let encoded = record::encode(&message, QueueId(3), host).expect("fits");
    let bytes = encoded.place(QueueOffset(offset / 10), PhysicalOffset(offset), Timestamp(1));
    let record = record::decode(&bytes).expect("own record");
    keys.stored(&record, topic_name, MessageType::Normal, Form::Message);
}

fn found(keys: &Keys, claim: &Claim) -> Result<Option<u64>, KeyError> {
    Ok(keys.find(claim, &SETTINGS)?.map(|first| first.physical_offset.0))
}

fn restored(keys: &Keys) -> Keys {
    let mut bytes = Vec::new();
    keys.snapshot(&mut bytes);
    let mut input = Input(&bytes);
    let restored = Keys::restore(&mut input).expect("own snapshot");
    assert!(input.is_empty());
    restored
}

#[test]
fn a_repeat_finds_the_first_and_another_message_is_told_so() {
    let mut keys = Keys::default();
    store(&mut keys, "t", "k", "body", 70);
    let first = keys.find(&claim("t", "k", "body"), &SETTINGS).expect("its own").expect("known");
    let expected = First {
        queue: QueueId(3),
        queue_offset: QueueOffset(7),
        physical_offset: PhysicalOffset(70),
        form: Form::Message,
        message_id: "ID70".into(),
    };
    assert_eq!(*first, expected);
    let taken = KeyError::Taken { key: "k".to_owned(), window_ms: 60_000 };
    assert_eq!(found(&keys, &claim("t", "k", "other")), Err(taken.clone()));
    let half = Claim::new(&topic("t"), "k", MessageType::Transaction, b"body").expect("short");
    assert_eq!(found(&keys, &half), Err(taken));
    let in_order = Claim::new(&topic("t"), "k", MessageType::Fifo, b"body").expect("short");
    assert_eq!(found(&keys, &in_order), Ok(Some(70)));
    assert_eq!(found(&keys, &claim("u", "k", "other")), Ok(None), "a key is of a topic");
}

#[test]
fn at_the_bound_known_keys_go_on_and_new_ones_wait() {
    let settings = Settings { keys_max: 2, ..SETTINGS };
    let mut keys = Keys::default();
    store(&mut keys, "t", "a", "", 10);
    store(&mut keys, "t", "b", "", 20);
    assert!(keys.find(&claim("t", "a", ""), &settings).is_ok_and(|first| first.is_some()));
    let refused = keys.find(&claim("t", "c", ""), &settings).map(drop);
    assert_eq!(refused, Err(KeyError::TooMany { keys_max: 2, window_ms: 60_000 }));
    keys.forget(PhysicalOffset(10));
    assert_eq!(keys.find(&claim("t", "c", ""), &settings), Ok(None));
}

#[test]
fn a_key_is_known_for_a_window_from_when_it_was_stored() {
    let at = |seconds| Moment(Duration::from_secs(seconds));
    let mut keys = Keys::default();
    assert_eq!(keys.poll(SETTINGS.window, at(0)), None);
    store(&mut keys, "t", "a", "", 10);
    assert_eq!(keys.poll(SETTINGS.window, at(100)), None);
    store(&mut keys, "t", "b", "", 20);
    assert_eq!(keys.poll(SETTINGS.window, at(130)), None);
    assert_eq!(keys.poll(SETTINGS.window, at(159)), None);
    assert_eq!(keys.poll(SETTINGS.window, at(160)), Some(PhysicalOffset(10)));
    keys.forget(PhysicalOffset(10));
    assert_eq!(keys.poll(SETTINGS.window, at(189)), None);
    // Nobody knows how long ago a restored key was stored: at most a window of that was in this process.
    let mut again = restored(&keys);
    assert_eq!(again.poll(SETTINGS.window, at(0)), None);
    assert_eq!(again.poll(SETTINGS.window, at(59)), None);
    assert_eq!(again.poll(SETTINGS.window, at(61)), Some(PhysicalOffset(20)));
    assert_eq!(keys.poll(SETTINGS.window, at(500)), Some(PhysicalOffset(20)));
    keys.forget(PhysicalOffset(20));
    assert_eq!(keys.poll(SETTINGS.window, at(500)), None);
}

#[test]
fn marks_stay_few_however_often_keys_come() {
    let mut keys = Keys::default();
    for n in 0..10_000 {
        store(&mut keys, "t", &n.to_string(), "", n * 10);
        if let Some(to) = keys.poll(SETTINGS.window, Moment(Duration::from_millis(n * 20))) {
            keys.forget(to);
        }
        assert!(keys.marks.len() <= MARKS as usize + 1);
    }
    // A window of 60 s at 50 a second, and one mark more.
    assert!((3_000..=3_000 + 3_000 / MARKS as usize + 50).contains(&keys.len()), "{}", keys.len());
}

#[test]
fn a_deleted_topic_takes_its_keys_along() {
    let mut keys = Keys::default();
    store(&mut keys, "t", "k", "", 10);
    store(&mut keys, "u", "k", "", 20);
    keys.forget_topic(&topic("t"));
    assert_eq!(found(&keys, &claim("t", "k", "")), Ok(None));
    assert_eq!(found(&keys, &claim("u", "k", "")), Ok(Some(20)));
    assert_eq!(keys.len(), 1);
}

#[test]
fn copies_that_consumers_send_take_no_keys() {
    let mut keys = Keys::default();
    for name in ["%RETRY%g", "%DLQ%g", "rmq_sys_x"] {
        store(&mut keys, name, "k", "", 10);
        assert!(keys.is_empty(), "{name}");
    }
}

#[test]
fn texts_have_a_longest() {
    let refused = Claim::new(&topic("t"), &"k".repeat(256), MessageType::Normal, b"").map(drop);
    assert_eq!(refused, Err(KeyError::TooLong { what: "idempotency key", bytes: 256, bytes_max: 255 }));
    assert!(Claim::new(&topic("t"), &"k".repeat(255), MessageType::Normal, b"").is_ok());
}

#[test]
fn a_known_key_is_not_larger_than_it_is_said_to_be() {
    // An entry, its key in the map with what both leave empty at worst (half), and the id of an SDK.
    let id_bytes = 48;
    let worst = 2 * (size_of::<Entry>() + size_of::<(Key, PhysicalOffset)>() + 1) + id_bytes;
    let usual = worst * 3 / 4;
    assert!(usual <= 260, "{usual}");
}

#[test]
fn hashes_are_a_part_of_the_format() {
    let Claim { key, content, .. } = claim("topic", "key", "body");
    assert_eq!(key.topic, xxh3_64(b"topic"));
    assert_eq!(key.key, xxhash_rust::xxh3::xxh3_128(b"topic\0key").to_le_bytes());
    assert_eq!(content, xxh3_64(b"body"));
}

#[derive(Clone, Debug)]
enum Step {
    Store { key: u8, body: u8 },
    Forget { back: u64 },
    ForgetTopic,
    Restore,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..8u8, 0..2u8).prop_map(|(key, body)| Step::Store { key, body }),
        2 => (0..12u64).prop_map(|back| Step::Forget { back }),
        1 => Just(Step::ForgetTopic),
        1 => Just(Step::Restore),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    /// Stored without asking too, as a foreign broker may: the newest of a key counts.
    #[test]
    fn it_knows_what_a_map_of_all_records_knows(steps in steps()) {
        let (mut keys, mut model) = (Keys::default(), BTreeMap::<u8, (u64, u8)>::new());
        let name = |key: u8| if key < 4 { "t" } else { "u" };
        for (offset, step) in (1u64..).map(|n| n * 10).zip(&steps) {
            match step {
                Step::Store { key, body } => {
                    store(&mut keys, name(*key), &key.to_string(), &body.to_string(), offset);
                    model.insert(*key, (offset, *body));
                }
                Step::Forget { back } => {
                    let to = offset.saturating_sub(back * 10);
                    keys.forget(PhysicalOffset(to));
                    model.retain(|_, (at, _)| *at > to);
                }
                Step::ForgetTopic => {
                    keys.forget_topic(&topic("t"));
                    model.retain(|key, _| *key >= 4);
                }
                Step::Restore => {
                    let again = restored(&keys);
                    prop_assert_eq!(&again, &keys);
                    keys = again;
                }
            }
            prop_assert_eq!(keys.len(), model.len());
            for key in 0..8u8 {
                let expected = model.get(&key);
                for body in 0..2u8 {
                    let found = found(&keys, &claim(name(key), &key.to_string(), &body.to_string()));
                    match expected {
                        None => prop_assert_eq!(found, Ok(None)),
                        Some((at, of)) if *of == body => prop_assert_eq!(found, Ok(Some(*at))),
                        Some(_) => {
                            let is_taken = matches!(found, Err(KeyError::Taken { .. }));
                            prop_assert!(is_taken, "{:?}", found);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_a_snapshot_or_refused(bytes: Vec<u8>) {
        let _ = Keys::restore(&mut Input(&bytes));
    }
}
