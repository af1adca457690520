//! `gantry admin` of a cluster: mqadmin's verbs, asked of name servers and brokers over Remoting, ours or Apache's.
//!
//! Why they stand beside `topic`, `group` and `message`: `docs/decisions/0007-admin-verbs.md`.

mod answers;
mod brokers;
mod clients;
mod groups;
mod kv;
mod messages;
mod network;
mod print;
mod replication;
mod send;
mod stats;
mod topics;
mod trace;
mod which;

use clap::Subcommand;
use remoting::Trust;

use crate::config;
use crate::output::Output;
use network::Network;

/// The name servers that are asked, `HOST:PORT` each.
#[derive(Clone, Debug)]
pub(super) struct NameServers(Vec<String>);

impl NameServers {
    /// Reads addresses as Apache's tools take them, separated by semicolons.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let expected = |expected| format!("expected {expected}; several are separated by semicolons");
        if text.contains(',') {
            return Err(expected("no comma"));
        }
        config::proxy::name_servers(text).map(Self).map_err(expected)
    }
}

/// The verbs, under mqadmin's names.
#[derive(Debug, Subcommand)]
#[command(rename_all = "camelCase")]
pub(super) enum Verb {
    /// List the brokers of all clusters: addresses, versions, messages a second
    ClusterList(brokers::ClusterList),
    /// Show what brokers count and measure of themselves
    BrokerStatus(brokers::BrokerStatus),
    /// Show how far masters' slaves are, and whose log slaves get
    HaStatus(replication::HaStatus),
    /// Show the controllers of a group, and which of them leads
    GetControllerMetaData(replication::GetControllerMetaData),
    /// Show which brokers of a name are in sync with their master, as the controllers know it
    GetSyncStateSet(replication::GetSyncStateSet),
    /// Show which masters the logs of brokers in controller mode are of
    GetBrokerEpoch(replication::GetBrokerEpoch),
    /// Show the configuration of brokers
    GetBrokerConfig(brokers::GetBrokerConfig),
    /// Change a setting of running brokers; what may be changed is theirs to say
    UpdateBrokerConfig(brokers::UpdateBrokerConfig),
    /// Take the permission to write from all topics of a broker, before it is taken away
    WipeWritePerm(brokers::WritePermission),
    /// Give all topics of a broker the permission to read and write again
    AddWritePerm(brokers::WritePermission),
    /// List topics
    TopicList(topics::TopicList),
    /// Show which brokers have a topic's queues
    TopicRoute(topics::TopicRoute),
    /// Show where a topic's queues begin and end
    TopicStatus(topics::TopicStatus),
    /// Make a topic, or change of it what is named
    UpdateTopic(topics::UpdateTopic),
    /// Change what may be done with a topic that is there
    UpdateTopicPerm(topics::UpdateTopicPerm),
    /// Show, set or forget which brokers hold a topic's queues in order, at the name servers
    UpdateOrderConf(kv::UpdateOrderConf),
    /// Show how much comes into topics and goes out to their groups
    StatsAll(stats::StatsAll),
    /// Delete a topic on all brokers of a cluster, with its messages
    DeleteTopic(topics::DeleteTopic),
    /// Show how far consumer groups are: one queue by queue, or all
    ConsumerProgress(groups::ConsumerProgress),
    /// Make a consumer group, or change of it what is named
    UpdateSubGroup(groups::UpdateSubGroup),
    /// Delete a consumer group with its offsets
    DeleteSubGroup(groups::DeleteSubGroup),
    /// Let a group go on at messages of a time, or at the end
    ResetOffsetByTime(groups::ResetOffsetByTime),
    /// Let a group go on at the end: what it has not consumed yet it never does
    SkipAccumulatedMessage(groups::SkipAccumulatedMessage),
    /// Let a group go on where another one is
    CloneGroupOffset(groups::CloneGroupOffset),
    /// Show the clients that consume in a group, and what they subscribe to
    ConsumerConnection(clients::ConsumerConnection),
    /// Show the clients that produce
    ProducerConnection(clients::ProducerConnection),
    /// Show a message by its offset message id
    QueryMsgById(messages::QueryMsgById),
    /// Find messages by a key that their producer gave
    QueryMsgByKey(messages::QueryMsgByKey),
    /// Show a message by the id that its producer was told
    QueryMsgByUniqueKey(messages::QueryMsgByUniqueKey),
    /// Show the message at an offset of a queue
    QueryMsgByOffset(messages::QueryMsgByOffset),
    /// Show what producers and consumers told of a message's way
    QueryMsgTraceById(trace::QueryMsgTraceById),
    /// Print a topic's messages, one a line, queue by queue
    PrintMsg(print::PrintMsg),
    /// Print messages as a group may read them; where the group is stays as it is
    ConsumeMessage(print::ConsumeMessage),
    /// Send a message
    SendMessage(send::SendMessage),
    /// Send messages to all queues of a topic in turn, and show how long brokers take to store them
    #[command(name = "checkMsgSendRT")]
    CheckMsgSendRt(send::CheckMsgSendRt),
    /// Set a value of the name servers' key-value configuration
    UpdateKvConfig(kv::UpdateKvConfig),
    /// Remove a value of it
    DeleteKvConfig(kv::DeleteKvConfig),
}

/// Carries out a verb and prints its result.
pub(super) async fn run(
    verb: &Verb,
    NameServers(name_servers): &NameServers,
    trust: Option<Trust>,
    output: Output,
) -> anyhow::Result<()> {
    let network = &Network::new(name_servers.clone(), trust);
    match verb {
        Verb::ClusterList(verb) => verb.run(network, output).await,
        Verb::BrokerStatus(verb) => verb.run(network, output).await,
        Verb::HaStatus(verb) => verb.run(network, output).await,
        Verb::GetControllerMetaData(verb) => verb.run(network, output).await,
        Verb::GetSyncStateSet(verb) => verb.run(network, output).await,
        Verb::GetBrokerEpoch(verb) => verb.run(network, output).await,
        Verb::GetBrokerConfig(verb) => verb.run(network, output).await,
        Verb::UpdateBrokerConfig(verb) => verb.run(network, output).await,
        Verb::WipeWritePerm(verb) => verb.wipe(network, output).await,
        Verb::AddWritePerm(verb) => verb.add(network, output).await,
        Verb::TopicList(verb) => verb.run(network, output).await,
        Verb::TopicRoute(verb) => verb.run(network, output).await,
        Verb::TopicStatus(verb) => verb.run(network, output).await,
        Verb::UpdateTopic(verb) => verb.run(network, output).await,
        Verb::UpdateTopicPerm(verb) => verb.run(network, output).await,
        Verb::UpdateOrderConf(verb) => verb.run(network, output).await,
        Verb::StatsAll(verb) => verb.run(network, output).await,
        Verb::DeleteTopic(verb) => verb.run(network, output).await,
        Verb::ConsumerProgress(verb) => verb.run(network, output).await,
        Verb::UpdateSubGroup(verb) => verb.run(network, output).await,
        Verb::DeleteSubGroup(verb) => verb.run(network, output).await,
        Verb::ResetOffsetByTime(verb) => verb.run(network, output).await,
        Verb::SkipAccumulatedMessage(verb) => verb.run(network, output).await,
        Verb::CloneGroupOffset(verb) => verb.run(network, output).await,
        Verb::ConsumerConnection(verb) => verb.run(network, output).await,
        Verb::ProducerConnection(verb) => verb.run(network, output).await,
        Verb::QueryMsgById(verb) => verb.run(network, output).await,
        Verb::QueryMsgByKey(verb) => verb.run(network, output).await,
        Verb::QueryMsgByUniqueKey(verb) => verb.run(network, output).await,
        Verb::QueryMsgByOffset(verb) => verb.run(network, output).await,
        Verb::QueryMsgTraceById(verb) => verb.run(network, output).await,
        Verb::PrintMsg(verb) => verb.run(network, output).await,
        Verb::ConsumeMessage(verb) => verb.run(network, output).await,
        Verb::SendMessage(verb) => verb.run(network, output).await,
        Verb::CheckMsgSendRt(verb) => verb.run(network, output).await,
        Verb::UpdateKvConfig(verb) => verb.run(network, output).await,
        Verb::DeleteKvConfig(verb) => verb.run(network, output).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_addresses_with_semicolons_between() {
        let of = |text| NameServers::parse(text).map(|NameServers(addresses)| addresses);
        assert_eq!(of("a:1;10.0.0.1:2;").expect("valid"), ["a:1", "10.0.0.1:2"]);
        for bad in ["", "a", "a:1;b", "a:1,b:2", "http://a:1"] {
            assert!(of(bad).is_err_and(|text| text.contains("semicolons")), "{bad}");
        }
    }
}
