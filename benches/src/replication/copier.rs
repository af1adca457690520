//! The plainest copy of a log to another process: one thread reads files and sends them over loopback TCP, another writes what comes by
//! `pwritev` into files that have their length already.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
use env::Disk;
use env::disk::OpenMode;
use env::disk::os::OsDisk;

/// Bytes that are read and sent at once, as many as a master sends in a frame.
const PIECE_BYTES: usize = 256 * 1024;

/// See the module's head. Goes on until it is stopped or all is copied.
pub(super) struct Copier {
    copied: Arc<AtomicU64>,
    /// All that there is to copy.
    bytes: u64,
    connection: TcpStream,
    threads: [JoinHandle<Result<()>>; 2],
}

impl Copier {
    /// Begins to copy the segments in a directory to another.
    pub(super) fn start(from: &Path, to: &Path) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let sending = TcpStream::connect(listener.local_addr()?)?;
        let (receiving, _) = listener.accept()?;
        sending.set_nodelay(true)?;
        let copied = Arc::new(AtomicU64::new(0));
        let segments = segments(from)?;
        let (counter, connection, to) = (Arc::clone(&copied), sending.try_clone()?, to.to_owned());
        let lengths = segments.iter().map(|segment| Ok(segment.metadata()?.len())).collect::<Result<Vec<_>>>()?;
        let bytes = lengths.iter().sum();
        let threads = [
            std::thread::spawn(move || send(&segments, sending)),
            std::thread::spawn(move || receive(receiving, &to, &lengths, &counter)),
        ];
        Ok(Self { copied, bytes, connection, threads })
    }

    /// Bytes that are written so far.
    pub(super) fn copied(&self) -> u64 {
        self.copied.load(Ordering::Relaxed)
    }

    /// Whether nothing is left to copy.
    pub(super) fn has_all(&self) -> bool {
        self.copied() == self.bytes
    }

    /// Ends it.
    ///
    /// # Errors
    /// What made one of its threads end before.
    pub(super) fn stop(self) -> Result<()> {
        // Both threads end at once where they still run.
        let _ = self.connection.shutdown(Shutdown::Both);
        for thread in self.threads {
            thread.join().map_err(|_| anyhow!("a thread of the copier panicked"))??;
        }
        Ok(())
    }
}

fn segments(from: &Path) -> Result<Vec<PathBuf>> {
    let files = std::fs::read_dir(from).with_context(|| from.display().to_string())?;
    let mut segments = files.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
    segments.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().parse::<u64>().is_ok()));
    segments.sort();
    Ok(segments)
}

fn send(segments: &[PathBuf], mut to: TcpStream) -> Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    for path in segments {
        let (file, mut at) = (OsDisk.open(path, OpenMode::Read)?, 0);
        loop {
            let bytes = file.read_at(&mut piece, at)?;
            if bytes == 0 {
                break;
            }
            match to.write_all(&piece[..bytes]) {
                Err(error) if is_end(error.kind()) => return Ok(()),
                sent => sent?,
            }
            at += bytes as u64;
        }
    }
    Ok(())
}

fn receive(mut from: TcpStream, to: &Path, lengths: &[u64], copied: &AtomicU64) -> Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    for (number, length) in lengths.iter().enumerate() {
        let file = OsDisk.open(&to.join(format!("{number:06}")), OpenMode::Create)?;
        file.allocate(*length)?;
        let mut at = 0;
        while at < *length {
            let left = usize::try_from(*length - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            let bytes = match from.read(&mut piece[..left]) {
                Err(error) if is_end(error.kind()) => return Ok(()),
                read => read?,
            };
            if bytes == 0 {
                return Ok(());
            }
            file.write_all_at(&[IoSlice::new(&piece[..bytes])], at)?;
            at += bytes as u64;
            copied.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Whether a connection was ended by [`Copier::stop`].
fn is_end(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_copied_byte_by_byte() {
        let [from, to] = [(), ()].map(|()| crate::directory::Directory::fresh().expect("a directory"));
        let bytes: Vec<u8> = (0..PIECE_BYTES * 3 + 7).map(|at| at as u8).collect();
        for name in ["00", "01"] {
            std::fs::write(from.path().join(name), &bytes).expect("written");
        }
        std::fs::write(from.path().join("other"), "no segment").expect("written");
        let copier = Copier::start(from.path(), to.path()).expect("started");
        while !copier.has_all() {
            std::thread::yield_now();
        }
        assert_eq!(copier.copied(), 2 * bytes.len() as u64);
        copier.stop().expect("no error");
        for name in ["000000", "000001"] {
            assert!(std::fs::read(to.path().join(name)).expect("read") == bytes, "{name}");
        }
    }
}
