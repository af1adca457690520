//! The fields of requests and responses, by what they are about. Names are those on the wire.

mod admin;
mod clients;
mod controller;
mod kv;
mod pop;
mod pull;
mod registration;
mod send;
mod topics;

pub use admin::{
    CloneGroupOffset, ConsumerClient, GetBrokerConfigAnswer, GetBrokerConsumeStats, GetConsumerStatus, GroupForbidden,
    GroupTopic, PushReplyMessage, QueryConsumeQueue, QueryCorrectionOffset, QueryMessage, QueryMessageAnswer,
    ResetOffset, ViewBrokerStatsData,
};
pub use clients::{
    ConsumerGroup, DeleteSubscriptionGroup, GetConsumeStats, GroupName, HeartBeatAnswer, ProducerGroup,
    UnregisterClient,
};
pub use controller::{
    AlterSyncStateSet, AlterSyncStateSetAnswer, ApplyBrokerId, CleanBrokerData, ControllerHeartbeat, ElectMaster,
    ElectMasterAnswer, GetControllerMetadataAnswer, GetNextBrokerIdAnswer, GetReplicaInfoAnswer,
    NotifyBrokerRoleChanged, RegisterBrokerToController, RegisterBrokerToControllerAnswer, ToController,
};
pub use kv::{GetKvConfig, GetKvConfigAnswer, GetKvListByNamespace, PutKvConfig};
pub use pop::{
    AckMessage, ChangeInvisibleTime, ChangeInvisibleTimeAnswer, Notification, NotificationAnswer, PeekMessage,
    PollingInfo, PollingInfoAnswer, PopMessage, PopMessageAnswer, PopRefused,
};
pub use pull::{
    EarliestMsgStoreTimeAnswer, OffsetAnswer, PullMessage, PullMessageAnswer, QueryConsumerOffset, SearchOffset,
    TopicQueue, UpdateConsumerOffset, ViewMessage,
};
pub use registration::{
    BrokerAddress, BrokerName, ExchangeBrokerHaInfoAnswer, NotifyMinBrokerIdChange, QueryDataVersionAnswer,
    RegisterBroker, RegisterBrokerAnswer, UnregisterBroker, body_crc32,
};
pub use send::{
    CheckTransactionState, ConsumerSendMsgBack, EndTransaction, KeyRefused, RecallMessage, RecallMessageAnswer,
    SendMessage, SendMessageAnswer,
};
pub use topics::{
    AddWritePermAnswer, BrokerMember, DeleteTopic, GetAllTopicConfigAnswer, GetRouteInfo, GetTopicsByCluster,
    TopicName, UpdateAndCreateTopic, WipeWritePermAnswer,
};

/// The topic that new ones begin as, and that clients ask for when one that they send to is not known yet. Source: Apache 5.5
/// `TopicValidator.AUTO_CREATE_TOPIC_KEY_TOPIC`.
pub const AUTO_CREATE_TOPIC: &str = "TBW102";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{FieldError, Fields};

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, text) in pairs {
            assert!(fields.set((*name).to_owned(), (*text).to_owned()));
        }
        fields
    }

    #[test]
    fn truth_is_read_as_java_reads_it_and_numbers_are_numbers() {
        let route =
            |text| GetRouteInfo::of(&fields(&[("topic", "T"), ("acceptStandardJsonOnly", text)])).expect("read");
        assert_eq!(
            ["TRUE", "1", ""].map(|text| route(text).accept_standard_json_only),
            [Some(true), Some(false), Some(false)]
        );
        assert_eq!(GetRouteInfo::of(&fields(&[])), Err(FieldError::Missing("topic")));
        let broker = fields(&[("brokerName", "b"), ("brokerAddr", "a"), ("clusterName", "c"), ("brokerId", "0x1")]);
        let refused = FieldError::NotANumber { name: "brokerId", text: "0x1".to_owned() };
        assert_eq!(UnregisterBroker::of(&broker), Err(refused));
    }

    #[test]
    fn a_send_reads_the_same_from_both_kinds_of_names() {
        let long = fields(&[
            ("producerGroup", "PG"),
            ("topic", "T"),
            ("queueId", "2"),
            ("sysFlag", "0"),
            ("bornTimestamp", "1"),
            ("flag", "-3"),
            ("properties", "k\u{1}v\u{2}"),
            ("batch", "false"),
        ]);
        let read = SendMessage::of_long(&long).expect("all that is needed");
        assert_eq!(SendMessage::of(&read.to_fields()), Ok(read.clone()));
        assert_eq!((read.queue_id, read.flag, read.is_batch, read.max_reconsume_times), (2, -3, Some(false), None));
        assert_eq!(SendMessage::of_long(&fields(&[("producerGroup", "PG")])), Err(FieldError::Missing("b")));
    }

    proptest! {
        #[test]
        fn a_header_comes_back_from_its_fields(
            (broker_name, zone_name) in (".{0,5}", prop::option::of(".{0,5}")),
            (broker_id, heartbeat_timeout_ms) in (any::<i64>(), any::<Option<i64>>()),
            enable_acting_master: Option<bool>,
        ) {
            let header = RegisterBroker {
                broker_name,
                broker_addr: "10.0.0.1:10911".to_owned(),
                cluster_name: "C".to_owned(),
                ha_server_addr: "10.0.0.1:10912".to_owned(),
                broker_id,
                heartbeat_timeout_ms,
                enable_acting_master,
                body_crc32: None,
                compressed: None,
                zone_name,
            };
            prop_assert_eq!(RegisterBroker::of(&header.to_fields()), Ok(header));
        }
    }
}
