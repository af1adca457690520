//! Sends and receives until it is stopped, and says when it could: kill servers under it and see.
//!
//! It sends one message after the other, every 50 ms if it can. What is received is acknowledged a second later, for as long as its handle is
//! good. Each success is a line with the time, in milliseconds since 1970, and the messages' bodies, no two of which are the same: "sent AT
//! BODY", "received AT BODY…", "acked RECEIVED_AT AT BODY". Failures are on stderr.

use std::borrow::Cow;
use std::fmt::Display;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use rocketmq::model::common::FilterExpression;
use rocketmq::model::message::{MessageBuilder, MessageView};
use rocketmq::{Producer, SimpleConsumer};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep, sleep_until};

const SEND_EVERY: Duration = Duration::from_millis(50);
/// What is received is held so long before it is acknowledged.
const HELD_FOR: Duration = Duration::from_secs(1);
/// How long a message may be consumed: no acknowledgement is tried later.
const INVISIBLE: Duration = Duration::from_secs(30);
/// After a failure.
const PAUSE: Duration = Duration::from_millis(50);

struct Held {
    message: MessageView,
    received: Instant,
    received_at_ms: u128,
}

/// Ends with the first message that cannot be built.
pub async fn run(
    topic: &str,
    producer: &Producer,
    consumer: &SimpleConsumer,
    filter: &FilterExpression,
) -> Result<()> {
    let (held, waiting) = unbounded_channel();
    tokio::select! {
        sent = send(topic, producer) => sent,
        () = receive(topic, consumer, filter, held.clone()) => Ok(()),
        () = acknowledge(consumer, held, waiting) => Ok(()),
    }
}

async fn send(topic: &str, producer: &Producer) -> Result<()> {
    let began = now_ms();
    for number in 0_u64.. {
        let due = Instant::now() + SEND_EVERY;
        let body = format!("{began}-{number}");
        let message = MessageBuilder::builder().set_topic(topic).set_body(body.clone().into_bytes()).build()?;
        match producer.send(message).await {
            Ok(_) => println!("sent {} {body}", now_ms()),
            Err(error) => complain(error).await,
        }
        sleep_until(due).await;
    }
    Ok(())
}

async fn receive(topic: &str, consumer: &SimpleConsumer, filter: &FilterExpression, held: UnboundedSender<Held>) {
    loop {
        let messages = match consumer.receive_with(topic, filter, 16, INVISIBLE).await {
            Ok(messages) => messages,
            Err(error) => {
                complain(error).await;
                continue;
            }
        };
        let (received, received_at_ms) = (Instant::now(), now_ms());
        if !messages.is_empty() {
            println!("received {received_at_ms} {}", messages.iter().map(text).collect::<Vec<_>>().join(" "));
        }
        for message in messages {
            // Its other end lives as long as we do.
            let _ = held.send(Held { message, received, received_at_ms });
        }
    }
}

async fn acknowledge(consumer: &SimpleConsumer, held: UnboundedSender<Held>, mut waiting: UnboundedReceiver<Held>) {
    while let Some(one) = waiting.recv().await {
        sleep_until(one.received + HELD_FOR).await;
        match consumer.ack(&one.message).await {
            Ok(()) => println!("acked {} {} {}", one.received_at_ms, now_ms(), text(&one.message)),
            Err(error) => {
                complain(error).await;
                if one.received.elapsed() < INVISIBLE {
                    let _ = held.send(one);
                }
            }
        }
    }
}

fn text(message: &MessageView) -> Cow<'_, str> {
    String::from_utf8_lossy(message.body())
}

fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}

async fn complain(error: impl Display) {
    eprintln!("{} {error}", now_ms());
    sleep(PAUSE).await;
}
