//! Servers that do nothing: the limit of the stacks we build on, one a protocol that ours is measured with.
//!
//! Each decodes every request fully and answers as our server would, from what it made beforehand. Sockets are set as
//! ours are, so that the difference between both is our own work.

mod grpc;
mod http;
mod remoting;

use std::net::SocketAddr;

use anyhow::Result;
use clap::ValueEnum;

/// What clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// The RocketMQ 5 API.
    Grpc,
    /// That of 4.x clients.
    Remoting,
    /// Ours for those without a client.
    Http,
}

/// Serves until the process is killed.
pub(crate) async fn serve(protocol: Protocol, address: SocketAddr) -> Result<()> {
    match protocol {
        Protocol::Grpc => grpc::serve(address).await,
        Protocol::Remoting => remoting::serve(address).await,
        Protocol::Http => http::serve(address).await,
    }
}

/// Serves in this process, for a test; it listens on return.
#[cfg(test)]
pub(crate) async fn started(protocol: Protocol) -> SocketAddr {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("its address");
    drop(free);
    tokio::spawn(async move { serve(protocol, address).await.expect("serves") });
    while tokio::net::TcpStream::connect(address).await.is_err() {
        tokio::task::yield_now().await;
    }
    address
}
