//! A TCP balancer: each connection goes to one of its targets that takes one.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::Result;

/// How long a target may take to accept a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

/// Starts one that goes from target to target, and says where it listens; it runs as long as this program.
pub(crate) fn in_turn(targets: Vec<SocketAddr>) -> Result<SocketAddr> {
    start(targets, |connection| connection)
}

/// The same, but the first target has all connections as long as it takes them.
pub(crate) fn to_the_first(targets: Vec<SocketAddr>) -> Result<SocketAddr> {
    start(targets, |_| 0)
}

/// Starts one whose connections, by their number, try the targets from one on.
fn start(targets: Vec<SocketAddr>, turn: fn(usize) -> usize) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for (connection, client) in listener.incoming().enumerate() {
            let Ok(client) = client else { continue };
            let (before, after) = targets.split_at(turn(connection) % targets.len().max(1));
            let in_turn: Vec<_> = after.iter().chain(before).copied().collect();
            thread::spawn(move || {
                let connect = |target| TcpStream::connect_timeout(target, CONNECT_WITHIN).ok();
                // Without a target the client's connection ends here.
                if let Some(target) = in_turn.iter().find_map(connect) {
                    join(&client, &target);
                }
            });
        }
    });
    Ok(address)
}

/// Hands on what either says, until both have ended.
fn join(one: &TcpStream, other: &TcpStream) {
    thread::scope(|scope| {
        scope.spawn(|| hand_on(one, other));
        hand_on(other, one);
    });
}

fn hand_on(mut from: &TcpStream, mut to: &TcpStream) {
    // A broken connection is an end too, of both directions: its other half must not stay open.
    match io::copy(&mut from, &mut to) {
        Ok(_) => drop(to.shutdown(Shutdown::Write)),
        Err(_) => {
            drop(to.shutdown(Shutdown::Both));
            drop(from.shutdown(Shutdown::Both));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    /// A server that says its name to who connects, and then what it is told.
    fn echo(name: u8) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.expect("accepted");
                client.write_all(&[name]).expect("open");
                let mut told = Vec::new();
                client.read_to_end(&mut told).expect("told");
                client.write_all(&told).expect("open");
            }
        });
        address
    }

    fn gone() -> SocketAddr {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port").local_addr().expect("bound")
    }

    /// Who answers so many connections.
    fn heard(address: SocketAddr, connections: usize) -> String {
        let mut heard = String::new();
        for _ in 0..connections {
            let mut client = TcpStream::connect(address).expect("listening");
            client.write_all(b"-").expect("open");
            client.shutdown(Shutdown::Write).expect("open");
            client.read_to_string(&mut heard).expect("an answer");
        }
        heard
    }

    #[test]
    fn connections_go_to_who_is_there_in_turn() {
        let address = in_turn(vec![echo(b'a'), gone(), echo(b'b')]).expect("started");
        assert_eq!(heard(address, 6), "a-b-b-a-b-b-");
    }

    #[test]
    fn connections_go_to_the_first_that_is_there() {
        let address = to_the_first(vec![gone(), echo(b'a'), echo(b'b')]).expect("started");
        assert_eq!(heard(address, 2), "a-a-");
    }
}
