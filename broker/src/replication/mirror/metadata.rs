//! What an Apache master's log does not say: asked for as its own slaves do, kept in the files in which a broker has it.
//!
//! Source: Apache 5.5 `SlaveSynchronize`, whose answers have the form of the files.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use env::{Disk, Env};
use remoting::Client;
use remoting_proto::body::{ClusterInfo, GANTRY_VERSION, KvTable, TopicStats};
use remoting_proto::requests::{ExchangeBrokerHaInfoAnswer, TopicName as Named};
use remoting_proto::{Command, Fields, RequestCode, ResponseCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use store::FileError;
use types::{PhysicalOffset, QueueId, QueueOffset, TopicName};

use super::super::wire::Welcome;
use super::{ASK_EVERY, Ended};
use crate::{request_modes, takeover};

/// Longest wait for an answer. All topics are one.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// The folder of the files.
const FOLDER: &str = "config";
/// The files that are answers as they come.
const FILES: [(&str, RequestCode); 6] = [
    (TOPICS, RequestCode::GetAllTopicConfig),
    ("subscriptionGroup.json", RequestCode::GetAllSubscriptionGroupConfig),
    ("consumerOffset.json", RequestCode::GetAllConsumerOffset),
    ("delayOffset.json", RequestCode::GetAllDelayOffset),
    (TIMERCHECK, RequestCode::GetTimerCheckPoint),
    (request_modes::FILE_NAME, RequestCode::GetAllMessageRequestMode),
];
const TOPICS: &str = "topics.json";
/// A master whose timer wheel is off has none.
const TIMERCHECK: &str = "timercheck";
/// Where a broker keeps which topics are static, and what they are called there and in the answer.
const MAPPINGS: &str = "topicQueueMapping.json";
const MAPPINGS_KEPT: &str = "topicQueueMappingInfoMap";
const MAPPINGS_TOLD: &str = "topicQueueMappingDetailMap";
/// Settings under which the log does not say what is not finished, or is sent in another way: by key, what they must be.
const SETTINGS: [(&str, &str); 5] = [
    ("enableControllerMode", "false"),
    ("enableDLegerCommitLog", "false"),
    ("popConsumerKVServiceEnable", "false"),
    ("timerRocksDBEnable", "false"),
    ("transRocksDBEnable", "false"),
];

/// Why the master did not say it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not answer.
    #[error(transparent)]
    Call(#[from] remoting::client::Error),
    /// It answers something else.
    #[error("the master answers {code:?} when it is asked for {asked:?}: {remark}")]
    Refused {
        /// What it was asked for.
        asked: RequestCode,
        /// Its answer.
        code: ResponseCode,
        /// Its words.
        remark: String,
    },
    /// It answers what is not understood.
    #[error("the master's answer for {asked:?} is not understood: {problem}")]
    Unclear {
        /// What it was asked for.
        asked: RequestCode,
        /// What is wrong.
        problem: String,
    },
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What a master says of itself.
pub(super) struct Facts {
    settings: BTreeMap<String, String>,
    runtime: BTreeMap<String, String>,
}

/// Asks it.
pub(super) async fn facts(master: &Client) -> Result<Facts, Error> {
    let settings = call(master, RequestCode::GetBrokerConfig).await?;
    let text = String::from_utf8_lossy(&settings);
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let settings = pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect();
    Ok(Facts { settings, runtime: runtime(master).await? })
}

impl Facts {
    /// Where its log is, if a slave of Gantry's can have it.
    pub(super) fn check(&self) -> Result<Welcome, Ended> {
        if self.runtime.contains_key(GANTRY_VERSION) {
            return Err(Ended::Ours);
        }
        for (setting, needed) in SETTINGS {
            if let Some(value) = self.settings.get(setting).filter(|value| *value != needed) {
                return Err(Ended::Setting { setting, value: value.clone() });
            }
        }
        let segment_bytes = number(&self.settings, RequestCode::GetBrokerConfig, "mappedFileSizeCommitLog")?;
        let Range { start: first, end } = log_range(&self.runtime)?;
        Ok(Welcome { first, end, segment_bytes })
    }
}

/// Files by name, and where the log begins and ends that they are true of.
pub(super) struct Asked {
    files: BTreeMap<&'static str, Bytes>,
    pub(super) first: PhysicalOffset,
    pub(super) end: PhysicalOffset,
}

/// Where a queue ends.
pub(super) type QueueEnd = (TopicName, QueueId, QueueOffset);

impl Asked {
    /// Where all queues end, one request a topic. With the log's front the last record of a queue may go, and with it what says so.
    pub(super) async fn queue_ends(&self, master: &Client) -> Result<Vec<QueueEnd>, Error> {
        let asked = RequestCode::GetTopicStatsInfo;
        let mut ends = Vec::new();
        for topic in topics(&self.files[TOPICS])? {
            let fields = Named { topic: topic.to_string() }.to_fields();
            let body = match call_with(master, asked, fields).await {
                Ok(body) => body,
                // It is gone meanwhile.
                Err(Error::Refused { code: ResponseCode::TopicNotExist, .. }) => continue,
                Err(error) => return Err(error),
            };
            let stats: TopicStats = read(asked, &body)?;
            ends.extend(stats.offset_table.0.iter().filter_map(|(queue, offsets)| {
                let number = u32::try_from(queue.queue_id).ok()?;
                Some((topic.clone(), QueueId(number), QueueOffset(u64::try_from(offsets.max_offset).ok()?)))
            }));
        }
        Ok(ends)
    }
}

/// Asks the master for all of it. Its log's end is asked for last, so that what was said before is true of it.
pub(super) async fn ask(master: &Client) -> Result<Asked, Error> {
    let mut files = BTreeMap::new();
    for (name, code) in FILES {
        match call(master, code).await {
            Ok(body) => drop(files.insert(name, body)),
            Err(Error::Refused { .. }) if name == TIMERCHECK => {}
            Err(error) => return Err(error),
        }
    }
    if let Some(mappings) = mappings(&files[TOPICS])? {
        files.insert(MAPPINGS, mappings);
    }
    let Range { start: first, end } = log_range(&runtime(master).await?)?;
    Ok(Asked { files, first, end })
}

/// The topics that a takeover knows.
fn topics(told: &[u8]) -> Result<Vec<TopicName>, Error> {
    let told = all_topics(told)?;
    let names = told.get("topicConfigTable").and_then(Value::as_object).into_iter().flat_map(|table| table.keys());
    Ok(names.filter_map(|name| TopicName::new(name.as_str()).ok()).filter(|topic| !topic.is_system()).collect())
}

/// Which topics are static, if any: a takeover refuses them by name.
fn mappings(topics: &[u8]) -> Result<Option<Bytes>, Error> {
    let told = all_topics(topics)?;
    let mappings = told.get(MAPPINGS_TOLD).and_then(Value::as_object).filter(|mappings| !mappings.is_empty());
    Ok(mappings.map(|mappings| json!({ MAPPINGS_KEPT: mappings }).to_string().into()))
}

fn all_topics(told: &[u8]) -> Result<Value, Error> {
    takeover::parse_json(told).map_err(|problem| Error::Unclear { asked: RequestCode::GetAllTopicConfig, problem })
}

/// What was put in files last, and where the log began then.
#[derive(Default)]
pub(super) struct Kept {
    files: BTreeMap<&'static str, Bytes>,
    first: PhysicalOffset,
}

/// What is to be put there.
pub(super) struct Changed {
    all: Kept,
    changed: Vec<&'static str>,
    ends: Vec<QueueEnd>,
}

impl Kept {
    /// Where the log began.
    pub(super) fn first(&self) -> PhysicalOffset {
        self.first
    }

    /// What differs of what was asked for, and where queues end.
    pub(super) fn changed(&self, asked: Asked, ends: Vec<QueueEnd>) -> Changed {
        let differs = |(name, content): &(&&'static str, &Bytes)| self.files.get(*name) != Some(*content);
        let changed = asked.files.iter().filter(differs).map(|(name, _)| *name).collect();
        Changed { all: Self { files: asked.files, first: asked.first }, changed, ends }
    }
}

/// Puts files in place, each whole and durable. The topics come last: where they are, all has come at least once.
///
/// # Errors
/// [`Error::File`].
pub(super) fn put(disk: &dyn Disk, dir: &Path, changed: Changed) -> Result<Kept, Error> {
    let Changed { all, mut changed, ends } = changed;
    for (topic, queue, end) in ends {
        takeover::note_end(disk, dir, &topic, queue, end)?;
    }
    let folder = dir.join(FOLDER);
    disk.create_dir_all(&folder).map_err(takeover::failed("create directory", &folder))?;
    changed.sort_by_key(|name| *name == TOPICS);
    for name in changed {
        store::put_file(disk, &folder, name, &all.files[name])?;
    }
    Ok(all)
}

/// Whether all of it has come at least once.
pub(super) fn has_come(disk: &dyn Disk, dir: &Path) -> Result<bool, FileError> {
    Ok(takeover::file(disk, &dir.join(FOLDER).join(TOPICS))?.is_some())
}

/// Whether the master of this name is Apache's: asks until a name server knows one that says it. Without name servers nobody says it.
pub(super) async fn is_master_apaches(env: &Env, name: &str, name_servers: &[String]) -> bool {
    let clients: Vec<_> = name_servers.iter().map(|address| Client::new(address.clone(), env.clock.clone())).collect();
    let mut is_told = false;
    while !clients.is_empty() {
        for client in &clients {
            if let Ok(Some(master)) = master_of(client, name).await
                && let Ok(runtime) = runtime(&Client::new(master, env.clock.clone())).await
            {
                return !runtime.contains_key(GANTRY_VERSION);
            }
        }
        if !is_told {
            tracing::warn!(
                name,
                "no name server knows a master of this name that answers: it is asked again, and this slave waits"
            );
            is_told = true;
        }
        env.clock.sleep(ASK_EVERY).await;
    }
    false
}

/// `HOST:PORT` where the master of a name has its log, if a name server knows one and that says it.
pub(in super::super) async fn log_of_master(
    env: &Env,
    name_server: &Client,
    name: &str,
) -> Result<Option<String>, Error> {
    let Some(master) = master_of(name_server, name).await? else { return Ok(None) };
    let asked = RequestCode::ExchangeBrokerHaInfo;
    let answer = answer(&Client::new(master, env.clock.clone()), asked, Fields::default()).await?;
    let told = ExchangeBrokerHaInfoAnswer::of(&answer.fields);
    let told = told.map_err(|error| Error::Unclear { asked, problem: error.to_string() })?;
    Ok(told.master_ha_address)
}

/// `HOST:PORT` of the master of a name.
async fn master_of(name_server: &Client, name: &str) -> Result<Option<String>, Error> {
    let asked = RequestCode::GetBrokerClusterInfo;
    let body = call(name_server, asked).await?;
    let known: ClusterInfo = read(asked, &body)?;
    Ok(known.broker_addr_table.get(name).and_then(|brokers| brokers.broker_addrs.get(&0).cloned()))
}

async fn runtime(broker: &Client) -> Result<BTreeMap<String, String>, Error> {
    let asked = RequestCode::GetBrokerRuntimeInfo;
    let table: KvTable = read(asked, &call(broker, asked).await?)?;
    Ok(table.table)
}

/// Where its log begins and ends, by what a broker says of itself.
fn log_range(runtime: &BTreeMap<String, String>) -> Result<Range<PhysicalOffset>, Error> {
    let of_log = |key| number(runtime, RequestCode::GetBrokerRuntimeInfo, key).map(PhysicalOffset);
    Ok(of_log("commitLogMinOffset")?..of_log("commitLogMaxOffset")?)
}

fn number(facts: &BTreeMap<String, String>, asked: RequestCode, key: &str) -> Result<u64, Error> {
    let number = facts.get(key).and_then(|text| text.parse().ok());
    number.ok_or_else(|| Error::Unclear { asked, problem: format!("{key} is {:?}", facts.get(key)) })
}

fn read<T: DeserializeOwned>(asked: RequestCode, body: &[u8]) -> Result<T, Error> {
    remoting_proto::from_slice(body).map_err(|error| Error::Unclear { asked, problem: error.to_string() })
}

async fn call(master: &Client, asked: RequestCode) -> Result<Bytes, Error> {
    call_with(master, asked, Fields::default()).await
}

async fn call_with(master: &Client, asked: RequestCode, fields: Fields) -> Result<Bytes, Error> {
    Ok(answer(master, asked, fields).await?.body)
}

async fn answer(master: &Client, asked: RequestCode, fields: Fields) -> Result<Command, Error> {
    let answer = master.call(Command::request(asked, fields, Bytes::new()), ANSWERED_WITHIN).await?;
    match answer.response_code() {
        ResponseCode::Success => Ok(answer),
        code => Err(Error::Refused { asked, code, remark: answer.remark.unwrap_or_default() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_master_whose_log_does_not_say_all_is_refused() {
        let settings = [("mappedFileSizeCommitLog", "4096"), ("timerRocksDBEnable", "false")];
        let runtime = of(&[("commitLogMinOffset", "10"), ("commitLogMaxOffset", "20")]);
        let facts = Facts { settings: of(&settings), runtime: runtime.clone() };
        let at = |first, end| Welcome { first: PhysicalOffset(first), end: PhysicalOffset(end), segment_bytes: 4096 };
        assert_eq!(facts.check().expect("Apache's"), at(10, 20));
        let facts = Facts { settings: of(&[settings[0], ("timerRocksDBEnable", "true")]), runtime: runtime.clone() };
        assert!(matches!(facts.check(), Err(Ended::Setting { setting: "timerRocksDBEnable", .. })));
        let facts = Facts { settings: of(&[("mappedFileSizeCommitLog", "much")]), runtime };
        assert!(matches!(facts.check(), Err(Ended::Asked(Error::Unclear { .. }))));
        let facts = Facts { settings: of(&settings), runtime: of(&[(GANTRY_VERSION, "0")]) };
        assert!(matches!(facts.check(), Err(Ended::Ours)));
    }

    #[test]
    fn static_topics_are_noted_under_the_name_that_a_takeover_looks_for() {
        let noted =
            |topics: &[u8]| mappings(topics).expect("JSON").map(|noted| String::from_utf8_lossy(&noted).into_owned());
        let told = br#"{"topicQueueMappingDetailMap":{"t":{"bname":"b","hostedQueues":{0:[]}}}}"#;
        assert!(noted(told).expect("one").starts_with(r#"{"topicQueueMappingInfoMap":{"t":"#));
        assert_eq!(noted(br#"{"topicQueueMappingDetailMap":{}}"#), None);
        assert!(mappings(b"{").is_err());
    }

    #[test]
    fn only_what_has_changed_is_put_in_files_again() {
        let files = BTreeMap::from([(TOPICS, Bytes::from_static(b"1")), (TIMERCHECK, Bytes::from_static(b"2"))]);
        let asked = || Asked { files: files.clone(), first: PhysicalOffset(1), end: PhysicalOffset(2) };
        let Changed { all: mut kept, changed, .. } = Kept::default().changed(asked(), Vec::new());
        assert_eq!(changed, [TIMERCHECK, TOPICS]);
        assert!(kept.changed(asked(), Vec::new()).changed.is_empty());
        kept.files.insert(TOPICS, Bytes::new());
        assert_eq!(kept.changed(asked(), Vec::new()).changed, [TOPICS]);
    }
}
