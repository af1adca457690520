//! `gantry broker` as a process: its ports.

#![allow(clippy::disallowed_methods, reason = "drives a real process in real time, above every seam of env")]

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::net::{SocketAddr, TcpListener};

use remoting_proto::{RequestCode, ResponseCode};
use support::remoting::{ask, start_role};
use support::{folder, log_of};

/// A port that is free, and whether the one two below it is.
fn port(is_two_below_free: bool) -> (TcpListener, SocketAddr) {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let two_below = SocketAddr::new(address.ip(), address.port() - 2);
        if let Ok(other) = TcpListener::bind(two_below) {
            return (if is_two_below_free { listener } else { other }, address);
        }
    }
}

#[test]
fn it_listens_two_ports_below_too_for_the_vip_channel() {
    let folder = folder();
    let (listener, address) = port(true);
    drop(listener);
    let server = start_role(folder.path(), &["broker", "--listen", &address.to_string()]);
    for port in [address.port(), address.port() - 2] {
        let answer = ask(SocketAddr::new(address.ip(), port), RequestCode::GetBrokerRuntimeInfo, &[]);
        assert_eq!(answer.response_code(), ResponseCode::Success, "{port}");
    }
    assert_eq!(server.grpc, address);
}

#[test]
fn it_serves_others_where_that_port_is_taken() {
    let folder = folder();
    let (_taken, address) = port(false);
    let server = start_role(folder.path(), &["broker", "--listen", &address.to_string()]);
    let answer = ask(server.grpc, RequestCode::GetBrokerRuntimeInfo, &[]);
    assert_eq!(answer.response_code(), ResponseCode::Success);
    assert!(log_of(folder.path()).contains("VIP channel"), "{}", log_of(folder.path()));
}
