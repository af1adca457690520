use proptest::prelude::*;

use super::*;

const AT: Standing = Standing { epoch: 1, max_offset: 100, priority: 0 };

fn ids(ids: &[i64]) -> BTreeSet<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

fn live(ids: &[i64]) -> Facts {
    let live = ids.iter().map(|id| (BrokerId(*id), AT)).collect();
    Facts { live, is_settled: true, is_unclean_allowed: false }
}

fn apply_id(id: i64, check_code: &str) -> Command {
    Command::Apply {
        cluster: "c".to_owned(),
        name: "a".to_owned(),
        id: BrokerId(id),
        check_code: check_code.to_owned(),
    }
}

fn elect(by: Option<i64>, is_designated: bool) -> Command {
    Command::Elect { name: "a".to_owned(), by: by.map(BrokerId), is_designated }
}

fn forget(ids: &[i64], may_live: bool) -> Command {
    Command::Forget {
        cluster: Some("c".to_owned()),
        name: "a".to_owned(),
        ids: ids.iter().copied().map(BrokerId).collect(),
        may_live,
    }
}

fn put(state: &mut State, command: Command, facts: Facts) -> Result<Answer, Refusal> {
    let outcome = state.apply(&Proposal { command, facts });
    state.assert_valid();
    outcome
}

/// Brokers 1 to 3, all of them in sync with 1.
fn three() -> State {
    let mut state = State::default();
    for id in 1..=3 {
        assert_eq!(put(&mut state, apply_id(id, &format!("h{id}:1;0")), live(&[])), Ok(Answer::Applied));
    }
    put(&mut state, elect(Some(1), false), live(&[1, 2, 3])).expect("the first");
    set_in_sync(&mut state, &[1, 2, 3]).expect("all live");
    state
}

fn set_in_sync(state: &mut State, in_sync: &[i64]) -> Result<Answer, Refusal> {
    let set = state.get("a").expect("known").clone();
    let command = Command::SetInSync {
        name: "a".to_owned(),
        master: set.master.expect("there is one"),
        master_epoch: set.master_epoch,
        in_sync: ids(in_sync),
        in_sync_epoch: set.in_sync_epoch,
    };
    put(state, command, live(&[1, 2, 3]))
}

fn master(state: &State) -> (Option<i64>, i32) {
    let set = state.get("a").expect("known");
    (set.master.map(|id| id.0), set.master_epoch.0)
}

#[test]
fn ids_are_given_once_and_again_to_who_asks_again() {
    let mut state = State::default();
    assert_eq!(
        put(&mut state, apply_id(2, "h:1;0"), live(&[])),
        Err(Refusal::IdUnfit { id: BrokerId(2), next_id: BrokerId(1) })
    );
    assert_eq!(put(&mut state, apply_id(1, "h:1;0"), live(&[])), Ok(Answer::Applied));
    assert_eq!(put(&mut state, apply_id(1, "h:1;0"), live(&[])), Ok(Answer::Applied));
    let taken = Err(Refusal::IdUnfit { id: BrokerId(1), next_id: BrokerId(2) });
    assert_eq!(put(&mut state, apply_id(1, "h:2;0"), live(&[])), taken);
    let set = state.get("a").expect("known");
    assert_eq!((set.next_id, &*set.members[&BrokerId(1)].address), (BrokerId(2), "h:1"));
    let other = Command::Apply {
        cluster: "d".to_owned(),
        name: "a".to_owned(),
        id: BrokerId(2),
        check_code: "h:2;0".to_owned(),
    };
    assert_eq!(put(&mut state, other, live(&[])), Err(Refusal::OtherCluster { cluster: "c".to_owned() }));
}

#[test]
fn a_lost_master_is_followed_by_the_furthest_in_sync() {
    let mut state = three();
    set_in_sync(&mut state, &[1, 2]).expect("shrinks");
    let mut facts = live(&[2, 3]);
    // Not in sync: however far it is.
    facts.live.insert(BrokerId(3), Standing { max_offset: 1000, ..AT });
    put(&mut state, elect(None, false), facts).expect("2 is in sync");
    assert_eq!(master(&state), (Some(2), 2));
    assert_eq!(state.get("a").expect("known").in_sync, ids(&[2]));

    let mut state = three();
    let mut facts = live(&[2, 3]);
    facts.live.insert(BrokerId(2), Standing { priority: 1, ..AT });
    put(&mut state, elect(None, false), facts).expect("both are in sync");
    assert_eq!(master(&state), (Some(3), 2), "the lower number is preferred");
}

#[test]
fn nobody_out_of_sync_is_elected_unless_that_is_allowed() {
    let mut state = three();
    set_in_sync(&mut state, &[1]).expect("shrinks");
    assert_eq!(put(&mut state, elect(None, false), live(&[2, 3])), Err(Refusal::MasterLost));
    assert_eq!(master(&state), (None, 2));
    assert_eq!(put(&mut state, elect(None, false), live(&[2, 3])), Err(Refusal::NoCandidate));
    assert_eq!(put(&mut state, elect(Some(2), true), live(&[2, 3])), Err(Refusal::NoCandidate));
    assert_eq!(master(&state), (None, 2), "a look that finds nobody takes no epoch");
    // Who was in sync comes back and asks.
    let mut back = state.clone();
    put(&mut back, elect(Some(1), false), live(&[1, 2])).expect("in sync");
    assert_eq!(master(&back), (Some(1), 3));
    let unclean = || Facts { is_unclean_allowed: true, ..live(&[2, 3]) };
    put(&mut state, elect(Some(3), false), unclean()).expect("allowed");
    assert_eq!(master(&state).1, 3);
    // By itself, of several the furthest; by an operator, whom he names; and nobody while one in sync lives.
    let mut alone = three();
    set_in_sync(&mut alone, &[1]).expect("shrinks");
    let mut furthest = unclean();
    furthest.live.insert(BrokerId(3), Standing { max_offset: 1000, ..AT });
    let mut elected = alone.clone();
    put(&mut elected, elect(None, false), furthest.clone()).expect("allowed");
    assert_eq!((master(&elected), &elected.get("a").expect("known").in_sync), ((Some(3), 2), &ids(&[3])));
    let mut elected = alone.clone();
    put(&mut elected, elect(Some(2), true), furthest).expect("allowed");
    assert_eq!(master(&elected), (Some(2), 2));
    let all = Facts { is_unclean_allowed: true, ..live(&[1, 2, 3]) };
    assert!(matches!(put(&mut alone, elect(None, false), all), Err(Refusal::MasterStays(_))));
}

#[test]
fn a_master_that_lives_stays_unless_another_is_named() {
    let mut state = three();
    assert!(matches!(
        put(&mut state, elect(Some(2), false), live(&[1, 2])),
        Err(Refusal::MasterStays(set)) if set.master == Some(BrokerId(1))
    ));
    put(&mut state, elect(Some(2), true), live(&[1, 2])).expect("in sync");
    assert_eq!(master(&state), (Some(2), 2));
    assert!(matches!(put(&mut state, elect(Some(2), true), live(&[1, 2])), Err(Refusal::MasterStays(_))));
}

#[test]
fn a_controller_that_has_just_begun_takes_no_master_for_gone() {
    let mut state = three();
    let unsettled = Facts { is_settled: false, ..live(&[2]) };
    assert_eq!(put(&mut state, elect(None, false), unsettled.clone()), Err(Refusal::TooEarly));
    let register = Command::Register { name: "a".to_owned(), id: BrokerId(2), address: "h2:1".to_owned() };
    let answer = put(&mut state, register.clone(), unsettled);
    assert!(matches!(answer, Ok(Answer::Registered(_, true))), "{answer:?}");
    assert!(matches!(put(&mut state, register, live(&[2])), Ok(Answer::Registered(_, false))));
}

#[test]
fn only_the_master_of_the_epoch_changes_who_is_in_sync() {
    let mut state = three();
    assert_eq!(set_in_sync(&mut state, &[3, 2, 1]), Err(Refusal::SameInSync));
    assert_eq!(set_in_sync(&mut state, &[2]), Err(Refusal::MasterLeftOut));
    assert_eq!(set_in_sync(&mut state, &[1, 4]), Err(Refusal::NoMember { id: BrokerId(4) }));
    let change = |master, master_epoch, in_sync_epoch| Command::SetInSync {
        name: "a".to_owned(),
        master: BrokerId(master),
        master_epoch: MasterEpoch(master_epoch),
        in_sync: ids(&[1, 2]),
        in_sync_epoch: InSyncEpoch(in_sync_epoch),
    };
    let facts = || live(&[1, 2, 3]);
    assert_eq!(put(&mut state, change(2, 1, 2), facts()), Err(Refusal::OtherMaster { master: Some(BrokerId(1)) }));
    assert_eq!(put(&mut state, change(1, 0, 2), facts()), Err(Refusal::OtherMasterEpoch { epoch: MasterEpoch(1) }));
    assert_eq!(put(&mut state, change(1, 1, 1), facts()), Err(Refusal::OtherInSyncEpoch { epoch: InSyncEpoch(2) }));
    assert_eq!(put(&mut state, change(1, 1, 2), live(&[1])), Err(Refusal::NotAlive { id: BrokerId(2) }));
    assert!(put(&mut state, change(1, 1, 2), facts()).is_ok());
    assert_eq!(state.get("a").expect("known").in_sync_epoch, InSyncEpoch(3));
}

#[test]
fn brokers_that_are_forgotten_leave_their_epochs_behind() {
    let mut state = three();
    assert_eq!(put(&mut state, forget(&[2], false), live(&[2])), Err(Refusal::Alive { id: BrokerId(2) }));
    put(&mut state, forget(&[2], false), live(&[1])).expect("gone");
    assert_eq!(state.get("a").expect("known").in_sync, ids(&[1, 3]));
    put(&mut state, forget(&[1], true), live(&[1, 3])).expect("may live");
    assert_eq!(master(&state), (None, 2));
    put(&mut state, apply_id(4, "h4:1;0"), live(&[])).expect("next");
    assert_eq!(put(&mut state, forget(&[3], false), live(&[])), Err(Refusal::LastInSync));
    let other = Command::Forget { cluster: Some("d".to_owned()), name: "a".to_owned(), ids: ids(&[]), may_live: true };
    assert_eq!(put(&mut state, other, live(&[])), Err(Refusal::OtherCluster { cluster: "c".to_owned() }));
    put(&mut state, forget(&[], false), live(&[])).expect("nobody lives");
    assert_eq!((state.get("a"), state.counts()), (None, (0, 0)));
    put(&mut state, apply_id(1, "h1:1;0"), live(&[])).expect("anew");
    put(&mut state, elect(Some(1), false), live(&[1])).expect("the first");
    assert_eq!(master(&state), (Some(1), 3));
}

#[test]
fn what_has_no_room_is_refused() {
    let mut state = State::default();
    let long = "x".repeat(TEXT_BYTES_MAX + 1);
    assert_eq!(put(&mut state, apply_id(1, &long), live(&[])), Err(Refusal::TooLong { bytes: TEXT_BYTES_MAX + 1 }));
    for id in 1..=i64::try_from(MEMBERS_MAX).expect("few") {
        put(&mut state, apply_id(id, "h:1;0"), live(&[])).expect("room");
    }
    let next = i64::try_from(MEMBERS_MAX).expect("few") + 1;
    assert_eq!(put(&mut state, apply_id(next, "h:1;0"), live(&[])), Err(Refusal::Full));
}

#[test]
fn a_proposal_says_nothing_of_strangers() {
    let state = three();
    assert_eq!(state.proposal(elect(None, false), live(&[1, 3, 4])).facts, live(&[1, 3]));
    let unknown = Command::Elect { name: "b".to_owned(), by: None, is_designated: false };
    assert_eq!(state.proposal(unknown, live(&[1])).facts, live(&[]));
}

#[test]
fn what_a_newer_version_wrote_is_refused() {
    let written = serde_json::to_value(three().proposal(elect(None, false), live(&[1]))).expect("has a JSON form");
    assert!(serde_json::from_value::<Proposal>(written.clone()).is_ok());
    for place in ["", "/command/Elect", "/facts", "/facts/live/1"] {
        let mut newer = written.clone();
        newer
            .pointer_mut(place)
            .expect("there")
            .as_object_mut()
            .expect("has fields")
            .insert("new".to_owned(), 1.into());
        assert!(serde_json::from_value::<Proposal>(newer).is_err(), "{place}");
    }
}

fn any_proposal() -> impl Strategy<Value = Proposal> {
    let name = prop::sample::select(vec!["a", "b"]).prop_map(str::to_owned);
    let id = || (1_i64..5).prop_map(BrokerId);
    let any_ids = || prop::collection::btree_set(id(), 0..4);
    let command = (name, id(), any_ids(), any::<bool>(), (0_i32..6, 0_i32..9)).prop_flat_map(
        |(name, id, ids, flag, (master_epoch, in_sync_epoch))| {
            let apply = Command::Apply {
                cluster: "c".to_owned(),
                name: name.clone(),
                id,
                check_code: format!("h{}:1;0", id.0),
            };
            let set = Command::SetInSync {
                name: name.clone(),
                master: id,
                master_epoch: MasterEpoch(master_epoch),
                in_sync: ids.clone(),
                in_sync_epoch: InSyncEpoch(in_sync_epoch),
            };
            prop_oneof![
                3 => Just(apply),
                1 => Just(Command::Register { name: name.clone(), id, address: format!("h{}:2", id.0) }),
                3 => Just(Command::Elect { name: name.clone(), by: flag.then_some(id), is_designated: flag && ids.len() == 1 }),
                5 => Just(set),
                1 => Just(Command::Forget { cluster: None, name, ids, may_live: flag }),
            ]
        },
    );
    let standing = (0_i64..3, 0_i64..3, 0_i64..2);
    let standing = standing.prop_map(|(epoch, max_offset, priority)| Standing { epoch, max_offset, priority });
    let facts =
        (prop::collection::btree_map(id(), standing, 0..5), prop::bool::weighted(0.9), prop::bool::weighted(0.1));
    (command, facts).prop_map(|(command, (live, is_settled, is_unclean_allowed))| Proposal {
        command,
        facts: Facts { live, is_settled, is_unclean_allowed },
    })
}

proptest! {
    /// Whatever is proposed: a master an epoch, epochs that only grow, elections from those in sync, and the same again from the log or a
    /// snapshot.
    #[test]
    fn no_history_breaks_the_rules(proposals in prop::collection::vec(any_proposal(), 1..120)) {
        let mut state = State::default();
        let mut masters = BTreeMap::new();
        let mut newest: BTreeMap<String, (MasterEpoch, InSyncEpoch)> = BTreeMap::new();
        for proposal in &proposals {
            let name = proposal.command.name();
            let before = state.get(name).cloned();
            let announced = state.decide(proposal);
            let is_change = announced.is_change();
            prop_assert_eq!(&state.apply(proposal), &announced.outcome);
            state.assert_valid();
            prop_assert_eq!(is_change, state.get(name) != before.as_ref());
            let Some(set) = state.get(name) else { continue };
            let epochs = (set.master_epoch, set.in_sync_epoch);
            let known = newest.insert(name.to_owned(), epochs).unwrap_or_default();
            prop_assert!(known.0 <= epochs.0 && known.1 <= epochs.1, "{:?} follow {:?}", epochs, known);
            if let Some(master) = set.master {
                let of_epoch = *masters.entry((name.to_owned(), set.master_epoch)).or_insert(master);
                prop_assert_eq!(of_epoch, master, "two masters in an epoch");
            }
            if let Ok(Answer::Elected(elected)) = &announced.outcome {
                let before = before.expect("only of known names");
                let master = elected.master.expect("elected");
                let was_in_sync = before.in_sync.contains(&master);
                prop_assert!(was_in_sync || !before.had_master || proposal.facts.is_unclean_allowed);
                prop_assert!(elected.master_epoch > before.master_epoch);
            }
        }
        let mut again = State::default();
        let halfway = proposals.len() / 2;
        for (index, proposal) in proposals.iter().enumerate() {
            if index == halfway {
                let snapshot = serde_json::to_vec(&again).expect("has a JSON form");
                again = serde_json::from_slice(&snapshot).expect("its own");
            }
            let written = serde_json::to_vec(proposal).expect("has a JSON form");
            let _ = again.apply(&serde_json::from_slice(&written).expect("its own"));
        }
        prop_assert_eq!(again, state);
    }
}

impl State {
    fn assert_valid(&self) {
        assert_eq!(self.brokers, self.sets.values().map(|set| set.members.len()).sum::<usize>());
        for (name, set) in &self.sets {
            assert!(!set.members.is_empty(), "{name} has no member");
            assert!(set.in_sync.iter().all(|id| set.members.contains_key(id)), "{name}: {set:?}");
            assert!(set.master.is_none_or(|master| set.in_sync.contains(&master)), "{name}: {set:?}");
            assert!(set.members.keys().all(|id| *id < set.next_id), "{name}: {set:?}");
            assert!(set.master.is_none() || set.had_master, "{name}: {set:?}");
        }
    }
}
