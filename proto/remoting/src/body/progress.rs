//! How far a broker is, as its slaves ask for it: what is in its log's messages does not say it.
//!
//! Source: Apache 5.5 `ConsumerOffsetSerializeWrapper`, `DelayOffsetSerializeWrapper`, `TimerCheckpoint#encode`,
//! `TimerMetrics.TimerMetricsSerializeWrapper`.

use std::collections::BTreeMap;

use bytes::BufMut;
use serde::{Deserialize, Serialize};

use super::DataVersion;

/// Where all groups are: the body of [`GetAllConsumerOffset`](crate::RequestCode::GetAllConsumerOffset)'s answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerOffsets {
    /// Their version.
    pub data_version: DataVersion,
    /// The first message that a group has not finished, by `TOPIC@GROUP` and queue; those of the broker's own work are among them.
    pub offset_table: BTreeMap<String, BTreeMap<u32, u64>>,
}

/// How far is delivered by delay levels: the body of [`GetAllDelayOffset`](crate::RequestCode::GetAllDelayOffset)'s answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DelayOffsets {
    /// Their version.
    pub data_version: DataVersion,
    /// The first message that is not delivered, by level.
    pub offset_table: BTreeMap<u32, u64>,
}

/// How many messages wait for a time, by topic: the body of [`GetTimerMetrics`](crate::RequestCode::GetTimerMetrics)'s answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TimerMetrics {
    /// Their version.
    pub data_version: DataVersion,
    /// Nothing: these are shown to people only.
    pub timing_count: BTreeMap<String, ()>,
}

/// How far is delivered what waits for a time: the body of [`GetTimerCheckPoint`](crate::RequestCode::GetTimerCheckPoint)'s answer.
///
/// | bytes | content                                                                    |
/// |-------|----------------------------------------------------------------------------|
/// | 0–7   | all slots of the wheel before this time, ms since 1970, are delivered        |
/// | 8–15  | position in the wheel's own log; 0                                           |
/// | 16–23 | offset in the wheel's topic before which messages are in slots               |
/// | 24–31 | the same; up to there a slave may put them in its own slots                  |
/// | 32–55 | version: state, ms since 1970, counter                                       |
///
/// Numbers are big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerCheckPoint {
    /// See the table.
    pub read_to_ms: i64,
    /// See the table.
    pub wheel_offset: u64,
}

impl TimerCheckPoint {
    /// The body.
    #[must_use]
    pub fn encode(self, version: &DataVersion) -> Vec<u8> {
        let mut body = Vec::new();
        body.put_i64(self.read_to_ms);
        body.put_i64(0);
        body.put_u64(self.wheel_offset);
        body.put_u64(self.wheel_offset);
        body.put_i64(version.state_version);
        body.put_i64(version.timestamp);
        body.put_i64(version.counter);
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dialect, from_slice, to_vec};

    #[test]
    fn offsets_are_written_as_apache_does() {
        let offset_table = BTreeMap::from([("t@g".to_owned(), BTreeMap::from([(0, 5), (1, 7)]))]);
        let offsets = ConsumerOffsets { offset_table, ..ConsumerOffsets::default() };
        let text = to_vec(&offsets, Dialect::Fastjson);
        assert!(String::from_utf8_lossy(&text).contains(r#""offsetTable":{"t@g":{0:5,1:7}}"#), "{text:?}");
        assert_eq!(from_slice::<ConsumerOffsets>(&text).expect("JSON"), offsets);
    }

    /// The numbers where Apache 5.5's `TimerCheckpoint.decode` reads them.
    #[test]
    fn a_check_point_has_seven_numbers() {
        let version = DataVersion { state_version: 5, timestamp: 6, counter: 7 };
        let body = TimerCheckPoint { read_to_ms: 1000, wheel_offset: 3 }.encode(&version);
        let numbers: Vec<_> = body.as_chunks::<8>().0.iter().map(|bytes| i64::from_be_bytes(*bytes)).collect();
        assert_eq!((numbers, body.len()), (vec![1000, 0, 3, 3, 5, 6, 7], 56));
    }
}
