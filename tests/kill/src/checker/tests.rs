//! One fabricated trace for each promise, broken, and some that look bad and are not.

use super::*;
use crate::event::Decision;

const GROUP: &str = "g";

/// A trace in the making: `at` seconds, then what happened.
struct Trace {
    checker: Checker,
    now_ms: i64,
}

impl Trace {
    fn new() -> Self {
        let mut trace = Self { checker: Checker::default(), now_ms: 0 };
        trace.apply(What::Began { seed: 1, groups: vec![GROUP.to_owned()] });
        trace
    }

    fn apply(&mut self, what: What) -> &mut Self {
        self.checker.apply(&Event { at_ms: self.now_ms, what });
        self
    }

    fn at(&mut self, now_ms: i64) -> &mut Self {
        self.now_ms = now_ms;
        self
    }

    fn sending(&mut self, key: &str, kind: Kind) -> &mut Self {
        self.apply(What::Sending { key: key.to_owned(), kind })
    }

    fn sent(&mut self, key: &str, kind: Kind) -> &mut Self {
        self.sending(key, kind).apply(What::Sent { key: key.to_owned() })
    }

    fn delivered(&mut self, key: &str) -> &mut Self {
        self.delivered_for(key, Some(10_000))
    }

    fn delivered_for(&mut self, key: &str, lease_ms: Option<i64>) -> &mut Self {
        let kills = self.checker.kills;
        self.delivered_by(key, lease_ms, kills)
    }

    fn delivered_by(&mut self, key: &str, lease_ms: Option<i64>, kills: u32) -> &mut Self {
        let (group, key) = (GROUP.to_owned(), key.to_owned());
        self.apply(What::Delivered { group, key, attempt: 1, is_intact: true, lease_ms, kills })
    }

    fn acking(&mut self, key: &str) -> &mut Self {
        self.apply(What::Acking { group: GROUP.to_owned(), key: key.to_owned() })
    }

    fn acked(&mut self, key: &str) -> &mut Self {
        self.acking(key).apply(What::Acked { group: GROUP.to_owned(), key: key.to_owned() })
    }

    fn ack_failed(&mut self, key: &str, is_refused: bool) -> &mut Self {
        let (group, key) = (GROUP.to_owned(), key.to_owned());
        self.apply(What::NotAcked { group, key, is_refused, error: String::new() })
    }

    fn ended(&mut self, key: &str, is_commit: bool) -> &mut Self {
        self.apply(What::Ending { key: key.to_owned(), is_commit, is_answer: false });
        self.apply(What::Ended { key: key.to_owned(), is_commit })
    }

    fn killed(&mut self) -> &mut Self {
        self.apply(What::Killed { kills: 0 })
    }

    fn violations(&mut self) -> Vec<Violation> {
        self.checker.finish();
        self.checker.violations().to_vec()
    }
}

fn fifo() -> Kind {
    Kind::Fifo { message_group: "m".to_owned() }
}

fn transaction(decision: Decision) -> Kind {
    Kind::Transaction { decision }
}

fn names(key: &str) -> (String, String) {
    (GROUP.to_owned(), key.to_owned())
}

#[test]
fn a_good_run_has_no_violations() {
    let mut trace = Trace::new();
    trace.sent("n", Kind::Normal).delivered("n").acked("n");
    trace.sent("f1", fifo()).sent("f2", fifo()).delivered("f1").acked("f1").delivered("f2").acked("f2");
    trace.sent("t", transaction(Decision::Commit)).ended("t", true).delivered("t").acked("t");
    trace.sent("u", transaction(Decision::Rollback)).ended("u", false);
    trace.sent("d", Kind::Delay { deliver_at_ms: 5_000 }).at(5_000).delivered("d").acked("d");
    assert_eq!(trace.checker.outstanding(), 0);
    assert_eq!(trace.violations(), []);
    assert_eq!((trace.checker.counts().sent, trace.checker.counts().acked), (6, 5));
}

#[test]
fn lost_message_is_caught() {
    let mut trace = Trace::new();
    trace.sent("n", Kind::Normal);
    assert_eq!(trace.checker.outstanding(), 1);
    let (group, key) = names("n");
    assert_eq!(trace.violations(), [Violation::Lost { group, key, kind: "normal message".to_owned() }]);
}

#[test]
fn unacknowledged_message_may_be_missing_or_come() {
    let mut trace = Trace::new();
    trace.sending("n", Kind::Normal).sending("o", Kind::Normal).delivered("o");
    assert_eq!(trace.violations(), []);
}

#[test]
fn invented_message_is_caught() {
    let (group, key) = names("x");
    assert_eq!(Trace::new().delivered("x").violations(), [Violation::Unknown { group, key }]);
}

#[test]
fn changed_body_is_caught() {
    let mut trace = Trace::new();
    let (group, key) = names("n");
    let delivered = What::Delivered { group, key, attempt: 1, is_intact: false, lease_ms: None, kills: 0 };
    trace.sent("n", Kind::Normal).apply(delivered);
    let (group, key) = names("n");
    assert_eq!(trace.violations(), [Violation::Corrupt { group, key }]);
}

#[test]
fn later_message_before_the_ack_is_caught() {
    let mut trace = Trace::new();
    trace.sent("f1", fifo()).sent("f2", fifo()).delivered("f1").delivered("f2").acked("f1").acked("f2");
    let (group, key) = names("f2");
    assert_eq!(trace.violations(), [Violation::Overtaken { group, key, earlier: "f1".to_owned() }]);
}

#[test]
fn first_deliveries_out_of_order_are_caught() {
    let mut trace = Trace::new();
    trace.sent("f1", fifo()).sent("f2", fifo()).delivered("f2").acked("f2").delivered("f1").acked("f1");
    let overtaken = Violation::Overtaken { group: GROUP.into(), key: "f2".into(), earlier: "f1".into() };
    let went_back = Violation::WentBack { group: GROUP.into(), key: "f1".into(), later: "f2".into() };
    assert_eq!(trace.violations(), [overtaken, went_back]);
}

#[test]
fn redelivery_after_a_later_message_is_caught() {
    let mut trace = Trace::new();
    trace.sent("f1", fifo()).sent("f2", fifo()).delivered("f1").acking("f1").killed().ack_failed("f1", false);
    trace.delivered("f2").acked("f2").delivered("f1").acked("f1");
    let went_back = Violation::WentBack { group: GROUP.into(), key: "f1".into(), later: "f2".into() };
    assert_eq!(trace.violations(), [went_back]);
}

#[test]
fn unacknowledged_fifo_message_blocks_nobody() {
    let mut trace = Trace::new();
    trace.sending("f1", fifo()).sent("f2", fifo()).delivered("f2").acked("f2");
    assert_eq!(trace.violations(), []);
}

#[test]
fn early_delay_is_caught() {
    let mut trace = Trace::new();
    trace.sent("d", Kind::Delay { deliver_at_ms: 5_000 }).at(4_999).delivered("d");
    let (group, key) = names("d");
    assert_eq!(trace.violations(), [Violation::Early { group, key, early_ms: 1 }]);
}

#[test]
fn lost_commit_is_caught() {
    let mut trace = Trace::new();
    trace.sent("t", transaction(Decision::Commit)).ended("t", true);
    assert!(matches!(trace.violations()[..], [Violation::Lost { .. }]));
}

#[test]
fn uncommitted_and_rolled_back_transactions_are_caught() {
    let mut trace = Trace::new();
    trace.sent("t", transaction(Decision::Silence)).delivered("t");
    trace.sent("u", transaction(Decision::Rollback)).ended("u", false).delivered("u");
    let violation = |key: &str| Violation::NotCommitted { group: GROUP.to_owned(), key: key.to_owned() };
    assert_eq!(trace.violations(), [violation("t"), violation("u")]);
}

#[test]
fn forgotten_question_is_caught() {
    let mut trace = Trace::new();
    trace.sent("t", transaction(Decision::CommitWhenAsked)).sent("u", transaction(Decision::Silence));
    assert_eq!(trace.checker.outstanding(), 1);
    assert_eq!(trace.violations(), [Violation::NeverAsked { key: "t".to_owned() }]);
}

#[test]
fn outcome_without_reply_may_count() {
    let mut trace = Trace::new();
    for (key, decision) in [("t", Decision::Commit), ("u", Decision::Rollback), ("v", Decision::Commit)] {
        let is_commit = decision.is_commit().expect("decided");
        trace.sent(key, transaction(decision));
        trace.apply(What::Ending { key: key.to_owned(), is_commit, is_answer: false });
        trace.apply(What::NotEnded { key: key.to_owned(), is_refused: false, error: String::new() });
    }
    trace.delivered("t").acked("t");
    assert_eq!(trace.violations(), [Violation::NeverAsked { key: "v".to_owned() }]);
}

#[test]
fn delivery_after_the_ack_is_caught() {
    let mut trace = Trace::new();
    trace.sent("n", Kind::Normal).delivered("n").acked("n").killed().delivered("n");
    let (group, key) = names("n");
    assert_eq!(trace.violations(), [Violation::AckForgotten { group, key }]);
}

#[test]
fn delivery_after_an_unanswered_ack_is_counted_only() {
    let mut trace = Trace::new();
    trace.sent("n", Kind::Normal).delivered("n").acking("n").killed().ack_failed("n", false).delivered("n").acked("n");
    assert_eq!(trace.violations(), []);
    assert_eq!(trace.checker.counts().again, [(Reason::Killed, 1)].into());
}

#[test]
fn refused_repetition_of_an_unanswered_ack_finishes() {
    let mut trace = Trace::new();
    trace.sent("n", Kind::Normal).delivered("n").acking("n").ack_failed("n", false);
    assert_eq!(trace.checker.outstanding(), 1);
    trace.acking("n").ack_failed("n", true);
    assert_eq!(trace.checker.outstanding(), 0);
}

#[test]
fn delivery_within_a_lease_is_caught() {
    let mut trace = Trace::new();
    trace.sent("n", Kind::Normal).delivered("n").at(5_000).delivered("n");
    let (group, key) = names("n");
    assert_eq!(trace.violations(), [Violation::Unexplained { group, key }]);
}

#[test]
fn reasons_to_come_again_are_told_apart() {
    let mut trace = Trace::new();
    trace.sent("n", Kind::Normal).delivered("n").at(10_000).delivered_for("n", None);
    let (group, key) = names("n");
    trace.apply(What::Changing { group, key, invisible_ms: 0 }).delivered("n").killed().delivered("n").acked("n");
    assert_eq!(trace.violations(), []);
    let again = [(Reason::Asked, 1), (Reason::Killed, 1), (Reason::LeaseEnded, 1)];
    assert_eq!(trace.checker.counts().again, again.into());
}

#[test]
fn reply_of_a_killed_process_may_be_read_late() {
    let mut trace = Trace::new();
    trace.sent("f1", fifo()).sent("f2", fifo()).killed();
    trace.delivered("f1").acked("f1").delivered("f2").acked("f2").delivered_by("f1", None, 0);
    assert_eq!(trace.violations(), []);
}
