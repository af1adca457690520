//! The roles that speak Remoting, and single requests to them.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Stdio;

use bytes::{Bytes, BytesMut};
use remoting_proto::{Command, Fields, RequestCode};

use super::{Server, gantry, log_of};

/// Starts a role; on return it serves. Its Remoting address is in `grpc`, also in `http` if nothing is served there.
pub(crate) fn start_role(folder: &Path, arguments: &[&str]) -> Server {
    let log = File::create(folder.join("log")).expect("a log");
    let mut child = gantry(folder, arguments).stdout(Stdio::piped()).stderr(log).spawn().expect("the program starts");
    let mut banner = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let mut http = None;
    loop {
        let line = banner.next().unwrap_or_else(|| panic!("no address in the banner: {}", log_of(folder)));
        let mut words = line.split_whitespace();
        let (name, address) = (words.next(), words.next().and_then(|address| address.parse::<SocketAddr>().ok()));
        match (name, address) {
            (Some("HTTP"), address) => http = address,
            (Some("Remoting"), Some(address)) => return Server { child, grpc: address, http: http.unwrap_or(address) },
            _ => {}
        }
    }
}

pub(crate) fn ask(address: SocketAddr, code: RequestCode, pairs: &[(&str, &str)]) -> Command {
    ask_with(address, code, pairs, b"")
}

pub(crate) fn ask_with(address: SocketAddr, code: RequestCode, pairs: &[(&str, &str)], body: &'static [u8]) -> Command {
    let mut fields = Fields::default();
    for (name, text) in pairs {
        assert!(fields.set((*name).to_owned(), (*text).to_owned()));
    }
    let mut frame = BytesMut::new();
    remoting_proto::encode(&Command::request(code, fields, Bytes::from_static(body)), &mut frame).expect("fits");
    let mut stream = TcpStream::connect(address).expect("listening");
    stream.write_all(&frame).expect("sent");
    let mut answer = vec![0; 4];
    stream.read_exact(&mut answer).expect("answered");
    answer.resize(remoting_proto::announced(&answer).expect("a frame").expect("known"), 0);
    stream.read_exact(&mut answer[4..]).expect("answered");
    remoting_proto::decode(answer.into()).expect("a frame")
}
