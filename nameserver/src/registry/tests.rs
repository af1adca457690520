//! Histories as the fact sheet tells them, and any histories against a plain model.

use proptest::prelude::*;
use remoting_proto::body::{DataVersion, Permission, RegisterBroker, TopicConfig, TopicRouteData};

use super::register::TIMEOUT;
use super::*;

const CLUSTER: &str = "C";
const TIMEOUT_MS: u64 = TIMEOUT.as_millis() as u64;

fn at(ms: u64) -> Moment {
    Moment(Duration::from_millis(ms))
}

fn address(port: u16) -> Address {
    Address { cluster: CLUSTER.to_owned(), broker: format!("10.0.0.1:{port}") }
}

fn topics(counter: i64, names: &[&str]) -> RegisterBroker {
    let topic = |name: &&str| {
        (
            (*name).to_owned(),
            TopicConfig { topic_name: (*name).to_owned(), read_queue_nums: 8, ..TopicConfig::default() },
        )
    };
    let version = DataVersion { counter, ..DataVersion::default() };
    RegisterBroker { version, topics: names.iter().map(topic).collect(), ..RegisterBroker::default() }
}

/// A broker of 5.x that listens on its port, and has the connection of the same number.
fn registration(broker: &str, id: i64, port: u16, topics: RegisterBroker) -> Registration {
    Registration {
        address: address(port),
        broker: broker.to_owned(),
        id,
        ha_address: format!("10.0.0.1:{}", port + 1),
        zone: None,
        timeout_ms: None,
        enable_acting_master: Some(false),
        topics,
        connection: ConnectionId(port.into()),
    }
}

impl Registry {
    fn take(&mut self, registration: Registration) -> Registered {
        let registered = self.register(registration, false, at(0)).expect("taken");
        self.assert_valid();
        registered
    }

    fn plain_route(&self, topic: &str) -> Option<TopicRouteData> {
        self.route(topic, RouteOptions::default())
    }

    fn permission(&self, topic: &str) -> i32 {
        self.plain_route(topic).expect("known").queue_datas[0].perm.0
    }
}

#[test]
fn a_broker_is_found_by_its_topics_until_it_leaves() {
    let mut registry = Registry::default();
    assert_eq!(registry.take(registration("a", 0, 10, topics(1, &["T", "U"]))), Registered::default());
    let route = registry.plain_route("T").expect("registered");
    assert_eq!(route.broker_datas[0].broker_addrs, [(0, "10.0.0.1:10".to_owned())].into());
    assert_eq!((route.queue_datas[0].read_queue_nums, route.queue_datas[0].write_queue_nums), (8, 16));
    assert_eq!(registry.plain_route("other"), None);
    registry.unregister(&address(10), "a");
    registry.assert_valid();
    assert_eq!(registry.plain_route("T"), None);
    assert_eq!(registry.cluster_info(), ClusterInfo::default());
    assert_eq!(registry.counts(), (0, 0));
}

#[test]
fn one_topic_alone_is_refused_from_a_broker_that_is_unknown() {
    let mut registry = Registry::default();
    let single = || registration("a", 0, 10, topics(2, &["T"]));
    assert_eq!(registry.register(single(), false, at(0)), Err(Rejection::NotRegistered));
    assert_eq!(registry.cluster_info(), ClusterInfo::default());
    registry.take(registration("a", 0, 10, topics(1, &["U", "V"])));
    registry.take(single());
    assert_eq!(registry.topics().topic_list.len(), 3, "topics that a registration leaves out stay");
}

#[test]
fn a_broker_too_many_is_refused_and_those_who_are_there_are_not() {
    let mut registry = Registry::default();
    let numbered = |number: usize| {
        let mut registration = registration(&format!("b{number}"), 0, 10, topics(1, &["T", "U"]));
        registration.address.broker = format!("10.0.0.2:{number}");
        registration
    };
    for number in 0..BROKERS_MAX {
        registry.register(numbered(number), false, at(0)).expect("room");
    }
    assert_eq!(registry.register(numbered(BROKERS_MAX), false, at(0)), Err(Rejection::TooManyBrokers));
    registry.register(numbered(7), false, at(0)).expect("it is there already");
    registry.assert_valid();
    assert_eq!(registry.counts(), (BROKERS_MAX, 2));
}

#[test]
fn a_registration_without_news_changes_nothing_and_is_a_sign_of_life() {
    let mut registry = Registry::default();
    registry.take(registration("a", 0, 10, topics(1, &["T", "U"])));
    registry.wipe_write_permission("a");
    let again = |registry: &mut Registry, counter| {
        registry
            .register(registration("a", 0, 10, topics(counter, &["T", "U"])), false, at(TIMEOUT_MS))
            .expect("taken");
        registry.permission("T")
    };
    assert_eq!(again(&mut registry, 1), 4, "the same version does not bring the permission back");
    assert!(registry.expire(at(2 * TIMEOUT_MS)).is_empty());
    assert_eq!(again(&mut registry, 2), 6);
    registry.delete_topic("T", None);
    assert_eq!(again(&mut registry, 2), 6, "a topic that is not known comes back with the same version");
}

#[test]
fn versions_tell_whether_to_register_anew() {
    let mut registry = Registry::default();
    let version = topics(1, &[]).version;
    assert!(registry.is_changed(&address(10), &version));
    registry.take(registration("a", 0, 10, topics(1, &["T", "U"])));
    assert!(!registry.is_changed(&address(10), &version));
    assert!(registry.is_changed(&address(10), &DataVersion { timestamp: 1, ..version }));
    assert_eq!(registry.version(&address(10)), Some(version));
}

#[test]
fn a_broker_expires_after_two_minutes_or_its_own_time() {
    let mut registry = Registry::default();
    registry.take(registration("a", 0, 10, topics(1, &["T", "U"])));
    registry.take(Registration { timeout_ms: Some(10_000), ..registration("b", 0, 20, topics(1, &["T", "U"])) });
    assert!(registry.expire(at(10_000)).is_empty(), "the last moment is still in time");
    assert_eq!(registry.expire(at(10_001)), [ConnectionId(20)]);
    registry.heartbeat(&address(10), at(1));
    registry.heartbeat(&address(20), at(20_000));
    assert_eq!(
        registry.cluster_info().broker_addr_table.keys().collect::<Vec<_>>(),
        ["a"],
        "a sign of life alone registers nobody"
    );
    assert!(registry.expire(at(TIMEOUT_MS + 1)).is_empty());
    assert_eq!(registry.expire(at(TIMEOUT_MS + 2)), [ConnectionId(10)]);
    registry.assert_valid();
    assert_eq!(registry.counts(), (0, 0));
}

#[test]
fn the_end_of_a_connection_unregisters_who_came_on_it() {
    let mut registry = Registry::default();
    for (broker, port) in [("a", 10), ("b", 20), ("c", 30)] {
        let connection = ConnectionId(u64::from(port == 30));
        registry.take(Registration { connection, ..registration(broker, 0, port, topics(1, &["T", "U"])) });
    }
    registry.disconnect(ConnectionId(0));
    registry.assert_valid();
    assert_eq!(registry.cluster_info().broker_addr_table.keys().collect::<Vec<_>>(), ["c"]);
}

#[test]
fn slaves_are_told_their_master_and_topics_are_the_masters() {
    let mut registry = Registry::default();
    registry.take(registration("a", 0, 10, topics(1, &["T", "U"])));
    let told = registry.take(registration("a", 1, 20, topics(1, &["V", "W"])));
    assert_eq!(told, Registered { ha_address: Some("10.0.0.1:11".to_owned()), master: Some("10.0.0.1:10".to_owned()) });
    assert_eq!(registry.plain_route("V"), None);
    let group = registry.member_group(CLUSTER, "a");
    assert_eq!(group.broker_addrs.keys().copied().collect::<Vec<_>>(), [0, 1]);
    assert_eq!(registry.member_group(CLUSTER, "x").broker_addrs.len(), 0);
    registry.unregister(&address(10), "a");
    registry.assert_valid();
    assert_eq!(registry.permission("T"), 6, "no slave stands in, so nothing is taken");
}

#[test]
fn a_slave_that_becomes_master_leaves_its_old_place() {
    let mut registry = Registry::default();
    registry.take(registration("a", 1, 20, topics(1, &["T", "U"])));
    registry.take(registration("a", 0, 20, topics(2, &["T", "U"])));
    assert_eq!(registry.member_group(CLUSTER, "a").broker_addrs, [(0, "10.0.0.1:20".to_owned())].into());
}

#[test]
fn a_place_is_kept_by_the_process_that_is_ahead() {
    let mut registry = Registry::default();
    let with_state = |port, state_version| {
        let mut registration = registration("a", 0, port, topics(1, &["T", "U"]));
        registration.topics.version.state_version = state_version;
        registration
    };
    let master = |registry: &Registry| registry.member_group(CLUSTER, "a").broker_addrs[&0].clone();
    registry.take(with_state(10, 2));
    registry.take(with_state(20, 1));
    assert_eq!((master(&registry), registry.counts().0), ("10.0.0.1:10".to_owned(), 1));
    registry.take(with_state(20, 2));
    assert_eq!(master(&registry), "10.0.0.1:20");
    // The old process's time is over: the place is the new one's by now.
    registry.heartbeat(&address(20), at(1));
    assert_eq!(registry.expire(at(TIMEOUT_MS + 1)), [ConnectionId(10)]);
    assert_eq!((master(&registry), registry.counts().0), ("10.0.0.1:20".to_owned(), 1));
}

#[test]
fn the_lowest_slave_stands_in_for_a_missing_master_and_is_only_read() {
    let mut registry = Registry::default();
    let acting = |id, port| Registration {
        enable_acting_master: Some(true),
        ..registration("a", id, port, topics(1, &["T", "rmq_sys_SYNC_BROKER_MEMBER_a"]))
    };
    for (id, port) in [(0, 10), (1, 20), (2, 30)] {
        registry.take(acting(id, port));
    }
    registry.unregister(&address(10), "a");
    registry.assert_valid();
    let ids = |registry: &Registry, topic, support_acting_master| {
        let route = registry.route(topic, RouteOptions { support_acting_master, zone: None }).expect("known");
        route.broker_datas[0].broker_addrs.iter().map(|(id, there)| (*id, there.clone())).collect::<Vec<_>>()
    };
    let (one, two) = ("10.0.0.1:20".to_owned(), "10.0.0.1:30".to_owned());
    assert_eq!(registry.permission("T"), 4);
    assert_eq!(ids(&registry, "T", false), [(1, one.clone()), (2, two.clone())]);
    assert_eq!(ids(&registry, "T", true), [(0, one.clone()), (2, two.clone())]);
    assert_eq!(ids(&registry, "rmq_sys_SYNC_BROKER_MEMBER_a", true), [(1, one), (2, two)]);
    let mut again = acting(1, 20);
    again.topics.version.counter = 2;
    registry.take(again);
    assert_eq!(registry.permission("T"), 4, "what stands in registers its topics without writing");
}

#[test]
fn who_is_left_learns_that_the_lowest_id_has_changed() {
    let mut registry = Registry::default();
    let acting = |id, port| Registration {
        enable_acting_master: Some(true),
        ..registration("a", id, port, topics(1, &["T", "U"]))
    };
    let at = |port: u16| format!("10.0.0.1:{port}");
    for (id, port) in [(0, 10), (1, 20), (2, 30)] {
        registry.take(acting(id, port));
    }
    assert_eq!(registry.take_notices(), [], "none came below the others");
    registry.unregister(&address(30), "a");
    assert_eq!(registry.take_notices(), [], "the lowest is still there");
    registry.unregister(&address(10), "a");
    let gone = Notice { to: vec![at(20)], id: 1, address: at(20), gone: Some(at(10)), ha_address: None };
    assert_eq!(registry.take_notices(), [gone]);
    registry.take(acting(0, 10));
    let back = Notice { to: vec![at(20)], id: 0, address: at(10), gone: None, ha_address: Some(at(11)) };
    assert_eq!(registry.take_notices(), [back]);
    assert_eq!(registry.expire(Moment(Duration::from_millis(TIMEOUT_MS + 1))).len(), 2);
    registry.take(registration("b", 1, 50, topics(1, &["T", "U"])));
    registry.take(registration("b", 0, 40, topics(1, &["T", "U"])));
    drop(registry.take_notices());
    registry.disconnect(ConnectionId(40));
    assert_eq!(registry.take_notices(), [], "no slave of it stands in");
}

#[test]
fn permissions_are_taken_and_given_for_all_topics_of_a_broker() {
    let mut registry = Registry::default();
    registry.take(registration("a", 0, 10, topics(1, &["T", "U"])));
    registry.take(registration("b", 0, 20, topics(1, &["T", "V"])));
    assert_eq!(registry.wipe_write_permission("a"), 2);
    let of = |registry: &Registry, topic: &str| {
        registry.plain_route(topic).expect("known").queue_datas.iter().map(|queues| queues.perm.0).collect::<Vec<_>>()
    };
    assert_eq!((of(&registry, "T"), of(&registry, "U"), of(&registry, "V")), (vec![4, 6], vec![4], vec![6]));
    assert_eq!(registry.add_write_permission("a"), 2);
    assert_eq!(of(&registry, "T"), [6, 6]);
    assert_eq!(registry.wipe_write_permission("x"), 0);
}

#[test]
fn a_zone_hides_other_zones_but_not_names_without_a_master() {
    let mut registry = Registry::default();
    let zone = |zone: &str| Some(zone.to_owned());
    registry.take(Registration { zone: zone("East"), ..registration("a", 0, 10, topics(1, &["T", "U"])) });
    registry.take(Registration { zone: zone("west"), ..registration("b", 0, 20, topics(1, &["T", "U"])) });
    registry.take(Registration { zone: zone("west"), ..registration("c", 1, 30, topics(1, &["T", "U"])) });
    let route = registry.route("T", RouteOptions { zone: Some("east"), ..RouteOptions::default() }).expect("known");
    let names: Vec<_> = route.broker_datas.iter().map(|data| &data.broker_name).collect();
    assert_eq!(names, ["a", "c"]);
    assert_eq!(route.queue_datas.iter().map(|queues| &queues.broker_name).collect::<Vec<_>>(), names);
}

#[test]
fn lists_are_by_cluster_by_flag_and_of_the_system() {
    let mut registry = Registry::default();
    let mut of_units = topics(1, &["T", "U", "V"]);
    for (topic, flag) in [("T", 1), ("U", 2), ("V", 3)] {
        of_units.topics.get_mut(topic).expect("there").topic_sys_flag = flag;
    }
    registry.take(registration("a", 0, 10, of_units));
    let mut other = registration("b", 0, 20, topics(1, &["W", "X"]));
    other.address.cluster = "D".to_owned();
    registry.take(other);
    let names = |list: remoting_proto::body::TopicList| list.topic_list.into_iter().collect::<Vec<_>>();
    assert_eq!(names(registry.topics_of_cluster("D")), ["W", "X"]);
    assert_eq!(names(registry.topics_of_cluster("E")), [""; 0]);
    assert_eq!(names(registry.unit_topics(Units::Unit)), ["T", "V"]);
    assert_eq!(names(registry.unit_topics(Units::HasSubscription)), ["U", "V"]);
    assert_eq!(names(registry.unit_topics(Units::HasSubscriptionOnly)), ["U"]);
    assert_eq!(registry.system_topics().broker_addr.as_deref(), Some("10.0.0.1:10"));
    assert_eq!(names(registry.system_topics()), ["C", "D", "a", "b"]);
}

#[test]
fn topics_are_added_only_to_known_brokers_and_forgotten_by_cluster() {
    let mut registry = Registry::default();
    registry.take(registration("a", 0, 10, topics(1, &["T", "U"])));
    let queues =
        |broker: &str| QueueData { broker_name: broker.to_owned(), perm: Permission(6), ..QueueData::default() };
    registry.register_topic("N", vec![queues("a"), queues("x")]).expect("no error");
    assert_eq!(registry.plain_route("N"), None);
    registry.register_topic("N", vec![queues("a")]).expect("taken");
    assert!(registry.plain_route("N").is_some());
    registry.delete_topic("N", Some("D"));
    assert!(registry.plain_route("N").is_some());
    registry.delete_topic("N", Some(CLUSTER));
    assert_eq!(registry.plain_route("N"), None);
    registry.register(registration("a", 0, 10, topics(1, &["U", "V"])), true, at(0)).expect("taken");
    registry.assert_valid();
    assert_eq!(registry.topics().topic_list.into_iter().collect::<Vec<_>>(), ["U", "V"], "T was left out");
}

#[derive(Clone, Debug)]
enum Step {
    Register { broker: usize, topics: Vec<usize> },
    Unregister(usize),
    Disconnect(usize),
    Heartbeat(usize),
    Wipe(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let broker = 0..3_usize;
    prop_oneof![
        3 => (broker.clone(), prop::collection::vec(0..4_usize, 2..4)).prop_map(|(broker, topics)| Step::Register { broker, topics }),
        1 => broker.clone().prop_map(Step::Unregister),
        1 => broker.clone().prop_map(Step::Disconnect),
        2 => broker.clone().prop_map(Step::Heartbeat),
        1 => broker.prop_map(Step::Wipe),
        2 => (0..2 * TIMEOUT_MS).prop_map(Step::Wait),
    ]
}

const BROKERS: [&str; 3] = ["a", "b", "c"];
const TOPICS: [&str; 4] = ["T", "U", "V", "W"];

/// What masters without slaves must come to: when each was last heard of, and the permission of each topic.
#[derive(Debug, Default)]
struct Model([Option<(u64, BTreeMap<&'static str, i32>)>; 3]);

proptest! {
    /// Expiry, registration again and again, permissions taken: whatever the order, a topic's route names exactly the
    /// brokers that live and have told it.
    #[test]
    fn any_history_of_masters_comes_to_what_a_plain_model_says(steps in prop::collection::vec(step(), 0..40)) {
        let (mut registry, mut model, mut now) = (Registry::default(), Model::default(), 0);
        for (number, step) in (1..).zip(steps) {
            let port = |broker: usize| 10 + u16::try_from(broker).expect("few");
            match step {
                Step::Register { broker, topics: indices } => {
                    let mut names: Vec<_> = indices.iter().map(|index| TOPICS[*index]).collect();
                    names.sort_unstable();
                    names.dedup();
                    // The version is another each time, so every topic is taken anew.
                    let registered =
                        registry.register(registration(BROKERS[broker], 0, port(broker), topics(number, &names)), false, at(now));
                    let is_addition = names.len() == 1;
                    prop_assert_eq!(registered.is_err(), is_addition && model.0[broker].is_none());
                    if registered.is_ok() {
                        let (seen, known) = model.0[broker].get_or_insert_default();
                        *seen = now;
                        known.extend(names.into_iter().map(|name| (name, 6)));
                    }
                }
                Step::Unregister(broker) => {
                    registry.unregister(&address(port(broker)), BROKERS[broker]);
                    model.0[broker] = None;
                }
                Step::Disconnect(broker) => {
                    registry.disconnect(ConnectionId(port(broker).into()));
                    model.0[broker] = None;
                }
                Step::Heartbeat(broker) => {
                    registry.heartbeat(&address(port(broker)), at(now));
                    if let Some((seen, _)) = &mut model.0[broker] {
                        *seen = now;
                    }
                }
                Step::Wipe(broker) => {
                    registry.wipe_write_permission(BROKERS[broker]);
                    model.0[broker].iter_mut().flat_map(|(_, known)| known.values_mut()).for_each(|perm| *perm = 4);
                }
                Step::Wait(ms) => {
                    now += ms;
                    let over: Vec<_> = (0..3).filter(|broker| {
                        model.0[*broker].as_ref().is_some_and(|(seen, _)| seen + TIMEOUT_MS < now)
                    }).collect();
                    let expired = registry.expire(at(now));
                    prop_assert_eq!(expired, over.iter().map(|broker| ConnectionId(port(*broker).into())).collect::<Vec<_>>());
                    over.into_iter().for_each(|broker| model.0[broker] = None);
                }
            }
            registry.assert_valid();
            for topic in TOPICS {
                let route = registry.plain_route(topic).unwrap_or_default();
                let told: Vec<_> = route.queue_datas.iter().map(|queues| (&*queues.broker_name, queues.perm.0)).collect();
                let known = model.0.iter().zip(BROKERS).filter_map(|(of, name)| Some((name, *of.as_ref()?.1.get(topic)?)));
                prop_assert_eq!(told, known.collect::<Vec<_>>());
            }
        }
    }
}
