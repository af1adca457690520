//! Masters and slaves: how far slaves are, what controllers know of them, and which masters a log is of.

use std::collections::BTreeMap;

use clap::Args;
use remoting_proto::body::{BrokerReplicas, EpochCache, HaClient, HaConnection, HaStatus as Told, Replica, Replicas};
use remoting_proto::requests::GetControllerMetadataAnswer;
use remoting_proto::{Dialect, Fields, RequestCode};
use serde::Serialize;

use super::answers::{Answers, Missing, sort};
use super::network::{Error, Network, Node, Question, json, unreadable};
use super::which::Which;
use crate::config::value;
use crate::output::{Output, facts, table, yes};

#[derive(Debug, Args)]
pub(in crate::admin) struct HaStatus {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Serialize)]
struct Statuses {
    brokers: Vec<Status>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    broker: String,
    address: String,
    role: &'static str,
    /// Where its log ends, in bytes.
    log_end: u64,
    /// Where a slave gets the log from just now, `HOST:PORT`.
    master: Option<String>,
    /// A master's.
    slaves: Vec<Slave>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Slave {
    /// From where it is connected.
    address: String,
    log_end: u64,
    behind_bytes: u64,
    in_sync: bool,
}

impl HaStatus {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let nodes = self.which.all(network).await?;
        let question = Question::new(RequestCode::GetBrokerHaStatus, "", Fields::default());
        let (found, missing) = sort(network.ask_each(nodes, &question, json).await);
        let brokers = found.into_iter().map(|(node, told)| Status::of(node, told)).collect();
        Answers { found: Statuses { brokers }, missing }.print(output, |found| statuses_text(&found.brokers))
    }
}

impl Status {
    fn of(node: Node, told: Told) -> Self {
        let Node { broker, address, .. } = node;
        let HaClient { master_addr, max_offset, .. } = told.ha_client_runtime_info.unwrap_or_default();
        let (role, log_end) =
            if told.master { ("MASTER", told.master_commit_log_max_offset) } else { ("SLAVE", max_offset) };
        let slave = |HaConnection { addr, slave_ack_offset, diff, in_sync, .. }: HaConnection| Slave {
            address: addr,
            log_end: slave_ack_offset,
            behind_bytes: diff,
            in_sync,
        };
        Self {
            broker,
            address,
            role,
            log_end,
            master: Some(master_addr).filter(|address| !address.is_empty()),
            slaves: told.ha_connection_info.into_iter().map(slave).collect(),
        }
    }
}

/// A line for each slave of a master, and one for each broker without any.
fn statuses_text(brokers: &[Status]) -> String {
    let rows = brokers.iter().flat_map(|status| {
        let row = |peer: Option<&str>, behind: Option<u64>, in_sync: Option<bool>| {
            [
                status.broker.clone(),
                status.address.clone(),
                status.role.to_owned(),
                status.log_end.to_string(),
                peer.map_or_else(nothing, str::to_owned),
                behind.map_or_else(nothing, |bytes| bytes.to_string()),
                in_sync.map_or_else(nothing, yes),
            ]
        };
        match status.slaves.as_slice() {
            [] => vec![row(status.master.as_deref(), None, None)],
            slaves => {
                let of = |slave: &Slave| row(Some(&slave.address), Some(slave.behind_bytes), Some(slave.in_sync));
                slaves.iter().map(of).collect()
            }
        }
    });
    table(["BROKER", "ADDRESS", "ROLE", "LOG END", "CONNECTED", "BYTES BEHIND", "IN SYNC"], rows)
}

fn nothing() -> String {
    "-".to_owned()
}

/// A controller, whichever of its group.
#[derive(Debug, Args)]
struct Controller {
    /// A controller, HOST:PORT; it names the one that leads
    #[arg(short = 'a', long = "controller", value_name = "ADDR", value_parser = address)]
    address: String,
}

fn address(text: &str) -> Result<String, value::Expected> {
    value::endpoint(text).map(|_| text.to_owned())
}

#[derive(Debug, Args)]
pub(in crate::admin) struct GetControllerMetaData {
    #[command(flatten)]
    controller: Controller,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Controllers {
    group: String,
    leader: Option<String>,
    leader_address: Option<String>,
    /// `ID:HOST:PORT` each.
    controllers: Vec<String>,
}

impl GetControllerMetaData {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let told = self.controller.metadata(network).await?;
        let found = Controllers {
            group: told.group,
            leader: told.controller_leader_id,
            leader_address: told.controller_leader_address,
            controllers: told.peers.split(';').filter(|peer| !peer.is_empty()).map(str::to_owned).collect(),
        };
        output.show(&found, |Controllers { group, leader, leader_address, controllers }| {
            facts([
                ("group", group.clone()),
                ("leader", leader.clone().unwrap_or_else(nothing)),
                ("leader address", leader_address.clone().unwrap_or_else(nothing)),
                ("controllers", controllers.join(", ")),
            ])
        })
    }
}

impl Controller {
    /// What it says of its group.
    async fn metadata(&self, network: &Network) -> Result<GetControllerMetadataAnswer, Error> {
        let node = Node::at(&self.address);
        let question = Question::new(RequestCode::ControllerGetMetadataInfo, "", Fields::default());
        let answer = network.ask(&node, &question).await?;
        GetControllerMetadataAnswer::of(&answer.fields).map_err(|error| unreadable(&node, &question, error))
    }

    /// The one that leads its group.
    async fn leader(&self, network: &Network) -> Result<Node, Error> {
        let leader = self.metadata(network).await?.controller_leader_address.filter(|address| !address.is_empty());
        let none = || Error::NoLeader { controller: self.address.clone() };
        Ok(Node::at(&leader.ok_or_else(none)?))
    }
}

#[derive(Debug, Args)]
pub(in crate::admin) struct GetSyncStateSet {
    #[command(flatten)]
    controller: Controller,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Serialize)]
struct Sets {
    brokers: Vec<Set>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Set {
    broker: String,
    master_id: Option<i64>,
    master_epoch: i32,
    sync_state_set_epoch: i32,
    replicas: Vec<Member>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Member {
    id: i64,
    address: String,
    in_sync: bool,
    alive: bool,
}

impl GetSyncStateSet {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let names = self.which.names(network).await?;
        let leader = self.controller.leader(network).await?;
        let body = remoting_proto::to_vec(&names, Dialect::Standard);
        let question = Question::new(RequestCode::ControllerGetSyncStateData, "", Fields::default()).with_body(body);
        let BrokerReplicas { mut replicas_info_table } = network.ask_for(&leader, &question).await?;
        let (mut brokers, mut missing) = (Vec::new(), Vec::new());
        for broker in names {
            match replicas_info_table.remove(&broker) {
                Some(replicas) => brokers.push(Set::of(broker, replicas)),
                None => {
                    let node = Node { broker, ..leader.clone() };
                    let error = Error::Uncontrolled { broker: node.broker.clone() };
                    missing.push(Missing::new(node, &error));
                }
            }
        }
        Answers { found: Sets { brokers }, missing }.print(output, |found| sets_text(&found.brokers))
    }
}

impl Set {
    fn of(broker: String, told: Replicas) -> Self {
        let member = |in_sync| {
            move |Replica { broker_id, broker_address, alive, .. }: Replica| Member {
                id: broker_id,
                address: broker_address,
                in_sync,
                alive,
            }
        };
        let in_sync = told.in_sync_replicas.into_iter().map(member(true));
        let mut replicas: Vec<_> = in_sync.chain(told.not_in_sync_replicas.into_iter().map(member(false))).collect();
        replicas.sort_by_key(|replica| replica.id);
        Self {
            broker,
            master_id: told.master_broker_id,
            master_epoch: told.master_epoch,
            sync_state_set_epoch: told.sync_state_set_epoch,
            replicas,
        }
    }
}

fn sets_text(brokers: &[Set]) -> String {
    let rows = brokers.iter().flat_map(|set| {
        set.replicas.iter().map(|replica| {
            let is_master = set.master_id == Some(replica.id);
            [
                set.broker.clone(),
                replica.id.to_string(),
                replica.address.clone(),
                if is_master { "MASTER" } else { "SLAVE" }.to_owned(),
                yes(replica.in_sync),
                yes(replica.alive),
                set.master_epoch.to_string(),
                set.sync_state_set_epoch.to_string(),
            ]
        })
    });
    table(["BROKER", "ID", "ADDRESS", "ROLE", "IN SYNC", "ALIVE", "MASTER EPOCH", "SET EPOCH"], rows)
}

#[derive(Debug, Args)]
pub(in crate::admin) struct GetBrokerEpoch {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Serialize)]
struct Epochs {
    brokers: Vec<BrokerEpochs>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct BrokerEpochs {
    broker: String,
    id: i64,
    address: String,
    log_end: u64,
    /// Where the log of each begins, by epoch.
    epochs: BTreeMap<i32, u64>,
}

impl GetBrokerEpoch {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let nodes = self.which.all(network).await?;
        let question = Question::new(RequestCode::GetBrokerEpochCache, "", Fields::default());
        let (found, missing) = sort(network.ask_each(nodes, &question, json).await);
        let brokers = found.into_iter().map(|(node, cache)| BrokerEpochs::of(node, cache)).collect();
        Answers { found: Epochs { brokers }, missing }.print(output, |found| epochs_text(&found.brokers))
    }
}

impl BrokerEpochs {
    fn of(node: Node, told: EpochCache) -> Self {
        Self {
            broker: told.broker_name,
            id: told.broker_id,
            address: node.address,
            log_end: told.max_offset,
            epochs: told.epoch_list.into_iter().map(|entry| (entry.epoch, entry.start_offset)).collect(),
        }
    }
}

fn epochs_text(brokers: &[BrokerEpochs]) -> String {
    let rows = brokers.iter().flat_map(|broker| {
        broker.epochs.iter().map(|(epoch, begins)| {
            [
                broker.broker.clone(),
                broker.id.to_string(),
                broker.address.clone(),
                epoch.to_string(),
                begins.to_string(),
                broker.log_end.to_string(),
            ]
        })
    });
    table(["BROKER", "ID", "ADDRESS", "EPOCH", "BEGINS AT", "LOG END"], rows)
}

#[cfg(test)]
mod tests {
    use super::super::network::tests::node;
    use super::*;

    fn words(text: &str) -> Vec<Vec<&str>> {
        text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect()
    }

    #[test]
    fn a_master_has_a_line_for_each_slave_and_a_slave_its_master() {
        let connection = |addr: &str, diff| HaConnection {
            addr: addr.to_owned(),
            slave_ack_offset: 100 - diff,
            diff,
            in_sync: diff == 0,
            ..HaConnection::default()
        };
        let master = Told {
            master: true,
            master_commit_log_max_offset: 100,
            ha_connection_info: vec![connection("h:1", 0), connection("h:2", 7)],
            ..Told::default()
        };
        let client = |master: &str| HaClient { master_addr: master.to_owned(), max_offset: 93, ..HaClient::default() };
        let slave = |master: &str| Told { ha_client_runtime_info: Some(client(master)), ..Told::default() };
        let told = [(node("a", 0), master), (node("a", 1), slave("m:1")), (node("a", 2), slave(""))];
        let statuses: Vec<_> = told.into_iter().map(|(node, told)| Status::of(node, told)).collect();
        assert_eq!((statuses[1].master.as_deref(), &statuses[2].master), (Some("m:1"), &None));
        let text = statuses_text(&statuses);
        assert_eq!(
            words(&text),
            [
                vec!["a", "10.0.0.1:10910", "MASTER", "100", "h:1", "0", "yes"],
                vec!["a", "10.0.0.1:10910", "MASTER", "100", "h:2", "7", "no"],
                vec!["a", "10.0.0.1:10911", "SLAVE", "93", "m:1", "-", "-"],
                vec!["a", "10.0.0.1:10912", "SLAVE", "93", "-", "-", "-"],
            ]
        );
    }

    #[test]
    fn all_brokers_of_a_name_are_shown_by_their_id() {
        let replica = |broker_id| Replica {
            broker_id,
            broker_address: format!("h:{broker_id}"),
            alive: broker_id != 1,
            ..Replica::default()
        };
        let told = Replicas {
            master_broker_id: Some(2),
            master_epoch: 3,
            sync_state_set_epoch: 5,
            in_sync_replicas: vec![replica(3), replica(2)],
            not_in_sync_replicas: vec![replica(1)],
            ..Replicas::default()
        };
        let text = sets_text(&[Set::of("a".to_owned(), told)]);
        assert_eq!(
            words(&text),
            [
                ["a", "1", "h:1", "SLAVE", "no", "no", "3", "5"],
                ["a", "2", "h:2", "MASTER", "yes", "yes", "3", "5"],
                ["a", "3", "h:3", "SLAVE", "yes", "yes", "3", "5"],
            ]
        );
    }
}
