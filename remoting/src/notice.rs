//! Tells peers what they do not ask for, each in a request without an answer. One after the other: it is rare, and each has a short time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use env::Clock;
use remoting_proto::Command;
use tokio::sync::mpsc;

use crate::Client;

/// Notices that wait; further ones are lost, and peers find out by their own questions.
const NOTICES_MAX: usize = 1024;
/// Connections that are kept; beyond it all are closed.
const CLIENTS_MAX: usize = 1024;

/// What peers are to be told.
#[derive(Clone, Debug)]
pub struct Notice {
    /// `HOST:PORT` of each of them.
    pub to: Vec<String>,
    /// What they are sent.
    pub request: Command,
    /// How long one of them may take to be reached; then it is not told.
    pub within: Duration,
}

/// Notices that wait to be sent.
#[derive(Debug)]
pub struct Notices(mpsc::Receiver<Notice>);

impl Notices {
    /// None yet, and the way to add some. One that finds no room is lost.
    #[must_use]
    pub fn new() -> (mpsc::Sender<Notice>, Self) {
        let (tell, notices) = mpsc::channel(NOTICES_MAX);
        (tell, Self(notices))
    }

    /// Sends what comes, as long as any may come.
    pub async fn send(mut self, clock: Arc<dyn Clock>) {
        let mut clients = HashMap::new();
        while let Some(Notice { to, request, within }) = self.0.recv().await {
            for peer in to {
                if clients.len() == CLIENTS_MAX && !clients.contains_key(&peer) {
                    clients.clear();
                }
                let client = clients.entry(peer.clone()).or_insert_with(|| Client::new(peer, clock.clone()));
                if let Err(error) = client.oneway(request.clone(), within).await {
                    tracing::info!(%error, code = request.code, "a peer was not told");
                }
            }
        }
    }
}
