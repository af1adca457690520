//! What the official Rust SDK of RocketMQ can do, feature by feature, against any RocketMQ 5 endpoint.
//!
//! Each feature sends, receives and checks for itself, then prints one line of JSON:
//! `{"sdk":"rust","feature":"fifo","ok":true,"detail":"..."}`; `ok` is null where the SDK has no such feature.
//! The exit code is 1 if any feature failed. The other four SDKs have the same program in their own language.

mod stream;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{Parser, ValueEnum};
use rocketmq::conf::{ClientOption, ProducerOption, SimpleConsumerOption};
use rocketmq::model::common::{FilterExpression, FilterType};
use rocketmq::model::message::{MessageBuilder, MessageView};
use rocketmq::model::transaction::{Transaction, TransactionResolution};
use rocketmq::{Producer, SimpleConsumer};

// Every wait ends.
/// One long poll. The SDK gives the call the same time as the poll, and Apache refuses less than 5 s.
const POLL: Duration = Duration::from_secs(8);
/// The shortest time to consume that Apache accepts.
const INVISIBLE: Duration = Duration::from_secs(10);
/// For a message that must come.
const ARRIVES_WITHIN: Duration = Duration::from_secs(30);
/// For a message that must not come.
const ABSENT_FOR: Duration = Duration::from_secs(8);
const NOT_REDELIVERED_FOR: Duration = Duration::from_secs(15);
const DELAY_SECONDS: u64 = 4;
/// The server asks after 6 to 40 s, depending on its settings.
const CHECK_BACK_WITHIN: Duration = Duration::from_secs(90);
/// For all of a feature, whatever the SDK waits for.
const FEATURE_WITHIN: Duration = Duration::from_secs(240);
/// The SDK's start gives up at the first request that takes longer than 3 s; Java's and Node's try three times.
const START_ATTEMPTS: usize = 3;
/// Clocks are read in milliseconds on both sides.
const EARLY_TOLERANCE: Duration = Duration::from_millis(100);

#[derive(Parser)]
#[command(about = "Shows what the official Rust SDK can do, one line of JSON a feature")]
struct Arguments {
    #[arg(value_enum, default_value = "all")]
    feature: Feature,
    /// Where the server is.
    #[arg(long, env = "GANTRY_ENDPOINT", default_value = "127.0.0.1:8081")]
    endpoint: String,
    /// Of topics and groups: <prefix>-rust-<feature>[-group].
    #[arg(long, default_value = "example")]
    prefix: String,
    /// Without TLS, which is this SDK's default anyway.
    #[arg(long)]
    plaintext: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Feature {
    Normal,
    Fifo,
    Delay,
    Transaction,
    Push,
    Recall,
    Filter,
    All,
    /// Send and receive until stopped, and say when that was possible.
    Stream,
}

/// What a feature that did not fail has to say.
enum Outcome {
    Passed(&'static str),
    Unsupported(&'static str),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let example = Example::new(&arguments);
    let chosen: Vec<Feature> = match arguments.feature {
        Feature::All => {
            let is_finite = |feature: &Feature| !matches!(feature, Feature::All | Feature::Stream);
            Feature::value_variants().iter().copied().filter(is_finite).collect()
        }
        one => vec![one],
    };
    if arguments.feature == Feature::Stream
        && let Err(error) = example.stream().await
    {
        eprintln!("{error:#}");
        return ExitCode::FAILURE;
    }
    let mut exit_code = ExitCode::SUCCESS;
    for feature in chosen {
        let shown = tokio::time::timeout(FEATURE_WITHIN, example.show(feature)).await;
        let shown = shown.unwrap_or_else(|_| Err(anyhow!("not finished within {FEATURE_WITHIN:?}")));
        let (ok, detail) = match shown {
            Ok(Outcome::Passed(detail)) => (Some(true), detail.to_owned()),
            Ok(Outcome::Unsupported(detail)) => (None, detail.to_owned()),
            Err(error) => {
                exit_code = ExitCode::FAILURE;
                (Some(false), format!("{error:#}"))
            }
        };
        let name = feature.to_possible_value().map(|value| value.get_name().to_owned());
        println!("{}", serde_json::json!({ "sdk": "rust", "feature": name, "ok": ok, "detail": detail }));
    }
    exit_code
}

/// Where the features find their server, topics and groups.
struct Example {
    endpoint: String,
    prefix: String,
    /// Topics outlive a run, so each message says which run it belongs to; those of others are acknowledged and
    /// ignored.
    run: String,
}

impl Example {
    fn new(arguments: &Arguments) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            endpoint: arguments.endpoint.clone(),
            prefix: arguments.prefix.clone(),
            run: format!("{}-{}", std::process::id(), since_epoch.as_nanos()),
        }
    }

    async fn show(&self, feature: Feature) -> Result<Outcome> {
        match feature {
            Feature::Normal => self.normal().await,
            Feature::Fifo => self.fifo().await,
            Feature::Delay => self.delay().await,
            Feature::Transaction => self.transaction().await,
            Feature::Push => Ok(Outcome::Unsupported("SDK has no push consumer")),
            Feature::Recall => Ok(Outcome::Unsupported("SDK cannot recall a message")),
            Feature::Filter => self.filter().await,
            Feature::All | Feature::Stream => Err(anyhow!("it is not one feature")),
        }
    }

    fn topic(&self, feature: &str) -> String {
        format!("{}-rust-{feature}", self.prefix)
    }

    fn client(&self) -> ClientOption {
        let mut client = ClientOption::default();
        client.set_access_url(&self.endpoint);
        client.set_long_polling_timeout(POLL);
        client
    }

    async fn producer(&self, topic: &str) -> Result<Producer> {
        let mut option = ProducerOption::default();
        option.set_topics(vec![topic]);
        started(async || {
            let mut producer = Producer::new(option.clone(), self.client())?;
            producer.start().await?;
            Ok(producer)
        })
        .await
    }

    async fn inbox(&self, topic: &str, group: &str, filter: FilterExpression) -> Result<Inbox> {
        let mut option = SimpleConsumerOption::default();
        option.set_topics(vec![topic]);
        option.set_consumer_group(group);
        let consumer = started(async || {
            let mut consumer = SimpleConsumer::new(option.clone(), self.client())?;
            consumer.start().await?;
            Ok(consumer)
        })
        .await?;
        let (topic, run) = (topic.to_owned(), self.run.clone());
        Ok(Inbox { consumer, topic, filter, run, fetched: VecDeque::new() })
    }

    async fn inbox_of_all(&self, topic: &str) -> Result<Inbox> {
        self.inbox(topic, &format!("{topic}-group"), FilterExpression::new(FilterType::Tag, "*")).await
    }

    /// See the module of this name.
    async fn stream(&self) -> Result<()> {
        let topic = self.topic("stream");
        let producer = self.producer(&topic).await?;
        let Inbox { consumer, filter, .. } = self.inbox_of_all(&topic).await?;
        stream::run(&topic, &producer, &consumer, &filter).await
    }

    fn properties(&self, more: &[(&str, &str)]) -> HashMap<String, String> {
        let run = ("run", self.run.as_str());
        more.iter().chain([&run]).map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    async fn normal(&self) -> Result<Outcome> {
        let topic = self.topic("normal");
        let producer = self.producer(&topic).await?;
        let mut inbox = self.inbox_of_all(&topic).await?;
        let message = MessageBuilder::builder()
            .set_topic(&topic)
            .set_body(b"hello".to_vec())
            .set_tag("greeting")
            .set_keys(vec!["k1", "k2"])
            .set_properties(self.properties(&[("colour", "blue")]))
            .build()?;
        producer.send(message).await?;

        let arrived = inbox.one().await?;
        let mut keys = arrived.keys().to_vec();
        keys.sort();
        ensure!(arrived.body() == b"hello", "body is {:?}", arrived.body());
        ensure!(arrived.tag() == Some("greeting"), "tag is {:?}", arrived.tag());
        ensure!(keys == ["k1", "k2"], "keys are {keys:?}");
        let colour = arrived.properties().get("colour").map(String::as_str);
        ensure!(colour == Some("blue"), "properties are {:?}", arrived.properties());
        ensure!(arrived.delivery_attempt() == 1, "first delivery is attempt {}", arrived.delivery_attempt());

        inbox.consumer.ack(&arrived).await?;
        let again = inbox.bodies(1, NOT_REDELIVERED_FOR).await?;
        ensure!(again.is_empty(), "delivered again after its acknowledgement");
        inbox.consumer.shutdown().await?;
        producer.shutdown().await?;
        Ok(Outcome::Passed(
            "body, tag, keys and properties arrived; acknowledged, not delivered again; \
             SDK cannot change the invisible time",
        ))
    }

    async fn fifo(&self) -> Result<Outcome> {
        let topic = self.topic("fifo");
        let producer = self.producer(&topic).await?;
        let mut inbox = self.inbox_of_all(&topic).await?;
        let (groups, expected) = (["red", "green", "blue"], ["0", "1", "2", "3"]);
        for number in expected {
            for group in groups {
                let message = MessageBuilder::fifo_message_builder(&topic, number.into(), group)
                    .set_properties(self.properties(&[]))
                    .build()?;
                producer.send(message).await?;
            }
        }

        let deadline = Instant::now() + ARRIVES_WITHIN;
        let mut order: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for _ in 0..groups.len() * expected.len() {
            let Some(message) = inbox.next(deadline).await? else { break };
            inbox.consumer.ack(&message).await?;
            let group = message.message_group().context("a message has lost its group")?;
            order.entry(group.to_owned()).or_default().push(text(&message));
        }
        for group in groups {
            let seen = order.remove(group).unwrap_or_default();
            ensure!(seen == expected, "order in group {group} is {seen:?}");
        }
        inbox.consumer.shutdown().await?;
        producer.shutdown().await?;
        Ok(Outcome::Passed("12 messages in 3 groups arrived in order within each group"))
    }

    async fn delay(&self) -> Result<Outcome> {
        let topic = self.topic("delay");
        let producer = self.producer(&topic).await?;
        let mut inbox = self.inbox_of_all(&topic).await?;
        // The SDK knows whole seconds only.
        let due_seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + DELAY_SECONDS + 1;
        let message = MessageBuilder::delay_message_builder(&topic, b"later".to_vec(), due_seconds.try_into()?)
            .set_properties(self.properties(&[]))
            .build()?;
        producer.send(message).await?;

        let arrived = inbox.one().await?;
        let due = UNIX_EPOCH + Duration::from_secs(due_seconds);
        let early = due.duration_since(SystemTime::now()).unwrap_or_default();
        inbox.consumer.ack(&arrived).await?;
        ensure!(early < EARLY_TOLERANCE, "delivered {early:?} early");
        inbox.consumer.shutdown().await?;
        producer.shutdown().await?;
        Ok(Outcome::Passed("delivered, not before its time"))
    }

    async fn transaction(&self) -> Result<Outcome> {
        let topic = self.topic("transaction");
        let was_asked = Arc::new(AtomicBool::new(false));
        // Answers the server's question from what this run decided; a real one would look into its database.
        let checker = {
            let (was_asked, run) = (Arc::clone(&was_asked), self.run.clone());
            move |_transaction_id: String, message: MessageView| {
                if message.properties().get("run") != Some(&run) {
                    return TransactionResolution::ROLLBACK;
                }
                was_asked.store(true, Ordering::Relaxed);
                TransactionResolution::COMMIT
            }
        };
        let mut option = ProducerOption::default();
        option.set_topics(vec![&topic]);
        let producer = started(async || {
            let checker = Box::new(checker.clone());
            let mut producer = Producer::new_transaction_producer(option.clone(), self.client(), checker)?;
            producer.start().await?;
            Ok(producer)
        })
        .await?;
        let mut inbox = self.inbox_of_all(&topic).await?;
        let begin = async |body: &str| -> Result<_> {
            let message = MessageBuilder::transaction_message_builder(&topic, body.into())
                .set_properties(self.properties(&[]))
                .build()?;
            Ok(producer.send_transaction_message(message).await?)
        };

        begin("committed").await?.commit().await?;
        begin("rolled back").await?.rollback().await?;
        let bodies = inbox.bodies(1, ARRIVES_WITHIN).await?;
        ensure!(bodies == ["committed"], "expected the committed message, delivered {bodies:?}");

        let _unresolved = begin("unresolved").await?;
        let bodies = inbox.bodies(1, CHECK_BACK_WITHIN).await?;
        ensure!(bodies == ["unresolved"], "after the check-back came {bodies:?}");
        ensure!(was_asked.load(Ordering::Relaxed), "delivered without asking the checker");

        let late = inbox.bodies(1, ABSENT_FOR).await?;
        ensure!(late.is_empty(), "also delivered: {late:?}");
        inbox.consumer.shutdown().await?;
        producer.shutdown().await?;
        Ok(Outcome::Passed(
            "committed one delivered, unresolved one delivered after check-back, rolled back one not delivered",
        ))
    }

    async fn filter(&self) -> Result<Outcome> {
        let topic = self.topic("filter");
        let producer = self.producer(&topic).await?;
        let tags = FilterExpression::new(FilterType::Tag, "a || b");
        let sql = FilterExpression::new(FilterType::Sql, "(amount > 10 AND region = 'eu') OR region = 'us'");
        let by_tag = self.inbox(&topic, &format!("{topic}-group"), tags).await?;
        let by_sql = self.inbox(&topic, &format!("{topic}-sql-group"), sql).await?;
        for (tag, amount, region) in [("a", "20", "eu"), ("b", "5", "eu"), ("c", "30", "us")] {
            let message = MessageBuilder::builder()
                .set_topic(&topic)
                .set_body(tag.into())
                .set_tag(tag)
                .set_properties(self.properties(&[("amount", amount), ("region", region)]))
                .build()?;
            producer.send(message).await?;
        }

        for (name, mut inbox, expected) in [("tag", by_tag, ["a", "b"]), ("SQL", by_sql, ["a", "c"])] {
            let mut bodies = inbox.bodies(2, ARRIVES_WITHIN).await?;
            bodies.extend(inbox.bodies(1, ABSENT_FOR).await?);
            bodies.sort();
            ensure!(bodies == expected, "{name} filter let through {bodies:?}");
            inbox.consumer.shutdown().await?;
        }
        producer.shutdown().await?;
        Ok(Outcome::Passed("tag a || b: 2 of 3 messages; SQL92: 2 of 3 messages"))
    }
}

/// Builds and starts a client, anew for each attempt.
async fn started<C>(start: impl AsyncFn() -> Result<C>) -> Result<C> {
    for _ in 1..START_ATTEMPTS {
        if let Ok(client) = start().await {
            return Ok(client);
        }
    }
    start().await
}

/// A simple consumer that hands out this run's messages one by one.
struct Inbox {
    consumer: SimpleConsumer,
    topic: String,
    filter: FilterExpression,
    run: String,
    fetched: VecDeque<MessageView>,
}

impl Inbox {
    /// The next message, or `None` once the deadline has passed; a poll under way is waited for.
    async fn next(&mut self, deadline: Instant) -> Result<Option<MessageView>> {
        loop {
            while let Some(message) = self.fetched.pop_front() {
                if message.properties().get("run") == Some(&self.run) {
                    return Ok(Some(message));
                }
                self.consumer.ack(&message).await?;
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            match self.consumer.receive_with(&self.topic, &self.filter, 16, INVISIBLE).await {
                Ok(messages) => self.fetched.extend(messages),
                // The call's time ends with the poll's, so that an empty poll may end in either way: cut off by our
                // side ("Timeout expired") or by the server's ("stream no longer needed").
                Err(error) if format!("{error}").contains("status: Cancelled") => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn one(&mut self) -> Result<MessageView> {
        match self.next(Instant::now() + ARRIVES_WITHIN).await? {
            Some(message) => Ok(message),
            None => bail!("no message within {ARRIVES_WITHIN:?}"),
        }
    }

    /// Receives and acknowledges until there are `count` messages or the time is over.
    async fn bodies(&mut self, count: usize, within: Duration) -> Result<Vec<String>> {
        let deadline = Instant::now() + within;
        let mut bodies = Vec::new();
        while bodies.len() < count {
            let Some(message) = self.next(deadline).await? else { break };
            self.consumer.ack(&message).await?;
            bodies.push(text(&message));
        }
        Ok(bodies)
    }
}

fn text(message: &MessageView) -> String {
    String::from_utf8_lossy(message.body()).into_owned()
}
