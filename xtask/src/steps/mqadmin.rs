//! Apache's `mqadmin` against `gantry nameserver` and `gantry broker`: its verbs are run on a cluster that was filled, and print what they
//! printed on Apache 5.5's own (`tests/mqadmin/apache.txt`). Writes `docs/compatibility.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};

use super::java::{self, Programs};
use crate::cluster::Cluster;
use crate::plan::{Context, Done};
use crate::{reference, shell};

const BROKER: &str = "broker-a";
/// Java programs of ours.
const PROGRAMS: [&str; 2] = ["Mqadmin", "Monitors"];

/// Before the cluster is filled.
const BEFORE: [&str; 2] =
    ["updateTopic -c DefaultCluster -t asked -r 4 -w 4", "updateSubGroup -c DefaultCluster -g asked-group"];

/// What is asked then, and how what is printed is judged.
const COMMANDS: [(&str, Judged); 49] = [
    ("clusterList", Judged::Has(&["DefaultCluster", BROKER, "V5_5_0"])),
    ("topicList", Judged::Has(&["asked", "%RETRY%asked-group", "DefaultCluster", BROKER])),
    ("topicRoute -t asked", Judged::Same),
    ("topicStatus -t asked", Judged::Same),
    ("topicClusterList -t asked", Judged::Same),
    ("allocateMQ -t asked -i 10.0.0.1,10.0.0.2", Judged::Same),
    ("updateTopicPerm -b {broker} -t asked -p 6", Judged::Same),
    ("updateTopicPerm -c DefaultCluster -t asked -p 4", Judged::Same),
    // The permission of before is the route's, which follows a moment later here.
    ("updateTopicPerm -c DefaultCluster -t asked -p 6", Judged::Has(&["update topic perm from", "to 6 in", "success"])),
    ("updateOrderConf -m put -t asked -v broker-a:4", Judged::Same),
    ("updateOrderConf -m get -t asked", Judged::Same),
    ("updateOrderConf -m delete -t asked", Judged::Same),
    ("consumerProgress -g asked-group", Judged::Same),
    ("consumerProgress", Judged::Has(&["asked-group", "V5_5_0", "CLUSTERING"])),
    ("consumerConnection -g asked-group", Judged::Same),
    ("producerConnection -g asked-producers -t asked", Judged::Same),
    ("consumerStatus -g asked-group", Judged::Has(&["V5_5_0"])),
    ("consumerStatus -g asked-group -i {client}", Judged::Has(&["asked", "CONSUME_PASSIVELY"])),
    ("brokerStatus -b {broker}", Judged::Has(&["brokerVersionDesc", "putTps", "commitLogMaxOffset"])),
    ("getBrokerConfig -b {broker}", Judged::Has(&["autoCreateTopicEnable", "brokerPermission"])),
    ("updateBrokerConfig -b {broker} -k defaultTopicQueueNums -v 6", Judged::Has(&["update broker config success"])),
    ("brokerConsumeStats -b {broker}", Judged::Same),
    ("queryMsgById -i {id} -t asked", Judged::Same),
    ("queryMsgByKey -t asked -k key-0", Judged::Has(&["@asked@", "key-0"])),
    ("queryMsgByUniqueKey -i {unique} -t asked", Judged::Same),
    ("queryMsgByOffset -t asked -b broker-a -i 0 -o 0", Judged::Same),
    ("queryMsgTraceById -i {unique}", Judged::Has(&["asked-producers", "success"])),
    ("printMsg -t asked", Judged::Has(&["body-0", "body-7"])),
    ("sendMessage -t asked -p hello -k key-8 -c TagB -b broker-a -i 0", Judged::Same),
    ("consumeMessage -t asked -b broker-a -i 0 -o 0 -c 2 -g other", Judged::Has(&["Consume ok", "body-0", "body-4"])),
    ("checkMsgSendRT -t asked -a 3 -s 16", Judged::Has(&["Avg RT", "true"])),
    ("statsAll -t asked", Judged::Has(&["asked", "asked-group"])),
    ("cloneGroupOffset -s asked-group -d asked-group -t asked", Judged::Has(&["clone group offset success"])),
    ("resetOffsetByTime -g asked-group -t asked -s 0", Judged::Same),
    ("skipAccumulatedMessage -g asked-group -t asked", Judged::Has(&[BROKER])),
    ("wipeWritePerm -b broker-a", Judged::Has(&["wipe write perm of broker[broker-a]", "OK"])),
    ("addWritePerm -b broker-a", Judged::Has(&["add write perm of broker[broker-a]", "OK"])),
    ("cleanExpiredCQ -c DefaultCluster", Judged::Same),
    ("cleanUnusedTopic -c DefaultCluster", Judged::Same),
    ("deleteExpiredCommitLog -c DefaultCluster", Judged::Has(&["success"])),
    ("getNamesrvConfig", Judged::Has(&["orderMessageEnable", "listenPort"])),
    ("updateKvConfig -s space -k key -v value", Judged::Same),
    ("deleteKvConfig -s space -k key", Judged::Same),
    ("producer -b {broker}", Judged::Has(&["asked-producers", "language=JAVA"])),
    ("queryCq -t asked -q 0 -i 0 -c 2 -b {broker}", Judged::Has(&["idx: 0", "tagsCode=2598919"])),
    ("setConsumeMode -c DefaultCluster -t asked -g asked-group -m POP -q 0", Judged::Same),
    ("getConsumerConfig -g asked-group", Judged::Has(&["asked-group", "retryMaxTimes"])),
    ("deleteSubGroup -c DefaultCluster -g asked-group -r true", Judged::Has(&["success"])),
    ("deleteTopic -c DefaultCluster -t asked", Judged::Same),
];

/// What is asked of an answer.
#[derive(Clone, Copy)]
enum Judged {
    /// It says what Apache's says, but for addresses, ids, times, rates and places in the log.
    Same,
    /// It says these words; the rest is of its time or of the broker's own.
    Has(&'static [&'static str]),
}

/// About two minutes.
pub(super) fn run(context: &Context) -> Result<Done> {
    let root = &context.workspace.root;
    java::run(context, "mqadmin", &PROGRAMS, |programs| {
        let apaches = fs::read_to_string(root.join("tests/mqadmin/apache.txt")).context("tests/mqadmin/apache.txt")?;
        let printed = ask(programs)?;
        fs::write(programs.folder.join("printed"), &printed)?;
        let printed = blocks(&printed);
        judge(&printed, &blocks(&apaches)).context("what is printed is in the file printed")?;
        monitored(&printed).context("what is printed is in the file printed")?;
        fs::write(root.join("docs/compatibility.md"), document()).context("docs/compatibility.md")
    })
}

fn ask(Programs { folder, classes, log, gantry }: &Programs) -> Result<String> {
    let cluster = Cluster::start(folder, gantry, &[BROKER])?;
    let broker = cluster.broker_addresses().first().context("one broker")?.to_string();
    let mut java = reference::java("mqadmin/java", &[classes])?;
    java.arg("Mqadmin").args([cluster.name_server().to_string(), broker]);
    java.args(BEFORE).arg("--").args(COMMANDS.map(|(command, _)| command));
    let (printed, has_succeeded) = shell::output(&mut java, log)?;
    ensure!(has_succeeded, "Mqadmin failed: {}", log.display());
    cluster.stop()?;
    Ok(printed)
}

/// What the program `Mqadmin` prints of these commands on a cluster that others have filled; for steps with programs of their own.
pub(super) fn print(
    context: &Context,
    programs: &Programs,
    name_server: SocketAddr,
    commands: &[&str],
) -> Result<String> {
    let classes = programs.folder.join("mqadmin");
    java::compile(context, "mqadmin", &PROGRAMS, &[reference::jars()?], &classes, &programs.log)?;
    let mut java = reference::java("mqadmin/java", &[&classes])?;
    // Of no broker in particular.
    java.arg("Mqadmin").args([&name_server.to_string(), ""]).args(commands);
    let (printed, has_succeeded) = shell::output(&mut java, &programs.log)?;
    ensure!(has_succeeded, "Mqadmin failed: {}", programs.log.display());
    Ok(printed)
}

/// What each command printed.
pub(super) fn blocks(printed: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut blocks = BTreeMap::new();
    let mut command = "";
    for line in printed.lines() {
        match line.strip_prefix("begin ") {
            Some(next) => command = next,
            None => blocks.entry(command).or_insert_with(Vec::new).push(line),
        }
    }
    blocks
}

/// What the Dashboard (D) and the exporter (E) call, by request code; the Java program `Monitors` does the same.
const MONITORED: [(&str, &str); 56] = [
    ("106 examineBrokerClusterInfo", "D E"),
    ("28 fetchBrokerRuntimeStats", "D E"),
    ("26 getBrokerConfig", "D"),
    ("25 updateBrokerConfig", "D"),
    ("907 getBrokerHAStatus", "D"),
    ("319 getNameServerConfig", "D"),
    ("100 putKVConfig", "D"),
    ("101 getKVConfig", "D"),
    ("219 getKVListByNamespace", "D"),
    ("102 deleteKvConfig", "D"),
    ("328 getAllProducerInfo", "D E"),
    ("306 cleanExpiredConsumerQueue", "D"),
    ("316 cleanUnusedTopic", "D"),
    ("206 fetchAllTopicList", "D E"),
    ("224 fetchTopicsByCLuster", "D"),
    ("304 getSystemTopicList", "D"),
    ("305 getSystemTopicListFromBroker", "D"),
    ("105 examineTopicRouteInfo", "D E"),
    ("202 examineTopicStats", "D E"),
    ("21 getAllTopicConfig", "D"),
    ("351 examineTopicConfig", "D"),
    ("300 queryTopicConsumeByWho", "D E"),
    ("315 viewBrokerStatsData TOPIC_PUT_NUMS", "D E"),
    ("315 viewBrokerStatsData TOPIC_PUT_SIZE", "E"),
    ("315 viewBrokerStatsData GROUP_GET_NUMS", "D E"),
    ("315 viewBrokerStatsData GROUP_GET_SIZE", "E"),
    ("315 viewBrokerStatsData BROKER_PUT_NUMS", "E"),
    ("315 viewBrokerStatsData BROKER_GET_NUMS", "E"),
    ("201 getAllSubscriptionGroup", "D"),
    ("352 examineSubscriptionGroupConfig", "D"),
    ("203 examineConsumerConnectionInfo", "D E"),
    ("204 examineProducerConnectionInfo", "D"),
    ("208 examineConsumeStats", "D E"),
    ("317 fetchConsumeStatsInBroker", "D"),
    ("303 queryConsumeTimeSpan", "D"),
    ("343 queryTopicsByConsumer", "D"),
    ("345 querySubscription", "D"),
    ("307 getConsumerRunningInfo", "D E"),
    ("223 getConsumeStatus", "D"),
    ("309 consumeMessageDirectly", "D"),
    ("308 queryCorrectionOffset", "D"),
    ("353 updateAndGetGroupReadForbidden", "D"),
    ("29 searchOffset", "D"),
    ("30 maxOffset", "D"),
    ("31 minOffset", "D"),
    ("32 earliestMsgStoreTime", "D"),
    ("321 queryConsumeQueue", "D"),
    ("33 viewMessage", "D"),
    ("12 queryMessage", "D"),
    ("17 createAndUpdateTopicConfig", "D"),
    ("18 createAndUpdateTopicConfigList", "D"),
    ("200 createAndUpdateSubscriptionGroupConfig", "D"),
    ("225 createAndUpdateSubscriptionGroupConfigList", "D"),
    ("207 deleteSubscriptionGroup", "D"),
    ("215 deleteTopicInBroker", "D"),
    ("216 deleteTopicInNameServer", "D"),
];

/// Each call was made, and said what is read of its answer.
fn monitored(printed: &BTreeMap<&str, Vec<&str>>) -> Result<()> {
    let lines = printed.get("monitors").context("no monitor's call was made")?;
    for (call, _) in MONITORED {
        let said = lines.iter().find_map(|line| line.strip_prefix(call)?.strip_prefix(": "));
        let said = said.with_context(|| format!("{call} was not called"))?;
        ensure!(said == "ok", "{call} {said}");
    }
    Ok(())
}

/// What a command that fails prints; others print the names of settings that end like it.
const FAILURES: [&str; 3] = ["SubCommandException", "MQClientException", "MQBrokerException"];

fn judge(ours: &BTreeMap<&str, Vec<&str>>, apaches: &BTreeMap<&str, Vec<&str>>) -> Result<()> {
    for (command, judged) in COMMANDS {
        let of_ours = ours.get(command).with_context(|| format!("{command} was not run"))?;
        let text = of_ours.join("\n");
        ensure!(!FAILURES.iter().any(|name| text.contains(name)), "{command} fails: {text}");
        match judged {
            Judged::Has(words) => {
                for word in words {
                    ensure!(text.contains(word), "{command} does not print {word:?}: {text}");
                }
            }
            Judged::Same => {
                let of_apaches = apaches.get(command).with_context(|| format!("{command} was not recorded"))?;
                let (a, b) = (normalised(of_ours), normalised(of_apaches));
                ensure!(a == b, "{command}: ours\n{}\nand Apache's\n{}", a.join("\n"), b.join("\n"));
            }
        }
    }
    Ok(())
}

/// Lines that say where something is, or what only one of the two has: a group's retry topic is consumed from the start here, and the
/// cluster is a property of requests alone.
const LEFT_OUT: [&str; 8] =
    ["took ", "end", "%RETRY%", "CommitLog Offset:", "OffsetID:", "Properties:", "Message Body Path:", "Consume TPS:"];

/// What does not depend on when and where it was asked.
fn normalised(lines: &[&str]) -> Vec<String> {
    let kept = lines
        .iter()
        .map(|line| line.trim())
        .filter(|line| !line.is_empty() && !LEFT_OUT.iter().any(|start| line.starts_with(start)));
    kept.map(|line| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")).collect()
}

fn word(word: &str) -> String {
    let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let is_id = bare.len() >= 32 && bare.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_date = bare.len() >= 10 && bare.bytes().filter(|byte| *byte == b'-').count() == 2 && bare.starts_with("20");
    let is_time = bare.len() >= 8 && bare.bytes().filter(|byte| *byte == b':').count() == 2;
    let is_rate = bare.contains('.') && bare.parse::<f64>().is_ok();
    if is_id || is_date || is_time || is_rate || bare.contains('#') {
        return "*".to_owned();
    }
    match word.find("127.0.0.1:") {
        Some(at) => {
            let behind = word[at + "127.0.0.1:".len()..].trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{}ADDRESS{behind}", &word[..at])
        }
        None => word.to_owned(),
    }
}

fn document() -> String {
    let mut out = "# mqadmin\n\nWritten by `cargo xtask test --only mqadmin`, which runs each command of Apache 5.5.0's `mqadmin` on a filled cluster of \
        `gantry nameserver` and\n`gantry broker` and compares what it prints with what it printed on Apache's own cluster \
        (`tests/mqadmin/apache.txt`, recorded from 5.5.0).\n\n\
        *Same*: all it prints agrees but addresses, ids, times, rates and places in the log. *Works*: the words that are asked for are there; the\nrest is \
        the broker's load or configuration, or lists what each broker has of its own.\n\n| command | ours, beside Apache's |\n|---|---|\n"
        .to_owned();
    for (command, judged) in COMMANDS {
        let how = match judged {
            Judged::Same => "same".to_owned(),
            Judged::Has(words) => format!("works: {}", words.join(", ")),
        };
        // A text takes everything.
        let _ = writeln!(out, "| `{command}` | {how} |");
    }
    out.push_str(
        "\n## Dashboard and exporter\n\nThe calls that RocketMQ's Dashboard (D) and its exporter (E) make, made by the classes that they use \
         (`tests/mqadmin/java/Monitors.java`),\nwhich look at what the two read of each answer. Users and ACLs are not served.\n\n\
         | request code and call | of |\n|---|---|\n",
    );
    for (call, of) in MONITORED {
        let _ = writeln!(out, "| {call} | {of} |");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_depend_on_time_and_place_is_compared() {
        let of = |line: &'static str| normalised(&[line]).join("|");
        assert_eq!(of("in  127.0.0.1:30911 success."), "in ADDRESS success.");
        assert_eq!(of("0   2  2026-11-27 04:28:06,259"), "0 2 * *");
        assert_eq!((of("took 7 ms"), of("Topic Put TPS: 0.25")), (String::new(), "Topic Put TPS: *".to_owned()));
        assert_ne!(of("queue 1"), of("queue 2"));
    }

    #[test]
    fn a_monitors_call_that_fails_or_is_not_made_is_found() {
        let all: String = MONITORED.iter().map(|(call, _)| format!("{call}: ok\n")).collect();
        let judged = |text: &str| monitored(&blocks(&format!("begin monitors\n{text}end\n")));
        judged(&all).expect("all are made");
        assert!(
            judged(&all.replace("907 getBrokerHAStatus: ok", "907 getBrokerHAStatus: says something else")).is_err()
        );
        assert!(judged(&all.replace("33 viewMessage: ok\n", "")).is_err());
        assert!(monitored(&blocks("begin clusterList\n")).is_err());
    }

    #[test]
    fn a_command_that_says_otherwise_or_nothing_is_found() {
        let whole: String = COMMANDS
            .iter()
            .map(|(command, judged)| match judged {
                Judged::Same => format!("begin {command}\nsaid\n"),
                Judged::Has(words) => format!("begin {command}\n{}\n", words.join(" ")),
            })
            .collect();
        judge(&blocks(&whole), &blocks(&whole)).expect("the same");
        let other = whole.replacen("said", "says", 1);
        assert!(judge(&blocks(&other), &blocks(&whole)).is_err());
        assert!(judge(&blocks(&whole.replace("Avg RT", "")), &blocks(&whole)).is_err());
        assert!(judge(&blocks("begin clusterList\nMQClientException\n"), &blocks(&whole)).is_err());
    }
}
