//! HTTP/2 streams whose peers take nothing of their answers.
//!
//! A connection that is read but whose windows stay shut never blocks a write, so each stream has a clock of its own: when a piece
//! of its answer finds no room in the window for too long, the stream is reset and all that the answer holds is dropped.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use hyper::body::{Body as _, Frame, SizeHint};

use super::{Timer, wait};

/// Bytes of an answer that are given to the connection at a time, and so the least that its peer has to take in that time.
/// Also what may be left of an answer when it counts as taken.
const PIECE_BYTES: usize = 32 * 1024;

tokio::task_local! {
    /// What the stream whose task this is waits for.
    static WAITING: Arc<Waiting>;
}

/// Which piece of an answer waits for room in its peer's window, counted from 1; 0 is none.
#[derive(Debug, Default)]
struct Waiting(AtomicU64);

/// Runs the streams of HTTP/2 connections as tasks that end when their peers take nothing for too long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streams {
    patience: Duration,
}

impl Streams {
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience }
    }
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(run(stream, self.patience));
    }
}

/// Runs a stream to its end, or until a piece of its answer has waited for too long. To drop a stream resets it.
async fn run<F: Future>(stream: F, patience: Duration) {
    let waiting = Arc::<Waiting>::default();
    let mut stream = pin!(WAITING.scope(waiting.clone(), stream));
    let mut late: Option<(u64, Timer)> = None;
    poll_fn(move |context| {
        if stream.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let piece = waiting.0.load(Ordering::Relaxed);
        late = late.take().filter(|(of, _)| *of == piece);
        if piece == 0 {
            return Poll::Pending;
        }
        let (_, late) = late.get_or_insert_with(|| (piece, Box::pin(wait(patience))));
        ready!(late.as_mut().poll(context));
        tracing::debug!(?patience, "HTTP/2 stream is reset: nothing of its answer was taken");
        Poll::Ready(())
    })
    .await;
}

/// The answer, which says when it waits for its peer, if it is an HTTP/2 stream's and not small.
pub(super) fn watched(response: Response<Body>) -> Response<Body> {
    let is_small = response.body().size_hint().exact().is_some_and(|bytes| bytes <= PIECE_BYTES as u64);
    match WAITING.try_with(Arc::clone) {
        Ok(waiting) if !is_small => {
            response.map(|body| Body::new(Watched { body, rest: Bytes::new(), given: 0, waiting }))
        }
        _ => response,
    }
}

/// An answer's body, in pieces.
struct Watched {
    body: Body,
    /// What is not given yet of the body's own last piece.
    rest: Bytes,
    given: u64,
    waiting: Arc<Waiting>,
}

impl Watched {
    fn give(&mut self) -> Frame<Bytes> {
        self.given += 1;
        self.waiting.0.store(self.given, Ordering::Relaxed);
        Frame::data(self.rest.split_to(self.rest.len().min(PIECE_BYTES)))
    }
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // Who asks for a piece has found room for the one before.
        self.waiting.0.store(0, Ordering::Relaxed);
        if self.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(frame) => return Poll::Ready(Some(Ok(frame))),
            }
        }
        Poll::Ready(Some(Ok(self.give())))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (of_body, given_not) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(of_body.lower() + given_not);
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper + given_not);
        }
        hint
    }
}
