//! `gantry demo-cluster`: a name server, two brokers, with slaves if they are asked for, and two proxies as processes of this machine, on
//! loopback, to try a cluster out.
//!
//! Start: name server → brokers, until they are registered → slaves, until their masters know them → topics → proxies → what to type.
//! Stop: proxies → slaves → brokers → name server, each as an operator stops it. If one ends by itself all are stopped.

mod member;
mod plan;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use env::Env;
use remoting::Client;
use remoting_proto::body::{ClusterInfo, HaStatus};
use remoting_proto::requests::UpdateAndCreateTopic;
use remoting_proto::{Command, Fields, RequestCode, ResponseCode};

use crate::signals::Signals;
use member::Member;
use plan::{BROKERS, Broker, PROXIES, Plan, REPLICAS_MAX};

/// Longest wait for a process to serve, or for a broker to be registered.
const START_WITHIN: Duration = Duration::from_secs(60);
const POLL_EVERY: Duration = Duration::from_millis(50);
/// Longest wait for a process to stop by itself; a proxy lets its clients finish for half a minute.
const STOP_WITHIN: Duration = Duration::from_secs(40);
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// Topics that the commands on the screen use, at both brokers.
const TOPICS: [&str; 2] = ["hello", "example-python-normal"];
/// Queues of a topic at each broker.
const QUEUES: i64 = 4;
/// To read and to write.
const PERMISSION: i64 = 6;

/// The arguments of `gantry demo-cluster`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where everything is kept: a directory a process, and what each prints in logs/; made when missing
    #[arg(long, value_name = "DIR", default_value = "./gantry-demo-cluster")]
    data: PathBuf,
    /// Processes of each broker that have its messages: with 2 or 3 a master, which answers once a slave has a message too, and its slaves
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=REPLICAS_MAX))]
    replicas: u8,
    /// Take ports that are free instead of the usual ones (9876, 10911, 10921, 8080 to 8082, 8085, 8086, 8090 to 8092, 8095, 8096, with
    /// slaves 10912, 10922, 10931, 10941, 10951 and 10961 too)
    #[arg(long)]
    free_ports: bool,
}

/// Runs until a signal, or until one of the processes ends.
///
/// # Errors
/// Why it could not start, or which process ended.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("signals")?;
    let plan = Plan::new(&arguments.data, arguments.free_ports, arguments.replicas.into())?;
    let mut members = Vec::new();
    let started = tokio::select! {
        started = start(&plan, &mut members) => started.map(|()| true),
        _ = signals.next() => Ok(false),
    };
    let ended = match started {
        Ok(true) => {
            // Nobody may be reading.
            let _ = writeln!(std::io::stdout(), "{plan}");
            tokio::select! {
                ended = one_ends(&mut members) => Err(ended),
                _ = signals.next() => Ok(()),
            }
        }
        started => started.map(drop),
    };
    tokio::select! {
        stopped = stop(members) => ended.and(stopped),
        // Who is left is killed with what started it.
        _ = signals.next() => bail!("a second signal: stopped at once, without waiting for requests"),
    }
}

async fn start(plan: &Plan, members: &mut Vec<Member>) -> anyhow::Result<()> {
    members.push(Member::start(plan.name_server_process())?);
    wait(members, "serve", || answers(plan.name_server)).await?;
    for broker in 0..BROKERS {
        members.push(Member::start(plan.broker_process(broker))?);
    }
    wait(members, "be registered", || async { registered(plan.name_server).await.is_ok_and(|count| count == BROKERS) })
        .await?;
    for process in plan.slave_processes() {
        members.push(Member::start(process)?);
    }
    for Broker { address, slaves, .. } in &plan.brokers {
        wait(members, "be known to its master", || has_slaves(*address, slaves.len())).await?;
    }
    for broker in &plan.brokers {
        for topic in TOPICS {
            create(broker.address, topic).await.with_context(|| format!("topic {topic} at {}", broker.address))?;
        }
    }
    for proxy in 0..PROXIES {
        members.push(Member::start(plan.proxy_process(proxy))?);
    }
    for proxy in plan.proxies {
        wait(members, "serve", || answers(proxy.grpc)).await?;
    }
    Ok(())
}

/// Waits until something is the case, or one of those that run ends.
async fn wait<F: Future<Output = bool>>(members: &mut [Member], what: &str, is: impl Fn() -> F) -> anyhow::Result<()> {
    let clock = Env::real().clock;
    let until = clock.moment().plus(START_WITHIN);
    while !is().await {
        for member in &mut *members {
            if let Some(ended) = member.has_ended()? {
                return Err(ended);
            }
        }
        let Some(last) = members.last() else { bail!("nothing was started") };
        ensure!(clock.moment() < until, "{last} does not {what} within {START_WITHIN:?}; see {}", last.log().display());
        clock.sleep(POLL_EVERY).await;
    }
    Ok(())
}

async fn answers(address: SocketAddr) -> bool {
    tokio::net::TcpStream::connect(address).await.is_ok()
}

/// How many brokers the name server knows.
async fn registered(name_server: SocketAddr) -> anyhow::Result<usize> {
    let answer = call(name_server, RequestCode::GetBrokerClusterInfo, Fields::default()).await?;
    let info: ClusterInfo = remoting_proto::from_slice(&answer.body)?;
    Ok(info.broker_addr_table.len())
}

/// Whether so many slaves of a master keep up.
async fn has_slaves(master: SocketAddr, count: usize) -> bool {
    let answer = call(master, RequestCode::GetBrokerHaStatus, Fields::default()).await;
    let status = answer.ok().and_then(|answer| remoting_proto::from_slice::<HaStatus>(&answer.body).ok());
    status.is_some_and(|status| usize::try_from(status.in_sync_slave_nums).is_ok_and(|slaves| slaves == count))
}

async fn create(broker: SocketAddr, topic: &str) -> anyhow::Result<()> {
    let header = UpdateAndCreateTopic {
        topic: topic.to_owned(),
        read_queue_nums: QUEUES,
        write_queue_nums: QUEUES,
        perm: PERMISSION,
        default_topic: None,
        topic_filter_type: None,
        topic_sys_flag: None,
        order: None,
        attributes: None,
    };
    call(broker, RequestCode::UpdateAndCreateTopic, header.to_fields()).await.map(drop)
}

async fn call(server: SocketAddr, code: RequestCode, fields: Fields) -> anyhow::Result<Command> {
    let client = Client::new(server.to_string(), Env::real().clock);
    let answer = client.call(Command::request(code, fields, Bytes::new()), ANSWER_WITHIN).await?;
    let remark = answer.remark.as_deref().unwrap_or("without a reason");
    ensure!(answer.response_code() == ResponseCode::Success, "{server} refuses with code {}: {remark}", answer.code);
    Ok(answer)
}

/// Waits until one ends that nobody has stopped.
async fn one_ends(members: &mut [Member]) -> anyhow::Error {
    let clock = Env::real().clock;
    loop {
        for member in &mut *members {
            match member.has_ended() {
                Ok(None) => {}
                Ok(Some(error)) | Err(error) => return error,
            }
        }
        clock.sleep(POLL_EVERY).await;
    }
}

/// Stops all, the last that was started first, those of one kind together.
async fn stop(mut members: Vec<Member>) -> anyhow::Result<()> {
    let mut stopped = Ok(());
    while let Some(last) = members.last() {
        let kind = last.kind();
        let first = members.iter().position(|member| member.kind() == kind).unwrap_or_default();
        let of_kind = members.split_off(first);
        for member in &of_kind {
            member.terminate();
        }
        for member in of_kind {
            stopped = stopped.and(member.ended_within(STOP_WITHIN).await);
        }
    }
    stopped
}
