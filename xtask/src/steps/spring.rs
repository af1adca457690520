//! A Spring Boot program with `rocketmq-spring-boot-starter` against `gantry nameserver` and `gantry broker`: its template sends and
//! receives, its listeners consume and decide transactions.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};

use super::java::{self, Programs};
use crate::cluster::Cluster;
use crate::plan::{Context, Done};
use crate::{reference, shell, topics};

const BROKER: &str = "broker-a";
/// It brings Spring Boot 2.7 and the Remoting client 5.3.
const STARTER: &str = "spring-boot-starter";
const VERSION: &str = "2.3.5";
/// What its listeners subscribe to, with the type of the messages.
const TOPICS: [(&str, &str); 5] = [
    ("spring-plain", "NORMAL"),
    ("spring-ordered", "NORMAL"),
    ("spring-again", "NORMAL"),
    ("spring-pulled", "NORMAL"),
    ("spring-deals", "TRANSACTION"),
];
/// Clients look for it when they start, and then each 30 s.
const RETRIES: &str = "%RETRY%spring-again-group";

/// Half a minute.
pub(super) fn run(context: &Context) -> Result<Done> {
    java::run_with(context, "spring", &["RoundTrip"], || Ok(vec![reference::jars_of(STARTER, VERSION)?]), show)
}

fn show(Programs { folder, classes, log, gantry }: &Programs) -> Result<()> {
    let cluster = Cluster::start(folder, gantry, &[BROKER])?;
    create_topics(*cluster.broker_addresses().first().context("one broker")?)?;
    let mut java = reference::java_with(STARTER, VERSION, "spring/client", &[classes])?;
    java.arg("RoundTrip").arg(format!("--rocketmq.name-server={}", cluster.name_server()));
    let (printed, has_succeeded) = shell::output(&mut java, log)?;
    ensure!(has_succeeded, "the program: {} {printed}", log.display());
    cluster.stop()
}

fn create_topics(broker: SocketAddr) -> Result<()> {
    TOPICS.iter().try_for_each(|(topic, message_type)| topics::create(broker, topic, message_type))?;
    topics::create_with_permission(broker, RETRIES, "NORMAL", 6)
}
