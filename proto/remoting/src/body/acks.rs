//! Ends of several leases in one request. Source: Apache 5.5 `BatchAckMessageRequestBody`, `BatchAck`, `BitSetSerializerDeserializer`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// The body of [`BatchAckMessage`](crate::RequestCode::BatchAckMessage).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BatchAcks {
    /// The broker that holds the leases.
    pub broker_name: String,
    /// One for each pop of a queue.
    pub acks: Vec<BatchAck>,
}

/// Leases that one pop made on one queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchAck {
    /// The group.
    #[serde(rename = "c", alias = "consumerGroup")]
    pub consumer_group: String,
    /// The topic that was asked for, also when the messages came from its retry topic.
    #[serde(rename = "t", alias = "topic")]
    pub topic: String,
    /// 0 if the queue is of the topic, 1 or 2 if it is of the group's retry topic in one of its spellings.
    #[serde(rename = "r", alias = "retry")]
    pub source: String,
    /// First offset of the pop on the queue.
    #[serde(rename = "so", alias = "startOffset")]
    pub start_offset: i64,
    /// The queue.
    #[serde(rename = "q", alias = "queueId")]
    pub queue_id: i64,
    /// The queue of the revive topic.
    #[serde(rename = "rq", alias = "reviveQueueId")]
    pub revive_queue_id: i64,
    /// When it was popped, ms since 1970.
    #[serde(rename = "pt", alias = "popTime")]
    pub pop_time: i64,
    /// How long it was leased, in ms.
    #[serde(rename = "it", alias = "invisibleTime")]
    pub invisible_time: i64,
    /// Which offsets, counted from the first one: bits in base64, the lowest bit of the first byte first.
    #[serde(rename = "b", alias = "bitSet")]
    pub bits: String,
}

impl BatchAck {
    /// Sets the bits of these distances from the first offset.
    #[must_use]
    pub fn with_distances(mut self, distances: impl IntoIterator<Item = u16>) -> Self {
        let mut bytes = Vec::new();
        for distance in distances.into_iter().map(usize::from) {
            let index = distance / 8;
            if bytes.len() <= index {
                bytes.resize(index + 1, 0u8);
            }
            bytes[index] |= 1 << (distance % 8);
        }
        self.bits = STANDARD.encode(bytes);
        self
    }

    /// The distances from the first offset whose bits are set, ascending; `None` if the text is not base64.
    #[must_use]
    pub fn distances(&self) -> Option<impl Iterator<Item = u64>> {
        let bytes = STANDARD.decode(&self.bits).ok()?;
        let of_byte = |(index, byte): (usize, u8)| {
            (0..8).filter(move |bit| byte & (1 << bit) != 0).map(move |bit| index as u64 * 8 + bit)
        };
        Some(bytes.into_iter().enumerate().flat_map(of_byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_apaches_client_is_read() {
        // {0, 9} as fastjson 1 and 2 write it.
        let body = r#"{"brokerName":"b","acks":[{"b":"AQI=","c":"g","it":60000,"pt":17,"q":2,"r":"1","rq":3,"so":100,"t":"T"}]}"#;
        let BatchAcks { acks, .. } = crate::from_slice(body.as_bytes()).expect("read");
        assert_eq!(acks[0].distances().expect("base64").collect::<Vec<_>>(), [0, 9]);
        assert_eq!((acks[0].source.as_str(), acks[0].start_offset, acks[0].pop_time), ("1", 100, 17));
        let written = crate::to_vec(&acks[0].clone().with_distances([9, 0]), crate::Dialect::Standard);
        assert_eq!(crate::from_slice::<BatchAck>(&written).expect("read"), acks[0]);
        assert!(BatchAck { bits: "?".to_owned(), ..BatchAck::default() }.distances().is_none());
    }

    #[test]
    fn long_names_mean_the_same() {
        let ack: BatchAck = crate::from_slice(br#"{"consumerGroup":"g","topic":"T","bitSet":"AQ=="}"#).expect("read");
        assert_eq!((ack.consumer_group.as_str(), ack.topic.as_str()), ("g", "T"));
        assert_eq!(ack.distances().expect("base64").collect::<Vec<_>>(), [0]);
    }
}
