//! A name server, a broker and a proxy as processes of their own: ours beside Apache's, beside a no-op server, and beside
//! ours in one process; and our proxy before Apache's broker.

use anyhow::{Context, Result, bail};

use crate::ballast::Ballast;
use crate::bench::Bench;
use crate::load::{self, NotHeld, Window};
use crate::measurement::{LATENCIES, Measurement, Metric};
use crate::noop::Protocol;
use crate::rivals::{Apache, Work};
use crate::scenario::{IDLE, MIB, SINGLE_BYTES_A_SECOND, Scenario, Side, WARM_UP, set_memory};
use crate::server::{Contender, Gantry, Part, Server};

/// One run.
pub(crate) async fn run(scenario: Scenario, side: Side, bench: &mut Bench) -> Result<Measurement> {
    let window = Window { warm_up: WARM_UP, length: bench.window() };
    match (scenario, side) {
        (Scenario::ClusterApache | Scenario::ClusterMixed, Side::Baseline) => apache(bench, window).await?.run().await,
        (Scenario::ClusterMixed, Side::Gantry) => {
            let gantry = bench.gantry()?;
            apache(bench, window).await?.run_behind(gantry, window).await
        }
        _ => loaded(scenario, side, bench, window).await,
    }
}

/// One run against a fresh server.
async fn loaded(scenario: Scenario, side: Side, bench: &Bench, window: Window) -> Result<Measurement> {
    let ballast = Ballast::fill(SINGLE_BYTES_A_SECOND * loads(scenario) * (window.warm_up + window.length).as_secs())?;
    let server = match (scenario, side) {
        (Scenario::ClusterNoop | Scenario::ClusterClients, Side::Baseline) => {
            Server::start(&Contender::Noop(Protocol::Grpc)).await?
        }
        (Scenario::ClusterHop, Side::Baseline) => Server::start(&Contender::Gantry(bench.gantry()?)).await?,
        _ => ours(&bench.gantry()?).await?,
    };
    let load = load(scenario, &server, window, bench.is_quick());
    let releasing = tokio::spawn(ballast.release_within((window.warm_up + window.length) * loads(scenario) as u32));
    let measurement = load.await?;
    releasing.await??;
    Ok(measurement)
}

/// Windows of a run that store messages.
fn loads(scenario: Scenario) -> u64 {
    match scenario {
        Scenario::ClusterApache => 2,
        Scenario::ClusterIdle | Scenario::ClusterClients => 0,
        _ => 1,
    }
}

async fn load(scenario: Scenario, server: &Server, window: Window, is_quick: bool) -> Result<Measurement> {
    let mut measurement = match scenario {
        Scenario::ClusterApache => paced_and_fast(server, window).await?,
        Scenario::ClusterNoop => load::send(server, 1, window).await?,
        Scenario::ClusterHop => load::paced(server, window).await?,
        Scenario::ClusterClients => load::memory_of_clients(server, is_quick).await?,
        Scenario::ClusterIdle => {
            tokio::time::sleep(IDLE).await;
            let mut measurement = Measurement::default();
            set_memory(&mut measurement, server.own_memory()?);
            return Ok(measurement);
        }
        other => bail!("{other} is not a load on a cluster"),
    };
    set_memory(&mut measurement, server.memory()?);
    set_memories(&mut measurement, server)?;
    Ok(measurement)
}

/// Adds the memory that each of a cluster's processes holds.
#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^53 bytes")]
pub(crate) fn set_memories(measurement: &mut Measurement, server: &Server) -> Result<()> {
    for (part, memory) in server.memories()? {
        let metric = match part {
            Part::Proxy => Metric::ProxyMemory,
            Part::Broker => Metric::BrokerMemory,
            Part::Slave => Metric::SlaveMemory,
            Part::NameServer => Metric::NameServerMemory,
        };
        measurement.set(metric, memory.anonymous_bytes as f64 / MIB);
    }
    Ok(())
}

/// Sends at 2,000 a second, from which the latencies are, and then as fast as possible, from which all else is. A server that does not hold
/// that rate has no latencies.
pub(crate) async fn paced_and_fast(server: &Server, window: Window) -> Result<Measurement> {
    let paced = load::paced(server, window).await;
    let mut measurement = load::send(server, 1, window).await?;
    let paced = match paced {
        Err(error) if error.is::<NotHeld>() => {
            eprintln!("cluster: {error}");
            return Ok(without_latencies(measurement));
        }
        paced => paced?,
    };
    for metric in LATENCIES {
        if let Some(latency) = paced.0.get(&metric) {
            measurement.set(metric, *latency);
        }
    }
    Ok(measurement)
}

/// Those of the fast part say how many requests were in flight, and nothing else.
fn without_latencies(mut measurement: Measurement) -> Measurement {
    for metric in LATENCIES {
        measurement.0.remove(&metric);
    }
    measurement
}

/// Our proxy, with broker and name server behind it.
async fn ours(gantry: &Gantry) -> Result<Server> {
    let names = Server::start(&Contender::NameServer(gantry.clone())).await?;
    let broker = Server::start(&Contender::Broker(gantry.clone(), Some(names.address()))).await?;
    let proxy = Server::start(&Contender::Proxy(gantry.clone(), names.address())).await?;
    Ok(proxy.before(vec![broker, names]))
}

/// Apache's, which serve all runs of a scenario.
async fn apache(bench: &mut Bench, window: Window) -> Result<&mut Apache> {
    if bench.apache.is_none() {
        let xtask = bench.xtask();
        eprintln!("cluster: starting Apache's name server, broker and proxy, about 30 s");
        let names = Server::start(&Contender::ApacheNameServer(xtask.clone())).await?;
        let broker = Server::start(&Contender::ApacheBroker(xtask.clone(), names.address())).await?;
        let proxy = Server::start(&Contender::ApacheProxy(xtask.clone(), names.address())).await?;
        let server = proxy.before(vec![broker, names]);
        bench.apache = Some(Apache::start("cluster", server, Work::Send(window), bench.is_quick()).await?);
    }
    bench.apache.as_mut().context("it was just started")
}
