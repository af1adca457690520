//! Pops, delays and transactions among many messages: what has ended before the master is lost has ended at the new one.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use anyhow::{Result, ensure};

use super::client::{COMMIT, Client, ROLL_BACK, now_ms};
use super::{Sender, wait};
use crate::topics;

const JOBS: &str = "among-jobs";
const LATE: &str = "among-late";
const DEALS: &str = "among-deals";
const DELAY_MS: i64 = 2_000;
const INVISIBLE_MS: i64 = 60_000;

/// One pop, one delayed message and two transactions after each so many messages.
pub(super) struct Among {
    every: usize,
    rounds: usize,
}

impl Among {
    /// At a broker, which gets the topics.
    pub(super) fn start(broker: SocketAddr, every: usize) -> Result<Self> {
        for (topic, kind) in [(JOBS, "NORMAL"), (LATE, "DELAY"), (DEALS, "TRANSACTION")] {
            topics::create(broker, topic, kind)?;
        }
        Ok(Self { every, rounds: 0 })
    }

    /// Sends so many messages, and these among them.
    pub(super) fn send(&mut self, sender: &mut Sender, count: usize) -> Result<()> {
        let end = sender.next + count;
        while sender.next < end {
            sender.send(self.every.min(end - sender.next))?;
            self.round(&mut sender.client)?;
        }
        Ok(())
    }

    fn round(&mut self, client: &mut Client) -> Result<()> {
        let body = body(self.rounds);
        client.send(JOBS, 0, body.as_bytes(), &[])?;
        wait("the message is popped and acked", || {
            let popped = client.pop(JOBS, 0, INVISIBLE_MS)?;
            for message in &popped {
                ensure!(message.body == body.as_bytes(), "another message is popped: {message:?}");
                client.ack(JOBS, message)?;
            }
            Ok(!popped.is_empty())
        })?;
        client.send(LATE, 0, body.as_bytes(), &[("TIMER_DELIVER_MS", &(now_ms() + DELAY_MS).to_string())])?;
        for (body, end) in [(body.clone(), COMMIT), (format!("{body} not"), ROLL_BACK)] {
            let half = client.send_half(DEALS, &body)?;
            client.end(DEALS, &half, end)?;
        }
        self.rounds += 1;
        Ok(())
    }

    /// What has come of them at the new master; answers how many delayed messages are there more than once.
    pub(super) fn are_ended(&self, client: &mut Client) -> Result<usize> {
        let bodies: Vec<_> = (0..self.rounds).map(|round| body(round).into_bytes()).collect();
        let acked = client.pop(JOBS, 0, INVISIBLE_MS)?;
        ensure!(acked.is_empty(), "{} messages come again that were acked, first {:?}", acked.len(), acked.first());
        let deals = client.pull_all(DEALS, 0)?;
        ensure!(deals == bodies, "of {} transactions there are {}", bodies.len(), deals.len());
        let late = client.pull_all(LATE, 0)?;
        let different: BTreeSet<_> = late.iter().collect();
        ensure!(different == bodies.iter().collect(), "of {} delayed messages there are {different:?}", bodies.len());
        Ok(late.len() - different.len())
    }
}

fn body(round: usize) -> String {
    format!("round {round}")
}
