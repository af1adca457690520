//! A name server, a broker and a proxy as processes of their own: ours beside Apache's, beside a no-op server, and beside
//! ours in one process.

use anyhow::{Result, bail};

use crate::ballast::Ballast;
use crate::bench::Bench;
use crate::load::{self, Window};
use crate::measurement::{Measurement, Metric};
use crate::noop::Protocol;
use crate::rivals::{Apache, Work, Xtask};
use crate::scenario::{IDLE, SINGLE_BYTES_A_SECOND, Scenario, Side, WARM_UP, set_memory};
use crate::server::{Contender, Gantry, Server};

/// One run.
pub(crate) async fn run(scenario: Scenario, side: Side, bench: &mut Bench) -> Result<Measurement> {
    if (scenario, side) == (Scenario::ClusterApache, Side::Baseline) {
        return apache_run(bench).await;
    }
    let window = Window { warm_up: WARM_UP, length: bench.window() };
    let ballast = Ballast::fill(SINGLE_BYTES_A_SECOND * loads(scenario) * (window.warm_up + window.length).as_secs())?;
    let server = match (scenario, side) {
        (Scenario::ClusterNoop, Side::Baseline) => Server::start(&Contender::Noop(Protocol::Grpc)).await?,
        (Scenario::ClusterHop, Side::Baseline) => Server::start(&Contender::Gantry(bench.gantry()?)).await?,
        _ => ours(&bench.gantry()?).await?,
    };
    let load = load(scenario, &server, window);
    let releasing = tokio::spawn(ballast.release_within((window.warm_up + window.length) * loads(scenario) as u32));
    let measurement = load.await?;
    releasing.await??;
    Ok(measurement)
}

/// Windows of a run that store messages.
fn loads(scenario: Scenario) -> u64 {
    match scenario {
        Scenario::ClusterApache => 2,
        Scenario::ClusterIdle => 0,
        _ => 1,
    }
}

async fn load(scenario: Scenario, server: &Server, window: Window) -> Result<Measurement> {
    let mut measurement = match scenario {
        Scenario::ClusterApache => paced_and_fast(server, window).await?,
        Scenario::ClusterNoop => load::send(server, 1, window).await?,
        Scenario::ClusterHop => load::paced(server, window).await?,
        Scenario::ClusterIdle => {
            tokio::time::sleep(IDLE).await;
            let mut measurement = Measurement::default();
            set_memory(&mut measurement, server.own_memory()?);
            return Ok(measurement);
        }
        other => bail!("{other} is not a load on a cluster"),
    };
    set_memory(&mut measurement, server.memory()?);
    Ok(measurement)
}

/// Sends at 2,000 a second, from which the latencies are, and then as fast as possible, from which all else is.
pub(crate) async fn paced_and_fast(server: &Server, window: Window) -> Result<Measurement> {
    let paced = load::paced(server, window).await?;
    let mut measurement = load::send(server, 1, window).await?;
    for metric in [Metric::P50, Metric::P99, Metric::P999] {
        if let Some(latency) = paced.0.get(&metric) {
            measurement.set(metric, *latency);
        }
    }
    Ok(measurement)
}

/// Our proxy, with broker and name server behind it.
async fn ours(gantry: &Gantry) -> Result<Server> {
    let names = Server::start(&Contender::NameServer(gantry.clone())).await?;
    let broker = Server::start(&Contender::Broker(gantry.clone(), Some(names.address()))).await?;
    let proxy = Server::start(&Contender::Proxy(gantry.clone(), names.address())).await?;
    Ok(proxy.before(vec![broker, names]))
}

/// The same of Apache's.
async fn apache(xtask: &Xtask) -> Result<Server> {
    eprintln!("cluster: starting Apache's name server, broker and proxy, about 30 s");
    let names = Server::start(&Contender::ApacheNameServer(xtask.clone())).await?;
    let broker = Server::start(&Contender::ApacheBroker(xtask.clone(), names.address())).await?;
    let proxy = Server::start(&Contender::ApacheProxy(xtask.clone(), names.address())).await?;
    Ok(proxy.before(vec![broker, names]))
}

async fn apache_run(bench: &mut Bench) -> Result<Measurement> {
    if bench.apache.is_none() {
        let window = Window { warm_up: WARM_UP, length: bench.window() };
        let server = apache(bench.xtask()).await?;
        bench.apache = Some(Apache::start("cluster", server, Work::Send(window), bench.is_quick()).await?);
    }
    let Some(apache) = &mut bench.apache else { unreachable!("it was just started") };
    apache.run().await
}
