//! A line of a set length between a slave and its master: what one says comes to the other so much later, however much is under way.
//! It is a relay, because kernels without `netem` cannot make the real one longer. TCP's windows do not see its length.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

/// Most bytes that are taken at once.
const PIECE_BYTES: usize = 64 * 1024;
/// Most pieces that are under way each way.
const PIECES_MAX: usize = 1024;

/// See the module's head. It takes nobody any more once this is dropped; who is connected stays so.
pub(super) struct Line {
    begin: SocketAddr,
    is_up: Arc<AtomicBool>,
}

impl Line {
    /// Who connects to where it begins is connected to `end`; each way takes so long.
    pub(super) fn to(end: SocketAddr, each_way: Duration) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (begin, is_up) = (listener.local_addr()?, Arc::new(AtomicBool::new(true)));
        let goes_on = Arc::clone(&is_up);
        thread::spawn(move || {
            for near in listener.incoming() {
                if !goes_on.load(Ordering::Relaxed) {
                    return;
                }
                if let Err(error) = near.and_then(|near| connect(near, end, each_way)) {
                    eprintln!("the line to {end}: {error}");
                }
            }
        });
        Ok(Self { begin, is_up })
    }

    /// Where it begins.
    pub(super) fn begin(&self) -> SocketAddr {
        self.begin
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.is_up.store(false, Ordering::Relaxed);
        // Wakes the thread that waits for somebody to come.
        let _ = TcpStream::connect(self.begin);
    }
}

fn connect(near: TcpStream, end: SocketAddr, each_way: Duration) -> io::Result<()> {
    let far = TcpStream::connect(end)?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    carry(near.try_clone()?, far.try_clone()?, each_way);
    carry(far, near, each_way);
    Ok(())
}

/// Both threads end once either end has.
fn carry(mut from: TcpStream, mut to: TcpStream, later: Duration) {
    let (under_way, arriving) = sync_channel::<(Instant, Vec<u8>)>(PIECES_MAX);
    thread::spawn(move || {
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(bytes @ 1..) = from.read(&mut piece) {
            if under_way.send((Instant::now() + later, piece[..bytes].to_vec())).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (at, piece) in arriving {
            thread::sleep(at.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        // Either may have ended before.
        let _ = to.shutdown(Shutdown::Both);
    });
}
