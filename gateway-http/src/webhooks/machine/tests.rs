use proptest::prelude::*;
use types::{GroupName, RetryPolicy};

use super::*;

/// No jitter: half of all random numbers are below.
const MIDDLE: u64 = 1 << 63;

fn at(ms: u64) -> Moment {
    Moment(Duration::from_millis(ms))
}

fn pace(calls_max: u32) -> Pace {
    Pace { calls_max, rate: None, is_ordered: false, is_batch: false, retry: vec![Duration::from_secs(1)] }
}

fn group(attempts_max: u32) -> GroupConfig {
    let retry = RetryPolicy::Customized { next: vec![Duration::from_secs(10), Duration::from_secs(30)] };
    GroupConfig { attempts_max, retry, ..GroupConfig::new(GroupName::new("g").expect("valid")) }
}

/// Lets one call end like this.
fn one(machine: &mut Machine, now: Moment, outcome: Outcome) {
    assert!(matches!(machine.next(now), Next::Receive { .. }), "{machine:?}");
    assert_eq!(machine.received(now, 1), 1);
    machine.ended(now, outcome, MIDDLE);
    machine.settled();
}

#[test]
fn it_receives_what_it_can_call_and_not_more() {
    let mut machine = Machine::new(pace(16), at(0));
    assert_eq!(machine.next(at(0)), Next::Receive { messages_max: 4 });
    assert_eq!(machine.next(at(0)), Next::Wait { until: None }, "one receive at a time");
    assert_eq!(machine.received(at(0), 3), 3);
    assert_eq!(machine.next(at(0)), Next::Receive { messages_max: 1 });
    assert_eq!(machine.received(at(0), 1), 1);
    assert_eq!(machine.next(at(0)), Next::Wait { until: None }, "the window is full");
    machine.ended(at(1), Outcome::Delivered, MIDDLE);
    assert_eq!(machine.next(at(1)), Next::Wait { until: None }, "its message is not settled");
    machine.settled();
    assert!(matches!(machine.next(at(1)), Next::Receive { .. }));
}

#[test]
fn messages_in_order_are_taken_one_by_one_and_a_batch_is_one_call() {
    let mut ordered = Machine::new(Pace { is_ordered: true, ..pace(16) }, at(0));
    assert_eq!(ordered.next(at(0)), Next::Receive { messages_max: 1 });
    let mut batch = Machine::new(Pace { is_batch: true, ..pace(1) }, at(0));
    assert_eq!(batch.next(at(0)), Next::Receive { messages_max: 32 });
    assert_eq!(batch.received(at(0), 20), 1);
    assert_eq!(batch.next(at(0)), Next::Wait { until: None });
}

#[test]
fn the_window_follows_success() {
    let mut machine = Machine::new(pace(8), at(0));
    for _ in 0..100 {
        one(&mut machine, at(0), Outcome::Delivered);
    }
    assert_eq!(machine.next(at(0)), Next::Receive { messages_max: 8 }, "as far as its owner allows");
    machine.receive_dropped();
    for _ in 0..5 {
        one(&mut machine, at(0), Outcome::Failed);
    }
    assert_eq!(machine.next(at(0)), Next::Receive { messages_max: 4 });
}

#[test]
fn a_throttling_endpoint_is_left_alone_as_long_as_it_asks() {
    let mut machine = Machine::new(pace(8), at(0));
    let retry_after = Some(Duration::from_secs(7));
    one(&mut machine, at(0), Outcome::Throttled { retry_after, is_attempt: false });
    assert_eq!(machine.next(at(1)), Next::Wait { until: Some(at(7000)) });
    assert!(machine.is_held_back(at(6999)) && !machine.is_held_back(at(7000)));
    assert_eq!(machine.next(at(7000)), Next::Receive { messages_max: 2 }, "and then by half");
}

#[test]
fn one_that_does_not_say_how_long_is_left_alone_longer_each_time() {
    let mut machine = Machine::new(pace(8), at(0));
    let mut now = at(0);
    for seconds in [1, 2, 4, 8] {
        one(&mut machine, now, Outcome::Throttled { retry_after: None, is_attempt: true });
        let until = now.plus(Duration::from_secs(seconds));
        assert_eq!(machine.next(now), Next::Wait { until: Some(until) });
        now = until;
    }
    one(&mut machine, now, Outcome::Delivered);
    one(&mut machine, now, Outcome::Throttled { retry_after: None, is_attempt: true });
    assert_eq!(machine.next(now), Next::Wait { until: Some(now.plus(Duration::from_secs(1))) });
}

#[test]
fn ten_failures_in_a_row_open_the_breaker_and_probes_close_it() {
    let mut machine = Machine::new(pace(8), at(0));
    for _ in 0..9 {
        one(&mut machine, at(0), Outcome::Failed);
    }
    one(&mut machine, at(0), Outcome::Delivered);
    assert!(!machine.is_open(), "not in a row");
    for _ in 0..10 {
        one(&mut machine, at(0), Outcome::Failed);
    }
    assert!(machine.is_open());
    assert_eq!(machine.next(at(0)), Next::Wait { until: Some(at(5000)) });
    one(&mut machine, at(5000), Outcome::Failed);
    assert_eq!(machine.next(at(5000)), Next::Wait { until: Some(at(15_000)) }, "twice as long");
    assert_eq!(machine.next(at(15_000)), Next::Receive { messages_max: 1 }, "one probe");
    machine.received(at(15_000), 1);
    assert_eq!(machine.next(at(15_000)), Next::Wait { until: None }, "and no other beside it");
    machine.ended(at(15_000), Outcome::Delivered, MIDDLE);
    machine.settled();
    assert!(!machine.is_open());
    assert_eq!(machine.next(at(15_000)), Next::Receive { messages_max: 1 }, "it begins small");
}

#[test]
fn calls_that_fail_while_it_is_open_do_not_keep_it_open() {
    let mut machine = Machine::new(pace(8), at(0));
    for _ in 0..14 {
        machine.ended(at(0), Outcome::Failed, MIDDLE);
    }
    machine.ended(at(4999), Outcome::Failed, MIDDLE);
    assert_eq!(machine.next(at(4999)), Next::Wait { until: Some(at(5000)) });
}

#[test]
fn waits_follow_the_schedule_then_the_group_then_the_dead_letters() {
    let machine = Machine::new(pace(8), at(0));
    let group = group(4);
    let settle = |attempt| machine.settle(at(0), Outcome::Failed, attempt, Some(&group), MIDDLE).expect("decided");
    let nack = |seconds| Settle::Nack { delay: Duration::from_secs(seconds), is_attempt: true };
    assert_eq!([settle(1), settle(2), settle(3), settle(4)], [nack(1), nack(10), nack(30), Settle::DeadLetter]);
    assert_eq!(machine.settle(at(0), Outcome::Delivered, 4, None, MIDDLE), Some(Settle::Ack));
    assert_eq!(machine.settle(at(0), Outcome::Failed, 4, None, MIDDLE), None, "the group is not known");
    let unreachable = Outcome::Throttled { retry_after: None, is_attempt: true };
    let settle = |attempt| machine.settle(at(0), unreachable, attempt, Some(&group), MIDDLE);
    assert_eq!([settle(2), settle(4)], [Some(nack(10)), Some(Settle::DeadLetter)], "it may be due to the message");
}

#[test]
fn a_throttled_message_waits_with_its_endpoint_and_costs_no_attempt() {
    let mut machine = Machine::new(pace(8), at(0));
    let asked = Outcome::Throttled { retry_after: Some(Duration::from_secs(7)), is_attempt: false };
    one(&mut machine, at(0), asked);
    let wait = |ms| Some(Settle::Nack { delay: Duration::from_millis(ms), is_attempt: false });
    assert_eq!(machine.settle(at(0), asked, 99, Some(&group(4)), MIDDLE), wait(7000), "however often it was delivered");
    let unasked = Outcome::Throttled { retry_after: None, is_attempt: false };
    machine.ended(at(2000), unasked, MIDDLE);
    assert_eq!(machine.settle(at(2000), unasked, 1, None, MIDDLE), wait(5000), "of a call that began before");
    one(&mut machine, at(7000), unasked);
    assert_eq!(machine.settle(at(7000), unasked, 1, None, MIDDLE), wait(2000), "the second of two in a row");
}

#[test]
fn failed_receives_are_spaced_out() {
    let mut machine = Machine::new(pace(8), at(0));
    let mut now = at(0);
    for ms in [500, 1000, 2000] {
        assert!(matches!(machine.next(now), Next::Receive { .. }));
        machine.receive_failed(now);
        let until = now.plus(Duration::from_millis(ms));
        assert_eq!(machine.next(now), Next::Wait { until: Some(until) });
        now = until;
    }
    machine.next(now);
    machine.received(now, 0);
    assert_eq!(machine.next(now), Next::Wait { until: Some(now.plus(EMPTY_PAUSE)) });
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Time passes.
    Pass(u64),
    /// The receive brings up to so many.
    Bring(u32),
    ReceiveFails,
    /// A call ends.
    End(Outcome),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![
        4 => Just(Outcome::Delivered),
        2 => Just(Outcome::Failed),
        1 => (0_u64..5).prop_map(|s| Outcome::Throttled { retry_after: Some(Duration::from_secs(s)), is_attempt: false }),
        1 => any::<bool>().prop_map(|is_attempt| Outcome::Throttled { retry_after: None, is_attempt }),
    ];
    let step = prop_oneof![
        (0_u64..2000).prop_map(Step::Pass),
        (0_u32..40).prop_map(Step::Bring),
        Just(Step::ReceiveFails),
        outcome.prop_map(Step::End),
    ];
    prop::collection::vec(step, 0..300)
}

proptest! {
    #[test]
    fn no_bound_is_ever_passed_and_it_never_stops_for_good(
        steps in steps(), calls_max in 1_u32..20, rate in prop::option::of(0.5_f64..50.0), random: u64,
    ) {
        let mut machine = Machine::new(Pace { rate, ..pace(calls_max) }, at(0));
        let (mut now, mut asked, mut begun, mut total) = (at(0), None, 0_u32, 0_u32);
        for step in steps {
            if let Next::Receive { messages_max } = machine.next(now) {
                prop_assert!(asked.is_none() && messages_max >= 1);
                prop_assert!(!machine.is_held_back(now));
                asked = Some(messages_max);
            }
            match step {
                Step::Pass(ms) => now = now.plus(Duration::from_millis(ms)),
                Step::Bring(messages) => if let Some(max) = asked.take() {
                    begun += machine.received(now, messages.min(max));
                    total += messages.min(max);
                    prop_assert!(begun <= calls_max);
                },
                Step::ReceiveFails => if asked.take().is_some() {
                    machine.receive_failed(now);
                },
                Step::End(outcome) => if begun > 0 {
                    machine.ended(now, outcome, random);
                    machine.settled();
                    begun -= 1;
                },
            }
            if let Some(rate) = rate {
                let most = now.0.as_secs_f64() * rate + (rate * BURST_SECONDS).max(1.0);
                prop_assert!(f64::from(total) <= most + 1e-6, "{} calls, {} allowed", total, most);
            }
        }
        // Whatever has happened: once all calls have ended and time has passed, it receives again.
        while begun > 0 {
            machine.settled();
            begun -= 1;
        }
        machine.receive_dropped();
        let later = now.plus(Duration::from_secs(3600));
        prop_assert!(matches!(machine.next(later), Next::Receive { .. }), "{:?}", machine);
    }
}
