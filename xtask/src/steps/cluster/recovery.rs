//! What clients feel when a proxy or a broker of a pair is killed: the official SDKs' `stream` examples, before two name servers, brokers and
//! proxies of ours and of Apache's. How long no send was accepted and nothing was received is no longer with ours, and what was received
//! through the proxy that died is acknowledged through the other.

mod pair;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use self::pair::{Maker, Pair};
use super::super::examples;
use super::super::stream::{self, Success};
use crate::plan::Context;
use crate::process::Process;
use crate::workspace::clear;
use crate::{balancer, reference, topics};

/// What is measured is the median of so many kills of a kind.
const ROUNDS: usize = 3;
/// How long is looked at after a kill. Source: half as long again as both makers' proxies keep a route, 20 s.
const WINDOW: Duration = Duration::from_secs(30);
/// Longest wait for a client to send and receive.
const WITHIN: Duration = Duration::from_secs(180);
/// Before a kill a client has sent so much in the last [`SETTLED_FOR`], and received some of it: an eighth of what it sends where others
/// do not need the machine.
const SETTLED: usize = 10;
const SETTLED_FOR: Duration = Duration::from_secs(4);
/// What ours may take longer and yet be no worse: clients begin again at fixed intervals, which a kill meets at any moment.
const NOISE: Duration = Duration::from_secs(1);
/// What comes so soon after a kill may have been on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(100);

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    /// The one that all clients are at.
    Proxy,
    Broker,
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Proxy => "proxy",
            Self::Broker => "broker",
        })
    }
}

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Send,
    Receive,
}

impl Act {
    const BOTH: [Self; 2] = [Self::Send, Self::Receive];

    fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Receive => "receive",
        }
    }
}

type Case = (&'static str, Victim, Act);

/// When an SDK went on after a kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Recovery {
    /// From the kill until the first success.
    first: Duration,
    /// The longest time without a success in the [`WINDOW`] behind the kill.
    silence: Duration,
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {} ms (silent for {})", self.first.as_millis(), self.silence.as_millis())
    }
}

/// Of each kill.
type Recoveries = BTreeMap<Case, Vec<Recovery>>;

/// By SDK, how many handles were good through the other proxy after theirs was killed.
type Outlived = BTreeMap<&'static str, usize>;

/// 20 minutes on a busy machine.
///
/// # Errors
/// An SDK recovers later before ours, or a handle did not outlive its proxy; or what is measured cannot be run.
pub(super) fn show(context: &Context, folder: &Path, gantry: &Path) -> Result<()> {
    let [ours, theirs] = [Maker::Gantry, Maker::Apache].map(|maker| {
        clear(folder)?;
        measure(context, &mut Pair::start(maker, folder, gantry)?, folder)
    });
    let (ours, theirs) = (ours?, theirs?);
    print(&ours, &theirs);
    let worse = worse(&ours, &theirs);
    ensure!(worse.is_empty(), "slower to recover than before Apache's: {worse:?}");
    Ok(())
}

fn measure(context: &Context, pair: &mut Pair, folder: &Path) -> Result<Recoveries> {
    for broker in pair.brokers() {
        for sdk in reference::SDKS {
            topics::create(broker, &format!("recovery-{sdk}-stream"), "NORMAL")?;
        }
    }
    let (mut recoveries, mut outlived) = (Recoveries::new(), Outlived::new());
    for round in 0..ROUNDS {
        for victim in [Victim::Proxy, Victim::Broker] {
            let of_kill = kill(context, pair, folder, victim, &mut outlived);
            let of_kill = of_kill.with_context(|| format!("{:?}'s {victim}, round {round}", pair.maker()))?;
            for (case, recovery) in of_kill {
                recoveries.entry(case).or_default().push(recovery);
            }
            match victim {
                Victim::Proxy => pair.restart_proxy()?,
                Victim::Broker => pair.restart_broker()?,
            }
        }
    }
    // A client that is behind with its acknowledgements may have none under way at one of the kills.
    let lost = outlived.iter().find(|(_, handles)| **handles == 0).filter(|_| pair.maker() == Maker::Gantry);
    ensure!(lost.is_none(), "no handle outlived its proxy: {lost:?}");
    Ok(recoveries)
}

/// New clients of all SDKs, under which one process is killed.
fn kill(
    context: &Context,
    pair: &mut Pair,
    folder: &Path,
    victim: Victim,
    outlived: &mut Outlived,
) -> Result<Vec<(Case, Recovery)>> {
    let endpoint = balancer::to_the_first(pair.proxies())?.to_string();
    let mut clients = Vec::new();
    for sdk in reference::SDKS {
        let mut command = examples::program(context, sdk);
        command.args(["stream", "--endpoint", &endpoint, "--prefix", "recovery"]);
        let log = folder.join(format!("stream-{sdk}.log"));
        clients.push((sdk, Process::start("stream", command, log.clone())?, log));
    }
    for (sdk, client, log) in &mut clients {
        let is_settled = || Said::read(log).is_settled(SystemTime::now());
        client.wait_until("sends and receives", WITHIN, is_settled).with_context(|| (*sdk).to_owned())?;
    }
    let killed_at = SystemTime::now();
    match victim {
        Victim::Proxy => pair.kill_proxy(),
        Victim::Broker => pair.kill_broker()?,
    }
    let mut recoveries = Vec::new();
    for (sdk, mut client, log) in clients {
        let is_over = || killed_at.elapsed().is_ok_and(|since| since > WINDOW);
        client.wait_until("lives on", WITHIN, is_over)?;
        let said = Said::read(&log);
        let [send, receive] = Act::BOTH.map(|act| recovery(said.of(act), killed_at));
        recoveries.extend([((sdk, victim, Act::Send), send), ((sdk, victim, Act::Receive), receive)]);
        let handed_over = said.acks.iter().filter(|(received, acked)| {
            *received < killed_at && acked.duration_since(killed_at).is_ok_and(|since| since > ON_ITS_WAY)
        });
        let handed_over = handed_over.count();
        println!("{:?}'s {victim}, {sdk}: send {send}, receive {receive}, {handed_over} handed over", pair.maker());
        if victim == Victim::Proxy {
            *outlived.entry(sdk).or_default() += handed_over;
        }
    }
    Ok(recoveries)
}

/// When what succeeded, as a client says it.
#[derive(Debug, Default)]
struct Said {
    sends: Vec<SystemTime>,
    receives: Vec<SystemTime>,
    /// When it was received, when acknowledged.
    acks: Vec<(SystemTime, SystemTime)>,
}

impl Said {
    fn read(log: &PathBuf) -> Self {
        Self::parse(&fs::read_to_string(log).unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let mut said = Self::default();
        // The last line may be half written.
        for line in text.rsplit_once('\n').map_or("", |(whole, _)| whole).lines() {
            match stream::parse(line) {
                Some(Success::Sent { at, .. }) => said.sends.push(at),
                Some(Success::Received { at, .. }) => said.receives.push(at),
                Some(Success::Acked { received_at, at }) => said.acks.push((received_at, at)),
                None => {}
            }
        }
        said
    }

    fn of(&self, act: Act) -> &[SystemTime] {
        match act {
            Act::Send => &self.sends,
            Act::Receive => &self.receives,
        }
    }

    fn is_settled(&self, now: SystemTime) -> bool {
        let of_late = |times: &[SystemTime]| times.iter().filter(|at| **at + SETTLED_FOR > now).count();
        of_late(&self.sends) >= SETTLED && of_late(&self.receives) > 0 && !self.acks.is_empty()
    }
}

fn recovery(successes: &[SystemTime], killed_at: SystemTime) -> Recovery {
    let end = killed_at + WINDOW;
    let mut after: Vec<_> = successes.iter().copied().filter(|at| (killed_at..end).contains(at)).collect();
    after.sort();
    let first = after.first().copied().unwrap_or(end);
    let from = [killed_at].into_iter().chain(after.iter().copied());
    let silences = from.zip(after.iter().copied().chain([end])).map(|(from, to)| since(to, from));
    Recovery { first: since(first, killed_at), silence: silences.max().unwrap_or(WINDOW) }
}

fn since(later: SystemTime, earlier: SystemTime) -> Duration {
    later.duration_since(earlier).unwrap_or_default()
}

/// Each part by itself.
fn median(recoveries: &[Recovery]) -> Recovery {
    let middle = |part: fn(&Recovery) -> Duration| {
        let mut sorted: Vec<_> = recoveries.iter().map(part).collect();
        sorted.sort();
        sorted.get(sorted.len() / 2).copied().unwrap_or(WINDOW)
    };
    Recovery { first: middle(|one| one.first), silence: middle(|one| one.silence) }
}

/// Whether ours is no worse.
fn holds(ours: Recovery, theirs: Recovery) -> bool {
    ours.first <= theirs.first + NOISE && ours.silence <= theirs.silence + NOISE
}

fn worse(ours: &Recoveries, theirs: &Recoveries) -> Vec<Case> {
    let is_worse = |(case, ours): (&Case, &Vec<Recovery>)| {
        let theirs = theirs.get(case).map_or(&[][..], Vec::as_slice);
        (!holds(median(ours), median(theirs))).then_some(*case)
    };
    ours.iter().filter_map(is_worse).collect()
}

/// A table for people, then a line of JSON.
fn print(ours: &Recoveries, theirs: &Recoveries) {
    println!("| killed | SDK | what | first: ours, Apache's (ms) | longest silence: ours, Apache's (ms) | no worse |");
    println!("|---|---|---|---|---|---|");
    let mut cases: Vec<_> = ours.keys().copied().collect();
    cases.sort_by_key(|(sdk, victim, act)| (*victim, *sdk, *act));
    let mut all = Vec::new();
    for case in cases {
        let (sdk, victim, act) = case;
        let [our, their] = [ours, theirs].map(|all| median(all.get(&case).map_or(&[], Vec::as_slice)));
        let verdict = if holds(our, their) { "yes" } else { "**no**" };
        let pair =
            |part: fn(&Recovery) -> Duration| format!("{}, {}", part(&our).as_millis(), part(&their).as_millis());
        let (first, silence) = (pair(|one| one.first), pair(|one| one.silence));
        println!("| {victim} | {sdk} | {} | {first} | {silence} | {verdict} |", act.name());
        let ms = |recoveries: &Recoveries| -> Vec<_> {
            let of_case = recoveries.get(&case).into_iter().flatten();
            of_case.map(|one| [one.first, one.silence].map(|time| time.as_millis() as u64)).collect()
        };
        all.push(json!({
            "killed": victim.to_string(), "sdk": sdk, "what": act.name(), "no_worse": holds(our, their),
            "first_and_silence_ms": { "gantry": ms(ours), "apache": ms(theirs) },
        }));
    }
    println!("{}", json!({ "recovery": all }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::stream::at;

    #[test]
    fn silence_is_the_longest_time_without_a_success() {
        let found = recovery(&[at(900), at(1_200), at(4_200), at(31_000), at(99_000)], at(1_000));
        assert_eq!((found.first, found.silence), (Duration::from_millis(200), Duration::from_millis(26_800)));
        let none = recovery(&[at(900)], at(1_000));
        assert_eq!((none.first, none.silence), (WINDOW, WINDOW));
    }

    #[test]
    fn worse_is_later_by_more_than_noise() {
        let of = |first, silence| {
            let recovery = Recovery { first: Duration::from_millis(first), silence: Duration::from_millis(silence) };
            Recoveries::from([(("go", Victim::Proxy, Act::Send), vec![recovery; ROUNDS])])
        };
        assert!(worse(&of(1_100, 2_000), &of(100, 1_000)).is_empty());
        assert_eq!(worse(&of(1_101, 1_000), &of(100, 1_000)).len(), 1);
        assert_eq!(worse(&of(100, 2_001), &of(100, 1_000)).len(), 1);
    }

    #[test]
    fn chatter_and_half_a_line_say_nothing() {
        let said = Said::parse("hello\nsent 7 a\nreceived 8 a\nacked 8 9 a\n12 an error\nsent 10 b");
        assert_eq!((said.sends, said.receives, said.acks), (vec![at(7)], vec![at(8)], vec![(at(8), at(9))]));
    }
}
