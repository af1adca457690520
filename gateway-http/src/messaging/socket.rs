//! Receiving over a WebSocket: messages come as long as the client grants credits, and it says over the same socket what becomes of them.
//! Whatever it says is answered, as the call of the same name would be.
//!
//! Nothing is kept between sockets: a handle is good at any gateway. When a socket breaks nothing is lost: what was not written is free again
//! at once, the rest when its lease ends; what was asked for before is done. Source of the frames' form: RFC 6455.

use std::time::Duration;

use axum::Extension;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http::header::UPGRADE;
use proxy::messaging::receive::Delivery;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite;
use types::broker::{Pop, PopError};

use super::receive::answer::one;
use super::stream::{CREDITS_MAX, Receiving, with_credits};
use super::{Service, agreed, leases};
use crate::problem::{Problem, is_temporary};
use crate::router::BODY_BYTES_MAX;
use crate::server::{Place, wait};
use crate::views::messaging::{Ack, Extend, Nack, ReceivedMessage};
use crate::views::socket::{Answer, ClientFrame, Command, ServerFrame};

/// Longest message of a client, in bytes: as long as the bodies of the calls that it stands for.
const FRAME_BYTES_MAX: usize = BODY_BYTES_MAX;
/// Frames of one socket that are worked on at a time; further ones are refused.
const UNANSWERED_MAX: usize = 16;
/// How often the client is asked whether it lives, and after how many pings without a word from it the socket is closed.
const PING_EVERY: Duration = Duration::from_secs(15);
const PINGS_UNHEARD_MAX: u32 = 2;
/// How long the client may take to close, too.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// What is read at a time, in bytes: a waiting socket holds a buffer of this size.
const READ_BYTES: usize = 4 * 1024;

/// Whether a request asks for a WebSocket. One for HTTP/2 (`h2c`) is none.
pub(super) fn is_asked_for(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// The answer that opens a socket, which begins with so many credits and keeps the connection's place until it ends.
pub(super) fn open(
    service: Service,
    pop: Pop,
    credits: u32,
    place: Option<Extension<Place>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let upgrade =
        upgrade.read_buffer_size(READ_BYTES).max_message_size(FRAME_BYTES_MAX).max_frame_size(FRAME_BYTES_MAX);
    upgrade.on_upgrade(async move |socket| {
        Session { service, pop, credits, socket, answering: JoinSet::new(), pings_unheard: 0 }.run().await;
        drop(place);
    })
}

/// Why a socket ends.
struct End {
    /// Code and reason of our close frame; `None` if the client has closed or is gone.
    close: Option<(u16, &'static str)>,
    /// Whether the client's close frame can still be read.
    is_readable: bool,
}

impl End {
    /// The client has closed the socket, or it is lost.
    const THEIRS: Self = Self { close: None, is_readable: true };

    fn ours(code: u16, reason: &'static str) -> Self {
        Self { close: Some((code, reason)), is_readable: true }
    }

    /// What came can be read no further.
    fn of(error: axum::Error) -> Self {
        let error = error.into_inner();
        let close = match error.downcast_ref::<tungstenite::Error>() {
            Some(tungstenite::Error::Capacity(_)) => Some((close_code::SIZE, "a message is at most 65536 bytes")),
            Some(tungstenite::Error::Utf8(_)) => Some((close_code::INVALID, "a text is not UTF-8")),
            Some(tungstenite::Error::Protocol(_)) => Some((close_code::PROTOCOL, "a frame is not as RFC 6455 says")),
            _ => None,
        };
        Self { close, is_readable: false }
    }
}

/// An open socket.
struct Session {
    service: Service,
    pop: Pop,
    /// How many more messages the client takes.
    credits: u32,
    socket: WebSocket,
    /// Work on frames that are not answered yet.
    answering: JoinSet<Answer>,
    /// Pings since the client was heard last.
    pings_unheard: u32,
}

impl Session {
    async fn run(mut self) {
        let end = self.work().await;
        // What was asked for is done, also for who has gone; who has not is told.
        while let Some(answered) = self.answering.join_next().await {
            if end.close.is_some() {
                let _ = self.say(&ServerFrame::Answer(done(answered))).await;
            }
        }
        let Session { mut socket, .. } = self;
        let close = async {
            if let Some((code, reason)) = end.close {
                // Who has gone meanwhile needs no reason.
                let _ = socket.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
            }
            while end.is_readable && matches!(socket.recv().await, Some(Ok(_))) {}
        };
        let _ = tokio::time::timeout(CLOSE_WITHIN, close).await;
    }

    /// Receives and answers until the socket ends. What is being received then is given back.
    async fn work(&mut self) -> End {
        let mut receiving: Option<Receiving> = None;
        let mut pulse = Box::pin(wait(PING_EVERY));
        loop {
            if self.credits > 0 && receiving.is_none() {
                receiving = Some(self.receive());
            }
            let received = async {
                match &mut receiving {
                    Some(receiving) => receiving.await,
                    None => std::future::pending().await,
                }
            };
            let stepped = tokio::select! {
                () = self.service.messaging.draining() => Err(End::ours(close_code::AWAY, "stopping")),
                heard = self.socket.recv() => self.hear(heard).await,
                Some(answered) = self.answering.join_next() => self.say(&ServerFrame::Answer(done(answered))).await,
                delivery = received => {
                    receiving = None;
                    self.deliver(delivery).await
                }
                () = &mut pulse => {
                    pulse = Box::pin(wait(PING_EVERY));
                    self.ping().await
                }
            };
            if let Err(end) = stepped {
                return end;
            }
        }
    }

    fn receive(&self) -> Receiving {
        let (messaging, pop) = (self.service.messaging.clone(), with_credits(&self.pop, self.credits));
        Box::pin(async move { messaging.receive(pop).await })
    }

    async fn say(&mut self, frame: &ServerFrame) -> Result<(), End> {
        let text = serde_json::to_string(frame).expect("plain data");
        self.socket.send(Message::text(text)).await.map_err(|_| End::THEIRS)
    }

    /// Hands on what was popped, unless other clients have reached the bound meanwhile.
    async fn deliver(&mut self, received: Result<Delivery, PopError>) -> Result<(), End> {
        let mut delivery = match received {
            Ok(delivery) => delivery,
            Err(error) => return Err(self.fail(error.into()).await),
        };
        let Some(_share) = self.service.undelivered(&delivery) else {
            return Err(self.fail(self.service.too_much_undelivered()).await);
        };
        while let Some(message) = one(&mut delivery) {
            self.credits = self.credits.saturating_sub(1);
            let message = Box::new(ReceivedMessage::of(delivery.topic(), message));
            self.say(&ServerFrame::Message { credits: self.credits, message }).await?;
            // The connection has taken it.
            delivery.complete();
        }
        Ok(())
    }

    /// Says why nothing more can be received.
    async fn fail(&mut self, problem: Problem) -> End {
        let code = if is_temporary(problem.status) { close_code::AGAIN } else { close_code::ERROR };
        let end = End::ours(code, problem.kind);
        let said = self.say(&ServerFrame::Problem { problem: problem.document() }).await;
        said.err().unwrap_or(end)
    }

    async fn ping(&mut self) -> Result<(), End> {
        if self.pings_unheard == PINGS_UNHEARD_MAX {
            return Err(End::ours(close_code::POLICY, "pings were not answered"));
        }
        self.pings_unheard += 1;
        self.socket.send(Message::Ping(Bytes::new())).await.map_err(|_| End::THEIRS)
    }

    async fn hear(&mut self, heard: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        let message = match heard {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(End::of(error)),
            None => return Err(End::THEIRS),
        };
        self.pings_unheard = 0;
        let answer = match message {
            Message::Text(text) => self.begin(&text),
            Message::Binary(_) => Some(Answer::refused(None, Problem::invalid("a binary frame, expected text"))),
            // Pings are answered below.
            Message::Ping(_) | Message::Pong(_) => None,
            Message::Close(_) => return Err(End::THEIRS),
        };
        match answer {
            Some(answer) => self.say(&ServerFrame::Answer(answer)).await,
            None => Ok(()),
        }
    }

    /// The answer to a frame, or none yet.
    fn begin(&mut self, text: &str) -> Option<Answer> {
        let ClientFrame { id, command } = match ClientFrame::parse(text) {
            Ok(frame) => frame,
            Err((id, problem)) => return Some(Answer::refused(id, problem)),
        };
        let (service, group, topic) = (self.service.clone(), self.pop.group.clone(), self.pop.topic.to_string());
        match command {
            Command::Credit { credits } => Some(self.grant(id, credits)),
            Command::Ack { handles } => {
                self.answer_later(id, async move { service.ack(group, Ack { topic, handles }).await })
            }
            Command::Nack { handles, delay, counts_as_attempt } => {
                let asked = Nack { topic, handles, delay, counts_as_attempt };
                self.answer_later(id, async move { service.nack(group, asked).await })
            }
            Command::Extend { handles, invisible } => {
                let asked = Extend { topic, handles, invisible };
                self.answer_later(id, async move { service.extend(group, asked).await })
            }
            Command::DeadLetter { handles } => {
                self.answer_later(id, async move { service.dead_letter(group, Ack { topic, handles }).await })
            }
        }
    }

    /// Begins work on a frame, or says that there is too much already.
    fn answer_later(
        &mut self,
        id: Option<String>,
        work: impl Future<Output = leases::Results> + Send + 'static,
    ) -> Option<Answer> {
        if self.answering.len() >= UNANSWERED_MAX {
            let detail = format!("{UNANSWERED_MAX} frames of this socket are not answered yet, which is the limit");
            return Some(Answer::refused(id, Problem::busy(detail)));
        }
        self.answering.spawn(async move {
            match work.await {
                Ok(results) => {
                    let status = agreed(results.iter().map(|result| result.status)).as_u16();
                    Answer { id, status, results, ..Answer::default() }
                }
                Err(problem) => Answer::refused(id, problem),
            }
        });
        None
    }

    /// Takes credits, unless they would be too many.
    fn grant(&mut self, id: Option<String>, credits: u32) -> Answer {
        let open = self.credits.saturating_add(credits);
        if credits == 0 || open > CREDITS_MAX {
            let detail = format!(
                "credits is {credits} beside {} that are open, allowed are 1 to {CREDITS_MAX} together",
                self.credits
            );
            return Answer::refused(id, Problem::invalid(detail));
        }
        self.credits = open;
        Answer { id, status: 200, credits: Some(open), ..Answer::default() }
    }
}

fn done(answered: Result<Answer, tokio::task::JoinError>) -> Answer {
    // None is aborted, so this is a bug, and the socket's task ends with it.
    answered.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
