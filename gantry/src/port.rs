//! A port that is ours from the start and answers only when the server can serve.
//!
//! It is bound before anything else is opened, so that an address in use is found at once; it listens only when
//! everything behind it runs. Until then a connection is refused, not left waiting.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// Connections that wait for being accepted.
const BACKLOG: u32 = 1024;

/// A bound address.
#[derive(Debug)]
pub(crate) struct Port {
    socket: TcpSocket,
    asked: SocketAddr,
    /// What changes it: a flag and what stands for its value.
    flag: &'static str,
}

/// Why a port cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", self.remedy())]
pub(crate) struct Error {
    address: SocketAddr,
    flag: &'static str,
    /// Told by the remedy, hence no `source` that would tell it again.
    cause: io::Error,
}

impl Error {
    fn remedy(&self) -> String {
        let flag = self.flag;
        match self.cause.kind() {
            io::ErrorKind::AddrInUse => {
                format!("the address is in use; stop the program that has it, or choose another with --{flag}")
            }
            io::ErrorKind::AddrNotAvailable => {
                format!("this machine has no such address; choose another with --{flag}")
            }
            io::ErrorKind::PermissionDenied => {
                format!("not permitted; choose a port above 1023 with --{flag}")
            }
            _ => format!("{}; choose another address with --{flag}", self.cause),
        }
    }
}

impl Port {
    /// Takes the address; `flag` is what changes it, such as `listen IP:PORT`.
    ///
    /// # Errors
    /// [`Error`], which says what to do.
    pub(crate) fn bind(address: SocketAddr, flag: &'static str) -> Result<Self, Error> {
        let bind = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            // A restart must not wait for the connections of its forerunner to be forgotten.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            Ok(socket)
        };
        match bind() {
            Ok(socket) => Ok(Self { socket, asked: address, flag }),
            Err(cause) => Err(Error { address, flag, cause }),
        }
    }

    /// The address, with the port that the system chose when 0 was asked for.
    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap_or(self.asked)
    }

    /// Accepts connections from now on.
    ///
    /// # Errors
    /// [`Error`]: another process may have taken the address in the meantime.
    pub(crate) fn listen(self) -> Result<TcpListener, Error> {
        let (address, flag) = (self.address(), self.flag);
        self.socket.listen(BACKLOG).map_err(|cause| Error { address, flag, cause })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;

    #[tokio::test]
    async fn a_bound_port_refuses_until_it_listens() {
        let port = Port::bind((Ipv4Addr::LOCALHOST, 0).into(), "grpc IP:PORT").expect("any port");
        let address = port.address();
        assert_ne!(address.port(), 0);
        assert!(TcpStream::connect(address).is_err());
        let _listener = port.listen().expect("bound");
        assert!(TcpStream::connect(address).is_ok());
    }

    #[tokio::test]
    async fn an_address_in_use_names_the_flag() {
        let listener =
            Port::bind((Ipv4Addr::LOCALHOST, 0).into(), "grpc IP:PORT").expect("any port").listen().expect("bound");
        let address = listener.local_addr().expect("bound");
        let error = Port::bind(address, "http IP:PORT").expect_err("in use").to_string();
        assert!(error.contains(&address.to_string()) && error.contains("--http IP:PORT"), "{error}");
    }
}
