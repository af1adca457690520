//! Processes of a cluster are killed under load, in an order that chance decides: no acknowledged message is lost, and sends are back to
//! what they were within a bound, while the killed one is still away.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};

use super::super::proxy::python;
use super::life::Proxy;
use crate::cluster::Cluster;
use crate::plan::Context;
use crate::process::Process;
use crate::topics;

/// Longest wait for the client to do its work.
const WITHIN: Duration = Duration::from_secs(150);
const TOPIC: &str = "kills";
/// Sends are as they were within this time. Source: issue 5.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// What sends in a second count as if the same as before: a share of those.
const SAME: f64 = 0.8;
/// What sends are measured over.
const SECOND: Duration = Duration::from_secs(1);
/// The same before a kill.
const BEFORE: Duration = Duration::from_secs(2);
/// How long a killed process stays away with `--full`: longer than proxies keep routes.
const AWAY: Duration = Duration::from_secs(25);

/// Which process is killed: its place in its tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    NameServer(usize),
    Broker(usize),
    Proxy(usize),
}

/// Kills one of each tier, or with `--full` every one; all run on return.
pub(super) fn show(context: &Context, cluster: &mut Cluster, folder: &Path, proxies: [Proxy; 2]) -> Result<[Proxy; 2]> {
    for broker in cluster.broker_addresses() {
        topics::create(broker, TOPIC, "NORMAL")?;
    }
    let (acks, end, log) = (folder.join("kills.acks"), folder.join("kills.end"), folder.join("kills.log"));
    let mut command = python(context, "kills.py");
    command.args(proxies.each_ref().map(|(_, _, address)| address.to_string()));
    command.args([TOPIC, &format!("{TOPIC}-group")]).arg(&acks).arg(&end);
    let mut client = Process::start("client", command, log.clone())?;
    let has_begun = || fs::read_to_string(&log).is_ok_and(|text| text.contains("begun"));
    client.wait_until("begins", WITHIN, has_begun)?;
    let mut proxies = proxies.map(|(name, process, address)| (name, Some(process), address));
    let mut usual = None;
    for victim in victims(context.is_full) {
        let acks = || read(&acks);
        // So that it is known what sends are without a kill.
        let began = SystemTime::now();
        client.wait_until("sends", WITHIN, || began.elapsed().is_ok_and(|since| since > BEFORE + SECOND))?;
        let killed_at = SystemTime::now();
        match victim {
            Victim::NameServer(index) => cluster.kill_name_server(index),
            Victim::Broker(index) => cluster.kill_broker(index)?,
            // It is killed when it is dropped.
            Victim::Proxy(index) => proxies[index].1 = None,
        }
        let is_over = |within: Duration| killed_at.elapsed().is_ok_and(|since| since > within);
        let is_back = || is_over(BACK_WITHIN + SECOND) || back_after(&acks(), killed_at).is_some();
        client.wait_until("sends as before", WITHIN, is_back)?;
        if context.is_full {
            client.wait_until("sends on", WITHIN, || is_over(AWAY))?;
        }
        let acks = acks();
        let before = rate(&acks, killed_at - BEFORE, killed_at);
        let usual = *usual.get_or_insert(before);
        ensure!(
            before >= SAME * usual,
            "{victim:?}: {before} sends a second before it is killed, {usual} before the first"
        );
        let back = back_after(&acks, killed_at).filter(|back| *back <= BACK_WITHIN);
        let back =
            back.with_context(|| format!("{victim:?} was killed: not {before} sends a second within {BACK_WITHIN:?}"))?;
        let since = rate(&acks, killed_at + back, SystemTime::now());
        ensure!(since >= SAME * before, "{victim:?} was killed: {since} sends a second, {before} before");
        println!("{victim:?} was killed: sends were as before after {} ms", back.as_millis());
        match victim {
            Victim::NameServer(index) => cluster.restart_name_server(index)?,
            Victim::Broker(index) => cluster.restart_broker(index)?,
            Victim::Proxy(index) => {
                let (name, process, address) = &mut proxies[index];
                *process = Some(cluster.start_proxy(name, *address)?);
            }
        }
    }
    fs::write(&end, "")?;
    client.finish(WITHIN)?;
    let [first, second] = proxies.map(|(name, process, address)| Some((name, process?, address)));
    Ok([first.context("the first proxy runs")?, second.context("the second proxy runs")?])
}

/// In an order that no run shares with another: which it was is printed.
fn victims(is_full: bool) -> Vec<Victim> {
    let chance = RandomState::new();
    let both = [0, 1].map(|place| [Victim::NameServer(place), Victim::Broker(place), Victim::Proxy(place)]);
    let mut victims = both.concat();
    victims.sort_by_key(|victim| chance.hash_one(format!("{victim:?}")));
    if !is_full {
        let mut tiers = HashSet::new();
        victims.retain(|victim| tiers.insert(std::mem::discriminant(victim)));
    }
    victims
}

/// When messages were acknowledged, in their order.
fn read(file: &Path) -> Vec<SystemTime> {
    let text = fs::read_to_string(file).unwrap_or_default();
    // The last line may be half written.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().filter_map(|line| Some(at(line.parse().ok()?))).collect()
}

fn at(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms)
}

/// How long after a kill a second began in which as many sends were acknowledged as before it; `None` if there was none yet.
fn back_after(acks: &[SystemTime], killed_at: SystemTime) -> Option<Duration> {
    let before = rate(acks, killed_at - BEFORE, killed_at);
    let mut begins = acks.iter().filter(|at| **at >= killed_at);
    let same = begins.find(|at| rate(acks, **at, **at + SECOND) >= SAME * before)?;
    same.duration_since(killed_at).ok()
}

/// Acknowledged sends a second.
fn rate(acks: &[SystemTime], from: SystemTime, to: SystemTime) -> f64 {
    let count = acks.iter().filter(|at| (from..to).contains(at)).count();
    count as f64 / to.duration_since(from).map_or(f64::INFINITY, |time| time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sends_are_back_when_a_second_has_as_many_again() {
        // A hundred a second for 10 s, none for 3 s, ten for 1 s, then a hundred again.
        let sent = (0..10_000).step_by(10).chain((13_000..14_000).step_by(100)).chain((14_000..16_000).step_by(10));
        let acks: Vec<_> = sent.map(at).collect();
        assert_eq!(back_after(&acks, at(10_000)), Some(Duration::from_millis(3_800)));
        assert_eq!(back_after(&acks[..1_005], at(10_000)), None, "not yet");
        assert_eq!(back_after(&acks, at(5_000)), Some(Duration::ZERO), "nobody was missed");
    }

    #[test]
    fn each_tier_loses_one_or_everybody_dies_once() {
        let lost = |victims: &[Victim]| {
            let count = |is: fn(&Victim) -> bool| victims.iter().filter(|victim| is(victim)).count();
            let name_servers = count(|victim| matches!(victim, Victim::NameServer(_)));
            (name_servers, count(|victim| matches!(victim, Victim::Broker(_))), victims.len())
        };
        assert_eq!(lost(&victims(false)), (1, 1, 3));
        assert_eq!(lost(&victims(true)), (2, 2, 6));
    }
}
