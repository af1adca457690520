//! Which brokers a verb is about.

use std::collections::BTreeSet;

use clap::Args;

use super::network::{Error, Network, Node, masters};
use crate::config::value;

/// The brokers that are meant.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Which {
    /// All brokers of this cluster, as clusterList shows it
    #[arg(short, long)]
    cluster: Option<String>,
    /// One broker: its name, or HOST:PORT
    #[arg(short, long)]
    broker: Option<String>,
}

impl Which {
    /// Masters and slaves.
    pub(super) async fn all(&self, network: &Network) -> Result<Vec<Node>, Error> {
        match (&self.cluster, &self.broker) {
            (_, Some(broker)) => of_broker(network, broker).await,
            (Some(cluster), _) => of_cluster(network.brokers().await?, cluster),
            (None, None) => network.brokers().await,
        }
    }

    /// Those that take changes.
    pub(super) async fn masters(&self, network: &Network) -> Result<Vec<Node>, Error> {
        masters(self.all(network).await?)
    }

    /// The names of all; one that is named need not be known to name servers.
    pub(super) async fn names(&self, network: &Network) -> Result<BTreeSet<String>, Error> {
        match &self.broker {
            Some(broker) => Ok(BTreeSet::from([broker.clone()])),
            None => Ok(self.all(network).await?.into_iter().map(|node| node.broker).collect()),
        }
    }

    #[cfg(test)]
    pub(super) fn broker(name: &str) -> Self {
        Self { cluster: None, broker: Some(name.to_owned()) }
    }

    /// The cluster, if a whole one is meant.
    pub(super) fn cluster(&self) -> Option<&str> {
        self.cluster.as_deref()
    }
}

/// A broker by its name, or at an address, whether name servers know it or not.
pub(super) async fn of_broker(network: &Network, broker: &str) -> Result<Vec<Node>, Error> {
    if value::endpoint(broker).is_ok() {
        return Ok(vec![Node::at(broker)]);
    }
    named("broker", broker, network.brokers().await?, |node| &node.broker)
}

/// The brokers that have a topic's queues, one address each; or the one of them that is named.
pub(super) async fn of_topic(network: &Network, topic: &str, broker: Option<&str>) -> Result<Vec<Node>, Error> {
    let nodes = network.brokers_of(topic).await?;
    match broker {
        None => Ok(nodes),
        Some(address) if value::endpoint(address).is_ok() => named("broker", address, nodes, |node| &node.address),
        Some(name) => named("broker", name, nodes, |node| &node.broker),
    }
}

/// The brokers of a cluster.
pub(super) fn of_cluster(nodes: Vec<Node>, cluster: &str) -> Result<Vec<Node>, Error> {
    named("cluster", cluster, nodes, |node| &node.cluster)
}

fn named(what: &'static str, name: &str, nodes: Vec<Node>, of: impl Fn(&Node) -> &str) -> Result<Vec<Node>, Error> {
    let (found, others): (Vec<Node>, Vec<Node>) = nodes.into_iter().partition(|node| of(node) == name);
    if !found.is_empty() {
        return Ok(found);
    }
    let mut known: Vec<&str> = others.iter().map(of).collect();
    known.sort_unstable();
    known.dedup();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Err(Error::Unknown { what, name: name.to_owned(), known })
}

#[cfg(test)]
mod tests {
    use super::super::network::tests::node;
    use super::*;

    #[test]
    fn an_unknown_name_is_answered_with_those_that_there_are() {
        let nodes = || vec![node("a", 0), node("b", 0), node("b", 1)];
        let broker = |name| named("broker", name, nodes(), |node| &node.broker);
        assert_eq!(broker("b").expect("there"), [node("b", 0), node("b", 1)]);
        let refusal = "there is no broker \"c\"; the name server knows: a, b";
        assert_eq!(broker("c").expect_err("not there").to_string(), refusal);
        let refusal = "there is no cluster \"D\"; the name server knows: none";
        assert_eq!(of_cluster(Vec::new(), "D").expect_err("not there").to_string(), refusal);
    }

    #[tokio::test]
    async fn a_broker_at_an_address_needs_no_name_server() {
        let network = Network::new(Vec::new(), None);
        assert_eq!(of_broker(&network, "10.0.0.1:10911").await.expect("an address"), [Node::at("10.0.0.1:10911")]);
        assert!(matches!(of_broker(&network, "broker-a").await, Err(Error::NoNameServer { .. })));
    }
}
