//! What goes in and out by topic and group, as operators' tools ask for it: sums of the last minute, hour and day. A plain value, told
//! the time; nothing is stored.
//!
//! Source: Apache 5.5 `BrokerStatsManager`, `StatsItem`. There the newest part of a time is left out until it is sampled; here it counts.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use foldhash::fast::FixedState;
use remoting_proto::body::{BrokerStatsData, BrokerStatsItem};
use types::Timestamp;

use crate::put_times::PutTimes;

/// Most series; about 2 KiB each. What is counted beyond is counted of the broker alone.
pub(crate) const SERIES_MAX: usize = 10_000;
/// How often [`Statistics::sample`] is to be called.
pub(crate) const SAMPLE_EVERY: Duration = Duration::from_secs(10);

/// Each time that is summed up, and how often it is sampled within it.
const WINDOWS: [(Duration, Duration); 3] = [
    (Duration::from_secs(60), SAMPLE_EVERY),
    (Duration::from_secs(3600), Duration::from_secs(600)),
    (Duration::from_secs(86_400), Duration::from_secs(3600)),
];

/// How much and how often.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    messages: u64,
    bytes: u64,
    times: u64,
}

impl Total {
    fn add(&mut self, messages: u64, bytes: u64) {
        self.messages += messages;
        self.bytes += bytes;
        self.times += 1;
    }
}

/// One thing that is counted.
#[derive(Debug)]
struct Series {
    total: Total,
    /// What the total was, oldest first; the first of each is the newest that is older than its window, so there is always one.
    samples: [VecDeque<(Timestamp, Total)>; WINDOWS.len()],
}

impl Series {
    fn new(now: Timestamp) -> Self {
        let samples = WINDOWS.map(|_| VecDeque::from([(now, Total::default())]));
        Self { total: Total::default(), samples }
    }

    fn sample(&mut self, now: Timestamp) {
        for ((window, every), samples) in WINDOWS.into_iter().zip(&mut self.samples) {
            if samples.back().is_none_or(|(at, _)| now.since(*at) >= every) {
                samples.push_back((now, self.total));
            }
            while samples.get(1).is_some_and(|(at, _)| now.since(*at) >= window) {
                samples.pop_front();
            }
        }
    }

    /// Whether nothing was counted within the longest window.
    fn is_idle(&self) -> bool {
        self.samples.last().and_then(VecDeque::front).is_some_and(|(_, then)| then.times == self.total.times)
    }

    /// What was counted in each window until `now`.
    fn data(&self, now: Timestamp, of: impl Fn(&Total) -> u64) -> BrokerStatsData {
        let [stats_minute, stats_hour, stats_day] = self.samples.each_ref().map(|samples| {
            let (at, then) = samples.front().copied().unwrap_or((now, self.total));
            let sum = of(&self.total) - of(&then);
            let (ms, times) = (now.since(at).as_millis().max(1), self.total.times - then.times);
            // Sums and times of this size are exact.
            let per = |count: u128| if count == 0 { 0.0 } else { sum as f64 / count as f64 };
            BrokerStatsItem { sum, tps: per(ms) * 1000.0, avgpt: per(times.into()) }
        });
        BrokerStatsData { stats_minute, stats_hour, stats_day }
    }
}

type ByName<T> = HashMap<String, T, FixedState>;

/// How many messages came in and went out, of the whole broker since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) puts: u64,
    pub(crate) gets: u64,
}

/// The same as it is now and as it was when the last two days began, in Greenwich.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DayTotals {
    pub(crate) now: Totals,
    pub(crate) today: Totals,
    pub(crate) yesterday: Totals,
}

/// All series.
#[derive(Debug)]
pub(crate) struct Statistics {
    puts: ByName<Series>,
    /// By topic, then by group.
    gets: ByName<ByName<Series>>,
    send_backs: ByName<ByName<Series>>,
    broker_puts: Series,
    broker_gets: Series,
    count: usize,
    put_times: PutTimes,
    /// The day of the newest sample, and what was there when it and the one before began.
    day: i64,
    today: Totals,
    yesterday: Totals,
}

impl Statistics {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            puts: ByName::default(),
            gets: ByName::default(),
            send_backs: ByName::default(),
            broker_puts: Series::new(now),
            broker_gets: Series::new(now),
            count: 0,
            put_times: PutTimes::default(),
            day: day(now),
            today: Totals::default(),
            yesterday: Totals::default(),
        }
    }

    /// A send took this long to be stored.
    pub(crate) fn took(&mut self, time: Duration) {
        self.put_times.add(time);
    }

    /// How long sends took.
    pub(crate) fn put_times(&self) -> &PutTimes {
        &self.put_times
    }

    /// How many messages there were, and when.
    pub(crate) fn totals(&self) -> DayTotals {
        let now = Totals { puts: self.broker_puts.total.messages, gets: self.broker_gets.total.messages };
        DayTotals { now, today: self.today, yesterday: self.yesterday }
    }

    /// Messages were sent to a topic.
    pub(crate) fn put(&mut self, topic: &str, messages: u64, bytes: u64, now: Timestamp) {
        self.broker_puts.total.add(messages, bytes);
        add(&mut self.puts, topic, (messages, bytes), now, &mut self.count);
    }

    /// A group got messages of a topic.
    pub(crate) fn get(&mut self, topic: &str, group: &str, messages: u64, bytes: u64, now: Timestamp) {
        self.broker_gets.total.add(messages, bytes);
        add_of_group(&mut self.gets, topic, group, (messages, bytes), now, &mut self.count);
    }

    /// A group handed a message of a topic back.
    pub(crate) fn send_back(&mut self, topic: &str, group: &str, now: Timestamp) {
        add_of_group(&mut self.send_backs, topic, group, (1, 0), now, &mut self.count);
    }

    /// Remembers how much there is now and forgets what is over.
    pub(crate) fn sample(&mut self, now: Timestamp) {
        if day(now) != self.day {
            let DayTotals { now: total, today, .. } = self.totals();
            (self.day, self.today, self.yesterday) = (day(now), total, today);
        }
        self.broker_puts.sample(now);
        self.broker_gets.sample(now);
        let mut count = 0;
        let mut stays = |series: &mut Series| {
            series.sample(now);
            let stays = !series.is_idle();
            count += usize::from(stays);
            stays
        };
        self.puts.retain(|_, series| stays(series));
        for by_topic in [&mut self.gets, &mut self.send_backs] {
            by_topic.retain(|_, by_group| {
                by_group.retain(|_, series| stays(series));
                !by_group.is_empty()
            });
        }
        self.count = count;
    }

    /// What was counted under one of Apache's names; `None` if nothing was. Source: `Stats`.
    pub(crate) fn view(&self, name: &str, key: &str, now: Timestamp) -> Option<BrokerStatsData> {
        let of_group = |by_topic: &'_ ByName<ByName<Series>>, of: fn(&Total) -> u64| {
            let (topic, group) = key.split_once('@')?;
            Some(by_topic.get(topic)?.get(group)?.data(now, of))
        };
        let messages: fn(&Total) -> u64 = |total| total.messages;
        let bytes: fn(&Total) -> u64 = |total| total.bytes;
        match name {
            "TOPIC_PUT_NUMS" => Some(self.puts.get(key)?.data(now, messages)),
            "TOPIC_PUT_SIZE" => Some(self.puts.get(key)?.data(now, bytes)),
            "GROUP_GET_NUMS" => of_group(&self.gets, messages),
            "GROUP_GET_SIZE" => of_group(&self.gets, bytes),
            "SNDBCK_PUT_NUMS" => of_group(&self.send_backs, messages),
            "BROKER_PUT_NUMS" => Some(self.broker_puts.data(now, messages)),
            "BROKER_GET_NUMS" => Some(self.broker_gets.data(now, messages)),
            _ => None,
        }
    }

    /// Messages a second that a group got of a topic in the last minute.
    pub(crate) fn group_rate(&self, topic: &str, group: &str, now: Timestamp) -> f64 {
        let series = self.gets.get(topic).and_then(|by_group| by_group.get(group));
        series.map_or(0.0, |series| series.data(now, |total| total.messages).stats_minute.tps)
    }

    /// Messages a second that were sent to a topic in the last minute.
    pub(crate) fn topic_rate(&self, topic: &str, now: Timestamp) -> f64 {
        self.puts.get(topic).map_or(0.0, |series| series.data(now, |total| total.messages).stats_minute.tps)
    }

    /// Messages a second that came in and went out, of the whole broker in the last minute.
    pub(crate) fn broker_rates(&self, now: Timestamp) -> (f64, f64) {
        let rate = |series: &Series| series.data(now, |total| total.messages).stats_minute.tps;
        (rate(&self.broker_puts), rate(&self.broker_gets))
    }
}

/// The day in Greenwich.
fn day(at: Timestamp) -> i64 {
    at.0.div_euclid(86_400_000)
}

fn add_of_group(
    by_topic: &mut ByName<ByName<Series>>,
    topic: &str,
    group: &str,
    more: (u64, u64),
    now: Timestamp,
    count: &mut usize,
) {
    if let Some(by_group) = by_topic.get_mut(topic) {
        add(by_group, group, more, now, count);
    } else if *count < SERIES_MAX {
        add(by_topic.entry(topic.to_owned()).or_default(), group, more, now, count);
    }
}

/// Names are copied only when they are new.
fn add(series: &mut ByName<Series>, name: &str, (messages, bytes): (u64, u64), now: Timestamp, count: &mut usize) {
    if let Some(known) = series.get_mut(name) {
        known.total.add(messages, bytes);
    } else if *count < SERIES_MAX {
        *count += 1;
        series.entry(name.to_owned()).or_insert_with(|| Series::new(now)).total.add(messages, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1000)
    }

    /// Sums of the last minute, hour and day.
    fn sums(statistics: &Statistics, name: &str, key: &str, now: Timestamp) -> Option<[u64; 3]> {
        let data = statistics.view(name, key, now)?;
        Some([data.stats_minute.sum, data.stats_hour.sum, data.stats_day.sum])
    }

    #[test]
    fn each_time_has_its_sum() {
        let mut statistics = Statistics::new(at(0));
        let mut now = 0;
        let mut wait = |statistics: &mut Statistics, seconds: i64| {
            for _ in 0..seconds / 10 {
                now += 10;
                statistics.sample(at(now));
            }
            at(now)
        };
        statistics.put("t", 2, 10, at(0));
        statistics.put("t", 1, 5, at(0));
        let later = wait(&mut statistics, 30);
        assert_eq!(sums(&statistics, "TOPIC_PUT_NUMS", "t", later), Some([3, 3, 3]));
        assert_eq!(sums(&statistics, "TOPIC_PUT_SIZE", "t", later), Some([15, 15, 15]));
        let data = statistics.view("TOPIC_PUT_NUMS", "t", later).expect("counted");
        assert_eq!((data.stats_minute.tps, data.stats_minute.avgpt), (0.1, 1.5));
        let later = wait(&mut statistics, 90);
        statistics.put("t", 1, 5, later);
        assert_eq!(sums(&statistics, "TOPIC_PUT_NUMS", "t", later), Some([1, 4, 4]));
        let later = wait(&mut statistics, 2 * 3600);
        assert_eq!(sums(&statistics, "BROKER_PUT_NUMS", "any", later), Some([0, 0, 4]));
        let later = wait(&mut statistics, 26 * 3600);
        assert_eq!(sums(&statistics, "TOPIC_PUT_NUMS", "t", later), None, "forgotten");
        assert_eq!(statistics.count, 0);
    }

    #[test]
    fn a_day_begins_with_what_was_there() {
        let mut statistics = Statistics::new(at(0));
        let totals = |puts, gets| Totals { puts, gets };
        statistics.put("t", 3, 9, at(10));
        statistics.get("t", "g", 1, 3, at(10));
        statistics.sample(at(86_390));
        assert_eq!(statistics.totals(), DayTotals { now: totals(3, 1), ..DayTotals::default() });
        statistics.sample(at(86_400));
        statistics.put("t", 1, 3, at(86_401));
        let expected = DayTotals { now: totals(4, 1), today: totals(3, 1), yesterday: totals(0, 0) };
        assert_eq!(statistics.totals(), expected);
        statistics.sample(at(2 * 86_400));
        let expected = DayTotals { now: totals(4, 1), today: totals(4, 1), yesterday: totals(3, 1) };
        assert_eq!(statistics.totals(), expected);
    }

    #[test]
    fn groups_are_told_apart_and_bounded() {
        let mut statistics = Statistics::new(at(0));
        statistics.get("t", "g", 3, 9, at(0));
        statistics.get("t", "h", 1, 3, at(0));
        statistics.send_back("t", "g", at(0));
        assert_eq!(sums(&statistics, "GROUP_GET_NUMS", "t@g", at(1)), Some([3, 3, 3]));
        assert_eq!(sums(&statistics, "GROUP_GET_SIZE", "t@h", at(1)), Some([3, 3, 3]));
        assert_eq!(sums(&statistics, "SNDBCK_PUT_NUMS", "t@g", at(1)), Some([1, 1, 1]));
        assert_eq!(sums(&statistics, "GROUP_GET_NUMS", "t@other", at(1)), None);
        assert_eq!(sums(&statistics, "NO_SUCH_NAME", "t", at(1)), None);
        for n in 0..2 * SERIES_MAX {
            statistics.put(&n.to_string(), 1, 1, at(1));
        }
        assert_eq!((statistics.count, statistics.puts.len()), (SERIES_MAX, SERIES_MAX - 3));
        assert_eq!(sums(&statistics, "BROKER_PUT_NUMS", "C", at(1)), Some([2 * SERIES_MAX as u64; 3]));
    }
}
