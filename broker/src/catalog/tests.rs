//! Tests of the catalog machine.

use std::time::Duration;

use proptest::prelude::*;
use types::RetryPolicy;
use types::admin::AdminError;

use super::*;

const AUTO: Auto = Auto { topics: true, groups: true, queues: 8 };

fn topic(name: &str) -> TopicName {
    TopicName::new(name).expect("valid")
}

fn group(name: &str) -> GroupName {
    GroupName::new(name).expect("valid")
}

fn config(name: &str, queues: u32) -> TopicConfig {
    TopicConfig { is_auto_created: false, read_queues: queues, write_queues: queues, ..auto_topic(topic(name), 1) }
}

fn put(catalog: &mut Catalog, name: &str, queues: u32) {
    let event = catalog.decide_put_topic(config(name, queues), false).expect("new");
    catalog.apply(&event);
}

#[test]
fn first_use_makes_a_mixed_topic_with_the_set_queues() {
    let mut catalog = Catalog::default();
    let event = catalog.decide_first_use(&topic("t"), AUTO).expect("may be made");
    catalog.apply(&event);
    let made = &catalog.topic(&topic("t")).expect("made").config;
    assert_eq!((made.read_queues, made.topic_type, made.is_auto_created), (8, TopicType::Mixed, true));
    let Some(Event::PutTopic(dead)) = catalog.decide_first_use(&topic("%DLQ%g"), AUTO) else { panic!("not made") };
    assert_eq!(dead.write_queues, 1);
}

#[test]
fn first_use_makes_nothing_of_the_systems_or_when_switched_off() {
    let catalog = Catalog::default();
    assert_eq!(catalog.decide_first_use(&topic("rmq_sys_wheel_timer"), AUTO), None);
    assert_eq!(catalog.decide_first_use(&topic("gantry_sys_webhooks"), AUTO), None);
    assert_eq!(catalog.decide_group_first_use(&group("gantry_sys_webhooks"), AUTO), None);
    assert!(catalog.decide_put_topic(config("gantry_sys_webhooks", 1), false).is_ok(), "gateways make it");
    assert_eq!(catalog.decide_first_use(&topic("t"), Auto { topics: false, ..AUTO }), None);
    assert_eq!(catalog.decide_group_first_use(&group("CID_RMQ_SYS_TRANS"), AUTO), None);
    assert_eq!(catalog.decide_group_first_use(&group("g"), Auto { groups: false, ..AUTO }), None);
    assert!(catalog.decide_group_first_use(&group("g"), AUTO).is_some());
}

#[test]
fn topics_are_made_once_and_only_grow() {
    let mut catalog = Catalog::default();
    put(&mut catalog, "t", 4);
    let refused = |config, is_update| catalog.decide_put_topic(config, is_update).expect_err("refused");
    assert_eq!(refused(config("t", 4), false), AdminError::Exists { what: "topic", name: "t".to_owned() });
    assert_eq!(refused(config("t", 3), true), AdminError::QueuesShrink { topic: topic("t"), queues: 4, asked: 3 });
    assert_eq!(refused(config("t", 0), true), AdminError::QueueCount { queues: 0 });
    assert_eq!(refused(config("t", 1025), true), AdminError::QueueCount { queues: 1025 });
    assert_eq!(refused(config("u", 1), true), LookupError::TopicNotFound { topic: topic("u") }.into());
    assert_eq!(refused(config("TBW102", 1), false), AdminError::System { name: "TBW102".to_owned() });
    assert!(catalog.decide_put_topic(config("t", 5), true).is_ok());
}

#[test]
fn a_deleted_topics_messages_are_not_its_successors() {
    let mut catalog = Catalog::default();
    put(&mut catalog, "t", 2);
    let deleted = catalog.decide_delete_topic(&topic("t"), vec![QueueOffset(3), QueueOffset(5)]).expect("is there");
    catalog.apply(&deleted);
    assert_eq!(catalog.decide_delete_topic(&topic("t"), vec![]).map_err(|_| ()), Err(()));
    put(&mut catalog, "t", 3);
    let floors: Vec<u64> = (0..3).map(|queue| catalog.floor(&topic("t"), QueueId(queue)).0).collect();
    assert_eq!(floors, [3, 5, 0]);
}

#[test]
fn a_message_finds_its_queue_in_a_topic_that_is_made_again() {
    let mut catalog = Catalog::default();
    let queues = |catalog: &Catalog, queue| match catalog.decide_again(
        &topic("t"),
        Auto { topics: false, ..AUTO },
        QueueId(queue),
    ) {
        Some(Event::PutTopic(made)) => made.read_queues,
        other => panic!("{other:?}"),
    };
    assert_eq!((queues(&catalog, 0), queues(&catalog, 8)), (8, 9));
    put(&mut catalog, "t", 12);
    let deleted = catalog.decide_delete_topic(&topic("t"), vec![QueueOffset(1); 12]).expect("is there");
    catalog.apply(&deleted);
    assert_eq!((queues(&catalog, 0), catalog.floor_queues), (12, 12));
    assert_eq!(catalog.decide_again(&topic("rmq_sys_wheel_timer"), AUTO, QueueId(0)), None);
}

#[test]
fn what_is_remembered_of_deleted_topics_is_bounded() {
    let mut catalog = Catalog::default();
    let ends = vec![QueueOffset(1); 1_000];
    for n in 0..Catalog::FLOORS_MAX / ends.len() {
        assert!(catalog.has_floor_room(&ends));
        catalog.apply(&Event::DeleteTopic { name: topic(&format!("t{n}")), ends: ends.clone() });
    }
    assert!(!catalog.has_floor_room(&[QueueOffset(1)]) && catalog.has_floor_room(&[QueueOffset(0)]));
    catalog.apply(&Event::DeleteTopic { name: topic("never"), ends: vec![QueueOffset(0); 8] });
    assert_eq!(catalog.floor_queues, Catalog::FLOORS_MAX);
}

#[test]
fn an_update_keeps_what_was_used() {
    let mut catalog = Catalog::default();
    put(&mut catalog, "t", 1);
    catalog.used(&topic("t"), MessageType::Fifo);
    let update = catalog.decide_put_topic(config("t", 2), true).expect("grows");
    catalog.apply(&update);
    assert!(catalog.topic(&topic("t")).expect("there").used.contains(MessageType::Fifo));
}

fn any_event() -> impl Strategy<Value = Event> {
    let name = "[a-c]{1,2}";
    let ms = (0u64..1 << 40).prop_map(Duration::from_millis);
    let retry = prop_oneof![
        proptest::collection::vec(ms.clone(), 0..4).prop_map(|next| RetryPolicy::Customized { next }),
        (ms.clone(), ms.clone(), 1u32..9).prop_map(|(initial, max, multiplier)| RetryPolicy::Exponential {
            initial,
            max,
            multiplier
        }),
    ];
    let put_group =
        (name, any::<[bool; 3]>(), any::<u32>(), retry, ms).prop_map(|(name, flags, attempts_max, retry, wait)| {
            let [is_fifo, is_enabled, is_auto_created] = flags;
            Event::PutGroup(GroupConfig {
                name: group(&name),
                is_fifo,
                is_enabled,
                attempts_max,
                retry,
                consume_timeout: wait,
                is_auto_created,
            })
        });
    let put_topic = (name, 1u32..9, any::<[bool; 3]>(), any::<bool>()).prop_map(|(name, queues, flags, is_fifo)| {
        let [is_readable, is_writable, is_auto_created] = flags;
        let topic_type = if is_fifo { TopicType::Only(MessageType::Fifo) } else { TopicType::Mixed };
        Event::PutTopic(TopicConfig {
            is_readable,
            is_writable,
            is_auto_created,
            topic_type,
            ..auto_topic(topic(&name), queues)
        })
    });
    prop_oneof![
        put_topic,
        put_group,
        (name, proptest::collection::vec(any::<u64>(), 0..4)).prop_map(|(name, ends)| Event::DeleteTopic {
            name: topic(&name),
            ends: ends.into_iter().map(QueueOffset).collect(),
        }),
        name.prop_map(|name| Event::DeleteGroup { name: group(&name) }),
    ]
}

proptest! {
    #[test]
    fn events_survive_their_byte_form(event in any_event()) {
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        let mut input = Input(&bytes);
        prop_assert_eq!(Event::decode(&mut input), Ok(event));
        prop_assert!(input.is_empty());
    }

    #[test]
    fn a_snapshot_restores_the_same_state(events in proptest::collection::vec(any_event(), 0..30)) {
        let mut catalog = Catalog::default();
        for event in &events {
            catalog.apply(event);
        }
        catalog.used(&topic("a"), MessageType::Delay);
        let mut bytes = Vec::new();
        catalog.snapshot(&mut bytes);
        prop_assert_eq!(Catalog::restore(&mut Input(&bytes)), Ok(catalog));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = Event::decode(&mut Input(&bytes));
        let _ = Catalog::restore(&mut Input(&bytes));
    }
}
