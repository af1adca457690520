//! Receiving as Server-Sent Events (a WebSocket is [`socket`]): messages as they come, until the credits that the client gave are used up. It works them off,
//! acknowledges them by calls of their own at any gateway, and opens the next stream; `EventSource` would not wait for that.
//!
//! Nothing is lost when a stream breaks: what was not written is free again at once, the rest when its lease ends.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::response::{IntoResponse, Response, Sse, sse};
use http::HeaderMap;
use proxy::messaging::receive::Delivery;
use tokio_stream::Stream;
use types::GroupName;
use types::broker::{Pop, PopError};

use super::receive::answer::one;
use super::{Service, socket};
use crate::extract::{Named, QueryOf};
use crate::limits::Share;
use crate::problem::{Document, Problem};
use crate::server::Place;
use crate::views::messaging::{OpenStream, Receive, ReceivedMessage};

/// Messages of a stream, when the request does not say.
const CREDITS_DEFAULT: u32 = 256;
pub(super) const CREDITS_MAX: u32 = 4096;
/// How often a silent stream shows that it lives, which also finds out who has gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long `EventSource` waits before it opens the next stream.
const RETRY: Duration = Duration::from_millis(500);
/// Why a stream ends when clients have not taken too much.
const BUSY: &str = "busy";

/// Stream messages as Server-Sent Events until the credits are used up, or over a WebSocket
///
/// With `Upgrade: websocket`, text frames in JSON go both ways: the client's are `ClientFrame`, the server's `ServerFrame`.
#[utoipa::path(get, path = "/v1/groups/{group}/stream", operation_id = "streamMessages", tag = "consumers",
    params(("group" = String, Path, pattern = "^[%|a-zA-Z0-9_-]{1,255}$", description = "The consumer group"), OpenStream),
    responses((status = 101, description = "A WebSocket, if that was asked for"),
        (status = 200, description = "Events message, end, problem", body = String, content_type = "text/event-stream"),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn call(
    State(service): State<Service>,
    Named(group): Named<GroupName>,
    QueryOf(open): QueryOf<OpenStream>,
    place: Option<Extension<Place>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    // Unlike other GETs this one takes messages from others, so no other site's page may make it.
    super::refuse_cross_site(&headers)?;
    if let Some(credits) = open.credits.filter(|credits| !(1..=CREDITS_MAX).contains(credits)) {
        return Err(Problem::invalid(format!("credits is {credits}, allowed are 1 to {CREDITS_MAX}")));
    }
    let credits = open.credits;
    let receive = Receive {
        topic: open.topic,
        invisible: open.invisible,
        filter: open.filter,
        sql: open.sql,
        ..Receive::default()
    };
    let pop = service.pop(group, receive, false)?;
    service.check_undelivered()?;
    if socket::is_asked_for(&headers) {
        let upgrade = upgrade.map_err(|refused| Problem::new(refused.status(), "no-websocket", refused.body_text()))?;
        return Ok(socket::open(service, pop, credits.unwrap_or(0), place, upgrade));
    }
    let credits = credits.unwrap_or(CREDITS_DEFAULT);
    // What can be refused is refused before the stream begins.
    let first = service.messaging.receive(Pop { wait: Duration::ZERO, ..with_credits(&pop, credits) }).await?;
    let events = Events { service, pop, credits, state: Next::Begin(Some(first)) };
    let keep_alive = sse::KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(events).keep_alive(keep_alive).into_response())
}

/// The receive of a client that takes so many more messages.
pub(super) fn with_credits(pop: &Pop, credits: u32) -> Pop {
    Pop { messages_max: pop.messages_max.min(credits), ..pop.clone() }
}

/// The events, made as the client takes them.
struct Events {
    service: Service,
    pop: Pop,
    /// How many more messages the client takes.
    credits: u32,
    state: Next,
}

pub(super) type Receiving = Pin<Box<dyn Future<Output = Result<Delivery, PopError>> + Send>>;

enum Next {
    /// Says how to go on after the end, then delivers what is there already.
    Begin(Option<Delivery>),
    Deliver {
        delivery: Delivery,
        _share: Share,
    },
    Wait(Receiving),
    Busy,
    End,
}

impl Events {
    /// Goes on with what was popped, unless other clients reached the bound meanwhile.
    fn deliver(&self, delivery: Delivery) -> Next {
        self.service.undelivered(&delivery).map_or(Next::Busy, |share| Next::Deliver { delivery, _share: share })
    }

    /// What comes after the messages that were there; with an event, if the stream ends.
    fn go_on(&mut self) -> Option<sse::Event> {
        let end = |why| Some(end(why));
        self.state = Next::End;
        if self.credits == 0 {
            return end("credits");
        }
        if self.service.messaging.is_draining() {
            return end("stopping");
        }
        if self.service.undelivered.is_used_up() {
            return end(BUSY);
        }
        let (messaging, pop) = (self.service.messaging.clone(), with_credits(&self.pop, self.credits));
        self.state = Next::Wait(Box::pin(async move { messaging.receive(pop).await }));
        None
    }
}

impl Stream for Events {
    type Item = Result<sse::Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match &mut self.state {
                Next::Begin(first) => {
                    let first = first.take();
                    self.state = first.map_or(Next::End, |first| self.deliver(first));
                    return Poll::Ready(Some(Ok(sse::Event::default().retry(RETRY).comment("open"))));
                }
                Next::Deliver { delivery, .. } => {
                    // Who asks for the next event has taken the one before.
                    delivery.complete();
                    if let Some(message) = one(delivery) {
                        let event = event(ReceivedMessage::of(delivery.topic(), message));
                        self.credits = self.credits.saturating_sub(1);
                        return Poll::Ready(Some(Ok(event)));
                    }
                    if let Some(end) = self.go_on() {
                        return Poll::Ready(Some(Ok(end)));
                    }
                }
                Next::Wait(receiving) => match ready!(receiving.as_mut().poll(context)) {
                    Ok(delivery) => self.state = self.deliver(delivery),
                    Err(error) => {
                        self.state = Next::End;
                        let document = serde_json::to_string(&Problem::from(error).document()).expect("plain data");
                        return Poll::Ready(Some(Ok(sse::Event::default().event("problem").data(document))));
                    }
                },
                Next::Busy => {
                    self.state = Next::End;
                    return Poll::Ready(Some(Ok(end(BUSY))));
                }
                Next::End => return Poll::Ready(None),
            }
        }
    }
}

fn end(why: &str) -> sse::Event {
    sse::Event::default().event("end").data(why)
}

fn event(message: ReceivedMessage) -> sse::Event {
    let data = serde_json::to_string(&message).expect("plain data");
    sse::Event::default().event("message").id(message.handle).data(data)
}
