//! How long sends took, counted by Apache's steps. Source: Apache 5.5 `StoreStatsService#PUT_MESSAGE_ENTIRE_TIME_MAX_DESC`. There it is
//! the last minute, here all since the start.

use std::fmt;
use std::time::Duration;

/// Each step's name and the first millisecond that is above it.
const STEPS: [(&str, u128); 13] = [
    ("[<=0ms]", 1),
    ("[0~10ms]", 10),
    ("[10~50ms]", 50),
    ("[50~100ms]", 100),
    ("[100~200ms]", 200),
    ("[200~500ms]", 500),
    ("[500ms~1s]", 1_000),
    ("[1~2s]", 2_000),
    ("[2~3s]", 3_000),
    ("[3~4s]", 4_000),
    ("[4~5s]", 5_000),
    ("[5~10s]", 10_000),
    ("[10s~]", u128::MAX),
];

/// Counts by step, and the longest time.
#[derive(Debug, Default)]
pub(crate) struct PutTimes {
    counts: [u64; STEPS.len()],
    longest: Duration,
}

impl PutTimes {
    /// Counts a send.
    pub(crate) fn add(&mut self, time: Duration) {
        let ms = time.as_millis();
        if let Some((count, _)) = self.counts.iter_mut().zip(STEPS).find(|(_, (_, above))| ms < *above) {
            *count += 1;
        }
        self.longest = self.longest.max(time);
    }

    /// The longest of all.
    pub(crate) fn longest(&self) -> Duration {
        self.longest
    }
}

/// `[<=0ms]:7 [0~10ms]:1 …`. The exporter reads each count into 31 bits, so none is told as more.
impl fmt::Display for PutTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (count, (name, _))) in self.counts.iter().zip(STEPS).enumerate() {
            let blank = if index == 0 { "" } else { " " };
            write!(f, "{blank}{name}:{}", count.min(&(i32::MAX as u64)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_in_their_step() {
        let mut times = PutTimes::default();
        for us in [0, 999, 1_000, 9_999, 10_000, 4_999_999, 60_000_000] {
            times.add(Duration::from_micros(us));
        }
        let text = times.to_string();
        let counts: Vec<&str> = text.split(' ').filter(|step| !step.ends_with(":0")).collect();
        assert_eq!(counts, ["[<=0ms]:2", "[0~10ms]:2", "[10~50ms]:1", "[4~5s]:1", "[10s~]:1"]);
        assert_eq!((text.split(' ').count(), times.longest()), (STEPS.len(), Duration::from_secs(60)));
        times.counts[0] = u64::MAX;
        assert!(times.to_string().starts_with("[<=0ms]:2147483647 "));
    }
}
